//! Outputs as the worker serves them to the leader.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use clb_protocol::TaskId;
use clb_protocol::link::{WorkerOrder, Yield};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::worker::{FIRST, Worker, sh, start};

const PATIENCE: Duration = Duration::from_mins(1);

async fn ask(worker: &Worker, path: &str, token: &str) -> Response<Incoming> {
    let request = Request::get(format!("{}{path}", worker.pages)).header("authorization", token);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    timeout(PATIENCE, client.request(request.body(Body::empty()).unwrap())).await.unwrap().unwrap()
}

async fn output(worker: &Worker, task: TaskId, more: &str) -> Response<Incoming> {
    ask(worker, &format!("/tasks/{task}/output?attempt=1{more}"), "Bearer the-secret").await
}

async fn next(answer: &mut Response<Incoming>) -> Option<Bytes> {
    let frame = timeout(PATIENCE, answer.body_mut().frame()).await.expect("nothing comes")?;
    Some(frame.expect("it broke off").into_data().unwrap())
}

async fn rest(mut answer: Response<Incoming>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = next(&mut answer).await {
        all.extend_from_slice(&bytes);
    }
    all
}

#[tokio::test]
async fn whoever_follows_reads_along_until_the_end_and_after() {
    let (worker, mut link) = start().await;
    let task = TaskId::now();
    link.say(sh(task, r"echo first; while kill -0 $$; do sleep 0.01; done")).await;
    link.report_with(|report| !report.logs.is_empty()).await;
    let mut follower = output(&worker, task, "&follow=true").await;
    assert_eq!(follower.headers()["content-type"], "application/octet-stream");
    assert_eq!(next(&mut follower).await.unwrap(), "first\n");
    assert_eq!(rest(output(&worker, task, "").await).await, b"first\n", "what is there now");
    assert_eq!(rest(output(&worker, task, "&stream=stderr").await).await, b"");
    link.say(WorkerOrder::Cancel(vec![(task, FIRST)])).await;
    assert!(rest(follower).await.is_empty());
    let result = link.result().await;
    assert!(
        matches!(&result.gave, Yield::Cancelled(Some(result)) if result.get().contains(r#""stdout":"first\n""#))
    );
    assert_eq!(rest(output(&worker, task, "&follow=true").await).await, b"first\n", "not acknowledged yet");
    link.ack(&result).await;
    assert_eq!(rest(output(&worker, task, "&follow=true").await).await, b"first\n", "kept for a while");
}

#[tokio::test]
async fn a_flood_is_neither_held_up_nor_kept_by_one_who_does_not_read() {
    const MOST_KIB: u64 = 24 * 1024;
    let (worker, mut link) = start().await;
    let task = TaskId::now();
    link.say(sh(task, "echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo last")).await;
    link.report_with(|report| !report.logs.is_empty()).await;
    let mut slow = output(&worker, task, "&follow=true").await;
    let begun = next(&mut slow).await.unwrap();
    let result = link.result().await;
    assert!(matches!(result.gave, Yield::Succeeded(_)));
    let bytes = [&begun[..], &rest(slow).await].concat();
    assert!(bytes.starts_with(b"first\nx") && bytes.ends_with(b"xlast\n"));
    assert!(String::from_utf8_lossy(&bytes).contains(" bytes are missing here]\n"));
    let peak = worker.peak_kib();
    assert!(peak < MOST_KIB, "{peak} KiB");
}

#[tokio::test]
async fn what_is_asked_wrongly_or_not_known_is_refused() {
    let (worker, mut link) = start().await;
    let task = TaskId::now();
    link.say(sh(task, "true")).await;
    let result = link.result().await;
    link.ack(&result).await;
    let path = format!("/tasks/{task}/output");
    for (query, status) in [
        ("?attempt=2", 404),
        ("", 422),
        ("?attempt=x", 422),
        ("?attempt=1&stream=x", 422),
        ("?attempt=1&follow=x", 422),
        ("?attempt=1&more=1", 422),
    ] {
        let answer = ask(&worker, &format!("{path}{query}"), "Bearer the-secret").await;
        assert_eq!(answer.status(), status, "{query}");
    }
    assert_eq!(ask(&worker, "/tasks/x/output?attempt=1", "Bearer the-secret").await.status(), 404);
    assert_eq!(ask(&worker, &path, "Bearer another").await.status(), 401);
}

#[tokio::test]
async fn readers_that_go_away_make_room_for_others() {
    let (worker, mut link) = start().await;
    let task = TaskId::now();
    link.say(sh(task, "sleep 1000")).await;
    link.report_with(|report| !report.logs.is_empty()).await;
    let mut readers = Vec::new();
    while readers.len() < 64 {
        let reader = output(&worker, task, "&follow=true").await;
        assert_eq!(reader.status(), 200);
        readers.push(reader);
    }
    assert_eq!(output(&worker, task, "&follow=true").await.status(), 429);
    drop(readers);
    let began = std::time::Instant::now();
    while output(&worker, task, "").await.status() != 200 {
        assert!(began.elapsed() < PATIENCE, "nobody made room");
    }
}
