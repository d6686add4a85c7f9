//! The pages as a caller sees them, in front of a worker that finds no leader.

use super::*;
use axum::body::Body;
use clap::Parser;
use clb_protocol::Timestamp;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::config::Config;
use crate::journal::Note;
use crate::run::command::Launcher;
use crate::worker::Worker;

fn pages(token: Option<&str>) -> Router {
    let config = Config::parse_from(["clb-worker", "--orchestrators", "http://127.0.0.1:1"]);
    let journal = Journal::default();
    journal.note(Timestamp(0), Note::Text("<first> line".into()));
    let (desk, asks) = Desk::open();
    tokio::spawn(Worker::new(&config, journal.clone(), asks, Launcher::own()).run());
    router(Pages::new("worker-1".to_owned(), token.map(str::to_owned), desk, journal))
}

async fn send(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let mut request =
        axum::http::Request::builder().method(method).uri(path).header("host", "127.0.0.1:3004");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").map_or("", |v| v.to_str().unwrap()).to_owned();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(router: &Router, path: &str) -> (u16, String) {
    let (status, _, body) = send(router, "GET", path, &[]).await;
    (status, body)
}

#[tokio::test]
async fn the_pages_show_the_state_and_the_log() {
    let pages = pages(None);
    let (status, body) = get(&pages, "/").await;
    assert!(status == 200 && body.contains("worker-1") && body.contains("looks for a leader"));
    let (status, body) = get(&pages, "/logging?limit=5&refresh=2").await;
    assert!(
        status == 200 && body.contains("&#60;first&#62; line") && body.contains("http-equiv=\"refresh\"")
    );
    let (status, kind, body) = send(&pages, "GET", "/logging", &[("accept", "text/plain")]).await;
    assert!(status == 200 && kind.starts_with("text/plain"));
    assert!(body.starts_with("1970-01-01T00:00:00.000000Z <first> line\n"));
    assert_eq!(get(&pages, "/healthz").await, (200, "ok".to_owned()));
}

#[tokio::test]
async fn what_is_wrong_is_said_as_a_problem() {
    let pages = pages(None);
    let cases = [
        ("GET", "/nowhere", 404),
        ("POST", "/logging", 405),
        ("HEAD", "/stop", 405),
        ("POST", "/stop", 405),
        ("GET", "/logging?limit=0", 400),
        ("GET", "/logging?limit=2001", 400),
        ("GET", "/logging?limit=x", 400),
        ("GET", "/logging?refresh=0", 400),
        ("GET", "/logging?secs=1", 400),
        ("GET", "/logging?limit=%FF", 400),
    ];
    for (method, path, wanted) in cases {
        let (status, kind, _) = send(&pages, method, path, &[]).await;
        assert_eq!((status, kind.as_str()), (wanted, "application/problem+json"), "{method} {path}");
    }
    assert_eq!(get(&pages, "/").await.0, 200, "nothing of that stopped it");
}

#[tokio::test]
async fn a_simulated_crash_answers_with_a_teapot_until_it_is_flipped_back() {
    let pages = pages(None);
    assert_eq!(get(&pages, "/stop").await, (200, "True".to_owned()));
    for path in ["/", "/nowhere"] {
        assert_eq!(get(&pages, path).await, (418, clb_protocol::seed::TEAPOT.to_owned()));
    }
    assert_eq!(get(&pages, "/healthz").await.0, 200);
    assert!(get(&pages, "/logging").await.1.contains(clb_protocol::seed::CRASH));
    assert_eq!(get(&pages, "/stop").await, (200, "False".to_owned()));
    assert_eq!(get(&pages, "/").await.0, 200);
    assert!(get(&pages, "/logging").await.1.contains(clb_protocol::seed::RECOVERED));
}

#[tokio::test]
async fn another_site_cannot_flip_it() {
    let pages = pages(None);
    let (status, _, _) = send(&pages, "GET", "/stop", &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(status, 403);
    assert_eq!(get(&pages, "/").await.0, 200);
}

#[tokio::test]
async fn with_a_token_only_healthz_is_open() {
    let pages = pages(Some("secret"));
    for path in ["/", "/logging", "/stop", "/nowhere"] {
        assert_eq!(get(&pages, path).await.0, 401, "{path}");
    }
    assert_eq!(get(&pages, "/healthz").await.0, 200);
    let (status, _, _) = send(&pages, "GET", "/", &[("authorization", "Bearer secret")]).await;
    assert_eq!(status, 200);
}
