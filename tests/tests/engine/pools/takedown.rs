//! The last orchestrator to be stopped takes everything along, however much it is.

use clb_tests::images::images;
use clb_tests::{SOON, Setup, eventually};
use serde_json::json;

#[tokio::test]
async fn nothing_of_many_workers_stays_behind_also_while_they_are_being_made() {
    let image = &images().await.fixture;
    let mut cluster = Setup::new().workers(1).start().await;
    let small = |workers: u16, network: bool| json!({"image": image, "workers": workers, "network": network, "memory": "32m", "cpus": 0.1, "pids": 32});
    cluster.has_pool("inside", &small(1, false)).await;
    cluster.has_pool("many", &small(24, true)).await;
    cluster.tear_down().await;
    cluster.start_again_with("CLB_LOG", "info").await;
    assert_eq!(cluster.put_pool("many", &small(48, true)).await.status, 200);
    eventually("workers are being made", SOON, async || {
        let made = cluster.worker_containers().await.len();
        if made > 2 { Ok(()) } else { Err(format!("{made} are there")) }
    })
    .await;
    cluster.tear_down().await;
}
