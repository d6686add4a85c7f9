//! Asking one orchestrator for a link: one connection, one request whose body stays open.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clb_protocol::Epoch;
use clb_protocol::link::{Misdirected, SILENCE_LIMIT_MS, Welcome, WorkerOrder};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{ANSWER_LIMIT, CONNECT_LIMIT, LOOKUP_LIMIT, Link, LinkError, WRITES_AHEAD};

const PATH: &str = "/link/v1/worker";
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// The body of a refusal is a few words.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
const WELCOME_LIMIT: Duration = Duration::from_millis(SILENCE_LIMIT_MS);

/// Why an orchestrator gave no link. Ask it again later, whatever the reason.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The configuration's fault.
    #[error("its address is not usable; correct CLB_ORCHESTRATORS")]
    NotAnAddress,
    /// It is down, or its name is not known yet.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// The name service is slow, as it is for names of containers that are gone.
    #[error("its name was not found in time")]
    NoName,
    /// It does not answer.
    #[error("no answer in time")]
    Silent,
    /// The connection broke.
    #[error("no answer: {0}")]
    Broken(#[source] hyper::Error),
    /// It stands by and knows who leads.
    #[error("{leader} leads")]
    Misdirected {
        /// The leader's base URL.
        leader: String,
    },
    /// The token does not fit.
    #[error("it refused the token; CLB_TOKEN must be the same everywhere")]
    Unauthorized,
    /// It has no leader to offer, or refuses for a reason of its own.
    #[error("it answered {0}")]
    Refused(StatusCode),
    /// It answered and then ended the link.
    #[error("no welcome: {0}")]
    NoWelcome(#[source] LinkError),
    /// It began with another order.
    #[error("it did not begin with a welcome")]
    NotAWelcome,
    /// It leads a term that is over.
    #[error("its term {theirs} is over, this worker has seen term {seen}")]
    Outdated {
        /// The term that it claims.
        theirs: Epoch,
        /// The highest term that the worker has seen.
        seen: Epoch,
    },
}

/// The body of the request: what the worker says, as it says it.
struct Said {
    hello: Option<Bytes>,
    lines: mpsc::Receiver<Bytes>,
}

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(Ok(Frame::data(hello))));
        }
        self.lines.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

/// Opens a link at `url` that begins with `hello`, and waits for the welcome of a term of at least `fence`.
pub(super) async fn ask(
    url: &str,
    hello: Bytes,
    token: Option<&HeaderValue>,
    fence: Epoch,
) -> Result<(Link, Welcome), AskError> {
    let mut link = timeout(ANSWER_LIMIT, open(url, hello, token)).await.map_err(|_| AskError::Silent)??;
    let first = timeout(WELCOME_LIMIT, link.hear()).await.map_err(|_| AskError::Silent)?;
    match first.map_err(AskError::NoWelcome)? {
        WorkerOrder::Welcome(welcome) if welcome.epoch >= fence => Ok((link, welcome)),
        WorkerOrder::Welcome(welcome) => Err(AskError::Outdated { theirs: welcome.epoch, seen: fence }),
        _ => Err(AskError::NotAWelcome),
    }
}

async fn open(url: &str, hello: Bytes, token: Option<&HeaderValue>) -> Result<Link, AskError> {
    let uri: Uri = url.parse().map_err(|_| AskError::NotAnAddress)?;
    let (say, lines) = mpsc::channel(WRITES_AHEAD);
    let request = request(&uri, Said { hello: Some(hello), lines }, token)?;
    let stream = connect(&uri).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(AskError::Broken)?;
    let driver = tokio::spawn(async move {
        // How it ended is told to whoever reads the response.
        let _ = connection.await;
    });
    let mut guard = AbortOnDrop(Some(driver));
    let response = sender.send_request(request).await.map_err(AskError::Broken)?;
    if response.status() != StatusCode::OK {
        return Err(refusal(response).await);
    }
    match guard.0.take() {
        Some(driver) => Ok(Link::new(url.to_owned(), say, response.into_body(), driver)),
        None => Err(AskError::Silent),
    }
}

/// A connection that nobody waits for any more is closed, not left open.
struct AbortOnDrop(Option<tokio::task::JoinHandle<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn request(uri: &Uri, body: Said, token: Option<&HeaderValue>) -> Result<Request<Said>, AskError> {
    let host = uri.authority().ok_or(AskError::NotAnAddress)?.as_str();
    let mut request = Request::post(PATH).header(HOST, host).header(CONTENT_TYPE, NDJSON);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    request.body(body).map_err(|_| AskError::NotAnAddress)
}

/// Names are resolved each time: a container that is made again has another address.
async fn connect(uri: &Uri) -> Result<TcpStream, AskError> {
    let host = uri.host().ok_or(AskError::NotAnAddress)?.trim_matches(['[', ']']);
    let address = (host, uri.port_u16().unwrap_or(80));
    let found = timeout(LOOKUP_LIMIT, lookup_host(address)).await.map_err(|_| AskError::NoName)?;
    let addresses: Vec<SocketAddr> = found.map_err(AskError::Connect)?.collect();
    let stream = timeout(CONNECT_LIMIT, TcpStream::connect(&*addresses)).await;
    let stream = stream.map_err(|_| AskError::Silent)?.map_err(AskError::Connect)?;
    stream.set_nodelay(true).map_err(AskError::Connect)?;
    Ok(stream)
}

async fn refusal(response: Response<Incoming>) -> AskError {
    match response.status() {
        StatusCode::UNAUTHORIZED => AskError::Unauthorized,
        StatusCode::MISDIRECTED_REQUEST => {
            let body = Limited::new(response.into_body(), MAX_REFUSAL_BYTES).collect().await;
            let named = body.ok().and_then(|it| serde_json::from_slice::<Misdirected>(&it.to_bytes()).ok());
            match named {
                Some(Misdirected { leader }) => AskError::Misdirected { leader },
                None => AskError::Refused(StatusCode::MISDIRECTED_REQUEST),
            }
        }
        status => AskError::Refused(status),
    }
}
