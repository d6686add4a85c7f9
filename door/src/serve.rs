//! Serving with limits: how many connections there may be, how long one may take to say what it wants, and how long
//! it may take nothing of what it is answered.
//!
//! The first time runs while a request's header is awaited, so that a connection on which nothing is asked is closed
//! as well. It does not run while a body comes or goes: links and streams live as long as they like. The second one is
//! kept by the kernel, which knows what the other side has taken: writing costs no timer.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// How long nothing is accepted after the system gave no connection.
const REST: Duration = Duration::from_millis(100);
/// Said to one connection too many; it has not been asked what it wants.
const FULL: &str = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"There are too many connections (CLB_CONNECTIONS); try again later.","errors":[]}"#;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections there may be. Three quarters of them may come from one address, so that whoever takes
    /// all that it gets leaves the others some.
    pub connections: usize,
    /// How long the header of a request may take, from the connection's beginning or the last answer's end.
    pub header_time: Duration,
    /// How long the other side may take nothing while something is there for it. What has not been written until then
    /// is thrown away with the connection.
    pub stall_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1_024, header_time: Duration::from_secs(30), stall_time: Duration::from_mins(1) }
    }
}

/// The connections that there are, by where they come from.
#[derive(Clone, Debug, Default)]
struct Guests(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
struct Place {
    guests: Guests,
    from: IpAddr,
}

impl Guests {
    fn let_in(&self, from: IpAddr, most: usize) -> Option<Place> {
        let mut guests = self.guests();
        let all: usize = guests.values().sum();
        let own = guests.get(&from).copied().unwrap_or_default();
        if all >= most || own >= (most / 4 * 3).max(1) {
            return None;
        }
        guests.insert(from, own + 1);
        Some(Place { guests: self.clone(), from })
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.guests.guests();
        if let Some(own) = guests.get_mut(&self.from) {
            *own -= 1;
            if *own == 0 {
                guests.remove(&self.from);
            }
        }
    }
}

/// Serves until it is aborted; connections live on.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits) {
    accept(listener, router, limits, None).await;
}

/// Serves until it is told to end, and then until each connection has its last answer.
pub async fn serve_until(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    told: impl Future<Output = ()>,
) {
    let connections = GracefulShutdown::new();
    tokio::select! {
        () = accept(listener, router, limits, Some(&connections)) => {}
        () = told => {}
    }
    connections.shutdown().await;
}

