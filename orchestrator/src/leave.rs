//! Leaving: a leader that is told to end hands over to a standby, and the last one takes the workers along.
//!
//! Which one is the last is not known before the others have left: both may be told at once, one after the other,
//! or in the middle of a hand-over. So whoever leaves stays until it has seen another lead, and otherwise leads
//! itself, if only to take the workers along.

use std::time::Duration;

use clb_engine::Docker;
use clb_store::Lease;
use tokio::time::{Instant, sleep, timeout};

use crate::fleet;
use crate::follow::read_lease;
use crate::leader::{Handle, Message};
use crate::node::{LEADER_WAIT, Leading, Node, Role};

/// How long a standby's last words may take.
pub(crate) const GOODBYE: Duration = Duration::from_millis(200);
/// How long the last commit of a term may take.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);
/// How long the others may take to say that they are leaving too.
const FAREWELL: Duration = Duration::from_millis(500);
/// How much of what the engine gives is left to what nobody plans.
const MARGIN: Duration = Duration::from_millis(500);
/// How long taking the workers along may take at least.
const LEAST_RETIREMENT: Duration = Duration::from_secs(1);
/// How often it is looked who leads.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Leaves, as a process that is killed after this time.
pub(crate) async fn leave(node: &Node, docker: &Docker, stop_grace: Duration) {
    let begun = Instant::now();
    let until = begun + stop_grace.saturating_sub(MARGIN);
    let before = newest_lease(node).await;
    node.begin_leaving();
    if !matches!(node.role(), Role::Leading(_)) {
        sleep(GOODBYE).await;
    }
    let mut leads_by = until.min(begun + LEADER_WAIT);
    let mut was_handed_over = false;
    loop {
        match node.role() {
            Role::Leading(Leading { handle, .. }) => {
                let rest = stop_grace.saturating_sub(begun.elapsed());
                if is_left_alone(node, was_handed_over).await {
                    return be_the_last(node, docker, &handle, retirement_limit(rest)).await;
                }
                step_down(node, &handle).await;
                was_handed_over = true;
                leads_by = until.min(Instant::now() + LEADER_WAIT);
            }
            Role::Crashed => return,
            Role::Following(_) | Role::Leaderless { .. } => {}
        }
        let now = newest_lease(node).await;
        if shows_another_leader(node, before.as_ref(), now.as_ref()) {
            return;
        }
        // One that holds the lease is about to lead, however much it has to read before.
        let is_own = now.is_some_and(|lease| lease.holder == node.name && !lease.is_released);
        let patience = if is_own { until } else { leads_by };
        if Instant::now() >= patience {
            return node.journal.write("Leaves without the workers: nobody leads");
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The lease, as far as it can be read soon: a disk may hang.
async fn newest_lease(node: &Node) -> Option<Lease> {
    timeout(HAND_OVER_LIMIT, read_lease(node)).await.ok()?.ok().flatten()
}

/// Whether another orchestrator has led since.
fn shows_another_leader(node: &Node, before: Option<&Lease>, now: Option<&Lease>) -> bool {
    let Some(lease) = now.filter(|lease| lease.holder != node.name && !lease.is_released) else {
        return false;
    };
    before.is_none_or(|before| (before.epoch, before.pulse) != (lease.epoch, lease.pulse))
}

/// Waits a moment for standbys that leave too. One that holds its link is handed over to, though it may only be slow
/// to speak; when nobody took over then, those that say nothing count for nothing.
async fn is_left_alone(node: &Node, was_handed_over: bool) -> bool {
    let roster = &node.roster;
    let alone = async {
        while if was_handed_over { roster.has_standby() } else { roster.has_link() } {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(FAREWELL, alone).await.is_ok()
}

async fn be_the_last(node: &Node, docker: &Docker, leader: &Handle, limit: Duration) {
    tokio::select! {
        () = take_workers_along(node, docker, leader, limit) => {}
        // They are the next leader's now.
        () = node.until_not_leading() => {}
    }
    step_down(node, leader).await;
}

async fn step_down(node: &Node, leader: &Handle) {
    let handing_over = async {
        leader.tell(Message::StepDown).await;
        node.until_not_leading().await;
    };
    drop(timeout(HAND_OVER_LIMIT, handing_over).await);
}

/// How long taking the workers along may take for a process that is killed after this time.
fn retirement_limit(stop_grace: Duration) -> Duration {
    stop_grace.saturating_sub(FAREWELL + HAND_OVER_LIMIT + MARGIN).max(LEAST_RETIREMENT)
}

async fn take_workers_along(node: &Node, docker: &Docker, leader: &Handle, limit: Duration) {
    let until = Instant::now() + limit;
    if let Err(error) = docker.list().await {
        // An engine that ends asks its containers to end when it answers no more, and waits for them.
        return node.journal.write(&format!("The last orchestrator leaves, the workers stay: {error}"));
    }
    node.journal.write("The last orchestrator leaves and takes the workers along");
    // In this order: what is not made any more is no news to a cluster that needs nothing more.
    let retirement = async { tokio::join!(leader.retire(), docker.make_no_more()) };
    drop(timeout(limit / 2, retirement).await);
    let rest = until.saturating_duration_since(Instant::now());
    let left = Box::pin(fleet::take_down(docker, rest)).await;
    if let Some(left) = left.told() {
        node.journal.write(&format!("Could not be removed in time: {left}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_get_what_the_engine_gives_but_for_the_farewell_and_the_last_commit() {
        let limits = [0, 10, 60].map(|grace| retirement_limit(Duration::from_secs(grace)).as_secs());
        assert_eq!(limits, [1, 7, 57]);
    }
}
