//! Requests to an orchestrator, without a socket.

mod forwarding;
mod links;
mod parameters;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use clap::Parser;
use clb_protocol::link::{ContainerIdentity, ContainerRole, Yield};
use clb_protocol::task::{Argv, Command, CommandResult, Exit, NewTask, Output, Truncated, Work};
use clb_protocol::{AttemptNo, TaskId, Timestamp};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::timeout;
use tower::ServiceExt;

use super::*;
use crate::config::{Cli, Command as Subcommand};
use crate::leader::tests::{Bench, task};
use crate::node::Leading;

const ONE: HeaderValue = HeaderValue::from_static("1");
const PATIENCE: Duration = Duration::from_secs(20);

fn node(bench: &Bench) -> Node {
    let Subcommand::Serve(options) = Cli::parse_from(["clb-orchestrator", "serve"]).command else {
        panic!("not to serve")
    };
    let identity =
        ContainerIdentity { name: "one".into(), id: "one".into(), role: ContainerRole::Orchestrator };
    Node::new(*options, identity, Arc::clone(&bench.store) as Arc<dyn clb_store::Store>)
}

fn leading(bench: &Bench) -> Role {
    Role::Leading(Leading { epoch: bench.epoch, since: Timestamp::now(), handle: bench.handle.clone() })
}

fn app(bench: &Bench) -> Router {
    let node = node(bench);
    node.play(leading(bench));
    router(Door::new(Arc::new(node)))
}

async fn get(app: &Router, path: &str) -> Response {
    let request = Request::get(path).header("host", "127.0.0.1:3002").body(Body::empty()).unwrap();
    timeout(PATIENCE, app.clone().oneshot(request)).await.expect("it is not answered").unwrap()
}

async fn output(app: &Router, id: TaskId, query: &str) -> Response {
    get(app, &format!("/api/v1/tasks/{id}/output{query}")).await
}

async fn body(answer: Response) -> Bytes {
    assert_eq!(answer.status(), 200);
    timeout(PATIENCE, answer.into_body().collect()).await.expect("it does not end").unwrap().to_bytes()
}

fn command() -> NewTask {
    let mut new = task();
    new.spec.work = Work::Command(Command::new(Argv::new::<&str>("true", [])));
    new
}

fn result(stdout: &[u8]) -> Box<RawValue> {
    let stderr = Output { bytes: b"ab".to_vec(), truncated: Some(Truncated { at: 1, dropped_bytes: 7 }) };
    let stdout = Output { bytes: stdout.to_vec(), truncated: None };
    to_raw_value(&CommandResult { exit: Exit::Code(0), stdout, stderr, duration: 0.5, oom: None }).unwrap()
}

#[tokio::test]
async fn what_is_stored_comes_byte_by_byte_and_says_what_is_missing() {
    let mut bench = Bench::start();
    let (app, mut worker, new) = (app(&bench), bench.join().await, command());
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let (id, attempt) = worker.begin_one().await;
    worker.give(id, attempt, bench.epoch, Yield::Succeeded(result(b"\xff\0a")));
    bench.handle.ended(id).await.unwrap();
    for query in ["", "?follow=true", "?attempt=1", "?stream=stdout&attempt=1&follow=true"] {
        let answer = output(&app, id, query).await;
        assert_eq!(answer.headers()["content-type"], "application/octet-stream");
        assert_eq!(body(answer).await, &b"\xff\0a"[..], "{query}");
    }
    let stderr = body(output(&app, id, "?stream=stderr").await).await;
    assert_eq!(stderr, &b"a\n[clb: 7 bytes are missing here]\nb"[..]);
}

#[tokio::test]
async fn whoever_follows_a_task_that_waits_is_answered_when_it_has_run() {
    let mut bench = Bench::start();
    let (app, new) = (app(&bench), command());
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    assert!(body(output(&app, new.id, "").await).await.is_empty(), "nothing is there now");
    let answer = output(&app, new.id, "?follow=true").await;
    let reading = tokio::spawn(body(answer));
    let mut worker = bench.join().await;
    let (id, attempt) = worker.begin_one().await;
    worker.give(id, attempt, bench.epoch, Yield::Succeeded(result(b"all of it")));
    assert_eq!(timeout(PATIENCE, reading).await.unwrap().unwrap(), "all of it");
}

#[tokio::test]
async fn a_stream_breaks_off_when_the_leader_does_not_lead_any_more() {
    let mut bench = Bench::start();
    let (app, new) = (app(&bench), command());
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let answer = output(&app, new.id, "?follow=true").await;
    assert_eq!(answer.status(), 200);
    bench.handle.tell(crate::leader::Message::StepDown).await;
    bench.end().await;
    assert!(timeout(PATIENCE, answer.into_body().collect()).await.unwrap().is_err());
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let mut bench = Bench::start();
    let (app, mut worker, new, sleep) = (app(&bench), bench.join().await, command(), task());
    bench.handle.submit(vec![sleep.clone(), new.clone()]).await.unwrap();
    worker.begin_one().await;
    bench.handle.find_from(new.id, AttemptNo(1)).await.unwrap();
    for (id, query, status) in [
        (TaskId::now(), "", 404),
        (sleep.id, "", 409),
        (new.id, "?attempt=2", 404),
        (new.id, "?attempt=2&follow=true", 404),
        (new.id, "?attempt=0", 422),
        (new.id, "?stream=stdin", 422),
        (new.id, "?follow=yes", 422),
        (new.id, "?tail=1", 422),
    ] {
        assert_eq!(output(&app, id, query).await.status(), status, "{query}");
    }
    assert_eq!(get(&app, "/api/v1/tasks/x/output").await.status(), 404);
}

#[tokio::test]
async fn too_many_readers_are_refused_until_one_goes_away() {
    let bench = Bench::start();
    let (app, new) = (app(&bench), command());
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..output::MOST_READERS {
        readers.push(output(&app, new.id, "?follow=true").await);
    }
    let refused = output(&app, new.id, "").await;
    assert_eq!((refused.status(), &refused.headers()["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &ONE));
    drop(readers);
    let until = tokio::time::Instant::now() + PATIENCE;
    while output(&app, new.id, "").await.status() != 200 {
        assert!(tokio::time::Instant::now() < until, "nobody made room");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn too_many_listeners_are_refused_until_one_goes_away() {
    const EVENTS: &str = "/api/v1/events?types=task";
    let bench = Bench::start();
    let app = app(&bench);
    let mut listeners = Vec::new();
    for _ in 0..256 {
        listeners.push(get(&app, EVENTS).await);
    }
    assert!(listeners.iter().all(|listener| listener.status() == StatusCode::OK));
    let refused = get(&app, EVENTS).await;
    assert_eq!((refused.status(), &refused.headers()["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &ONE));
    assert_eq!(get(&app, "/api/v1/events?types=weather").await.status(), 422);
    drop(listeners.pop());
    assert_eq!(get(&app, EVENTS).await.status(), StatusCode::OK);
}
