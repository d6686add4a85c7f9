//! Orders that were decided and never sent.

use clb_protocol::TaskId;
use clb_protocol::api::VerdictKind;

use super::world::World;
use crate::input::{Cancellable, Input};

impl World {
    /// The order of the first task that a worker has did not get to it, for good when there is a reason.
    pub(super) fn lose_order(&mut self, slot: u16, unreadable: Option<&str>) -> Option<TaskId> {
        let (_, process) = self.containers.get_mut(&self.worker(slot)?)?;
        let link = process.link?;
        let (task, (attempt, ..)) = process.running.pop_first()?;
        self.tell(match unreadable {
            None => Input::OrderLost { link, task, attempt },
            Some(reason) => Input::OrderUnreadable { link, task, attempt, reason: reason.to_owned() },
        });
        Some(task)
    }
}

#[test]
fn a_task_whose_order_was_not_sent_runs_again_at_no_cost() {
    let mut c = World::with_workers(1);
    let tasks = c.submitted(3);
    c.expect_running(1, &tasks[..2]);
    assert_eq!(c.lose_order(1, None), Some(tasks[0]));
    c.expect_attempt(tasks[0], 1, Some(VerdictKind::HostLost), false);
    c.expect_running(1, &tasks[..2]);
    c.calm_down();
}

#[test]
fn nothing_is_handed_out_while_the_store_cannot_be_read() {
    let mut c = World::with_workers(1);
    let tasks = c.submitted(3);
    c.tell(Input::StoreAvailable(false));
    c.lose_order(1, None);
    c.expect_running(1, &tasks[1..2]);
    c.tell(Input::StoreAvailable(true));
    c.expect_running(1, &tasks[..2]);
}

#[test]
fn a_task_that_can_be_read_never_again_fails_and_says_why() {
    let mut c = World::with_workers(1);
    let task = c.submit_with(1, 1)[0];
    c.save();
    c.lose_order(1, Some("the page is damaged"));
    c.expect_ending(task, Some("failed"));
}

#[test]
fn the_slot_of_a_task_that_was_cancelled_before_its_order_was_sent_is_free() {
    let mut c = World::with_workers(1);
    let tasks = c.submitted(3);
    let worker = c.worker(1).unwrap();
    let (_, process) = c.containers.get_mut(&worker).unwrap();
    let (link, (task, (attempt, ..))) = (process.link.unwrap(), process.running.pop_first().unwrap());
    c.cancel(vec![task], Cancellable::Open);
    c.expect_running(1, &tasks[1..2]);
    c.tell(Input::OrderLost { link, task, attempt });
    c.expect_running(1, &tasks[1..]);
}
