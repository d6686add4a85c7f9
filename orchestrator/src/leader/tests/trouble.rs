//! A store that takes nothing, or cannot be read.

use tokio::sync::oneshot;

use super::*;
use crate::leader::Refused;
use crate::leader::inbox::Submission;

/// A task whose spec the leader does not keep: it is read from the store when its turn comes.
fn put_off() -> NewTask {
    NewTask { not_before: Some(Timestamp::now() + Duration::from_millis(50)), ..task() }
}

async fn next_run(worker: &mut Played) -> (TaskId, AttemptNo) {
    loop {
        if let WorkerOrder::Run(orders) = worker.hear().await {
            return (orders[0].task, orders[0].attempt);
        }
    }
}

#[tokio::test]
async fn a_task_that_cannot_be_read_for_a_while_runs_once_it_can_be() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let (store, away) = (bench.folder.path().join("clb.db"), bench.folder.path().join("away.db"));
    std::fs::rename(&store, &away).unwrap();
    let new = NewTask { spec: TaskSpec { max_attempts: 1, ..task().spec }, ..put_off() };
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    // Its first order was given up.
    bench.handle.find_from(new.id, AttemptNo(2)).await.unwrap();
    std::fs::rename(&away, &store).unwrap();
    let (id, attempt) = next_run(&mut worker).await;
    assert!(id == new.id && attempt > AttemptNo(1));
    worker.give(id, attempt, bench.epoch, Yield::Succeeded(to_raw_value(&7).unwrap()));
    bench.handle.ended(new.id).await.unwrap();
    let stored = bench.store.task(new.id).unwrap().unwrap();
    assert_eq!(stored.state, TaskState::Succeeded, "what was not sent cost nothing");
}

#[tokio::test]
async fn a_task_that_is_damaged_fails_and_the_others_run() {
    let mut bench = Bench::start();
    let (bad, good) = (put_off(), put_off());
    bench.handle.submit(vec![bad.clone(), good.clone()]).await.unwrap();
    bench.store.spoil_spec(bad.id);
    let mut worker = bench.join().await;
    assert_eq!(next_run(&mut worker).await, (good.id, AttemptNo(1)));
    bench.handle.ended(bad.id).await.unwrap();
    let counts = bench.handle.show().await.unwrap().tasks;
    assert_eq!((counts.failed, counts.running, counts.queued), (1, 1, 0));
}

#[tokio::test]
async fn nobody_waits_for_a_cancellation_while_the_store_takes_nothing() {
    let bench = Bench::start();
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let (locked, is_locked) = oneshot::channel();
    let (free, until_free) = std::sync::mpsc::channel::<()>();
    let other = SqliteStore::open(&bench.folder.path().join("clb.db")).unwrap();
    let holder = std::thread::spawn(move || {
        other.hold_the_lock(|| {
            locked.send(()).unwrap();
            until_free.recv().unwrap();
        });
    });
    is_locked.await.unwrap();
    // The first is on its way to the disk when the trouble begins, the second comes later.
    for _ in 0..2 {
        let answer = timeout(PATIENCE, bench.handle.cancel(vec![new.id], Cancellable::Open)).await.unwrap();
        assert!(matches!(answer, Some(Err(Refused(_)))), "{answer:?}");
    }
    free.send(()).unwrap();
    holder.join().unwrap();
    timeout(PATIENCE, bench.handle.ended(new.id)).await.unwrap().unwrap();
    assert_eq!(bench.store.task(new.id).unwrap().unwrap().state, TaskState::Cancelled);
}

#[tokio::test]
async fn a_task_on_its_way_to_the_disk_is_known_to_nobody_who_asks_why_it_waits() {
    let Prepared { mut term, store, epoch, handle: _handle, .. } = Prepared::new();
    let (new, now) = (task(), clock::now());
    term.submit(Submission { tasks: vec![new.clone().into()], reply: oneshot::channel().0 }, now);
    let (reply, mut answer) = oneshot::channel();
    term.take_message(Message::Explain { id: new.id, reply }, now);
    assert_eq!(answer.try_recv().unwrap(), Explained::Arriving);
    store.release(epoch).unwrap();
}

#[tokio::test]
async fn what_began_just_before_a_hand_over_is_on_record() {
    let mut bench = Bench::start();
    let mut worker = bench.join().await;
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    worker.begin_one().await;
    bench.handle.tell(Message::StepDown).await;
    assert!(matches!(bench.end().await, End::SteppedDown));
    assert_eq!(bench.store.task(new.id).unwrap().unwrap().attempts.len(), 1);
}
