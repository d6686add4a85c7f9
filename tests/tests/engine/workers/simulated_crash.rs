//! `/stop` of a worker: it pretends to be dead until it is told again, or until it is replaced.

use clb_protocol::api::{VerdictKind, WorkerState, WorkerView};
use clb_protocol::seed;
use clb_tests::cluster::expect::verdict_on;
use clb_tests::http::Call;
use clb_tests::{Cluster, SOON, Setup, eventually, sleep};

fn page(worker: &WorkerView, path: &str) -> Call {
    Call::get(format!("http://127.0.0.1:{}{path}", worker.port.unwrap()))
}

async fn is_in_state(cluster: &Cluster, worker: &WorkerView, state: WorkerState) -> WorkerView {
    eventually(&format!("{} is {state:?}", worker.name), SOON, async || {
        let now = cluster.worker(&worker.name).await;
        if now.state == state { Ok(now) } else { Err(format!("{now:?}")) }
    })
    .await
}

#[tokio::test]
async fn a_worker_that_simulates_a_crash_gives_its_tasks_away_and_serves_again_when_flipped_back() {
    let cluster = Cluster::start().await;
    let mut task = sleep(6.0);
    task.max_attempts = Some(1);
    let task = cluster.submit(task).await;
    let worker = cluster.worker_of(task).await;
    assert_eq!(page(&worker, "/").send().await.status, 200);

    let flipped = page(&worker, "/stop").send().await;
    assert_eq!((flipped.status, flipped.text().as_str()), (200, "True"));
    let refused = page(&worker, "/").send().await;
    assert_eq!((refused.status, refused.text().as_str()), (418, seed::TEAPOT));
    for open in ["/logging", "/healthz"] {
        assert_eq!(page(&worker, open).send().await.status, 200, "{open}");
    }
    assert!(page(&worker, "/logging").send().await.text().contains(seed::CRASH));
    is_in_state(&cluster, &worker, WorkerState::Stopped).await;
    let elsewhere = cluster.worker_of(task).await;
    assert_ne!(elsewhere.name, worker.name);

    let flipped = page(&worker, "/stop").send().await;
    assert_eq!((flipped.status, flipped.text().as_str()), (200, "False"));
    let back = is_in_state(&cluster, &worker, WorkerState::Ready).await;
    assert_eq!((back.generation, back.container), (worker.generation, worker.container.clone()));
    assert_eq!(page(&worker, "/").send().await.status, 200);
    assert!(page(&worker, "/logging").send().await.text().contains(seed::RECOVERED));

    // Its only attempt was not lost: a worker that is stopped on purpose costs none.
    let ended = cluster.ends_once(task).await;
    assert_eq!(verdict_on(&ended, &worker), VerdictKind::Stopped);
    assert_eq!(ended.attempts.len(), 2, "{ended:?}");
}

#[tokio::test]
async fn a_worker_that_simulates_a_crash_for_too_long_is_replaced() {
    let cluster = Setup::new().workers(2).option("CLB_SOFT_STOP_GRACE", 2).start().await;
    let worker = cluster.worker("worker-2").await;
    assert_eq!(page(&worker, "/stop").send().await.text(), "True");
    let obituary = cluster.obituary_of(&worker).await;
    assert_eq!(obituary.verdict.kind, VerdictKind::Stopped, "{obituary:?}");
    let replacement = cluster.replacement_of(&worker).await;
    assert_eq!(page(&replacement, "/").send().await.status, 200);
}
