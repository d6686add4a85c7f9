//! Requests as any caller would send them: one connection each, so that none is left from a dead server.

mod events;
mod stream;

use std::time::Duration;

use bytes::Bytes;
use clb_protocol::api::Problem;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

pub use events::{Event, Events};
pub use stream::Stream;

/// Longer than the longest `wait` of the API.
const LIMIT: Duration = Duration::from_secs(75);

/// A request that is being put together.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    limit: Duration,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// A request with any method.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        let method = method.parse().expect("a method");
        Self { method, url: url.into(), headers: Vec::new(), body: Bytes::new(), limit: LIMIT }
    }

    /// `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// `POST` of JSON.
    pub fn post_json(url: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new("POST", url).header(CONTENT_TYPE.as_str(), "application/json").body(body)
    }

    /// With this header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With no more patience than this.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends it and gives the answer before its body has come.
    async fn begin(&self) -> Result<Response<Incoming>, String> {
        let fails = |why: String| format!("{} {}: {why}", self.method, self.url);
        let mut request = Request::builder().method(self.method.clone()).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body.clone())).map_err(|error| fails(error.to_string()))?;
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        client.request(request).await.map_err(|error| fails(format!("{error:?}")))
    }

    /// Sends it; an error when there was no whole answer.
    pub async fn try_send(&self) -> Result<Answer, String> {
        let exchange = async {
            let (head, body) = self.begin().await?.into_parts();
            let body = body.collect().await.map_err(|error| format!("{}: {error}", self.url))?.to_bytes();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        match tokio::time::timeout(self.limit, exchange).await {
            Ok(done) => done,
            Err(_) => {
                Err(format!("{} {}: no answer within {} s", self.method, self.url, self.limit.as_secs()))
            }
        }
    }

    /// Sends it and listens to the events that are the answer.
    pub async fn listen(&self) -> Events {
        match self.begin().await {
            Ok(answer) if answer.status() == 200 => Events::new(answer.into_body()),
            Ok(answer) => panic!("{}: {}", self.url, answer.status()),
            Err(why) => panic!("{why}"),
        }
    }

    /// Sends it and reads the answer as it comes.
    pub async fn open(&self) -> Stream {
        match self.begin().await {
            Ok(answer) if answer.status() == 200 => Stream::new(answer.into_body()),
            Ok(answer) => panic!("{}: {}", self.url, answer.status()),
            Err(why) => panic!("{why}"),
        }
    }

    /// Sends it and expects an answer, whatever it is.
    pub async fn send(&self) -> Answer {
        match self.try_send().await {
            Ok(answer) => answer,
            Err(why) => panic!("{why}"),
        }
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("unexpected body ({error}): {} {}", self.status, self.text()),
        }
    }

    /// The body as a problem, checked to be a well-formed one.
    pub fn problem(&self) -> Problem {
        let kind = self.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().to_vec()).unwrap_or_default();
        let kind = String::from_utf8_lossy(&kind);
        assert!(kind.starts_with("application/problem+json"), "{} {kind}: {}", self.status, self.text());
        let problem: Problem = self.json();
        assert_eq!(problem.status, self.status, "the problem names another status: {problem:?}");
        assert!(!problem.detail.is_empty() && !problem.title.is_empty(), "it says nothing: {problem:?}");
        problem
    }
}
