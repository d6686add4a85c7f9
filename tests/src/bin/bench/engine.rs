//! Docker's own API over its socket: its command line costs more than what is measured.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

const SOCKET: &str = "/var/run/docker.sock";

/// The address of a container in its network.
pub(crate) async fn address_of(container: &str) -> String {
    let found = call("GET", &format!("/containers/{container}/json"), None).await;
    let networks = found["NetworkSettings"]["Networks"].as_object();
    let network = networks.and_then(|networks| networks.values().next()).expect("a network");
    network["IPAddress"].as_str().expect("an address").to_owned()
}

/// Sends one request on a connection of its own; gives the JSON of the answer, or nothing where it has none.
pub(crate) async fn call(method: &str, path: &str, body: Option<&Value>) -> Value {
    let stream = UnixStream::connect(SOCKET).await.expect("Docker's socket");
    let io = TokioIo::new(stream);
    let (mut connection, driver) = hyper::client::conn::http1::handshake(io).await.expect("HTTP");
    tokio::spawn(driver);
    let text = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header("host", "docker");
    let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(text)));
    let answer = connection.send_request(request.expect("a request")).await.expect("an answer");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
    assert!(status.is_success(), "{method} {path}: {status} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap_or(Value::Null)
}
