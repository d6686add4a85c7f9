//! Tasks that are shown from memory: the store says the same of them.

use futures::poll;
use std::pin::pin;

use super::*;

/// Ends a task while somebody waits for it, and gives what that caller is told.
macro_rules! told {
    ($bench:ident, $id:expr, $end:expr) => {{
        let mut waiting = pin!($bench.handle.ended($id));
        assert!(poll!(&mut waiting).is_pending());
        $end;
        timeout(PATIENCE, waiting).await.unwrap().unwrap()
    }};
}

fn as_stored(bench: &Bench, told: Option<Box<clb_protocol::api::TaskView>>, state: TaskState) {
    let told = told.expect("it is at hand");
    let stored = bench.store.task(told.id).unwrap().unwrap();
    assert_eq!(stored.state, state);
    assert_eq!(serde_json::to_value(told).unwrap(), serde_json::to_value(stored).unwrap());
}

#[tokio::test]
async fn a_task_with_a_short_story_is_told_from_memory_as_it_is_stored() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let mut new = task();
    new.spec.max_attempts = 1;
    new.group = Some("night".to_owned());
    new.labels.insert("step".to_owned(), "one".to_owned());
    let result = || to_raw_value(&BTreeMap::from([("sum", 7)])).unwrap();

    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let (id, attempt) = worker.begin_one().await;
    let ended = told!(bench, id, worker.give(id, attempt, bench.epoch, Yield::Succeeded(result())));
    as_stored(&bench, ended, TaskState::Succeeded);

    new.id = TaskId::now();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    assert!(matches!(worker.hear().await, WorkerOrder::Ack(_)));
    let (id, attempt) = worker.begin_one().await;
    let ended = told!(bench, id, worker.give(id, attempt, bench.epoch, Yield::failed("no")));
    as_stored(&bench, ended, TaskState::Failed);

    new.id = TaskId::now();
    new.not_before = Some(Timestamp(Timestamp::now().0 + 60_000_000));
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let cancel = || bench.handle.cancel(vec![new.id], Cancellable::Open);
    let ended = told!(bench, new.id, cancel().await.unwrap().unwrap());
    as_stored(&bench, ended, TaskState::Cancelled);
}

#[tokio::test]
async fn a_task_with_more_attempts_is_left_to_the_store() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let (id, first) = worker.begin_one().await;
    worker.give(id, first, bench.epoch, Yield::failed("no"));
    assert!(matches!(worker.hear().await, WorkerOrder::Run(_) | WorkerOrder::Ack(_)));
    let second = first.next();
    bench.handle.find_from(id, second).await.unwrap();
    let value = to_raw_value(&7).unwrap();
    let ended = told!(bench, id, worker.give(id, second, bench.epoch, Yield::Succeeded(value)));
    assert!(ended.is_none());
    assert_eq!(bench.store.task(id).unwrap().unwrap().attempts.len(), 2);
}
