//! The pages as a caller sees them, in front of a real store.

use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use clb_protocol::link::{ContainerIdentity, ContainerRole};
use clb_protocol::{ContainerNo, Epoch, LogSeq, TaskId, Timestamp};
use clb_store::sqlite::{SqliteReader, SqliteStore};
use clb_store::{Batch, Claim, LogEntry, LogFilter, LogFrom, Reader, Registration, Store};
use futures::StreamExt;
use http_body_util::BodyExt;
use tempfile::TempDir;
use tower::ServiceExt;

use super::backup::Backups;
use super::journal::Journal;
use super::pages::{Desk, router};
use super::source::Source;

/// A store with a leader and the containers 1 (`worker-1`) and 2 (`client`).
pub(super) struct Stored {
    folder: TempDir,
    store: SqliteStore,
    epoch: Epoch,
}

impl Stored {
    pub(super) fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(folder: TempDir) -> Self {
        let store = SqliteStore::new(&folder.path().join("clb.db"));
        let url = "http://127.0.0.1:3002".to_owned();
        let claim = Claim { holder: "orchestrator-1".into(), url: url.clone(), public_url: url };
        let epoch = store.acquire(&claim, Epoch(0)).unwrap();
        let containers = [(1, "worker-1"), (2, "client")].map(|(no, name)| Registration {
            no: ContainerNo(no),
            identity: ContainerIdentity {
                name: name.into(),
                id: format!("id-{no}").into(),
                role: ContainerRole::Worker,
            },
            at: Timestamp(1),
        });
        store.commit(epoch, &Batch { containers: containers.into(), ..Batch::default() }).unwrap();
        Self { folder, store, epoch }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("clb.db")
    }

    pub(super) fn source(&self) -> Source {
        Source::new(&self.path())
    }

    /// Container 1 writes these lines.
    pub(super) fn log(&self, seqs: RangeInclusive<u64>, message: impl Fn(u64) -> String) {
        self.write(seqs.map(|seq| (seq, 1, None, message(seq))).collect());
    }

    fn write(&self, lines: Vec<(u64, u32, Option<TaskId>, String)>) {
        let logs = lines.into_iter().map(|(seq, no, task, message)| LogEntry {
            seq: LogSeq(seq),
            at: Timestamp(1_800_000_000_000_000 + seq as i64),
            container: ContainerNo(no),
            task,
            message,
        });
        self.store.commit(self.epoch, &Batch { logs: logs.collect(), ..Batch::default() }).unwrap();
    }
}

fn pages(source: Source, token: Option<&str>) -> Router {
    let backups = Backups::new(source.clone());
    router(Desk::new("clb".into(), token.map(str::to_owned), source, backups, Arc::new(Journal::default())))
}

async fn send(pages: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:3003");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    pages.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn read(answer: Response) -> (u16, HeaderMap, Bytes) {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.into_body().collect().await.unwrap().to_bytes())
}

async fn get(pages: &Router, path: &str) -> (u16, String) {
    let (status, _, body) = read(send(pages, "GET", path, &[]).await).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The numbers of the lines on a page, in order.
fn seqs(page: &str) -> Vec<u64> {
    page.split("&lt;Log ").skip(1).map(|rest| rest.split_once(',').unwrap().0.parse().unwrap()).collect()
}

/// Where a link of the page leads.
fn link(page: &str, rel: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("rel=\"{rel}\" href=\""))?;
    Some(rest.split_once('"')?.0.replace("&#38;", "&"))
}

