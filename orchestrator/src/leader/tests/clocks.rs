//! The clock on the wall is set while a leader leads.

use clb_protocol::task::Retry;

use super::*;
use crate::clock::step;

const HOURS: i64 = 2 * 3_600;

#[tokio::test]
async fn what_runs_goes_on_however_the_clock_is_set() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let (id, attempt) = worker.begin_one().await;
    for seconds in [HOURS, -2 * HOURS] {
        step(seconds);
        // Between two pings everything that runs is held against its timeout.
        worker.beat(2).await;
    }
    let gave = Yield::Succeeded(to_raw_value("done").unwrap());
    worker.give(id, attempt, bench.epoch, gave);
    bench.handle.ended(id).await.unwrap();
    let stored = bench.store.task(id).unwrap().unwrap();
    assert_eq!((stored.state, stored.attempts.len()), (TaskState::Succeeded, 1));
}

#[tokio::test]
async fn a_rest_is_as_long_as_it_was_meant_though_the_clock_is_set_back() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let mut new = task();
    new.spec.retry = Some(Retry { delay: Some(0.5), ..Retry::default() });
    bench.handle.submit(vec![new]).await.unwrap();
    let (id, attempt) = worker.begin_one().await;
    worker.give(id, attempt, bench.epoch, Yield::failed("no"));
    assert!(matches!(worker.hear().await, WorkerOrder::Ack(_)));
    step(-HOURS);
    assert_eq!(worker.begin_one().await, (id, attempt.next()));
}

#[tokio::test]
async fn a_task_that_was_put_off_is_due_once_the_clock_is_set_past_its_time() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let mut new = task();
    new.not_before = Some(clock::now().at + Duration::from_hours(1));
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    assert_eq!(bench.handle.show().await.unwrap().tasks.queued, 1);
    step(HOURS);
    assert_eq!(worker.begin_one().await.0, new.id);
}
