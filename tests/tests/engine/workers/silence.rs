//! A worker lives and says nothing: it is found, replaced, and heard no more.

use clb_protocol::api::{VerdictKind, WorkerView};
use clb_tests::cluster::expect::{container_of, verdict_on};
use clb_tests::{Cluster, LONG, eventually, sleep};

/// Longer than a silent worker takes to be found.
const LONG_TASK: f64 = 12.0;

async fn falls_silent(cluster: &Cluster, silence: impl AsyncFnOnce(&WorkerView)) {
    let task = cluster.submit(sleep(LONG_TASK)).await;
    let worker = cluster.worker_of(task).await;
    silence(&worker).await;
    let obituary = cluster.obituary_of(&worker).await;
    assert_eq!(obituary.verdict.kind, VerdictKind::Hung, "{obituary:?}");
    cluster.replacement_of(&worker).await;
    let former = container_of(&worker);
    eventually("the silent container is removed", LONG, async || {
        former.inspect_if_there().await.map_or(Ok(()), |found| Err(format!("{:?}", found.state)))
    })
    .await;
    let ended = cluster.ends_once(task).await;
    assert_eq!(verdict_on(&ended, &worker), VerdictKind::Hung);
    assert_eq!(ended.attempts.len(), 2, "{ended:?}");
    assert_ne!(ended.attempts[1].worker, worker.name, "it did not run elsewhere: {ended:?}");
}

#[tokio::test]
async fn a_worker_that_falls_silent_is_replaced_and_delivers_nothing_twice() {
    let cluster = Cluster::start().await;
    falls_silent(&cluster, async |worker| container_of(worker).pause().await).await;
    falls_silent(&cluster, async |worker| container_of(worker).disconnect(&cluster.network()).await).await;
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_worker_that_wakes_up_after_it_was_given_up_changes_nothing() {
    let cluster = Cluster::start().await;
    let task = cluster.submit(sleep(6.0)).await;
    let worker = cluster.worker_of(task).await;
    let container = container_of(&worker);
    container.pause().await;
    eventually("the task runs elsewhere", LONG, async || {
        let task = cluster.task(task).await;
        (task.attempts.len() == 2).then_some(()).ok_or_else(|| format!("{:?}", task.attempts))
    })
    .await;
    // It may have been removed already; what it says when it has not is not wanted any more.
    container.unpause_if_there().await;
    cluster.replacement_of(&worker).await;
    let ended = cluster.ends_once(task).await;
    assert_eq!(ended.attempts.len(), 2, "{ended:?}");
    cluster.is_whole().await;
}
