//! Tasks from their acceptance to their one outcome.

use clb_core::output::Change;
use clb_protocol::api::{TaskState, VerdictKind};
use clb_protocol::task::Retry;
use clb_protocol::{AttemptNo, Epoch, Generation, OutcomeSeq, SlotNo, SubmissionSeq, TaskId};

use super::fixture::{
    accept, accepted, at, cancelled, commit, kept, lead, lost, new_task, open_tasks, started, succeeded,
    verdict, worker,
};
use crate::{Existing, Store, StoreError};

pub(crate) fn a_restart_keeps_everything<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 4);
    let filled = |generation| Change::SlotFilled {
        pool: "default".into(),
        slot: SlotNo(2),
        generation: Generation(generation),
    };
    let changes = vec![
        filled(4),
        filled(3),
        started(ids[0], 1),
        started(ids[1], 1),
        succeeded(1, ids[1], 1),
        cancelled(2, ids[2]),
    ];
    commit(&store, epoch, changes).unwrap();
    drop(store);
    let store = open();
    let restored = store.restore(epoch).unwrap().cluster;
    assert_eq!((restored.last_submission, restored.last_outcome), (SubmissionSeq(4), OutcomeSeq(2)));
    assert_eq!(restored.ended, [1, 0, 1]);
    assert_eq!(restored.generations, [("default".into(), SlotNo(2), Generation(4))]);
    let [running, queued] = open_tasks(&store, epoch).try_into().unwrap();
    assert_eq!((running.id, queued.id), (ids[0], ids[3]));
    assert_eq!((queued.seq, queued.priority, queued.max_attempts), (SubmissionSeq(4), -5, 3));
    assert_eq!((queued.timeout_seconds, queued.last_attempt), (3600.0, AttemptNo(0)));
    assert!(queued.open.is_none() && queued.unjudged.is_empty());
    let open = running.open.unwrap();
    assert_eq!((open.attempt, open.worker, open.started_at), (AttemptNo(1), worker(2), at(100)));
}

pub(crate) fn a_task_moves_from_queued_to_running_to_succeeded<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    assert!(store.task(TaskId::now()).unwrap().is_none());
    let mut task = new_task(TaskId::now());
    task.group = Some("nightly".into());
    task.labels.insert("a.b".into(), "\"c\"".into());
    commit(&store, epoch, vec![accepted(1, task.clone())]).unwrap();
    let view = store.task(task.id).unwrap().unwrap();
    assert_eq!((view.state, view.submitted_at, view.started_at), (TaskState::Queued, at(1), None));
    assert_eq!((view.pool.as_str(), view.group.as_deref()), ("default", Some("nightly")));
    assert_eq!((view.labels, view.priority, view.kind), (task.labels, -5, task.spec.work.kind()));
    assert_eq!(view.spec.get(), serde_json::to_string(&task.spec).unwrap());

    commit(&store, epoch, vec![started(task.id, 1), lost(task.id, 1, None, true)]).unwrap();
    assert_eq!(store.task(task.id).unwrap().unwrap().state, TaskState::Queued);
    commit(&store, epoch, vec![started(task.id, 2)]).unwrap();
    let view = store.task(task.id).unwrap().unwrap();
    assert_eq!((view.state, view.attempt), (TaskState::Running, Some(AttemptNo(2))));
    assert_eq!((view.worker.as_deref(), view.started_at), (Some("worker-2"), Some(at(100))));

    commit(&store, epoch, vec![succeeded(1, task.id, 2)]).unwrap();
    let view = store.task(task.id).unwrap().unwrap();
    assert_eq!((view.state, view.finished_at), (TaskState::Succeeded, Some(at(200))));
    assert_eq!(view.result.unwrap().get(), r#"{"sum":7}"#);
    assert_eq!(view.attempts.len(), 2);
    assert_eq!((view.attempts[0].ended_at, &view.attempts[0].verdict), (Some(at(101)), &None));
    assert_eq!(view.attempts[1].ended_at, Some(at(200)));
    assert_eq!(view.attempts[1].verdict, Some(verdict(VerdictKind::Succeeded)));
}

pub(crate) fn a_known_id_is_skipped_with_all_its_changes<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let known = accept(&store, epoch, 1)[0];
    let fresh = TaskId::now();
    let changes = vec![
        accepted(2, new_task(known)),
        accepted(3, new_task(fresh)),
        started(known, 1),
        succeeded(1, known, 1),
        succeeded(2, fresh, 1),
    ];
    assert_eq!(commit(&store, epoch, changes).unwrap().duplicates, [known]);
    let view = store.task(known).unwrap().unwrap();
    assert_eq!((view.state, view.submitted_at, view.attempts.len()), (TaskState::Queued, at(1), 0));
    assert_eq!(store.task(fresh).unwrap().unwrap().state, TaskState::Succeeded);
    assert_eq!(store.restore(epoch).unwrap().cluster.ended, [1, 0, 0]);
}

