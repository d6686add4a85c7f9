//! A worker dies while it runs a task: the task runs elsewhere and ends once, the death has its verdict,
//! and another container takes the worker's place.

use clb_protocol::TaskId;
use clb_protocol::api::{Obituary, VerdictKind, WorkerState, WorkerView};
use clb_tests::cluster::expect::{container_of, verdict_on};
use clb_tests::cluster::{Cluster, WorkerKind};
use clb_tests::engine::{docker_output, kill_together};
use clb_tests::{SOON, Setup, eventually, sleep};
use futures::future::join_all;

/// Longer than a container takes to die, on any machine.
const LONG_TASK: f64 = 12.0;

/// What is left to check of a death when the task has ended.
struct Death {
    task: TaskId,
    worker: WorkerView,
    verdict: VerdictKind,
}

/// Gives a worker a task, lets it die, and checks what is known of it then.
async fn dies(
    cluster: &Cluster,
    verdict: VerdictKind,
    fate: impl AsyncFnOnce(&WorkerView),
) -> (Death, Obituary) {
    let mut task = sleep(LONG_TASK);
    task.max_attempts = Some(20);
    let task = cluster.submit(task).await;
    let worker = cluster.worker_of(task).await;
    fate(&worker).await;
    let obituary = cluster.obituary_of(&worker).await;
    assert_eq!(obituary.verdict.kind, verdict, "{obituary:?}");
    assert_eq!(obituary.container, worker.container);
    assert!(!obituary.last_logs.is_empty(), "the obituary has no log lines");
    cluster.replacement_of(&worker).await;
    (Death { task, worker, verdict }, obituary)
}

/// Every task that was on a worker that died has run elsewhere and ended once.
async fn all_ran_elsewhere(cluster: &Cluster, deaths: &[Death]) {
    let tasks: Vec<TaskId> = deaths.iter().map(|death| death.task).collect();
    for (task, death) in cluster.all_end_once(&tasks).await.iter().zip(deaths) {
        assert_eq!(verdict_on(task, &death.worker), death.verdict, "{task:?}");
        assert!(task.attempts.len() >= 2, "it ran only once: {task:?}");
        assert_ne!(task.attempts[1].worker, death.worker.name, "it did not run elsewhere: {task:?}");
        let last = task.attempts.last().and_then(|attempt| attempt.verdict.as_ref());
        assert_eq!(last.map(|verdict| verdict.kind), Some(VerdictKind::Succeeded));
    }
}

