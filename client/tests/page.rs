//! The web page as a browser and a container engine see it: the real program, over real sockets.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod stand_in;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clb_client::protocol::TaskId;
use reqwest::header::{HeaderMap, LOCATION, ORIGIN};
use reqwest::{Response, StatusCode};
use serde_json::json;
use stand_in::{Manner, StandIns};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Page {
    program: Child,
    address: String,
    browser: reqwest::Client,
}

impl Page {
    /// Starts `clb serve` on a free port.
    fn open(orchestrators: &[String]) -> Self {
        Self::open_with(orchestrators, &[])
    }

    fn open_with(orchestrators: &[String], options: &[&str]) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_clb"))
            .args(["serve", "--listen", "127.0.0.1:0", "--url", &orchestrators.join(",")])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
        let served = lines.find_map(|line| Some(line.split_once("served at ")?.1.trim().to_owned()));
        // The pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        let no_redirect = reqwest::redirect::Policy::none();
        // No connection is kept: the page may close one just when it is asked on it.
        let browser = reqwest::Client::builder().no_proxy().redirect(no_redirect).pool_max_idle_per_host(0);
        let browser = browser.build().unwrap();
        Self { program, address: served.unwrap(), browser }
    }

    async fn get(&self, path: &str) -> Response {
        let address = format!("{}{path}", self.address);
        self.browser.get(address).header("accept", "text/html").send().await.unwrap()
    }

    async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    /// Sends a form as a browser without a script does.
    async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.send_from(path, fields, HeaderMap::new()).await
    }

    async fn send_from(&self, path: &str, fields: &[(&str, &str)], headers: HeaderMap) -> Response {
        let mut form = reqwest::Url::parse("http://form/").unwrap();
        form.query_pairs_mut().extend_pairs(fields);
        self.browser
            .post(format!("{}{path}", self.address))
            .header("content-type", "application/x-www-form-urlencoded")
            .headers(headers)
            .body(form.query().unwrap_or_default().to_owned())
            .send()
            .await
            .unwrap()
    }

    /// Reads the feed until one of its pieces has all of this.
    async fn hear(feed: &mut Response, expected: &str) {
        let mut heard = String::new();
        while !heard.contains(expected) {
            let piece = feed.chunk().await.unwrap().expect("the feed goes on");
            heard.push_str(&String::from_utf8_lossy(&piece));
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn location(response: &Response) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

/// The value of a field of a form.
fn field(html: &str, name: &str) -> String {
    let (_, after) = html.split_once(&format!("name=\"{name}\"")).unwrap();
    let (_, after) = after.split_once("value=\"").unwrap();
    after.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_payload_is_shown_before_it_is_sent_and_sent_without_a_script() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let page = Page::open(&cluster.urls());
    let generated = page.text(&location(&page.send("/payloads/generate", &[]).await)).await;
    let id = field(&generated, "id");
    let [seconds, a, b] = ["seconds", "a", "b"].map(|name| field(&generated, name).parse::<i64>().unwrap());
    assert!((10..=60).contains(&seconds) && (1..=10).contains(&a) && (1..=10).contains(&b));
    assert!(cluster.memory().tasks.is_empty(), "nothing is sent before a person says so");

    let fields = [("id", id.as_str()), ("seconds", "12.5"), ("a", "3"), ("b", "4")];
    let sent = location(&page.send("/payloads/send", &fields).await);
    location(&page.send("/payloads/send", &fields).await);
    assert_eq!(cluster.memory().tasks.len(), 1, "sending twice is sending once");
    assert_eq!(cluster.memory().tasks[0]["spec"]["seconds"], 12.5);
    assert_eq!(cluster.memory().tasks[0]["group"], "web");
    let shown = page.text(&sent).await;
    assert!(shown.contains("sleep 12.5 s, 3 + 4") && shown.contains("queued"));
    assert!(shown.contains(r#"<noscript><meta http-equiv="refresh" content="2"></noscript>"#));

    cluster.finish(&id);
    let row = page.text("/").await;
    assert!(row.contains("succeeded") && row.contains("worker-1") && row.contains(">7</td>"));
}

#[tokio::test]
async fn many_are_sent_at_once_and_paged_and_a_new_page_shows_them_all_again() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let page = Page::open(&cluster.urls());
    let batch = field(&page.text("/").await, "batch");
    let fields = [("batch", batch.as_str()), ("count", "120"), ("shortest", "10"), ("longest", "60")];
    assert_eq!(location(&page.send("/payloads/send-at-once", &fields).await), "/?sent_at_once=120");
    location(&page.send("/payloads/send-at-once", &fields).await);
    assert_eq!(cluster.memory().tasks.len(), 120, "the same form again is the same payloads again");

    drop(page);
    let page = Page::open(&cluster.urls());
    let rows = |html: &str| html.matches("<tr id=").count();
    assert_eq!(rows(&page.text("/").await), 50);
    assert_eq!(rows(&page.text("/rows?cursor=100").await), 20);
    assert_eq!(rows(&page.text("/?state=failed").await), 0);
}

#[tokio::test]
async fn a_waiting_payload_can_be_cancelled() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let page = Page::open(&cluster.urls());
    let id = TaskId::now().to_string();
    let fields = [("id", id.as_str()), ("seconds", "1"), ("a", "1"), ("b", "1")];
    page.send("/payloads/send", &fields).await;
    let cancel = format!("/payloads/{id}/cancel");
    let back = location(&page.send(&cancel, &[("state", "queued"), ("cursor", "")]).await);
    assert_eq!(back, format!("/?cancelled={id}&state=queued"));
    assert_eq!(cluster.memory().tasks[0]["state"], "cancelled");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_right_status_and_the_input_stays() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let page = Page::open(&cluster.urls());
    let id = TaskId::now().to_string();
    let refused =
        page.send("/payloads/send", &[("id", &id), ("seconds", "soon<b>"), ("a", "3"), ("b", "4")]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let html = refused.text().await.unwrap();
    assert!(html.contains("seconds must be a number") && !html.contains("soon<b>"));
    assert_eq!(field(&html, "id"), id);

    page.send("/payloads/send", &[("id", &id), ("seconds", "1"), ("a", "3"), ("b", "4")]).await;
    let other = page.send("/payloads/send", &[("id", &id), ("seconds", "2"), ("a", "3"), ("b", "4")]).await;
    assert_eq!(other.status(), StatusCode::CONFLICT);
    let many = page.send("/payloads/send-at-once", &[("count", "10001")]).await;
    assert_eq!(many.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(page.send("/payloads/x/cancel", &[]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(page.send(&format!("/payloads/{}/cancel", TaskId::now()), &[]).await.status(), 404);
    assert_eq!(page.send("/healthz", &[]).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(page.get("/payloads/send").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(page.get("/nothing").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(page.get("/?state=lost").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(page.get("/?payload=1").await.status(), StatusCode::BAD_REQUEST);
    let long = "9".repeat(20_000);
    assert_eq!(page.send("/payloads/send", &[("id", &long)]).await.status(), 413);
    assert_eq!(page.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn another_site_changes_nothing() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let page = Page::open(&cluster.urls());
    let mut foreign = HeaderMap::new();
    foreign.insert(ORIGIN, "http://evil.example".parse().unwrap());
    let refused = page.send_from("/payloads/send-at-once", &[("count", "1")], foreign).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let mut own = HeaderMap::new();
    own.insert(ORIGIN, page.address.parse().unwrap());
    location(
        &page
            .send_from("/payloads/send-at-once", &[("count", "1"), ("shortest", "1"), ("longest", "1")], own)
            .await,
    );
}

#[tokio::test]
async fn an_outage_is_said_in_words_and_ends_by_itself() {
    let mut cluster = StandIns::start([Manner::Serves]).await;
    let page = Page::open(&cluster.urls());
    let mut feed = page.get("/events").await;
    Page::hear(&mut feed, "orchestrator-1").await;
    let id = TaskId::now().to_string();
    let fields = [("id", id.as_str()), ("seconds", "1"), ("a", "1"), ("b", "1")];
    page.send("/payloads/send", &fields).await;
    page.text("/").await;

    cluster.all[0].die().await;
    Page::hear(&mut feed, "No orchestrator answers").await;
    let html = page.text("/").await;
    assert!(html.contains("No orchestrator answers") && html.contains(&cluster.all[0].url));
    assert!(html.contains(&id) && html.contains("as of "), "what was known last is still shown");
    let refused = page.send("/payloads/send", &fields).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(field(&refused.text().await.unwrap(), "id"), id, "the payload stays in the form");

    cluster.start_again(0).await;
    Page::hear(&mut feed, "event: tasks").await;
    assert!(!page.text("/").await.contains("No orchestrator answers"));
}

#[tokio::test]
async fn news_reach_every_browser_and_the_log_keeps_the_words() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let page = Page::open(&cluster.urls());
    let mut feeds = [page.get("/events").await, page.get("/events").await];
    for feed in &mut feeds {
        Page::hear(feed, "worker-3").await;
    }
    let id = field(&page.text(&location(&page.send("/payloads/generate", &[]).await)).await, "id");
    page.send("/payloads/send", &[("id", &id), ("seconds", "1"), ("a", "1"), ("b", "1")]).await;
    let ended = json!({
        "id": id, "state": "succeeded", "worker": "worker-1", "attempt": 1, "group": "web",
        "at": "2026-01-01T00:00:00Z",
    });
    cluster.all[0].tell("1", "task", &ended);
    for feed in &mut feeds {
        Page::hear(feed, "event: tasks").await;
    }
    let port = cluster.all[0].url.rsplit_once(':').unwrap().1;
    let expected = [
        format!("Created payload: {id}"),
        format!("Sent payload: {id} for execution to port: {port}"),
        format!("Received result: {id}"),
    ];
    cluster.until(|memory| expected.iter().all(|line| memory.logs.contains(line))).await;
    let text = page.browser.get(format!("{}/logging", page.address)).send().await.unwrap();
    assert_eq!(text.headers()["content-type"], "text/plain; charset=utf-8");
    let (text, html) = (text.text().await.unwrap(), page.text("/logging").await);
    assert!(html.starts_with("<!doctype html>"));
    assert!(expected.iter().all(|line| text.contains(line) && html.contains(line)));
}

#[tokio::test]
async fn told_to_end_it_ends_at_once_with_browsers_connected() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let mut page = Page::open(&cluster.urls());
    let mut feed = page.get("/events").await;
    Page::hear(&mut feed, "event: status").await;
    let pid = page.program.id().to_string();
    let told = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    while feed.chunk().await.unwrap().is_some() {}
    let ended = tokio::task::spawn_blocking(move || page.program.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    assert!(told.elapsed() < Duration::from_secs(10), "long before an engine would kill it");
    cluster.until(|memory| memory.logs.iter().any(|line| line.contains("no longer served"))).await;
}

#[tokio::test]
async fn a_connection_that_does_not_say_what_it_wants_is_closed_and_the_page_goes_on() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let page = Page::open_with(&cluster.urls(), &["--header-time", "1"]);
    let mut feed = page.get("/events").await;
    Page::hear(&mut feed, "worker-3").await;
    let address = page.address.trim_start_matches("http://");
    for begun in ["", "GET / HTTP/1.1\r\nhost: 127"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(page.get("/healthz").await.status(), StatusCode::OK, "others are served meanwhile");
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is never closed").unwrap();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    }
    let ended = json!({ "id": TaskId::now(), "state": "succeeded", "at": "2026-01-01T00:00:00Z" });
    cluster.all[0].tell("1", "task", &ended);
    Page::hear(&mut feed, "event: tasks").await;
}

#[tokio::test]
async fn the_healthcheck_tells_a_living_page_from_a_dead_one() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let page = Page::open(&cluster.urls());
    let listen = page.address.trim_start_matches("http://").to_owned();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clb"));
        command.args(["healthcheck", "--listen", &listen]).output().unwrap().status
    };
    assert!(check().success());
    drop(page);
    assert_eq!(check().code(), Some(1));
}