pub(crate) fn a_known_idempotency_key_is_skipped<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let mut first = new_task(TaskId::now());
    first.idempotency_key = Some("order 7".into());
    let again = clb_protocol::task::NewTask { id: TaskId::now(), ..first.clone() };
    commit(&store, epoch, vec![accepted(1, first.clone())]).unwrap();
    assert_eq!(store.existing(&[&again]).unwrap(), [Some(Existing::Same(first.id))]);
    let duplicates = commit(&store, epoch, vec![accepted(2, again.clone())]).unwrap().duplicates;
    assert_eq!(duplicates, [again.id]);
    assert!(store.task(again.id).unwrap().is_none());
}

pub(crate) fn a_task_ends_only_once<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 1);
    commit(&store, epoch, vec![succeeded(1, ids[0], 1)]).unwrap();
    let again = commit(&store, epoch, vec![cancelled(2, ids[0])]);
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    let unknown = commit(&store, epoch, vec![cancelled(2, TaskId::now())]);
    assert!(matches!(unknown, Err(StoreError::Conflict { .. })), "{unknown:?}");
    assert_eq!(store.task(ids[0]).unwrap().unwrap().state, TaskState::Succeeded);
    assert_eq!(store.outcomes(OutcomeSeq(0), None, 10).unwrap().outcomes.len(), 1);
}

pub(crate) fn what_is_said_of_a_task_that_nobody_knows_is_let_go<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let verdict = clb_protocol::api::Verdict::new(VerdictKind::Superseded, "late");
    let (task, attempt) = (TaskId::now(), AttemptNo(1));
    let result = serde_json::value::to_raw_value("written").unwrap();
    let late = vec![
        Change::AttemptJudged { task, attempt, verdict, costs: false },
        Change::CancelledOutputKept { task, attempt, result },
    ];
    commit(&store, epoch, late).unwrap();
    assert!(store.task(task).unwrap().is_none());
}

pub(crate) fn a_batch_is_stored_whole_or_not_at_all<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let id = TaskId::now();
    let spoilt = vec![accepted(1, new_task(id)), cancelled(1, TaskId::now())];
    assert!(commit(&store, epoch, spoilt).is_err());
    assert!(store.task(id).unwrap().is_none());
    assert!(commit(&store, epoch, vec![started(id, 1)]).is_err());
    assert!(commit(&store, epoch, vec![accepted(1, new_task(id)), started(id, 1)]).is_ok());
}

pub(crate) fn a_batch_that_was_stored_can_be_committed_again<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 1);
    let fresh = [TaskId::now(), TaskId::now()];
    let changes = vec![
        accepted(2, new_task(fresh[0])),
        accepted(3, new_task(fresh[1])),
        started(ids[0], 1),
        started(fresh[0], 1),
        succeeded(1, ids[0], 1),
        succeeded(2, fresh[0], 1),
        started(fresh[1], 1),
        lost(fresh[1], 1, None, true),
    ];
    for _ in 0..2 {
        assert_eq!(commit(&store, epoch, changes.clone()).unwrap().duplicates, []);
        assert_eq!(store.restore(epoch).unwrap().cluster.ended, [2, 0, 0]);
        let [task] = open_tasks(&store, epoch).try_into().unwrap();
        assert_eq!((task.spent, task.unjudged.len()), (1, 1));
    }
}

pub(crate) fn only_attempts_that_cost_are_spent<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let id = accept(&store, epoch, 1)[0];
    let judged = |attempt, costs| Change::AttemptJudged {
        task: id,
        attempt: AttemptNo(attempt),
        verdict: verdict(VerdictKind::Stopped),
        costs,
    };
    let changes = vec![
        started(id, 1),
        lost(id, 1, Some(verdict(VerdictKind::Failed)), true),
        started(id, 2),
        lost(id, 2, Some(verdict(VerdictKind::Drained)), false),
        started(id, 3),
        lost(id, 3, None, true),
        judged(3, false),
        started(id, 4),
        lost(id, 4, None, true),
    ];
    commit(&store, epoch, changes).unwrap();
    let task = open_tasks(&store, epoch).pop().unwrap();
    assert_eq!((task.spent, task.last_attempt, task.open), (2, AttemptNo(4), None));
    let unjudged: Vec<AttemptNo> = task.unjudged.iter().map(|lost| lost.attempt).collect();
    assert_eq!(unjudged, [AttemptNo(4)]);
}