#[tokio::test]
async fn a_worker_that_dies_is_replaced_and_its_task_runs_elsewhere() {
    let cluster = Cluster::start().await;
    let (killed, obituary) = dies(&cluster, VerdictKind::Killed, async |worker| {
        container_of(worker).kill().await;
    })
    .await;
    assert_eq!((obituary.verdict.exit_code, obituary.verdict.signal), (Some(137), Some(9)));
    assert!(obituary.tasks.contains(&killed.task), "{obituary:?}");

    let (stopped, obituary) = dies(&cluster, VerdictKind::Stopped, async |worker| {
        container_of(worker).stop().await;
    })
    .await;
    assert_eq!(obituary.verdict.exit_code, Some(0));

    let (killed_outside, obituary) = dies(&cluster, VerdictKind::Killed, async |worker| {
        container_of(worker).signal_from_outside("-KILL").await;
    })
    .await;
    assert_eq!((obituary.verdict.exit_code, obituary.verdict.signal), (Some(137), Some(9)));
    assert!(obituary.verdict.detail.contains("outside of Docker"), "{obituary:?}");

    all_ran_elsewhere(&cluster, &[killed, stopped, killed_outside]).await;
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_worker_over_its_memory_limit_is_told_from_one_that_was_killed() {
    let cluster = Setup::new().kind(WorkerKind::WithFixture).start().await;
    let (death, obituary) = dies(&cluster, VerdictKind::Oom, async |worker| {
        let container = container_of(worker);
        container.limit_memory("12m").await;
        // What a tmpfs holds counts as its container's memory.
        drop(container.execute(&["/fixture", "fill", "/tmp/ballast"]).await);
    })
    .await;
    assert!(obituary.oom);
    assert_eq!(obituary.memory_limit_bytes, Some(12 << 20));
    all_ran_elsewhere(&cluster, &[death]).await;
}

#[tokio::test]
async fn a_worker_whose_process_fails_is_replaced_and_the_verdict_has_its_exit_code() {
    let cluster = Setup::new().kind(WorkerKind::Supervised).start().await;
    let (death, obituary) = dies(&cluster, VerdictKind::Exited, async |worker| {
        drop(container_of(worker).execute(&["/fixture", "write", "/tmp/exit", "1"]).await);
    })
    .await;
    assert_eq!((obituary.verdict.exit_code, obituary.verdict.signal), (Some(1), None));
    all_ran_elsewhere(&cluster, &[death]).await;
}

#[tokio::test]
async fn all_workers_killed_at_once_are_replaced_and_their_tasks_end() {
    let cluster = Cluster::start().await;
    let mut tasks = Vec::new();
    for _ in 0..12 {
        let mut task = sleep(6.0);
        // One command kills one after the other: a task may be lost with each of them.
        task.max_attempts = Some(5);
        tasks.push(cluster.submit(task).await);
    }
    for task in &tasks {
        cluster.worker_of(*task).await;
    }
    let workers = cluster.workers().await;
    let containers: Vec<_> = workers.iter().map(container_of).collect();
    kill_together(&containers).await;
    for worker in &workers {
        cluster.replacement_of(worker).await;
        assert_eq!(cluster.obituary_of(worker).await.verdict.kind, VerdictKind::Killed);
    }
    for task in cluster.all_end_once(&tasks).await {
        assert!((2..=4).contains(&task.attempts.len()), "{task:?}");
    }
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_worker_that_is_killed_by_hand_again_and_again_never_waits_for_its_replacement() {
    let cluster = Setup::new().workers(1).start().await;
    // From the fourth on a crash so soon after its start would wait.
    for _ in 0..6 {
        let dead = cluster.worker("worker-1").await;
        container_of(&dead).kill().await;
        eventually("it is replaced", SOON, async || {
            let now = cluster.worker("worker-1").await;
            assert_ne!(now.state, WorkerState::BackingOff, "{now:?}");
            let is_back = now.generation > dead.generation && now.state == WorkerState::Ready;
            is_back.then_some(()).ok_or_else(|| format!("{now:?}"))
        })
        .await;
    }
}

#[tokio::test]
async fn a_worker_that_is_removed_by_hand_is_replaced() {
    let cluster = Cluster::start().await;
    let task = cluster.submit(sleep(6.0)).await;
    let worker = cluster.worker_of(task).await;
    container_of(&worker).remove().await;
    let obituary = cluster.obituary_of(&worker).await;
    let kind = obituary.verdict.kind;
    assert!(matches!(kind, VerdictKind::Killed | VerdictKind::HostLost), "{obituary:?}");
    cluster.replacement_of(&worker).await;
    let ended = cluster.ends_once(task).await;
    assert_eq!(verdict_on(&ended, &worker), kind);
    assert_ne!(ended.attempts[1].worker, worker.name, "it did not run elsewhere: {ended:?}");
}

#[tokio::test]
async fn a_worker_that_many_remove_at_the_same_moment_dies_once() {
    let cluster = Cluster::start().await;
    for _ in 0..3 {
        let mut task = sleep(3.0);
        task.max_attempts = Some(20);
        let task = cluster.submit(task).await;
        let worker = cluster.worker_of(task).await;
        let id = worker.container.as_ref().unwrap().as_str();
        // The engine lets one do it and refuses the others, the leader among them, while that one is at it.
        join_all((0..6).map(|_| async move { docker_output(&["rm", "-f", id]).await })).await;
        cluster.replacement_of(&worker).await;
        cluster.ends_once(task).await;
        let mut deaths = cluster.obituaries().await;
        deaths.retain(|death| death.container == worker.container);
        assert_eq!(deaths.len(), 1, "{deaths:?}");
    }
}

#[tokio::test]
async fn a_worker_that_is_restarted_by_hand_costs_no_attempt() {
    let cluster = Cluster::start().await;
    let mut task = sleep(6.0);
    task.max_attempts = Some(1);
    let task = cluster.submit(task).await;
    let worker = cluster.worker_of(task).await;
    // The leader may remove the container before it is started again.
    drop(container_of(&worker).try_do("restart").await);
    let ended = cluster.ends_once(task).await;
    assert_eq!(verdict_on(&ended, &worker), VerdictKind::Stopped);
    cluster.is_whole().await;
}
