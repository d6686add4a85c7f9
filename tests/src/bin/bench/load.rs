//! No-op tasks: how long one takes, and how many go through.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clb_protocol::TaskId;
use clb_protocol::api::{ClusterView, TaskCounts};
use clb_tests::Cluster;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{quantile, rounded};

const LATENCY_SAMPLES: usize = 1_000;
const DURABLE_WRITES: &str = "1000";
/// Long enough for the system to be idle again.
const REST: Duration = Duration::from_millis(5);
const WARM_UP_TASKS: usize = 5_000;
/// How many calls of a batch are under way at once.
const BATCH_CONNECTIONS: usize = 4;
pub(crate) const NO_OP: &str = r#"{"kind":"sleep","seconds":0,"add":[3,4]}"#;
pub(crate) const JSON: &str = "application/json";

/// One connection to an orchestrator.
pub(crate) struct Caller {
    connection: SendRequest<Full<Bytes>>,
    address: String,
}

/// As much of a page of outcomes as is needed to count them.
#[derive(Deserialize)]
struct Page {
    outcomes: Vec<Seq>,
    next: u64,
}

#[derive(Deserialize)]
struct Seq {
    state: String,
}

impl Caller {
    /// Opens a connection.
    pub(crate) async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("an orchestrator at the address");
        stream.set_nodelay(true).expect("a socket without delay");
        let io = TokioIo::new(stream);
        let (connection, driver) = hyper::client::conn::http1::handshake(io).await.expect("HTTP");
        tokio::spawn(driver);
        Self { connection, address: address.to_owned() }
    }

    /// Sends a request and gives the answer, which must have this status.
    pub(crate) async fn call(
        &mut self,
        path: &str,
        sent: Option<(&str, Bytes)>,
        status: StatusCode,
    ) -> Bytes {
        let (found, body) = self.ask(path, sent).await;
        assert_eq!(found, status, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    /// Sends a request and gives the answer with its status.
    pub(crate) async fn ask(&mut self, path: &str, sent: Option<(&str, Bytes)>) -> (StatusCode, Bytes) {
        let builder = Request::builder().uri(path).header("host", &self.address);
        let request = match sent {
            Some((kind, body)) => builder.method("POST").header("content-type", kind).body(Full::new(body)),
            None => builder.body(Full::default()),
        };
        self.connection.ready().await.expect("the connection stands");
        let answer = self.connection.send_request(request.expect("a request")).await.expect("an answer");
        let found = answer.status();
        (found, answer.into_body().collect().await.expect("a whole answer").to_bytes())
    }

    async fn page(&mut self, after: u64, wait_s: u32) -> Page {
        let path = format!("/api/v1/outcomes?after={after}&limit=10000&wait={wait_s}");
        let body = self.call(&path, None, StatusCode::OK).await;
        serde_json::from_slice(&body).expect("a page of outcomes")
    }

    /// The number of the last outcome so far: outcomes are numbered without gaps.
    async fn last_outcome(&mut self) -> u64 {
        let cluster = self.call("/api/v1/cluster", None, StatusCode::OK).await;
        let TaskCounts { succeeded, failed, cancelled, .. } =
            serde_json::from_slice::<ClusterView>(&cluster).expect("a cluster").tasks;
        succeeded + failed + cancelled
    }
}

/// Lets every part do some work before it is measured.
pub(crate) async fn warm_up(address: &str) {
    single_calls(address, WARM_UP_TASKS, BATCH_CONNECTIONS).await;
}

/// One task after the other on an idle system, from its submission until its result is here: with two requests, and
/// with one. Between them, a request that does nothing shows what the way alone takes.
pub(crate) async fn latency(caller: &mut Caller) -> Value {
    let (mut whole, mut accepted, mut at_once, mut bare) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..LATENCY_SAMPLES {
        tokio::time::sleep(REST).await;
        let began = Instant::now();
        caller.call("/healthz", None, StatusCode::OK).await;
        bare.push(began.elapsed().as_secs_f64() * 1_000.0);
        tokio::time::sleep(REST).await;
        let id = TaskId::now();
        let task = format!(r#"{{"id":"{id}","kind":"sleep","seconds":0,"add":[3,4]}}"#);
        let began = Instant::now();
        caller.call("/api/v1/tasks", Some((JSON, task.into())), StatusCode::CREATED).await;
        accepted.push(began.elapsed().as_secs_f64() * 1_000.0);
        let done = caller.call(&format!("/api/v1/tasks/{id}?wait=30"), None, StatusCode::OK).await;
        whole.push(began.elapsed().as_secs_f64() * 1_000.0);
        let done: Seq = serde_json::from_slice(&done).expect("a task");
        assert_eq!(done.state, "succeeded");
        tokio::time::sleep(REST).await;
        let began = Instant::now();
        let done = caller.call("/api/v1/tasks?wait=30", Some((JSON, NO_OP.into())), StatusCode::OK).await;
        at_once.push(began.elapsed().as_secs_f64() * 1_000.0);
        let done: Seq = serde_json::from_slice(&done).expect("a task");
        assert_eq!(done.state, "succeeded");
    }
    json!({
        "samples": LATENCY_SAMPLES,
        "submit_to_result": figures(&whole),
        "submit_to_201": figures(&accepted),
        "submit_and_wait": figures(&at_once),
        "request_that_does_nothing": figures(&bare),
    })
}

/// What the disk takes for one write as the store makes it, without the store: a task's result needs two of them,
/// one after the other.
pub(crate) async fn durable_writes(cluster: &Cluster) -> Value {
    let said = cluster.run_fixture(&["write-durably", "/data/durable-writes", DURABLE_WRITES]).await;
    figures(&said.lines().map(|line| line.parse().expect("milliseconds")).collect::<Vec<f64>>())
}

fn figures(of: &[f64]) -> Value {
    json!({"p50": rounded(quantile(of, 0.5)), "p99": rounded(quantile(of, 0.99))})
}

/// Tasks per second, one call for each, until all outcomes are here.
pub(crate) async fn single_calls(address: &str, tasks: usize, connections: usize) -> f64 {
    rate(address, tasks, connections, tasks / connections, async |caller| {
        caller.call("/api/v1/tasks", Some((JSON, NO_OP.into())), StatusCode::CREATED).await;
    })
    .await
}

/// Tasks per second in batches, until all outcomes are here.
pub(crate) async fn batches(address: &str, tasks: usize, batch: usize) -> f64 {
    batches_of(address, tasks, batch, format!("{NO_OP}\n").repeat(batch).into()).await
}

/// Tasks per second in batches of these lines, until all outcomes are here.
pub(crate) async fn batches_of(address: &str, tasks: usize, batch: usize, lines: Bytes) -> f64 {
    let calls = tasks / batch / BATCH_CONNECTIONS;
    rate(address, tasks, BATCH_CONNECTIONS, calls, async move |caller: &mut Caller| {
        let sent = Some(("application/x-ndjson", lines.clone()));
        caller.call("/api/v1/tasks/batch", sent, StatusCode::OK).await;
    })
    .await
}

async fn rate<F>(address: &str, tasks: usize, connections: usize, calls: usize, call: F) -> f64
where
    F: AsyncFn(&mut Caller) + Clone + 'static,
{
    let mut collector = Caller::connect(address).await;
    let mut callers = Vec::new();
    for _ in 0..connections {
        callers.push(Caller::connect(address).await);
    }
    let mut after = collector.last_outcome().await;
    let began = Instant::now();
    let submit = futures::future::join_all(callers.into_iter().map(|mut caller| {
        let call = call.clone();
        async move {
            for _ in 0..calls {
                call(&mut caller).await;
            }
        }
    }));
    let collect = async {
        let mut collected = 0;
        while collected < tasks {
            let page = collector.page(after, 30).await;
            collected += page.outcomes.len();
            after = page.next;
        }
    };
    tokio::join!(submit, collect);
    tasks as f64 / began.elapsed().as_secs_f64()
}