pub(crate) fn an_attempt_taken_for_lost_goes_on<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 2);
    let lost_both: Vec<Change> =
        ids.iter().flat_map(|id| [started(*id, 1), lost(*id, 1, None, true)]).collect();
    commit(&store, epoch, lost_both).unwrap();
    commit(&store, epoch, vec![started(ids[0], 1), started(ids[1], 1), succeeded(1, ids[1], 1)]).unwrap();
    let task = open_tasks(&store, epoch).pop().unwrap();
    assert_eq!((task.id, task.spent, task.unjudged.len()), (ids[0], 0, 0));
    assert_eq!(task.open.unwrap().epoch, Epoch(1));
    let ended = store.task(ids[1]).unwrap().unwrap();
    assert_eq!((ended.attempts.len(), ended.attempts[0].ended_at), (1, Some(at(200))));
}

pub(crate) fn a_verdict_on_record_stays<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let id = accept(&store, epoch, 1)[0];
    let judged = |kind| Change::AttemptJudged {
        task: id,
        attempt: AttemptNo(1),
        verdict: verdict(kind),
        costs: false,
    };
    commit(&store, epoch, vec![started(id, 1), lost(id, 1, Some(verdict(VerdictKind::Oom)), true)]).unwrap();
    commit(&store, epoch, vec![judged(VerdictKind::Killed), started(id, 1)]).unwrap();
    let view = store.task(id).unwrap().unwrap();
    assert_eq!(view.attempts[0].verdict, Some(verdict(VerdictKind::Oom)));
    assert_eq!(open_tasks(&store, epoch)[0].spent, 1);
}

pub(crate) fn what_is_stored_is_compared_with_what_is_submitted<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let mut stored = new_task(TaskId::now());
    stored.labels.insert("k".into(), "v".into());
    commit(&store, epoch, vec![accepted(1, stored.clone())]).unwrap();
    let changed = |change: fn(&mut clb_protocol::task::NewTask)| {
        let mut task = stored.clone();
        change(&mut task);
        task
    };
    let submitted = [
        stored.clone(),
        new_task(TaskId::now()),
        changed(|task| task.spec.timeout = 2.0),
        changed(|task| task.priority = 1),
        changed(|task| task.pool = "gpu".into()),
        changed(|task| task.group = Some("g".into())),
        changed(|task| task.labels.clear()),
        changed(|task| task.spec.retry = Some(Retry { delay: Some(1.0), ..Retry::default() })),
        changed(|task| task.not_before = Some(at(1))),
        changed(|task| task.idempotency_key = Some("unknown".into())),
    ];
    let same = Some(Existing::Same(stored.id));
    let different = |field: &str| Some(Existing::Different { id: stored.id, fields: vec![field.to_owned()] });
    let mut expected = vec![same.clone(), None];
    let fields = ["timeout", "priority", "pool", "group", "labels", "retry", "not_before"];
    expected.extend(fields.map(different));
    expected.push(same);
    assert_eq!(store.existing(&submitted.iter().collect::<Vec<_>>()).unwrap(), expected);
}

pub(crate) fn specs_come_by_id<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 1);
    let grouped = clb_protocol::task::NewTask { group: Some("nightly".into()), ..new_task(TaskId::now()) };
    commit(&store, epoch, vec![accepted(2, grouped.clone())]).unwrap();
    let ids = [ids[0], grouped.id];
    let specs = store.specs(&[ids[1], TaskId::now(), ids[0]]).unwrap();
    assert_eq!(specs.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [ids[1], ids[0]]);
    assert_eq!(specs[0].1.spec.get(), serde_json::to_string(&new_task(ids[1]).spec).unwrap());
    assert_eq!(specs[0].1.group.as_deref(), Some("nightly"));
    assert_eq!(specs[1].1.group, None);
}

pub(crate) fn a_cancelled_task_keeps_the_output_of_its_last_attempt_once<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 2);
    let early =
        vec![started(ids[0], 1), lost(ids[0], 1, None, true), started(ids[0], 2), cancelled(1, ids[0])];
    commit(&store, epoch, early).unwrap();
    commit(&store, epoch, vec![kept(ids[0], 1, "1")]).unwrap();
    assert!(store.task(ids[0]).unwrap().unwrap().result.is_none(), "a former attempt's");
    commit(&store, epoch, vec![kept(ids[0], 2, "2")]).unwrap();
    commit(&store, epoch, vec![kept(ids[0], 2, "3")]).unwrap();
    let page = store.outcomes(OutcomeSeq(0), None, 10).unwrap();
    assert_eq!((page.outcomes.len(), page.outcomes[0].seq), (1, OutcomeSeq(1)));
    let task = &page.outcomes[0].task;
    assert_eq!((task.state, task.result.as_ref().unwrap().get()), (TaskState::Cancelled, "2"));

    commit(&store, epoch, vec![started(ids[1], 1), succeeded(2, ids[1], 1), kept(ids[1], 1, "4")]).unwrap();
    assert_eq!(store.task(ids[1]).unwrap().unwrap().result.unwrap().get(), r#"{"sum":7}"#);
}
