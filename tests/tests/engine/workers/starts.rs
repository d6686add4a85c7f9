//! Workers that do not come up: the pool backs off, says why, and comes back when the cause is gone.

use clb_protocol::api::{TaskState, WorkerState, WorkerView};
use clb_tests::cluster::{Cluster, WorkerKind};
use clb_tests::engine::docker;
use clb_tests::images::images;
use clb_tests::{LONG, Setup, eventually, run, sleep};
use serde_json::json;

async fn backs_off(cluster: &Cluster, because: &str) -> WorkerView {
    eventually("the worker backs off and says why", LONG, async || {
        let worker = cluster.worker("worker-1").await;
        let says_why = worker.reason.as_deref().is_some_and(|reason| reason.contains(because));
        if worker.state == WorkerState::BackingOff && says_why {
            Ok(worker)
        } else {
            Err(format!("{worker:?}"))
        }
    })
    .await
}

#[tokio::test]
async fn a_worker_that_always_fails_is_started_less_and_less_often() {
    let setup = Setup::new().workers(1).kind(WorkerKind::Broken);
    let cluster = setup.start_without_waiting_for_workers().await;
    let task = cluster.submit(sleep(0.1)).await;
    backs_off(&cluster, "exit code 1").await;
    let deaths = eventually("seven deaths", LONG, async || {
        let mut deaths = cluster.obituaries().await;
        deaths.reverse();
        if deaths.len() >= 7 { Ok(deaths) } else { Err(format!("{} deaths", deaths.len())) }
    })
    .await;
    assert!(deaths.iter().all(|death| death.verdict.exit_code == Some(1)), "{deaths:?}");
    let pause_ms = |n: usize| deaths[n].died_at.since(deaths[n - 1].died_at).as_millis();
    assert!(pause_ms(4) >= 500 && pause_ms(5) >= 1_000 && pause_ms(6) >= 2_000, "{deaths:?}");
    assert_eq!(cluster.task(task).await.state, TaskState::Queued);
}

#[tokio::test]
async fn a_worker_without_an_image_waits_for_it_and_says_so() {
    let late = format!("{}late", run::new_name());
    let setup = Setup::new().workers(1).kind(WorkerKind::Named(late.clone()));
    let cluster = setup.start_without_waiting_for_workers().await;
    let task = cluster.submit(sleep(0.1)).await;
    backs_off(&cluster, &late).await;
    docker(&["tag", &images().await.worker, &late]).await;
    cluster.is_whole().await;
    cluster.ends_once(task).await;
}

#[tokio::test]
async fn a_worker_whose_port_is_taken_says_so_and_comes_when_it_is_free() {
    let setup = Setup::new().workers(2).worker_port_taken();
    let cluster = setup.start_without_waiting_for_workers().await;
    let worker = backs_off(&cluster, "port").await;
    assert!(worker.reason.unwrap().contains(&worker.port.unwrap().to_string()));
    cluster.ends_once(cluster.submit(sleep(0.1)).await).await;
    cluster.free_worker_port();
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_worker_whose_name_a_stranger_has_says_so_and_leaves_that_container_alone() {
    let cluster = Setup::new().workers(1).start().await;
    let stranger = format!("{}-tools-1", cluster.name());
    docker(&["create", "--name", &stranger, &images().await.fixture, "exit", "0"]).await;
    let id = docker(&["inspect", "-f", "{{.Id}}", &stranger]).await;
    let spec = json!({"image": images().await.fixture, "workers": 1});
    let answer = cluster.put_pool("tools", &spec).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let backs_off = |worker: &WorkerView| {
        let says_why = worker.reason.as_deref().is_some_and(|reason| reason.contains(&stranger));
        worker.state == WorkerState::BackingOff && says_why
    };
    cluster.workers_are("tools", "backing off", |workers| workers.iter().any(backs_off)).await;
    cluster.ends_once(cluster.submit(sleep(0.1)).await).await;
    assert_eq!(docker(&["inspect", "-f", "{{.Id}}", &stranger]).await, id);
    docker(&["rm", &stranger]).await;
    cluster.pool_is("ready", "tools", |pool| pool.workers.ready == 1).await;
}
