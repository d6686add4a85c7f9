//! One call, put to the orchestrators in turn until one serves it or the patience is over.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use clb_protocol::api::Problem;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::Client;
use super::backoff::Backoff;
use super::search::Search;
use crate::{Error, Setback};

/// How long a healthy orchestrator may take to answer what it does not hold on purpose.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// An orchestrator may hold a request that changes something for 5 s while it has no leader.
const CHANGE_WITHIN: Duration = Duration::from_secs(6);
/// What walks over all tasks commits a thousand of them at a time before it answers, and begins anew when it is asked
/// again.
const WALK_WITHIN: Duration = Duration::from_mins(10);
/// What a large body may take in addition: at least this many bytes a second.
const SLOWEST_BYTES_PER_SECOND: f64 = 1_000_000.0;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    body: Bytes,
    content_type: &'static str,
    idempotency_key: Option<String>,
    /// For how long the cluster was asked to hold the answer.
    hold: Duration,
    /// Whether it concerns any number of tasks.
    walks: bool,
}

/// What one orchestrator said.
enum Answer {
    Served(Bytes),
    Refused(Error),
    Passed { setback: Setback, retry_after: Option<Duration> },
}

impl Call {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query: vec![],
            body: Bytes::new(),
            content_type: "application/json",
            idempotency_key: None,
            hold: Duration::ZERO,
            walks: false,
        }
    }

    pub(super) fn post<B: Serialize>(path: impl Into<String>, body: &B) -> Result<Self, Error> {
        let path = path.into();
        match serde_json::to_vec(body) {
            Ok(json) => Ok(Self { method: Method::POST, body: json.into(), ..Self::get(path) }),
            Err(source) => Err(Error::Unreadable { asked: path, source }),
        }
    }

    pub(super) fn put<B: Serialize>(path: impl Into<String>, body: &B) -> Result<Self, Error> {
        Ok(Self { method: Method::PUT, ..Self::post(path, body)? })
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    /// A body of one JSON object a line.
    pub(super) fn post_lines(path: impl Into<String>, body: Bytes) -> Self {
        Self { method: Method::POST, body, content_type: "application/x-ndjson", ..Self::get(path) }
    }

    pub(super) fn with_key(self, key: &str) -> Self {
        Self { idempotency_key: Some(key.to_owned()), ..self }
    }

    pub(super) fn post_nothing(path: impl Into<String>) -> Self {
        Self { method: Method::POST, ..Self::get(path) }
    }

    pub(super) fn query(mut self, name: &str, value: &dyn Display) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// Asks the cluster to wait for news up to `hold`.
    pub(super) fn holding(self, hold: Duration) -> Self {
        Self { hold, ..self }.query("wait", &hold.as_secs_f64())
    }

    /// Any number of tasks are changed before there is an answer.
    pub(super) fn walking(self) -> Self {
        Self { walks: true, ..self }
    }

    /// How long one orchestrator may take when the caller's patience has so much left.
    fn limit(&self, left: Duration) -> Duration {
        if self.walks { WALK_WITHIN } else { self.answer_within().min(left) + self.hold }
    }

    /// Beside what it was asked to hold.
    fn answer_within(&self) -> Duration {
        let upload = Duration::from_secs_f64(self.body.len() as f64 / SLOWEST_BYTES_PER_SECOND);
        let base = if self.method == Method::GET { ANSWER_WITHIN } else { CHANGE_WITHIN };
        base + upload
    }
}

impl Client {
    /// Asks until an orchestrator serves or refuses the call, or this client's patience is over.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let body = self.served(&call).await?;
        serde_json::from_slice(&body).map_err(|source| Error::Unreadable { asked: call.path, source })
    }

    /// The same for a call whose answer has no body.
    pub(super) async fn ask_nothing(&self, call: Call) -> Result<(), Error> {
        self.served(&call).await.map(|_| ())
    }

    async fn served(&self, call: &Call) -> Result<Bytes, Error> {
        let mut search = Search::new(self.patience);
        let mut backoff = Backoff::default();
        let first = self.last_good();
        for n in 0.. {
            let (place, url) = self.nth(first + n);
            let asked_at = Instant::now();
            let (setback, retry_after) = match self.put_to(url, call, call.limit(search.left(asked_at))).await
            {
                Answer::Served(body) => {
                    self.remember(place);
                    self.note_answer(url);
                    return Ok(body);
                }
                Answer::Refused(error) => {
                    self.remember(place);
                    self.note_answer(url);
                    return Err(error);
                }
                Answer::Passed { setback, retry_after } => (setback, retry_after),
            };
            let round_is_over = (n + 1) % self.inner.orchestrators.len() == 0;
            let pause = if round_is_over { backoff.pause(retry_after) } else { Duration::ZERO };
            let now = Instant::now();
            search.note(asked_at, call.hold, now);
            self.note_setback(&setback, search.lasts(now) + pause, search.left(now));
            if pause >= search.left(now) {
                let tried = self.inner.orchestrators.clone();
                return Err(Error::Unavailable { tried, waited: search.lasts(now), last: Box::new(setback) });
            }
            tokio::time::sleep(pause).await;
        }
        unreachable!("the loop ends by returning")
    }

    async fn put_to(&self, url: &Url, call: &Call, within: Duration) -> Answer {
        let exchange = async {
            let mut address = url.clone();
            address.set_path(&call.path);
            let mut request = self.inner.http.request(call.method.clone(), address).query(&call.query);
            if let Some(key) = &call.idempotency_key {
                request = request.header("idempotency-key", key);
            }
            if !call.body.is_empty() {
                request = request.header(CONTENT_TYPE, call.content_type).body(call.body.clone());
            }
            let response = request.send().await?;
            let (status, retry_after) = (response.status(), retry_after(&response));
            Ok::<_, reqwest::Error>((status, retry_after, response.bytes().await?))
        };
        let passed = |setback| Answer::Passed { setback, retry_after: None };
        match timeout(within, exchange).await {
            Err(_) => passed(Setback::Silent { url: url.clone(), waited: within }),
            Ok(Err(source)) => {
                passed(Setback::Unreachable { url: url.clone(), source: source.without_url() })
            }
            Ok(Ok((status, _, body))) if status.is_success() => Answer::Served(body),
            Ok(Ok((status, retry_after, body))) => judge(url, status, retry_after, &body),
        }
    }
}

