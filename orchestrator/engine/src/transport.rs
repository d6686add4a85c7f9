//! The connection to the engine. Over a socket the connections are pooled, which halves the time of
//! the short calls, and the socket need not be there yet when the client is made.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest};
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;

use crate::EngineError;

/// Where the engine is when nobody says otherwise.
pub(crate) const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";

/// Connections kept open between calls.
const IDLE_CONNECTIONS: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Stands in until the handle sets its own.
const TIMEOUT_SECONDS: u64 = 10;

/// A client for the engine at `unix://PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`. Nothing is sent.
pub(crate) fn client(address: &str) -> Result<bollard::Docker, EngineError> {
    let made = if let Some(path) = address.strip_prefix("unix://") {
        over_socket(PathBuf::from(path))
    } else if address.starts_with("tcp://") || address.starts_with("http://") {
        bollard::Docker::connect_with_http(address, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
    } else {
        return Err(EngineError::BadAddress { address: address.to_owned() });
    };
    made.map_err(EngineError::from)
}

fn over_socket(path: PathBuf) -> Result<bollard::Docker, bollard::errors::Error> {
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        Box::pin(async move {
            let stream = UnixStream::connect(&path)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            Ok::<_, io::Error>(Socket(TokioIo::new(stream)))
        })
    });
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build(connector);
    let transport = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(bollard::errors::Error::from) }
    };
    bollard::Docker::connect_with_custom_transport(
        transport,
        Some("http://docker"),
        TIMEOUT_SECONDS,
        API_DEFAULT_VERSION,
    )
}

/// A Unix socket as hyper's pool wants it.
struct Socket(TokioIo<UnixStream>);

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
