//! The file of the store may not be written, as after a careless restore.

use clb_tests::engine::{docker, stop_together};
use clb_tests::{Cluster, LONG, eventually, sleep};

#[tokio::test]
async fn a_store_that_may_not_be_written_is_said_and_healed_without_a_loss() {
    let cluster = Cluster::start().await;
    let done = cluster.submit(sleep(0.1)).await;
    let task = cluster.submit(sleep(3.0)).await;
    cluster.ends_once(done).await;
    stop_together(&cluster.orchestrators()).await;
    cluster.run_fixture(&["mode", "0444", "/data/clb.db"]).await;
    let [first, second] = cluster.orchestrators();
    docker(&["start", first.id(), second.id()]).await;

    eventually("the log says that the store may not be written", LONG, async || {
        let logs = first.logs().await;
        let says_why = logs.to_lowercase().contains("read-only") || logs.to_lowercase().contains("readonly");
        says_why.then_some(()).ok_or(logs)
    })
    .await;
    for door in cluster.doors() {
        let refused = door.submit(&sleep(0.1)).await.unwrap();
        let problem = refused.problem();
        assert_eq!(problem.status, 503);
        assert!(problem.detail.to_lowercase().contains("read"), "it does not say why: {}", problem.detail);
        assert!(refused.headers.contains_key("retry-after"));
    }

    cluster.run_fixture(&["mode", "0644", "/data/clb.db"]).await;
    cluster.is_whole().await;
    cluster.all_end_once(&[done, task]).await;
}
