use clb_protocol::api::{AttemptView, OutcomeView, TaskError, TaskState, TaskView, Verdict, VerdictKind};
use clb_protocol::{AttemptNo, Epoch, MemberName, OutcomeSeq, TaskId, Timestamp};
use clb_tests::sleep;
use serde_json::value::RawValue;

use super::{Checker, End, Expected, Leadership, Violation};

fn seven() -> Expected {
    Expected { end: End::Sum(7), max_attempts: 2, not_before: None }
}

fn task(id: TaskId, state: TaskState) -> TaskView {
    let new = sleep(0.0).check(id, None, Timestamp(0)).unwrap();
    let mut task = TaskView::accepted(&new, Timestamp(0)).unwrap();
    (task.id, task.state, task.finished_at) = (id, state, Some(Timestamp(9)));
    if state == TaskState::Succeeded {
        task.result = Some(RawValue::from_string(r#"{"sum":7}"#.to_owned()).unwrap());
        task.attempts = vec![attempt(1, 1, VerdictKind::Succeeded)];
    } else {
        task.error = Some(TaskError { code: "exit".to_owned(), message: "exit code 1".to_owned() });
    }
    task
}

fn attempt(number: u32, epoch: u64, verdict: VerdictKind) -> AttemptView {
    AttemptView {
        attempt: AttemptNo(number),
        worker: "worker-1".to_owned(),
        epoch: Epoch(epoch),
        started_at: Timestamp(5),
        ended_at: Some(Timestamp(8)),
        verdict: Some(Verdict::new(verdict, "")),
    }
}

fn outcome(seq: u64, task: TaskView) -> OutcomeView {
    OutcomeView { seq: OutcomeSeq(seq), task }
}

/// A history in which one task was sent, acknowledged and has ended.
fn history() -> (Checker, TaskId) {
    let (mut checker, id) = (Checker::default(), TaskId::now());
    checker.sent(id, seven());
    checker.acknowledged(id);
    checker.outcome(&outcome(1, task(id, TaskState::Succeeded)));
    (checker, id)
}

/// What is found when an acknowledged task that is expected to end like that has this outcome.
fn ends(expected: Expected, view: TaskView) -> Vec<Violation> {
    let mut checker = Checker::default();
    checker.sent(view.id, expected);
    checker.acknowledged(view.id);
    checker.outcome(&outcome(1, view));
    checker.violations().to_vec()
}

#[test]
fn a_good_history_has_nothing_against_it() {
    let (mut checker, id) = history();
    checker.sent_by_key("k", seven());
    checker.key_names("k", id);
    checker.key_names("k", id);
    checker.seen_again(&outcome(1, task(id, TaskState::Succeeded)));
    checker.counted_again(1);
    checker.counted_by_cluster(1);
    checker.sent(TaskId::now(), seven());
    checker.close();
    assert_eq!(checker.violations(), []);
    assert_eq!((checker.waiting(), checker.ended(), checker.answers()), (0, 1, 1));
}

#[test]
fn an_acknowledged_task_without_an_outcome_is_lost() {
    let (mut checker, _) = history();
    let lost = TaskId::now();
    checker.sent(lost, seven());
    checker.acknowledged(lost);
    assert_eq!(checker.waiting(), 1);
    checker.close();
    assert_eq!(checker.violations(), [Violation::Lost { task: lost, is_cancelled: false }]);
}

#[test]
fn a_second_outcome_of_a_task_is_found() {
    let (mut checker, id) = history();
    checker.outcome(&outcome(2, task(id, TaskState::Succeeded)));
    assert_eq!(
        checker.violations(),
        [Violation::TwoOutcomes { task: id, seqs: [OutcomeSeq(1), OutcomeSeq(2)] }]
    );
}

#[test]
fn an_outcome_that_changes_vanishes_or_comes_late_is_found() {
    let (mut checker, id) = history();
    let changed = task(id, TaskState::Failed);
    checker.seen_again(&outcome(1, changed));
    checker.seen_again(&outcome(2, task(id, TaskState::Succeeded)));
    checker.counted_again(0);
    checker.counted_by_cluster(2);
    let expected = [
        Violation::Changed { task: id, seq: OutcomeSeq(1) },
        Violation::CameLate { task: id, seq: OutcomeSeq(2) },
        Violation::Vanished { first: 1, again: 0 },
        Violation::Miscounted { recorded: 1, told: 2 },
    ];
    assert_eq!(checker.violations(), expected);
}

#[test]
fn what_a_cancelled_command_wrote_may_come_later_and_no_other_result_may_change() {
    for (state, is_right) in [(TaskState::Cancelled, true), (TaskState::Failed, false)] {
        let (mut checker, id) = (Checker::default(), TaskId::now());
        checker.sent(id, Expected::any());
        checker.cancel_sent(id);
        let mut view = task(id, state);
        checker.outcome(&outcome(1, view.clone()));
        view.result = Some(RawValue::from_string("{}".to_owned()).unwrap());
        checker.seen_again(&outcome(1, view));
        assert_eq!(checker.violations().is_empty(), is_right, "{state:?}");
    }
}

#[test]
fn outcomes_that_are_not_in_order_are_found() {
    let mut checker = Checker::default();
    let ids = [TaskId::now(), TaskId::now()];
    for (id, seq) in ids.into_iter().zip([5, 4]) {
        checker.sent(id, seven());
        checker.outcome(&outcome(seq, task(id, TaskState::Succeeded)));
    }
    let found = Violation::OutOfOrder { task: ids[1], seq: OutcomeSeq(4), last: OutcomeSeq(5) };
    assert_eq!(checker.violations(), [found]);
}

#[test]
fn an_outcome_or_an_answer_that_nobody_asked_for_is_found() {
    let mut checker = Checker::default();
    let id = TaskId::now();
    checker.acknowledged(id);
    checker.outcome(&outcome(1, task(id, TaskState::Succeeded)));
    assert_eq!(checker.violations()[0], Violation::UnknownAcknowledged { task: id });
    assert!(matches!(checker.violations()[1], Violation::WrongOutcome { .. }));
}

#[test]
fn a_wrong_sum_end_or_output_is_found() {
    let id = TaskId::now();
    let is_wrong = |expected: Expected, view: TaskView| {
        matches!(ends(expected, view)[..], [Violation::WrongOutcome { .. }])
    };
    assert!(is_wrong(Expected { end: End::Sum(8), ..seven() }, task(id, TaskState::Succeeded)));
    assert!(is_wrong(seven(), task(id, TaskState::Failed)));
    assert!(is_wrong(seven(), task(id, TaskState::Cancelled)), "nobody cancelled it");
    assert!(is_wrong(Expected { end: End::Fails, ..seven() }, task(id, TaskState::Succeeded)));
    assert!(is_wrong(Expected { end: End::Cancelled, ..seven() }, task(id, TaskState::Succeeded)));
    let prints = Expected { end: End::Prints("x\n".to_owned()), ..seven() };
    let mut printed = task(id, TaskState::Succeeded);
    for (result, is_right) in [
        (r#"{"exit_code":0,"stdout":"x\n","stderr":""}"#, true),
        (r#"{"exit_code":0,"stdout":"x\nx\n","stderr":""}"#, false),
        (r#"{"exit_code":0,"stdout":"x\n","stdout_truncated":{"at":1,"dropped_bytes":1}}"#, false),
    ] {
        printed.result = Some(RawValue::from_string(result.to_owned()).unwrap());
        assert_eq!(ends(prints.clone(), printed.clone()).is_empty(), is_right, "{result}");
    }
}

#[test]
fn attempts_beyond_the_limit_count_and_those_that_were_drained_do_not() {
    let mut view = task(TaskId::now(), TaskState::Succeeded);
    view.attempts = vec![
        attempt(1, 1, VerdictKind::Drained),
        attempt(2, 1, VerdictKind::HostLost),
        attempt(3, 1, VerdictKind::Killed),
        attempt(4, 2, VerdictKind::Succeeded),
    ];
    assert_eq!(ends(seven(), view.clone()), []);
    let once = Expected { max_attempts: 1, ..seven() };
    assert!(matches!(ends(once, view.clone())[..], [Violation::WrongOutcome { .. }]));
    view.attempts[2].verdict = Some(Verdict::new(VerdictKind::Succeeded, ""));
    assert!(matches!(ends(seven(), view)[..], [Violation::WrongOutcome { .. }]), "two succeeded");
}

#[test]
fn attempts_out_of_order_of_an_earlier_term_or_before_their_time_are_found() {
    let mut view = task(TaskId::now(), TaskState::Succeeded);
    let early = Expected { not_before: Some(Timestamp(6)), ..seven() };
    assert!(matches!(ends(early, view.clone())[..], [Violation::WrongOutcome { .. }]));
    for (first, second) in [((1, 3), (2, 2)), ((2, 1), (1, 1))] {
        view.attempts = vec![
            attempt(first.0, first.1, VerdictKind::Killed),
            attempt(second.0, second.1, VerdictKind::Succeeded),
        ];
        assert!(matches!(ends(seven(), view.clone())[..], [Violation::WrongOutcome { .. }]), "{view:?}");
    }
}

#[test]
fn a_cancellation_that_was_answered_must_have_come_true() {
    let mut checker = Checker::default();
    let [open, ended, asked] = [TaskId::now(), TaskId::now(), TaskId::now()];
    for id in [open, ended, asked] {
        checker.sent(id, seven());
        checker.cancel_sent(id);
    }
    checker.outcome(&outcome(1, task(asked, TaskState::Cancelled)));
    checker.outcome(&outcome(2, task(ended, TaskState::Succeeded)));
    assert_eq!(checker.violations(), []);
    checker.cancelled(asked);
    checker.cancelled(ended);
    checker.cancelled(open);
    checker.outcome(&outcome(3, task(open, TaskState::Succeeded)));
    assert_eq!(checker.violations()[0], Violation::NotCancelled { task: ended, state: TaskState::Succeeded });
    assert!(matches!(checker.violations()[1], Violation::WrongOutcome { task, .. } if task == open));
    assert_eq!(checker.violations().len(), 2);
}

#[test]
fn a_key_names_one_task_and_a_task_has_one_replay() {
    let (mut checker, id) = history();
    let [first, second] = [TaskId::now(), TaskId::now()];
    checker.sent_by_key("k", seven());
    checker.key_names("k", id);
    checker.key_names("k", first);
    checker.replayed(id, first);
    checker.replayed(id, first);
    assert_eq!(checker.violations(), [Violation::KeyOfTwo { key: "k".to_owned(), tasks: [id, first] }]);
    checker.replayed(id, second);
    let twice = Violation::ReplayedTwice { original: id, replays: [first, second] };
    assert_eq!(checker.violations().last(), Some(&twice));
}

#[test]
fn a_task_that_was_sent_by_a_key_may_end_before_its_name_is_known() {
    let (mut checker, id) = (Checker::default(), TaskId::now());
    checker.sent_by_key("k", seven());
    let mut view = task(id, TaskState::Succeeded);
    view.labels.insert(super::KEY.to_owned(), "k".to_owned());
    checker.outcome(&outcome(1, view.clone()));
    checker.key_names("k", id);
    checker.acknowledged(id);
    assert_eq!(checker.violations(), []);
    view.id = TaskId::now();
    checker.outcome(&outcome(2, view));
    assert!(matches!(checker.violations()[0], Violation::KeyOfTwo { .. }), "{:?}", checker.violations());
}

#[test]
fn a_replay_whose_answer_was_lost_may_end_once() {
    let (mut checker, id) = history();
    let mut replay = task(TaskId::now(), TaskState::Succeeded);
    replay.replay_of = Some(id);
    checker.outcome(&outcome(2, replay.clone()));
    assert_eq!(checker.violations(), []);
    replay.id = TaskId::now();
    checker.outcome(&outcome(3, replay));
    assert_eq!(checker.violations().len(), 1);
}

#[test]
fn a_falling_epoch_and_a_second_leader_of_one_are_found() {
    let [one, two] = ["orchestrator-1", "orchestrator-2"].map(MemberName::from);
    let mut leadership = Leadership::default();
    for (door, epoch, leader) in [("a", 1, &one), ("b", 2, &two), ("a", 1, &one), ("a", 2, &two)] {
        assert_eq!(leadership.told(door, Epoch(epoch), leader), None, "one that was frozen may know less");
    }
    assert_eq!(leadership.epoch(), Some(Epoch(2)));
    let fell = Violation::EpochFell { door: "a".to_owned(), before: Epoch(2), now: Epoch(1) };
    assert_eq!(leadership.told("a", Epoch(1), &one), Some(fell));
    let both = Violation::TwoLeaders { epoch: Epoch(2), leaders: [two, one.clone()] };
    assert_eq!(leadership.told("b", Epoch(2), &one), Some(both));
}
