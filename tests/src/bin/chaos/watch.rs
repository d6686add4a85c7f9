//! Looks all the time: who leads, and which tasks have ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clb_protocol::OutcomeSeq;
use clb_protocol::api::OutcomePage;
use tokio::task::JoinHandle;

use crate::world::World;

const GLANCE: Duration = Duration::from_millis(300);
const PAGE: u64 = 500;
const LIMIT: Duration = Duration::from_mins(3);

/// Watches until it is ended.
#[derive(Debug)]
pub(crate) struct Watch {
    is_over: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn begin(world: &Arc<World>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let leaders = (0..2).map(|door| tokio::spawn(leaders(Arc::clone(world), door, Arc::clone(&is_over))));
        let mut watchers: Vec<_> = leaders.collect();
        watchers.push(tokio::spawn(outcomes(Arc::clone(world), Arc::clone(&is_over))));
        Self { is_over, watchers }
    }

    /// Ends it; says when a watcher had broken off.
    pub(crate) async fn end(self) -> Result<(), String> {
        self.is_over.store(true, Ordering::Relaxed);
        for watcher in self.watchers {
            watcher.await.map_err(|error| format!("a watcher broke off: {error}"))?;
        }
        Ok(())
    }
}

/// One question at a time, so that the answers are in order.
async fn leaders(world: Arc<World>, door: u64, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        if let Ok(view) = world.view_of(door).await {
            world.told(door, &view);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

async fn outcomes(world: Arc<World>, is_over: Arc<AtomicBool>) {
    let mut after = OutcomeSeq(0);
    while !is_over.load(Ordering::Relaxed) {
        match page(&world, after, PAGE, 1).await {
            Ok(page) => {
                let mut checker = world.checker();
                page.outcomes.iter().for_each(|outcome| checker.outcome(outcome));
                after = page.next;
            }
            Err(_) => tokio::time::sleep(GLANCE).await,
        }
    }
}

async fn page(world: &World, after: OutcomeSeq, limit: u64, wait_s: u64) -> Result<OutcomePage, String> {
    let path = format!("/api/v1/outcomes?after={after}&limit={limit}&wait={wait_s}");
    let answer = world.insist(after.0, LIMIT, |door| door.get(&path)).await?;
    if answer.status != 200 {
        return Err(format!("{path}: {} {}", answer.status, answer.text()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))
}

/// Reads some outcomes again that were read before.
pub(crate) async fn read_some_again(world: &World, after: OutcomeSeq, count: u64) -> Result<(), String> {
    let page = page(world, after, count, 0).await?;
    let mut checker = world.checker();
    let last = checker.last();
    page.outcomes.iter().filter(|it| it.seq <= last).for_each(|outcome| checker.seen_again(outcome));
    Ok(())
}

/// Reads all outcomes again; nothing may end meanwhile.
pub(crate) async fn read_all_again(world: &World) -> Result<(), String> {
    let (mut after, mut count) = (OutcomeSeq(0), 0);
    loop {
        let page = page(world, after, PAGE, 0).await?;
        if page.outcomes.is_empty() {
            break;
        }
        count += page.outcomes.len() as u64;
        after = page.next;
        let mut checker = world.checker();
        page.outcomes.iter().for_each(|outcome| checker.seen_again(outcome));
    }
    world.checker().counted_again(count);
    Ok(())
}

/// Waits until every acknowledged task has an outcome, as long as any of them ends at all.
pub(crate) async fn drain(world: &World, patience: Duration) {
    let (mut left, mut since) = (usize::MAX, Instant::now());
    loop {
        let waiting = world.checker().waiting();
        if waiting == 0 {
            return;
        }
        if waiting != left {
            (left, since) = (waiting, Instant::now());
        }
        if since.elapsed() > patience {
            return;
        }
        tokio::time::sleep(GLANCE).await;
    }
}
