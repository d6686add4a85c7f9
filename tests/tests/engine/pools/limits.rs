//! What the workers of a pool may reach and how much they may use.

use clb_protocol::api::{PoolState, TaskState};
use clb_tests::cluster::expect::container_of;
use clb_tests::cluster::pools::{command, result_of};
use clb_tests::images::{debian, images};
use clb_tests::{Setup, sleep};
use serde_json::json;

const CONNECT: &str = "import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
    print('reached')
except OSError as error:
    print('not reached')";

#[tokio::test]
async fn workers_without_a_network_reach_their_orchestrators_and_nobody_else() {
    let image = debian().await;
    let cluster = Setup::new().workers(1).start().await;
    let spec = json!({"image": image, "network": false, "slots": 2});
    cluster.has_pool("inside", &spec).await;
    let gateway = "172.17.0.1";
    let python = async |host: &str, port: &str| {
        let ended = cluster.run_in("inside", "python3", &["-c", CONNECT, host, port]).await;
        result_of(&ended, "stdout").as_str().unwrap_or_default().trim().to_owned()
    };
    for (host, port) in [("192.0.2.1", "80"), (gateway, "22"), ("worker-1", "80")] {
        assert_eq!(python(host, port).await, "not reached", "{host}");
    }
    let before = cluster.has_two_orchestrators().await;
    let worker = cluster.worker("inside-1").await;
    cluster.leader().await.kill().await;
    cluster.is_led_after(before.epoch).await;
    let ended = cluster.run_in("inside", "true", &[]).await;
    assert_eq!(ended.state, TaskState::Succeeded, "{ended:?}");
    assert_eq!(cluster.worker("inside-1").await.generation, worker.generation, "it was not adopted");
}

#[tokio::test]
async fn the_workers_of_a_pool_are_as_its_spec_says() {
    let image = debian().await;
    let folder = tempfile::Builder::new().prefix("clbt").tempdir_in("/tmp").unwrap();
    std::fs::write(folder.path().join("in"), "from outside").unwrap();
    let source = folder.path().to_string_lossy().into_owned();
    let cluster = Setup::new().workers(1).option("CLB_MOUNT_PREFIXES", "/nowhere:/tmp").start().await;
    let spec = json!({"image": image, "memory": "64m", "cpus": 0.5, "pids": 64, "user": "1234:4321",
        "read_only": false, "mounts": [{"source": source, "target": "/data", "read_only": true}], "stop_grace": 2});
    cluster.has_pool("small", &spec).await;
    let worker = cluster.worker("small-1").await;
    assert_eq!((worker.port, worker.slots), (None, 1));
    let found = container_of(&worker).inspect().await;
    let host = &found.host_config;
    assert_eq!(found.config["User"], "1234:4321");
    assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(64 << 20), &json!(64 << 20)));
    assert_eq!((&host["NanoCpus"], &host["PidsLimit"]), (&json!(500_000_000), &json!(64)));
    assert_eq!(
        (&host["CapDrop"], &host["SecurityOpt"]),
        (&json!(["ALL"]), &json!(["no-new-privileges:true"]))
    );
    assert_eq!((&host["ReadonlyRootfs"], &host["Privileged"]), (&json!(false), &json!(false)));
    assert!(
        host["PortBindings"].as_object().is_none_or(serde_json::Map::is_empty),
        "{}",
        host["PortBindings"]
    );
    let script = "cat /data/in; id -u; touch /data/out || echo refused";
    let ended = cluster.run_in("small", "sh", &["-c", script]).await;
    assert_eq!(result_of(&ended, "stdout"), "from outside1234\nrefused\n", "{ended:?}");
}

#[tokio::test]
async fn a_stored_pool_has_no_workers_once_its_operator_allows_less() {
    let image = &images().await.fixture;
    let mut cluster = Setup::new().workers(1).option("CLB_MOUNT_PREFIXES", "/tmp").start().await;
    let spec = json!({"image": image, "mounts": [{"source": "/tmp", "target": "/data"}]});
    cluster.has_pool("wide", &spec).await;
    cluster.tear_down().await;
    cluster.start_again_with("CLB_MOUNT_PREFIXES", "/nowhere").await;
    let pool = cluster.pool_is("failed", "wide", |pool| pool.state == PoolState::Failed).await;
    let reason = pool.reason.unwrap_or_default();
    assert!(reason.contains("/nowhere") && reason.contains("PUT"), "{reason}");
    let task = cluster.submit(command("wide", "/fixture", &["exit", "0"])).await;
    cluster.ends_once(cluster.submit(sleep(0.1)).await).await;
    assert_eq!(cluster.task(task).await.state, TaskState::Queued);
    cluster.has_pool("wide", &json!({"image": image})).await;
    assert_eq!(cluster.end_of(task).await.state, TaskState::Succeeded);
}
