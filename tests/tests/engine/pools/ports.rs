//! Where workers are published.

use clb_tests::cluster::WorkerKind;
use clb_tests::http::Call;
use clb_tests::images::images;
use clb_tests::{Setup, command};
use serde_json::json;

#[tokio::test]
async fn workers_leave_out_the_ports_of_the_system_and_keep_their_own() {
    let cluster = Setup::new().second_worker_port_reserved().start().await;
    let workers = cluster.workers().await;
    let ports: Vec<u16> = workers.iter().map(|worker| worker.port.unwrap()).collect();
    assert_eq!(ports, [ports[0], ports[0] + 2, ports[0] + 3]);
    for port in ports {
        assert_eq!(Call::get(format!("http://127.0.0.1:{port}/")).send().await.status, 200, "{port}");
    }
    cluster.container("worker-2").kill().await;
    cluster.replacement_of(&workers[1]).await;
}

#[tokio::test]
async fn a_cluster_without_workers_of_its_own_has_room_for_other_pools() {
    let cluster = Setup::new().workers(0).kind(WorkerKind::WithFixture).start().await;
    let port = cluster.first_worker_port();
    let image = &images().await.worker_with_fixture;
    cluster.has_pool("tools", &json!({"image": image, "workers": 2, "first_port": port})).await;
    let mut task = command(&["/fixture", "exit", "0"]);
    task.pool = Some("tools".into());
    let ended = cluster.end_of(cluster.submit(task).await).await;
    assert!(ended.error.is_none(), "{ended:?}");
    assert_eq!(cluster.worker(ended.worker.as_deref().unwrap()).await.pool.as_str(), "tools");
    assert!([port, port + 1].contains(&cluster.worker("tools-1").await.port.unwrap()));
}
