//! Any image works as it is; one that is not there holds up only its own pool.

use clb_protocol::api::{PoolState, TaskState};
use clb_tests::cluster::pools::{command, result_of};
use clb_tests::engine::docker;
use clb_tests::images::{debian, images};
use clb_tests::registry::Registry;
use clb_tests::{Setup, run, sleep};
use serde_json::json;

#[tokio::test]
async fn python_and_its_neighbours_run_in_an_image_that_knows_nothing_of_this() {
    let image = debian().await;
    let cluster = Setup::new().workers(1).start().await;
    cluster.has_pool("debian", &json!({"image": image, "env": {"OF_THE_POOL": "too"}})).await;
    let sum = cluster.run_in("debian", "python3", &["-c", "import time; time.sleep(1); print(3 + 4)"]).await;
    assert_eq!(sum.state, TaskState::Succeeded, "{sum:?}");
    assert_eq!(result_of(&sum, "stdout"), "7\n");
    let script = "echo $OF_THE_IMAGE $OF_THE_POOL; cp /bin/true /tmp/copy && /tmp/copy && echo $?";
    let shell = cluster.run_in("debian", "sh", &["-c", script]).await;
    assert_eq!(result_of(&shell, "stdout"), "kept too\n0\n", "{shell:?}");
    let picture = cluster.run_in("debian", "convert", &["-size", "8x8", "xc:red", "/tmp/a.png"]).await;
    assert_eq!(picture.state, TaskState::Succeeded, "{picture:?}");
    let written = cluster.run_in("debian", "sh", &["-c", "touch /usr/x /.clb/x"]).await;
    assert_eq!(written.state, TaskState::Failed, "the container's own files can be written");
    cluster.ends_once(cluster.submit(sleep(0.1)).await).await;
    let volumes =
        docker(&["volume", "ls", "-q", "--filter", &format!("name={}-worker-", cluster.name())]).await;
    assert_eq!(volumes.lines().count(), 1);
    cluster.tear_down().await;
    let volumes =
        docker(&["volume", "ls", "-q", "--filter", &format!("name={}-worker-", cluster.name())]).await;
    assert_eq!(volumes, "", "the volume with the worker's program stayed behind");
}

#[tokio::test]
async fn an_image_with_one_program_and_nothing_else_is_pulled_once_and_works() {
    let registry = Registry::with(&images().await.fixture).await;
    let cluster = Setup::new().workers(1).start().await;
    cluster.has_pool("tool", &json!({"image": registry.image(), "workers": 2})).await;
    let ended = cluster.run_in("tool", "/fixture", &["exit", "0"]).await;
    assert_eq!(ended.state, TaskState::Succeeded, "{ended:?}");
    assert_eq!(registry.pulls(), 2, "the configuration and the layer, once each");
}

#[tokio::test]
async fn an_unknown_image_fails_its_pool_alone_until_it_is_there() {
    let late = format!("127.0.0.1:9/{}late", run::prefix());
    let cluster = Setup::new().workers(1).start().await;
    assert_eq!(cluster.put_pool("late", &json!({"image": late})).await.status, 201);
    let pool = cluster.pool_is("failed", "late", |pool| pool.state == PoolState::Failed).await;
    assert!(pool.reason.as_deref().is_some_and(|reason| reason.contains(&late)), "{pool:?}");
    let task = cluster.submit(command("late", "/fixture", &["exit", "0"])).await;
    cluster.ends_once(cluster.submit(sleep(0.1)).await).await;
    assert_eq!(cluster.task(task).await.state, TaskState::Queued);
    docker(&["tag", &images().await.fixture, &late]).await;
    assert_eq!(cluster.end_of(task).await.state, TaskState::Succeeded);
    docker(&["rmi", &late]).await;
}
