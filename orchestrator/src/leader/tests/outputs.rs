//! What is told of a task while it runs, and of what it wrote.

use super::*;

#[tokio::test]
async fn who_follows_a_task_hears_of_each_of_its_attempts_and_of_its_end() {
    let mut bench = Bench::start();
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let handle = bench.handle.clone();
    let next = move |attempt| {
        let handle = handle.clone();
        tokio::spawn(
            async move { timeout(PATIENCE, handle.find_from(new.id, AttemptNo(attempt))).await.unwrap() },
        )
    };
    let running =
        |attempt| Some(Whereabouts::Running { attempt: AttemptNo(attempt), worker: "worker-1".to_owned() });
    assert_eq!(bench.handle.find(new.id).await, Some(Whereabouts::Waiting));
    let first = next(1);
    let mut worker = bench.join().await;
    let (id, attempt) = worker.begin_one().await;
    assert_eq!(first.await.unwrap(), running(1));
    let second = next(2);
    worker.give(id, attempt, bench.epoch, Yield::failed("no"));
    assert_eq!(second.await.unwrap(), running(2));
    let third = next(3);
    loop {
        if let WorkerOrder::Run(orders) = worker.hear().await {
            let value = to_raw_value(&7).unwrap();
            worker.give(id, orders[0].attempt, bench.epoch, Yield::Succeeded(value));
            break;
        }
    }
    assert_eq!(third.await.unwrap(), Some(Whereabouts::Ended));
    assert!(bench.store.task(id).unwrap().unwrap().result.is_some());
    bench.handle.tell(Message::StepDown).await;
    bench.end().await;
    assert_eq!(bench.handle.find(id).await, None);
}

#[tokio::test]
async fn progress_is_shown_while_its_attempt_runs_and_told_to_who_listens() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let (id, attempt) = worker.begin_one().await;
    let (feed, mut news) = bench.handle.events();
    let mut cursor = feed.end();
    let told = |attempt, fraction| {
        let progress = Progress { fraction, note: None, at: Timestamp(0) };
        AttemptProgress { task: id, attempt, progress }
    };
    let progress = vec![told(attempt.next(), 0.9), told(attempt, 0.5)];
    worker.report(WorkerReport { progress, ..WorkerReport::default() });
    let mut text = bytes::BytesMut::new();
    while !String::from_utf8_lossy(&text).contains(r#""progress":{"fraction":0.5"#) {
        timeout(PATIENCE, news.changed()).await.unwrap().unwrap();
        feed.read(&mut cursor, Wanted { tasks: true, logs: false }, &mut text);
    }
    assert!(!String::from_utf8_lossy(&text).contains("0.9"), "an attempt that does not run says nothing");
    assert_eq!(feed.board().of(id, Some(attempt)).map(|progress| progress.fraction), Some(0.5));
    worker.give(id, attempt, bench.epoch, Yield::Succeeded(to_raw_value(&7).unwrap()));
    bench.handle.ended(id).await.unwrap();
    assert!(feed.board().of(id, Some(attempt)).is_none());
}

#[tokio::test]
async fn a_command_that_was_cancelled_keeps_what_it_gave_once_its_worker_says_so() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let (id, attempt) = worker.begin_one().await;
    bench.handle.cancel(vec![id], Cancellable::Open).await.unwrap().unwrap();
    let task = bench.store.task(id).unwrap().unwrap();
    assert_eq!((task.state, task.result.is_some()), (TaskState::Cancelled, false));
    worker.give(id, attempt, bench.epoch, Yield::Cancelled(Some(to_raw_value(&7).unwrap())));
    while !matches!(worker.hear().await, WorkerOrder::Ack(_)) {}
    let kept = bench.store.task(id).unwrap().unwrap();
    assert_eq!((kept.state, kept.result.unwrap().get()), (TaskState::Cancelled, "7"));
    assert_eq!(kept.finished_at, task.finished_at);
}