/// The listener is closed when this is dropped.
async fn accept(listener: TcpListener, router: Router, limits: Limits, ending: Option<&GracefulShutdown>) {
    let guests = Guests::default();
    let full = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
        content-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{FULL}",
        FULL.len()
    );
    loop {
        let (stream, from) = match listener.accept().await {
            Ok((stream, from)) => (stream, from.ip()),
            Err(error) if is_of_one_connection(&error) => continue,
            Err(_) => {
                // No descriptors are left, say: others have to end first.
                sleep(REST).await;
                continue;
            }
        };
        let Some(place) = guests.let_in(from, limits.connections) else {
            // It goes away in any case.
            drop(stream.try_write(full.as_bytes()));
            continue;
        };
        tokio::spawn(attend(stream, router.clone(), limits, place, ending.map(GracefulShutdown::watcher)));
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn attend(stream: TcpStream, router: Router, limits: Limits, place: Place, ending: Option<Watcher>) {
    // A connection without it is only slower.
    drop(stream.set_nodelay(true));
    // One on which it cannot be set is gone already.
    drop(SockRef::from(&stream).set_tcp_user_timeout(Some(limits.stall_time)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // How it ended concerns nobody: whoever was there has gone, or was too slow.
    match ending {
        Some(ending) => drop(ending.watch(connection).await),
        None => drop(connection.await),
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::{Instant, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const HEADER_TIME: Duration = Duration::from_millis(300);
    const REQUEST: &[u8] = b"GET /now HTTP/1.1\r\nhost: a\r\n\r\n";

    /// They take longer together than a header may.
    fn pieces() -> impl futures::Stream<Item = io::Result<&'static str>> {
        futures::stream::unfold(0, async |n| {
            sleep(HEADER_TIME / 2).await;
            (n < 4).then_some((Ok("piece"), n + 1))
        })
    }

    async fn at(connections: usize) -> std::net::SocketAddr {
        let slow = async || Body::from_stream(pieces());
        let router = Router::new().route("/now", get(async || "now")).route("/slow", get(slow));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(
            listener,
            router,
            Limits { connections, header_time: HEADER_TIME, ..Limits::default() },
        ));
        address
    }

    /// All that comes until the other side closes.
    async fn rest_of(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("it is never closed").unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_header_that_does_not_come_to_its_end_closes_the_connection() {
        let address = at(10).await;
        for begun in [&b""[..], b"GET /now HTTP/1.1\r\nhost", REQUEST] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let since = Instant::now();
            stream.write_all(begun).await.unwrap();
            assert_eq!(rest_of(&mut stream).await.ends_with("now"), begun == REQUEST);
            assert!(since.elapsed() >= HEADER_TIME, "it had no time to go on");
        }
    }

    #[tokio::test]
    async fn an_answer_may_take_longer_than_a_header() {
        let mut stream = TcpStream::connect(at(10).await).await.unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let answer = rest_of(&mut stream).await;
        assert_eq!(answer.matches("piece").count(), 4, "{answer}");
    }

    #[tokio::test]
    async fn told_to_end_it_finishes_what_it_answers_and_takes_no_more() {
        let router = Router::new().route("/", get(async || Body::from_stream(pieces())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        let limits = Limits { connections: 10, header_time: PATIENCE * 2, ..Limits::default() };
        let serving = tokio::spawn(serve_until(listener, router, limits, async { drop(told.await) }));
        let mut answered = TcpStream::connect(address).await.unwrap();
        answered.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        answered.read_u8().await.unwrap();
        tell.send(()).unwrap();
        let answer = rest_of(&mut answered).await;
        assert_eq!(answer.matches("piece").count(), 4, "{answer}");
        timeout(PATIENCE, serving).await.expect("it goes on serving").unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "it still listens");
    }

    #[tokio::test]
    async fn one_connection_too_many_is_told_so_and_finds_room_later() {
        let address = at(4).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            stream.read_u8().await.unwrap();
            held.push(stream);
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        let answer = rest_of(&mut refused).await;
        let (header, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(header.starts_with("HTTP/1.1 503") && header.contains("retry-after: 1"), "{header}");
        assert!(header.contains(&format!("content-length: {}", body.len())), "{} in {header}", body.len());
        assert!(body.contains("CLB_CONNECTIONS"), "{body}");
        drop(held);
        let until = Instant::now() + PATIENCE;
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // It may be refused before it is written to.
            drop(stream.write_all(b"GET /now HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await);
            let mut answer = Vec::new();
            drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is never closed"));
            if answer.ends_with(b"now") {
                return;
            }
            assert!(Instant::now() < until, "nobody made room");
        }
    }

    /// An answer without an end that says when it is dropped.
    fn endless(dropped: tokio::sync::mpsc::Sender<()>) -> Body {
        Body::from_stream(futures::stream::unfold(dropped, async |dropped| {
            Some((Ok::<_, io::Error>(vec![0; 64 << 10]), dropped))
        }))
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_given_up_and_one_that_is_taken_slowly_is_not() {
        const STALL_TIME: Duration = Duration::from_secs(2);
        let (held, mut dropped) = tokio::sync::mpsc::channel::<()>(1);
        let router = Router::new().route("/", get(move || std::future::ready(endless(held.clone()))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { connections: 10, header_time: PATIENCE, stall_time: STALL_TIME };
        let serving = tokio::spawn(serve(listener, router, limits));
        let mut reader = TcpStream::connect(address).await.unwrap();
        reader.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let since = Instant::now();
        let mut piece = vec![0; 1 << 20];
        while since.elapsed() < STALL_TIME * 3 / 2 {
            reader.read_exact(&mut piece).await.expect("it was closed though it was read");
            sleep(STALL_TIME / 20).await;
        }
        serving.abort();
        // The router goes with the connection: nobody holds the sender when the answer is dropped.
        assert!(timeout(PATIENCE, dropped.recv()).await.expect("it is kept").is_none());
        let since = Instant::now();
        while timeout(PATIENCE, reader.read(&mut piece)).await.expect("it is not closed").is_ok_and(|n| n > 0)
        {
            assert!(since.elapsed() < PATIENCE, "it goes on");
        }
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let (guests, one, other) = (Guests::default(), IpAddr::from([1; 4]), IpAddr::from([2; 4]));
        let mut places: Vec<_> = (0..3).map(|_| guests.let_in(one, 4).unwrap()).collect();
        assert!(guests.let_in(one, 4).is_none());
        places.push(guests.let_in(other, 4).unwrap());
        assert!(guests.let_in(other, 4).is_none(), "there is no room at all");
        places.clear();
        assert!(guests.guests().is_empty());
    }
}
