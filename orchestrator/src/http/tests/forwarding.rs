//! A standby whose leader is gone, stopped, silent, or answers too late.

use axum::response::IntoResponse;
use axum::routing::post as post_route;
use clb_protocol::Epoch;
use clb_protocol::api::{BatchEntry, TaskPage, TaskView};
use clb_store::Lease;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::forwarded::Forwarded;
use super::*;

const FORMER: Epoch = Epoch(7);

/// A leader that is played by the test: it answers with `face`.
async fn played(face: Router) -> Lease {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, face).await });
    let holder = "two".into();
    Lease { epoch: FORMER, holder, url, public_url: String::new(), is_released: false, pulse: None }
}

/// A standby of this leader that shares the store with the bench.
fn standby(bench: &Bench, leader: Lease) -> (Arc<Node>, Router) {
    let node = Arc::new(node(bench));
    node.play(Role::Following(leader));
    (Arc::clone(&node), router(Door::new(node)))
}

fn post(path: &str, body: &impl ToString) -> Request<Body> {
    let request = Request::post(path).header("host", "127.0.0.1").header("content-type", "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

async fn answer(app: Router, request: Request<Body>) -> Response {
    timeout(PATIENCE, app.oneshot(request)).await.expect("it is not answered").unwrap()
}

async fn read<T: DeserializeOwned>(answer: Response) -> T {
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {status} {body:?}"))
}

/// A leader that does what it is asked and never says so; says when it has done it.
fn speechless(bench: &Bench) -> (Router, mpsc::UnboundedReceiver<StatusCode>) {
    let (done, is_done) = mpsc::unbounded_channel();
    let app = app(bench);
    let face = Router::new().fallback(async move |request: Request<Body>| {
        let answer = app.oneshot(request).await.unwrap();
        done.send(answer.status()).unwrap();
        std::future::pending::<Response>().await
    });
    (face, is_done)
}

#[tokio::test]
async fn what_a_leader_did_and_did_not_answer_is_not_done_twice() {
    let bench = Bench::start();
    let (face, mut is_done) = speechless(&bench);
    let leader = played(face).await;
    let task = json!({"kind": "sleep", "seconds": 1});
    for (path, body) in [("/api/v1/tasks", task.clone()), ("/api/v1/tasks/batch", json!([task, task, task]))]
    {
        let (node, app) = standby(&bench, leader.clone());
        let asked = tokio::spawn(answer(app, post(path, &body)));
        assert!(is_done.recv().await.unwrap().is_success());
        node.play(leading(&bench));
        let answer = asked.await.unwrap();
        assert_eq!(answer.status(), 200, "it was another task");
        if path.ends_with("batch") {
            let entries: Vec<BatchEntry> = read(answer).await;
            assert_eq!(entries.iter().map(|entry| entry.status).collect::<Vec<_>>(), [200; 3]);
        }
    }
    let stored: TaskPage = read(get(&app(&bench), "/api/v1/tasks").await).await;
    assert_eq!(stored.tasks.len(), 4);
}

#[tokio::test]
async fn a_task_that_a_leader_cancelled_and_did_not_say_so_is_cancelled() {
    let bench = Bench::start();
    let new = task();
    bench.handle.submit(vec![new.clone()]).await.unwrap();
    let (face, mut is_done) = speechless(&bench);
    let (node, app) = standby(&bench, played(face).await);
    let cancel = format!("/api/v1/tasks/{}/cancel", new.id);
    let asked = tokio::spawn(answer(app.clone(), post(&cancel, &"")));
    assert_eq!(is_done.recv().await, Some(StatusCode::OK));
    node.play(leading(&bench));
    assert_eq!(asked.await.unwrap().status(), 200);
    assert_eq!(answer(app, post(&cancel, &"")).await.status(), 409, "a caller who asks again is told so");
}

#[tokio::test]
async fn a_leader_that_is_stopped_is_nothing_that_callers_hear_of() {
    let bench = Bench::start();
    let (asked, mut is_asked) = mpsc::unbounded_channel();
    let face = Router::new().fallback(async move || {
        asked.send(()).unwrap();
        (StatusCode::IM_A_TEAPOT, clb_protocol::seed::TEAPOT).into_response()
    });
    let (node, app) = standby(&bench, played(face).await);
    let waiting = tokio::spawn(answer(app, post("/api/v1/tasks", &json!({"kind": "sleep", "seconds": 1}))));
    for _ in 0..2 {
        timeout(PATIENCE, is_asked.recv()).await.expect("it is not asked again").unwrap();
    }
    node.play(leading(&bench));
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status(), 201);
    let created: TaskView = read(answer).await;
    assert!(bench.handle.find(created.id).await.is_some());
}

#[tokio::test]
async fn a_leader_that_says_nothing_is_not_waited_for_beyond_the_limit() {
    let bench = Bench::start();
    let face = Router::new().fallback(std::future::pending::<Response>);
    let (node, app) = standby(&bench, played(face).await);
    let wait = format!("/api/v1/tasks/{}?wait=60", TaskId::now());
    node.hear(FORMER);
    let begun = Instant::now();
    let (plain, waiting) = tokio::join!(get(&app, "/api/v1/cluster"), get(&app, &wait));
    for answer in [plain, waiting] {
        assert_eq!(
            (answer.status(), &answer.headers()["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &ONE)
        );
    }
    assert!(begun.elapsed() < 2 * crate::node::LEADER_WAIT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_answer_breaks_off_when_its_leader_falls_silent() {
    let bench = Bench::start();
    let face = Router::new().fallback(async || {
        let begun = futures::stream::iter([Ok::<_, std::convert::Infallible>("begun")]);
        Body::from_stream(futures::StreamExt::chain(begun, futures::stream::pending()))
    });
    let (_, app) = standby(&bench, played(face).await);
    let answer = get(&app, "/api/v1/events").await;
    assert_eq!(answer.status(), 200);
    assert!(timeout(PATIENCE, answer.into_body().collect()).await.expect("it goes on").is_err());
}

#[tokio::test]
async fn two_standbys_that_take_each_other_for_the_leader_do_not_send_requests_in_circles() {
    let bench = Bench::start();
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let (one, two) = (Arc::new(node(&bench)), Arc::new(node(&bench)));
    let mut leases = Vec::new();
    for node in [&one, &two] {
        let (app, arrived) = (router(Door::new(Arc::clone(node))), arrived.clone());
        let face = Router::new().fallback(async move |request: Request<Body>| {
            let answer = app.oneshot(request).await.unwrap();
            arrived.send(answer.status()).unwrap();
            answer
        });
        leases.push(played(face).await);
    }
    two.play(Role::Following(leases.swap_remove(0)));
    one.play(Role::Following(leases.swap_remove(0)));
    let app = router(Door::new(one));
    let refused = get(&app, "/api/v1/cluster").await;
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &ONE)
    );
    drop(arrived);
    while let Ok(status) = arrivals.try_recv() {
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    }
}

#[tokio::test]
async fn who_waits_through_a_standby_leaves_room_for_short_requests() {
    let bench = Bench::start();
    let face = Router::new().fallback(async |request: Request<Body>| match request.uri().path() {
        "/api/v1/cluster" => StatusCode::OK.into_response(),
        "/api/v1/events" => {
            Body::from_stream(futures::stream::pending::<Result<Bytes, axum::Error>>()).into_response()
        }
        _ => std::future::pending().await,
    });
    let mut node = node(&bench);
    node.options.connections = 64;
    node.play(Role::Following(played(face).await));
    node.hear(FORMER);
    let app = router(Door::new(Arc::new(node)));
    let mut streams = Vec::new();
    for _ in 0..18 {
        streams.push(get(&app, "/api/v1/events").await);
    }
    assert!(streams.iter().all(|stream| stream.status() == 200));
    let wait = format!("/api/v1/tasks/{}?wait=60", TaskId::now());
    for path in ["/api/v1/events", &wait] {
        let refused = get(&app, path).await;
        assert_eq!(
            (refused.status(), &refused.headers()["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &ONE)
        );
        let detail: clb_protocol::api::Problem = read(refused).await;
        assert!(detail.detail.contains("CLB_CONNECTIONS"), "{detail:?}");
    }
    assert_eq!(get(&app, "/api/v1/cluster").await.status(), 200, "a short one has room");
    drop(streams.pop());
    assert_eq!(get(&app, "/api/v1/events").await.status(), 200, "one that goes away makes room");
}

/// A leader whose term is over, which does not know it yet.
async fn bygone(bench: &mut Bench) -> (Arc<Node>, Router) {
    bench.handle.tell(crate::leader::Message::StepDown).await;
    bench.end().await;
    let node = Arc::new(node(bench));
    node.play(leading(bench));
    (Arc::clone(&node), router(Door::new(node)))
}

#[tokio::test]
async fn what_a_leader_cannot_answer_any_more_goes_to_the_next_one() {
    let (mut former, next) = (Bench::start(), Bench::start());
    let (node, app) = bygone(&mut former).await;
    let sleep = json!({"kind": "sleep", "seconds": 1});
    let mut submitting = Box::pin(answer(app.clone(), post("/api/v1/tasks", &sleep)));
    let mut listing = Box::pin(get(&app, "/api/v1/pools"));
    assert!(futures::poll!(&mut submitting).is_pending() && futures::poll!(&mut listing).is_pending());
    node.play(Role::Following(played(super::app(&next)).await));
    let created: TaskView = read(submitting.await).await;
    assert!(next.handle.find(created.id).await.is_some());
    assert_eq!(listing.await.status(), 200);
}

#[tokio::test]
async fn a_submission_brings_the_next_leader_the_ids_that_it_brought_the_former_one() {
    let bench = Bench::start();
    let (seen, mut sights) = mpsc::unbounded_channel();
    let noted = seen.clone();
    let face = Router::new().fallback(async move |request: Request<Body>| {
        noted.send(Forwarded::read(request.headers())).unwrap();
        StatusCode::CREATED
    });
    let node = Arc::new(node(&bench));
    node.play(leading(&bench));
    let handler = async move |forwarded: Option<axum::Extension<Forwarded>>| {
        seen.send(forwarded.map(|it| it.0)).unwrap();
        Refusal::no_leader()
    };
    let door = Door::new(Arc::clone(&node));
    let app = Router::new()
        .route("/api/v1/tasks", post_route(handler))
        .layer(axum::middleware::from_fn_with_state(door, super::forward::to_leader));
    let asked = tokio::spawn(answer(app, post("/api/v1/tasks", &"{}")));
    let first = sights.recv().await.unwrap().unwrap();
    assert!(!first.is_again);
    node.play(Role::Following(played(face).await));
    assert_eq!(asked.await.unwrap().status(), StatusCode::CREATED);
    let mut again = first;
    again.is_again = true;
    assert_eq!(sights.recv().await.unwrap().unwrap(), again);
    while let Ok(seen) = sights.try_recv() {
        assert_eq!(seen, Some(again));
    }
}

#[tokio::test]
async fn what_must_not_be_done_twice_and_what_a_leaver_cannot_answer_is_left_to_the_caller() {
    let mut bench = Bench::start();
    let (node, app) = bygone(&mut bench).await;
    let lines = json!({"container": {"name": "a", "id": "a", "role": "worker"}, "lines": []});
    let refused = answer(app.clone(), post("/link/v1/logs", &lines)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    node.begin_leaving();
    let begun = Instant::now();
    assert_eq!(get(&app, "/api/v1/pools").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(begun.elapsed() < crate::node::LEADER_WAIT, "it waited for another leader");
}
