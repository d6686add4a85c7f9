//! A store that takes nothing, or cannot be read.

use clb_protocol::link::LogLine;
use tokio::sync::oneshot;

use super::*;
use crate::leader::Refused;
use crate::leader::inbox::Submission;

const MISSING: &str = " log lines are missing here: the store took none";

/// A task whose spec the leader does not keep: it is read from the store when its turn comes.
fn put_off() -> NewTask {
    NewTask { not_before: Some(Timestamp::now() + Duration::from_millis(50)), ..task() }
}

/// A time in which somebody else holds the store's lock.
struct Trouble {
    free: std::sync::mpsc::Sender<()>,
    holder: std::thread::JoinHandle<()>,
}

impl Trouble {
    async fn begin(bench: &Bench) -> Self {
        let (locked, is_locked) = oneshot::channel();
        let (free, until_free) = std::sync::mpsc::channel::<()>();
        let other = SqliteStore::new(&bench.folder.path().join("clb.db"));
        let holder = std::thread::spawn(move || {
            let held = other.hold_the_lock(|| {
                locked.send(()).unwrap();
                until_free.recv().unwrap();
            });
            held.unwrap();
        });
        is_locked.await.unwrap();
        Self { free, holder }
    }

    fn end(self) {
        self.free.send(()).unwrap();
        self.holder.join().unwrap();
    }
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
    assert!(bench.store.spoil_spec(bad.id).unwrap());
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
    let trouble = Trouble::begin(&bench).await;
    // The first is on its way to the disk when the trouble begins, the second comes later.
    for _ in 0..2 {
        let answer = timeout(PATIENCE, bench.handle.cancel(vec![new.id], Cancellable::Open)).await.unwrap();
        assert!(matches!(answer, Some(Err(Refused(_)))), "{answer:?}");
    }
    trouble.end();
    timeout(PATIENCE, bench.handle.ended(new.id)).await.unwrap().unwrap();
    assert_eq!(bench.store.task(new.id).unwrap().unwrap().state, TaskState::Cancelled);
}

#[tokio::test]
async fn a_task_on_its_way_to_the_disk_is_known_to_nobody_who_asks_why_it_waits() {
    let Prepared { mut term, store, epoch, handle: _handle, .. } = Prepared::new();
    let (new, now) = (task(), clock::now());
    term.submit(Submission::new(vec![new.clone().into()], oneshot::channel().0), now);
    let (reply, mut answer) = oneshot::channel();
    term.take_message(Message::Explain { id: new.id, reply }, now);
    assert_eq!(answer.try_recv().unwrap(), Explained::Arriving);
    store.release(epoch).unwrap();
}

#[tokio::test]
async fn a_leader_steps_down_though_callers_never_pause() {
    let mut bench = Bench::start();
    for _ in 0..4 {
        let handle = bench.handle.clone();
        tokio::spawn(async move { while handle.submit([Arc::new(task())]).await.is_some() {} });
    }
    while bench.handle.show().await.unwrap().tasks.queued < 100 {}
    bench.handle.tell(Message::StepDown).await;
    assert!(matches!(bench.end().await, End::SteppedDown));
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

#[tokio::test]
async fn lines_beyond_what_may_wait_for_the_store_are_counted_in_their_place() {
    let bench = Bench::start();
    let client = ContainerIdentity { name: "client".into(), id: "c".into(), role: ContainerRole::Client };
    let line = |message: String| LogLine { at: Timestamp::now(), task: None, message };
    let trouble = Trouble::begin(&bench).await;
    let mut count = 0;
    for _ in 0..128 {
        let lines: Vec<LogLine> = (0..10).map(|_| line("x".repeat(100_000))).collect();
        count += lines.len();
        bench.handle.log(client.clone(), lines).await.unwrap();
    }
    trouble.end();
    bench.handle.log(client, vec![line("the last".to_owned())]).await.unwrap();
    let filter = LogFilter::default();
    let newest = || bench.store.logs(&filter, LogFrom::End, 1).unwrap().logs.pop();
    while newest().is_none_or(|line| line.message != "the last") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stored = bench.store.logs(&filter, LogFrom::After(LogSeq(0)), 10_000).unwrap().logs;
    // There is room again between two of the commits that bring the lines to the disk.
    let told = stored.iter().filter_map(|line| line.message.strip_suffix(MISSING)?.parse::<usize>().ok());
    let told: usize = told.sum();
    let kept = stored.iter().filter(|line| line.message.starts_with('x')).count();
    // What waits, and what is on its way.
    assert!(kept * 100_000 <= 64 << 20, "{kept} lines of {count} were kept");
    assert!(told >= count - kept, "{told} told, {kept} of {count} kept");
}