/// What to make of an answer that is not a success.
fn judge(url: &Url, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Answer {
    let problem = problem(status, body);
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            let retry_after = retry_after.unwrap_or(Duration::from_secs(1));
            Answer::Refused(Error::QueueFull { retry_after, problem })
        }
        StatusCode::IM_A_TEAPOT | StatusCode::MISDIRECTED_REQUEST => {
            Answer::Passed { setback: not_serving(url, problem), retry_after }
        }
        _ if status.is_client_error() => Answer::Refused(Error::Refused { problem }),
        _ => Answer::Passed { setback: not_serving(url, problem), retry_after },
    }
}

fn not_serving(url: &Url, problem: Problem) -> Setback {
    Setback::NotServing { url: url.clone(), status: problem.status, detail: problem.detail }
}

/// What an orchestrator said that did not open a stream: the caller's error, or why to pass it by.
pub(super) async fn refusal_of(url: &Url, response: Response) -> Result<Setback, Error> {
    let (status, after) = (response.status(), retry_after(&response));
    let body = timeout(ANSWER_WITHIN, response.bytes()).await;
    match judge(url, status, after, &body.ok().and_then(Result::ok).unwrap_or_default()) {
        Answer::Refused(error) => Err(error),
        Answer::Passed { setback, .. } => Ok(setback),
        Answer::Served(_) => Ok(Setback::Ended { url: url.clone() }),
    }
}

/// Why an orchestrator that answered does not serve an event stream.
pub(super) async fn setback_of(url: &Url, response: Response) -> Setback {
    let status = response.status();
    let body = timeout(ANSWER_WITHIN, response.bytes()).await;
    not_serving(url, problem(status, &body.ok().and_then(Result::ok).unwrap_or_default()))
}

/// The problem details of an answer, or what its text says when it has none.
fn problem(status: StatusCode, body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let title = status.canonical_reason().unwrap_or("an unknown status").to_owned();
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let detail = if text.is_empty() { title.clone() } else { text.chars().take(300).collect() };
        Problem { kind: "about:blank".to_owned(), title, status: status.as_u16(), detail, errors: vec![] }
    })
}

/// A name as one part of a path; what else it has, the URL's own encoding takes care of.
pub(super) fn segment(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Answer {
        let url = "http://127.0.0.1:3002".parse().unwrap();
        judge(&url, StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
    }

    #[test]
    fn what_concerns_many_tasks_may_take_minutes_whatever_the_patience() {
        let call = || Call::post("/api/v1/tasks/cancel", &()).unwrap();
        let left = Duration::from_secs(2);
        assert_eq!(call().limit(left), left);
        assert!(call().walking().limit(left) >= Duration::from_mins(5));
    }

    #[test]
    fn what_is_held_is_waited_for_though_little_patience_is_left() {
        let hold = Duration::from_secs(30);
        let call = Call::get("/api/v1/outcomes").holding(hold);
        assert_eq!(call.limit(Duration::from_secs(1)), Duration::from_secs(31));
        assert_eq!(call.limit(Duration::from_mins(1)), ANSWER_WITHIN + hold);
    }

    #[test]
    fn an_orchestrator_that_cannot_serve_is_passed_by() {
        for status in [418, 421, 500, 502, 503, 504] {
            assert!(matches!(judged(status, ""), Answer::Passed { .. }), "{status}");
        }
    }

    #[test]
    fn a_refusal_is_final_whoever_gives_it() {
        for status in [400, 401, 403, 404, 405, 409, 413, 415, 422] {
            assert!(matches!(judged(status, ""), Answer::Refused(Error::Refused { .. })), "{status}");
        }
        assert!(matches!(judged(429, ""), Answer::Refused(Error::QueueFull { .. })));
    }

    #[test]
    fn an_answer_without_problem_details_still_says_something() {
        assert_eq!(problem(StatusCode::IM_A_TEAPOT, b" I simulate \n").detail, "I simulate");
        assert_eq!(problem(StatusCode::NOT_FOUND, b"").detail, "Not Found");
    }
}
