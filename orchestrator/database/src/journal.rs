//! What this container has to say itself, handed in to whichever orchestrator takes it. Nothing is
//! written here because of lines that were read: that would never end.

use std::collections::VecDeque;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clb_protocol::link::{ContainerIdentity, LogHandIn, LogLine};
use clb_protocol::{ContainerId, Timestamp};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::StartError;

/// Lines kept while nobody takes them; the oldest go first.
const KEPT: usize = 1_000;
/// Lines in one request.
const BATCH: usize = 200;
/// An orchestrator without a leader holds a request for 5 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// The pause after every orchestrator was asked in vain.
const PAUSE: Duration = Duration::from_secs(1);

/// Lines that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Journal {
    lines: Mutex<Lines>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<(u64, LogLine)>,
    written: u64,
}

impl Journal {
    /// Writes a line.
    pub(super) fn write(&self, message: String) {
        let mut lines = self.lock();
        lines.written += 1;
        if lines.waiting.len() == KEPT {
            lines.waiting.pop_front();
        }
        let number = lines.written;
        lines.waiting.push_back((number, LogLine { at: Timestamp::now(), task: None, message }));
        drop(lines);
        self.news.notify_one();
    }

    /// The oldest lines and the last one's number; waits until there are some.
    async fn next_batch(&self) -> (u64, Vec<LogLine>) {
        loop {
            let lines: Vec<_> = self.lock().waiting.iter().take(BATCH).cloned().collect();
            if let Some((last, _)) = lines.last() {
                return (*last, lines.into_iter().map(|(_, line)| line).collect());
            }
            self.news.notified().await;
        }
    }

    fn forget(&self, last: u64) {
        self.lock().waiting.retain(|(number, _)| *number > last);
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why lines were not taken.
#[derive(Debug, thiserror::Error)]
enum Setback {
    /// Nobody listens there, or the answer does not come; ask again.
    #[error("{url} does not answer")]
    Silent { url: String },
    /// It cannot take them now; ask again.
    #[error("{url} answers {status}")]
    NotNow { url: String, status: StatusCode },
    /// It will not take these lines, however often it is asked.
    #[error("{url} refuses the lines with {status}")]
    Never { url: String, status: StatusCode },
}

/// The way to the leader.
pub(super) struct HandIn {
    client: Client<HttpConnector, Full<Bytes>>,
    urls: Vec<String>,
    token: Option<HeaderValue>,
    container: ContainerIdentity,
}

impl HandIn {
    /// Any of the orchestrators at `urls` passes the lines on to the leader.
    pub(super) fn new(
        urls: &[String],
        token: Option<&str>,
        container: ContainerIdentity,
    ) -> Result<Self, StartError> {
        let token = match token {
            Some(token) => {
                let mut value =
                    HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| StartError::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let urls = urls.iter().map(|url| url.trim().trim_end_matches('/').to_owned());
        let urls = urls.filter(|url| !url.is_empty()).collect();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build_http(), urls, token, container })
    }

    /// Hands in every line as it is written, without end.
    pub(super) async fn run(self, journal: Arc<Journal>) {
        if self.urls.is_empty() {
            tracing::warn!("the database's own log lines are not kept: CLB_URL names no orchestrator");
            return;
        }
        let mut told = String::new();
        let mut turn = 0;
        loop {
            let (last, lines) = journal.next_batch().await;
            let setback = match self.send(&self.urls[turn % self.urls.len()], lines).await {
                Ok(()) => {
                    journal.forget(last);
                    told.clear();
                    continue;
                }
                Err(setback) => setback,
            };
            if matches!(setback, Setback::Never { .. }) {
                journal.forget(last);
            }
            turn += 1;
            if turn % self.urls.len() == 0 {
                let text = setback.to_string();
                if text != told {
                    tracing::warn!("the database's own log lines wait: {text}");
                    told = text;
                }
                sleep(PAUSE).await;
            }
        }
    }

    async fn send(&self, url: &str, lines: Vec<LogLine>) -> Result<(), Setback> {
        let silent = || Setback::Silent { url: url.to_owned() };
        let body = LogHandIn { container: self.container.clone(), lines };
        let body = serde_json::to_vec(&body).map_err(|_| silent())?;
        let mut request =
            Request::post(format!("{url}/link/v1/logs")).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::from(body)).map_err(|_| silent())?;
        match timeout(ANSWER_LIMIT, self.client.request(request)).await {
            Ok(Ok(answer)) => judge(url, answer.status()),
            Ok(Err(_)) | Err(_) => Err(silent()),
        }
    }
}

fn judge(url: &str, status: StatusCode) -> Result<(), Setback> {
    let url = url.to_owned();
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Err(Setback::Never { url, status })
        }
        _ => Err(Setback::NotNow { url, status }),
    }
}

/// Docker's id of this container; `None` outside of one.
pub(super) fn container_id() -> Option<ContainerId> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    ContainerId::in_mountinfo(&mounts)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use axum::routing::post;
    use axum::{Json, Router};
    use clb_protocol::ContainerNo;
    use clb_protocol::link::{ContainerRole, LogReceipt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_newest_lines_are_kept_until_they_are_taken() {
        let journal = Journal::default();
        for number in 1..=KEPT + 5 {
            journal.write(format!("line {number}"));
        }
        let (last, lines) = journal.next_batch().await;
        assert_eq!((lines.len(), lines[0].message.as_str()), (BATCH, "line 6"));
        journal.forget(last);
        let (_, lines) = journal.next_batch().await;
        assert_eq!(lines[0].message, format!("line {}", 6 + BATCH));
    }

    #[tokio::test]
    async fn lines_go_to_whichever_orchestrator_takes_them() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = listener.local_addr().unwrap();
        let (taken, mut received) = mpsc::unbounded_channel();
        let take_in = async move |headers: HeaderMap, Json(logs): Json<LogHandIn>| {
            taken.send((headers[AUTHORIZATION].to_str().unwrap().to_owned(), logs)).unwrap();
            Json(LogReceipt { container: ContainerNo(3) })
        };
        let orchestrator = Router::new().route("/link/v1/logs", post(take_in));
        tokio::spawn(axum::serve(listener, orchestrator).into_future());

        let role = ContainerRole::Database;
        let container = ContainerIdentity { name: "database".into(), id: "c0ffee".into(), role };
        let urls = [format!("http://{dead}"), format!("http://{live}/")];
        let journal = Arc::new(Journal::default());
        journal.write("one".into());
        journal.write("two".into());
        let hand_in = HandIn::new(&urls, Some("secret"), container.clone()).unwrap();
        tokio::spawn(hand_in.run(Arc::clone(&journal)));
        for expected in [vec!["one", "two"], vec!["three"]] {
            let (bearer, logs) = received.recv().await.unwrap();
            let messages: Vec<&str> = logs.lines.iter().map(|line| line.message.as_str()).collect();
            assert_eq!((bearer.as_str(), &logs.container, messages), ("Bearer secret", &container, expected));
            journal.write("three".into());
        }
    }

    #[test]
    fn only_what_never_helps_is_given_up() {
        assert!(judge("", StatusCode::OK).is_ok());
        for status in [400, 413, 422] {
            let judged = judge("", StatusCode::from_u16(status).unwrap());
            assert!(matches!(judged, Err(Setback::Never { .. })), "{status}");
        }
        for status in [401, 418, 421, 429, 500, 503] {
            let judged = judge("", StatusCode::from_u16(status).unwrap());
            assert!(matches!(judged, Err(Setback::NotNow { .. })), "{status}");
        }
    }
}
