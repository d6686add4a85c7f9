//! Tasks that wait for a time, and tasks that do the work of others again.

use clb_core::output::Change;
use clb_protocol::api::{TaskState, VerdictKind};
use clb_protocol::task::{Changes, NewTask, Retry, RetryOn};
use clb_protocol::{OutcomeSeq, SubmissionSeq, TaskId};

use super::fixture::{
    accept, accepted, at, cancelled, commit, lead, lost, new_task, open_tasks, started, succeeded, verdict,
};
use crate::{Existing, Store, TaskFilter};

pub(crate) fn a_time_and_rests_survive_a_restart<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let mut task = new_task(TaskId::now());
    task.not_before = Some(at(500));
    task.spec.retry =
        Some(Retry { on: RetryOn::Loss, delay: Some(2.5), factor: 3.0, max_delay: 60.0, jitter: 0.1 });
    commit(&store, epoch, vec![accepted(1, task.clone()), accepted(2, new_task(TaskId::now()))]).unwrap();
    drop(store);
    let store = open();
    let [restored, plain] = open_tasks(&store, epoch).try_into().unwrap();
    assert_eq!((restored.not_before, restored.submitted_at), (Some(at(500)), at(1)));
    assert_eq!(restored.retry, task.spec.retry);
    assert_eq!((plain.not_before, plain.retry, plain.rests_since), (None, None, None));
    let view = store.task(task.id).unwrap().unwrap();
    assert_eq!(view.not_before, Some(at(500)));
    assert_eq!(view.spec.get(), serde_json::to_string(&task.spec).unwrap());
    assert_eq!(store.existing(&[&task]).unwrap(), [Some(Existing::Same(task.id))]);
}

pub(crate) fn a_rest_begins_with_the_end_of_an_attempt_that_costs<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 4);
    let failed = || Some(verdict(VerdictKind::Failed));
    let changes = vec![
        started(ids[0], 1),
        lost(ids[0], 1, failed(), true),
        started(ids[1], 1),
        lost(ids[1], 1, failed(), true),
        started(ids[1], 2),
        lost(ids[1], 2, failed(), false),
        started(ids[2], 1),
        lost(ids[2], 1, None, true),
        started(ids[3], 1),
        lost(ids[3], 1, failed(), true),
        started(ids[3], 2),
    ];
    commit(&store, epoch, changes).unwrap();
    let tasks = open_tasks(&store, epoch);
    let since: Vec<_> = tasks.iter().map(|task| task.rests_since).collect();
    assert_eq!(since, [Some(at(101)), None, Some(at(101)), None]);
}

fn replay(of: TaskId) -> NewTask {
    NewTask { replay_of: Some(of), ..new_task(TaskId::now()) }
}

pub(crate) fn a_task_is_replayed_once_and_a_replay_again<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let original = accept(&store, epoch, 1)[0];
    let (first, second) = (replay(original), replay(original));
    let changes = vec![
        succeeded(1, original, 1),
        accepted(2, first.clone()),
        accepted(3, second.clone()),
        cancelled(2, second.id),
    ];
    for _ in 0..2 {
        assert_eq!(commit(&store, epoch, changes.clone()).unwrap().duplicates, [second.id]);
    }
    let third = replay(original);
    assert_eq!(commit(&store, epoch, vec![accepted(3, third.clone())]).unwrap().duplicates, [third.id]);
    let again = replay(first.id);
    assert_eq!(commit(&store, epoch, vec![accepted(3, again.clone())]).unwrap().duplicates, []);
    let of = |id| store.task(id).unwrap().unwrap().replay_of;
    assert_eq!((of(original), of(first.id), of(again.id)), (None, Some(original), Some(first.id)));
    assert!(store.task(second.id).unwrap().is_none());
    assert_eq!(store.restore(epoch).unwrap().cluster.last_submission, SubmissionSeq(3));
}

pub(crate) fn a_replay_stands_for_its_original<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let mut ids = accept(&store, epoch, 2);
    let (first, second) = (replay(ids[0]), NewTask { group: Some("g".into()), ..new_task(TaskId::now()) });
    let third = replay(first.id);
    let changes = vec![
        cancelled(1, ids[0]),
        cancelled(2, ids[1]),
        accepted(3, first.clone()),
        cancelled(3, first.id),
        accepted(4, second.clone()),
        accepted(5, third.clone()),
    ];
    commit(&store, epoch, changes).unwrap();
    ids.extend([first.id, second.id, third.id]);
    let replayed_by = |id: &TaskId| store.task(*id).unwrap().unwrap().replayed_by;
    assert_eq!(
        ids.iter().map(replayed_by).collect::<Vec<_>>(),
        [Some(first.id), None, Some(third.id), None, None]
    );
    let outcomes = store.outcomes(OutcomeSeq(0), None, 10).unwrap().outcomes;
    let replays: Vec<_> = outcomes.iter().map(|outcome| outcome.task.replayed_by).collect();
    assert_eq!(replays, [Some(first.id), None, Some(third.id)]);
    let listed = |is_replayed, state| {
        let filter = TaskFilter { state, is_replayed, ..TaskFilter::default() };
        let names = store.ids(&filter, None, 10).unwrap().ids;
        let views = store.tasks(&filter, None, 10).unwrap().tasks;
        assert_eq!(views.iter().map(|view| view.id).collect::<Vec<_>>(), names);
        names
    };
    assert_eq!(listed(Some(true), None), [first.id, ids[0]]);
    assert_eq!(listed(Some(false), None), [third.id, second.id, ids[1]]);
    assert_eq!(listed(Some(false), Some(TaskState::Cancelled)), [ids[1]]);
    assert_eq!(listed(Some(false), Some(TaskState::Queued)), [third.id, second.id]);
}

pub(crate) fn a_replay_is_made_of_what_its_original_was<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let mut task = new_task(TaskId::now());
    task.spec.retry = Some(Retry { delay: Some(1.0), ..Retry::default() });
    task.group = Some("nightly".into());
    task.labels.insert("a".into(), "b".into());
    task.not_before = Some(at(5));
    task.idempotency_key = Some("order 7".into());
    let other = accept(&store, epoch, 1)[0];
    let copy = replay(task.id);
    let changes: Vec<Change> =
        vec![accepted(2, task.clone()), cancelled(1, task.id), accepted(3, copy.clone())];
    commit(&store, epoch, changes).unwrap();
    let [first, second] = store.originals(&[task.id, TaskId::now(), other]).unwrap().try_into().unwrap();
    assert_eq!((first.has_ended, first.replay), (true, Some(copy.id)));
    assert_eq!((second.id, second.has_ended, second.replay), (other, false, None));
    let fresh = TaskId::now();
    let (replay_of, idempotency_key, not_before) = (Some(task.id), None, None);
    let expected = NewTask { id: fresh, replay_of, idempotency_key, not_before, ..task };
    assert_eq!(first.again(fresh, &Changes::default()), Ok(expected));
}
