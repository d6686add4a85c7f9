//! What is submitted, drawn from the seed: the nth submission is the same in every run, whatever happens before.

use std::time::Duration;

use clb_protocol::Timestamp;
use clb_protocol::task::{Argv, Command, Number, RetryOn, RetryRequest, TaskRequest, Work};
use clb_tests::dice::Dice;

use super::names::{Space, task_id};
use crate::checker::{End, Expected};

/// The pool whose workers have programs.
pub(crate) const PROGRAMS: &str = "programs";
const SUBJECT: u64 = 0x776f_726b;
const MOST_OF_A_BATCH: u64 = 40;
/// A number of a submission leaves so many bits for its tasks.
const BITS: u32 = 8;

/// A task to be sent, and what must become of it.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) request: TaskRequest,
    pub(crate) expected: Expected,
}

/// What is done with them.
#[derive(Clone, Debug)]
pub(crate) enum Submission {
    /// One, by its id, and once more though it was acknowledged.
    Single { task: Planned, again: bool, cancel_after: Option<Duration> },
    /// One, by a key instead of an id, several times.
    Keyed { task: Planned, key: String, times: u64 },
    /// Many in one request.
    Batch { tasks: Vec<Planned>, as_lines: bool },
    /// Many that take for ever, and are then cancelled by their group.
    Doomed { tasks: Vec<Planned>, group: String },
    /// One that fails, and is replayed twice.
    Replayed { task: Planned },
}

/// The submission with this number.
pub(crate) fn draw(seed: u64, began_ms: u64, number: u64) -> Submission {
    let mut dice = Dice::about(seed, SUBJECT, number);
    let id = |place: u64| task_id(began_ms, Space::Stream, (number << BITS) + place);
    let planned = |dice: &mut Dice, place: u64| {
        let mut task = task(dice, i64::try_from(number).unwrap_or(0));
        task.request.id = Some(id(place));
        task
    };
    match dice.roll(20) {
        0..13 => {
            let task = planned(&mut dice, 0);
            let cancel_after = dice.once_in(8).then(|| dice.millis(0, 1_500));
            Submission::Single { task, again: dice.once_in(5), cancel_after }
        }
        13..15 => {
            let task = planned(&mut dice, 0);
            Submission::Keyed { task, key: format!("key-{number}"), times: 2 + dice.roll(2) }
        }
        15..18 => {
            let count = 2 + dice.roll(MOST_OF_A_BATCH - 1);
            let tasks = (0..count).map(|place| planned(&mut dice, place)).collect();
            Submission::Batch { tasks, as_lines: dice.once_in(2) }
        }
        18 => {
            let (group, count) = (format!("doomed-{number}"), 1 + dice.roll(4));
            let mut tasks: Vec<Planned> = (0..count).map(|place| doomed(id(place))).collect();
            for task in &mut tasks {
                task.request.group = Some(group.clone());
            }
            Submission::Doomed { tasks, group }
        }
        _ => {
            let mut task = exits(1);
            task.request.id = Some(id(0));
            Submission::Replayed { task }
        }
    }
}

fn doomed(id: clb_protocol::TaskId) -> Planned {
    let mut task = planned(Work::sleep(3_600.0, [Number::Integer(0); 2]), End::Cancelled, 100);
    task.request.id = Some(id);
    task
}

fn task(dice: &mut Dice, number: i64) -> Planned {
    let mut task = match dice.roll(12) {
        0..5 => timed(dice, number),
        5..8 => prints(&format!("task {number}")),
        8 => exits(1 + dice.roll(2) as u32),
        9 => outruns_its_time(),
        10 => once(dice),
        _ => succeeds_at_last(),
    };
    let request = &mut task.request;
    request.priority = dice.once_in(3).then(|| dice.roll(201) as i64 - 100);
    request.group = Some(format!("group-{}", dice.roll(8)));
    if dice.once_in(10) {
        let not_before = Timestamp::now() + dice.millis(200, 4_000);
        request.not_before = Some(not_before);
        task.expected.not_before = Some(not_before);
    }
    task
}

/// Waits or burns a core, and adds.
fn timed(dice: &mut Dice, number: i64) -> Planned {
    let add = [number, dice.roll(1_000) as i64];
    let work = match dice.roll(5) {
        0 => Work::spin(dice.roll(150) as f64 / 1_000.0, add.map(Number::Integer)),
        1 => Work::sleep(0.0, add.map(Number::Integer)),
        _ => Work::sleep(dice.roll(1_500) as f64 / 1_000.0, add.map(Number::Integer)),
    };
    planned(work, End::Sum(add[0] + add[1]), 100)
}

fn prints(line: &str) -> Planned {
    program(&["say", line], End::Prints(format!("{line}\n")), 100)
}

fn exits(max_attempts: u32) -> Planned {
    program(&["say", "about to fail", "exit", "3"], End::Fails, max_attempts)
}

fn outruns_its_time() -> Planned {
    let mut task = program(&["say", "begun", "wait"], End::Fails, 1);
    task.request.timeout = Some(0.5);
    task
}

/// At most one attempt may count.
fn once(dice: &mut Dice) -> Planned {
    let mut task = program(&["say", "once"], End::Any, 1);
    let on = dice.once_in(2).then_some(RetryOn::Loss);
    task.request.retry = Some(RetryRequest { on, ..RetryRequest::default() });
    task
}

/// Fails at first. One that was lost meanwhile may fail for good.
fn succeeds_at_last() -> Planned {
    program(&["succeed-in", "2", "say", "at last"], End::Any, 4)
}

fn program(steps: &[&str], end: End, max_attempts: u32) -> Planned {
    let words = ["steps"].iter().chain(steps).copied();
    let mut task = planned(Work::Command(Command::new(Argv::new("/fixture", words))), end, max_attempts);
    task.request.pool = Some(PROGRAMS.to_owned());
    task
}

/// Rests are short, so that what is wrong shows soon.
fn planned(work: Work, end: End, max_attempts: u32) -> Planned {
    let mut request = TaskRequest::new(work);
    request.max_attempts = Some(i64::from(max_attempts));
    request.retry = Some(RetryRequest { delay: Some(0.05), max_delay: Some(1.0), ..RetryRequest::default() });
    Planned { request, expected: Expected { end, max_attempts, not_before: None } }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn tasks(submission: Submission) -> Vec<Planned> {
        match submission {
            Submission::Batch { tasks, .. } | Submission::Doomed { tasks, .. } => tasks,
            Submission::Single { task, .. }
            | Submission::Keyed { task, .. }
            | Submission::Replayed { task } => vec![task],
        }
    }

    #[test]
    fn the_same_seed_submits_the_same() {
        let words = |seed| -> Vec<String> {
            let all = (0..200).flat_map(|number| tasks(draw(seed, 1, number)));
            // Points in time are the clock's.
            all.map(|task| format!("{:?}{:?}{:?}", task.request.work, task.request.id, task.expected.end))
                .collect()
        };
        assert_eq!(words(1), words(1));
        assert_ne!(words(1), words(2));
    }

    #[test]
    fn every_request_is_a_good_one_and_has_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        for task in (0..2_000).flat_map(|number| tasks(draw(3, 1, number))) {
            let id = task.request.id.unwrap();
            assert!(names.insert(id), "{id} comes twice");
            task.request.check(id, None, Timestamp::now()).unwrap();
        }
    }
}