#[tokio::test]
async fn the_first_page_says_what_is_stored() {
    let stored = Stored::new();
    stored.log(1..=1_234, |seq| format!("line {seq}"));
    stored.store.renew(stored.epoch).unwrap();
    let (status, page) = get(&pages(stored.source(), None), "/").await;
    assert_eq!(status, 200);
    for expected in [
        "<td>log lines</td><td class=\"number\">1,234</td>",
        "<td>containers registered</td><td class=\"number\">2</td>",
        "orchestrator-1</a>",
        "leads, epoch 1",
        "KiB</p>",
        "href=\"/logging\"",
        "href=\"/backup\"",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
}

#[tokio::test]
async fn the_log_is_read_page_by_page_both_ways() {
    let stored = Stored::new();
    stored.log(1..=25, |seq| format!("line {seq}"));
    let pages = pages(stored.source(), None);
    let mut at = "/logging?limit=10".to_owned();
    let mut seen = Vec::new();
    loop {
        let (status, page) = get(&pages, &at).await;
        assert_eq!(status, 200);
        assert_eq!(
            page.contains("http-equiv=\"refresh\""),
            seen.is_empty(),
            "only the newest refreshes: {at}"
        );
        seen.push(seqs(&page));
        match link(&page, "prev") {
            Some(older) => at = older,
            None => break,
        }
    }
    let expected: Vec<Vec<u64>> = vec![(16..=25).collect(), (6..=15).collect(), (1..=5).collect()];
    assert_eq!(seen, expected);

    let mut seen = seen.pop().unwrap();
    while let Some(newer) = link(&get(&pages, &at).await.1, "next") {
        let lines = seqs(&get(&pages, &newer).await.1);
        assert!(!lines.is_empty(), "{newer} leads nowhere");
        seen.extend(lines);
        at = newer;
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_log_is_filtered_by_container_and_payload() {
    let stored = Stored::new();
    let (task, other) = (TaskId::now(), TaskId::now());
    stored.write(vec![
        (1, 1, None, "Is master container".into()),
        (2, 2, Some(task), format!("Created payload: {task}")),
        (3, 1, Some(task), format!("Received payload: {task}")),
        (4, 1, Some(other), format!("Received payload: {other}")),
    ]);
    let pages = pages(stored.source(), None);
    for (query, expected) in [
        ("", vec![1, 2, 3, 4]),
        ("?container=&task=", vec![1, 2, 3, 4]),
        ("?container=worker-1", vec![1, 3, 4]),
        (&format!("?task={task}"), vec![2, 3]),
        (&format!("?container=worker-1&task={task}"), vec![3]),
        ("?container=nobody", vec![]),
        ("?after=2", vec![3, 4]),
        ("?before=2", vec![1]),
        ("?after=99", vec![]),
        ("?after=9223372036854775806", vec![]),
        ("?before=0", vec![]),
    ] {
        let (status, page) = get(&pages, &format!("/logging{query}")).await;
        assert_eq!((status, seqs(&page)), (200, expected), "{query}");
    }
    let (_, page) = get(&pages, "/logging").await;
    assert!(page.contains("&lt;Log 1, Container 1: Is master container&gt;"));
    assert!(page.contains(&format!("href=\"/logging?task={task}\"")));
    let (_, _, text) = read(send(&pages, "GET", "/logging", &[("accept", "text/plain")]).await).await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("worker-1 <Log 1, Container 1: Is master container>\n"));
}

#[tokio::test]
async fn what_containers_write_is_never_markup() {
    let stored = Stored::new();
    stored.log(1..=1, |_| "<script>alert('x')</script> & \"more\"".to_owned());
    let pages = pages(stored.source(), None);
    let (_, page) = get(&pages, "/logging").await;
    assert!(!page.contains("<script>"));
    assert!(page.contains("&#60;script&#62;alert(&#39;x&#39;)&#60;/script&#62; &#38; &#34;more&#34;"));
    let (_, page) = get(&pages, "/logging?container=%22%3E%3Cscript%3E").await;
    assert!(!page.contains("<script>"));
}

#[tokio::test]
async fn a_bad_parameter_is_named_and_nothing_breaks() {
    let stored = Stored::new();
    let pages = pages(stored.source(), None);
    for (query, named) in [
        ("task=7", "Task "),
        ("task=6ba7b810-9dad-11d1-80b4-00c04fd430c8", "Task "),
        ("after=x", "After "),
        ("after=-1", "After "),
        ("before=99999999999999999999", "Before "),
        ("after=1&before=2", "Before "),
        ("limit=0", "Limit "),
        ("colour=red", "colour"),
        ("after=1&after=2", "after"),
    ] {
        let (status, page) = get(&pages, &format!("/logging?{query}")).await;
        assert!(status == 422 && page.contains(named), "{query}: {status} {page}");
    }
}

#[tokio::test]
async fn other_addresses_and_methods_are_refused_in_words() {
    let stored = Stored::new();
    let pages = pages(stored.source(), None);
    for (method, path, expected) in
        [("GET", "/stop", 404), ("POST", "/nowhere", 404), ("POST", "/logging", 405), ("DELETE", "/", 405)]
    {
        let (status, headers, _) = read(send(&pages, method, path, &[]).await).await;
        assert_eq!(status, expected, "{method} {path}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers.get_all("allow").iter().count(), usize::from(expected == 405));
    }
}

#[tokio::test]
async fn a_store_that_is_missing_or_broken_is_said_so_until_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clb.db");
    let pages = pages(Source::new(&path), None);
    let unavailable = async |words: &str| {
        for page in ["/", "/logging", "/backup", "/readyz"] {
            let (status, headers, body) = read(send(&pages, "GET", page, &[]).await).await;
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(status == 503 && body.contains(words), "{page}: {status} {body}");
            assert!(headers.contains_key("retry-after"), "{page}");
        }
        assert_eq!(get(&pages, "/healthz").await.0, 200);
    };
    unavailable("does not exist").await;
    fs::write(&path, "To whom it may concern: this is a letter.\n".repeat(500)).unwrap();
    unavailable("is not a store of CLB").await;
    fs::remove_file(&path).unwrap();
    let stored = Stored::at(folder);
    stored.log(1..=1, |_| "here it is".to_owned());
    for page in ["/", "/logging", "/backup", "/readyz"] {
        assert_eq!(get_status(&pages, page).await, 200, "{page}");
    }
}

#[tokio::test]
async fn another_store_in_its_place_is_found() {
    let (first, second) = (Stored::new(), Stored::new());
    first.log(1..=1, |_| "the first".to_owned());
    second.log(1..=1, |_| "the second".to_owned());
    let pages = pages(first.source(), None);
    assert!(get(&pages, "/logging").await.1.contains("the first"));
    let path = first.path();
    let Stored { folder, store, .. } = first;
    drop(store);
    let Stored { folder: other, store, .. } = second;
    // Now everything is in the main file.
    drop(store);
    for file in ["clb.db-wal", "clb.db-shm"] {
        // The reader's connection may have kept them.
        drop(fs::remove_file(folder.path().join(file)));
    }
    fs::rename(other.path().join("clb.db"), path).unwrap();
    assert!(get(&pages, "/logging").await.1.contains("the second"));
}

async fn get_status(pages: &Router, path: &str) -> u16 {
    read(send(pages, "GET", path, &[]).await).await.0
}

#[tokio::test]
async fn with_a_token_only_its_bearers_read() {
    let stored = Stored::new();
    let pages = pages(stored.source(), Some("secret"));
    for path in ["/", "/logging", "/backup", "/nowhere"] {
        let (status, headers, _) = read(send(&pages, "GET", path, &[]).await).await;
        assert_eq!((status, headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"), "{path}");
        let with = send(&pages, "GET", path, &[("authorization", "Bearer secret")]).await;
        assert_ne!(with.status().as_u16(), 401, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get_status(&pages, path).await, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_whole_while_commits_go_on() {
    let stored = Arc::new(Stored::new());
    stored.log(1..=5_000, |seq| format!("line {seq}"));
    let pages = pages(stored.source(), None);
    let writer = Arc::clone(&stored);
    let (go_on, stop) = std::sync::mpsc::channel::<()>();
    let commits = tokio::task::spawn_blocking(move || {
        let mut seq = 5_000;
        while stop.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            seq += 1;
            writer.log(seq..=seq, |seq| format!("line {seq}"));
        }
        seq
    });
    let (status, headers, body) = read(send(&pages, "GET", "/backup", &[]).await).await;
    drop(go_on);
    assert!(commits.await.unwrap() > 5_000);
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "application/vnd.sqlite3"));
    let name = headers["content-disposition"].to_str().unwrap();
    assert!(name.starts_with("attachment; filename=\"clb-2") && name.ends_with("Z.db\""), "{name}");
    assert_eq!(headers["content-length"].to_str().unwrap(), body.len().to_string());

    let copy = stored.folder.path().join("copy.db");
    fs::write(&copy, &body).unwrap();
    let copy = SqliteReader::open(&copy).unwrap();
    let newest = copy.logs(&LogFilter::default(), LogFrom::End, 1).unwrap().newer;
    assert!(newest >= LogSeq(5_000));
    let mut seqs: Vec<LogSeq> = Vec::new();
    loop {
        let from = LogFrom::After(seqs.last().copied().unwrap_or(LogSeq(0)));
        let lines = copy.logs(&LogFilter::default(), from, 1_000).unwrap().logs;
        if lines.is_empty() {
            break;
        }
        seqs.extend(lines.into_iter().map(|line| line.seq));
    }
    assert!(seqs.iter().copied().eq((1..=newest.0).map(LogSeq)), "a line is missing or too much");
}

fn copies(stored: &Stored) -> usize {
    let names = fs::read_dir(stored.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().contains("snapshot")).count()
}

#[tokio::test]
async fn one_backup_is_made_at_a_time_and_leaves_nothing_behind() {
    let stored = Stored::new();
    // More than is read ahead, so that the download is not over before it is read.
    stored.log(1..=1_000, |seq| format!("{seq} {}", "long ".repeat(800)));
    let pages = pages(stored.source(), None);
    let first = send(&pages, "GET", "/backup", &[]).await;
    assert_eq!(first.status().as_u16(), 200);
    assert_eq!(copies(&stored), 0);
    let (status, headers, _) = read(send(&pages, "GET", "/backup", &[]).await).await;
    assert_eq!((status, headers.contains_key("retry-after")), (429, true));
    assert_eq!(read(send(&pages, "HEAD", "/backup", &[]).await).await.0, 200);
    // The first is given up in the middle; the next gets its turn as soon as that is noticed.
    let mut body = first.into_body().into_data_stream();
    assert!(body.next().await.unwrap().unwrap().starts_with(b"SQLite format 3\0"));
    drop(body);
    let next = async {
        while get_status_only(&pages, "/backup").await == 429 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), next).await.unwrap();
    assert_eq!(copies(&stored), 0);
}

async fn get_status_only(pages: &Router, path: &str) -> u16 {
    send(pages, "GET", path, &[]).await.status().as_u16()
}

#[tokio::test]
async fn other_sites_cannot_order_backups() {
    let stored = Stored::new();
    let pages = pages(stored.source(), None);
    for headers in [[("sec-fetch-site", "cross-site")], [("origin", "http://evil.example")]] {
        assert_eq!(send(&pages, "GET", "/backup", &headers).await.status().as_u16(), 403);
    }
    let from_its_page = [("sec-fetch-site", "same-origin")];
    assert_eq!(send(&pages, "GET", "/backup", &from_its_page).await.status().as_u16(), 200);
}
