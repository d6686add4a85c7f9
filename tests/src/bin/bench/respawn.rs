//! From `kill -9` of a worker until its replacement serves, beside the least that any program needs: it
//! sees the closed connection, removes the container, makes the same one again, starts it and asks until
//! it answers.

use std::time::{Duration, Instant};

use clb_protocol::Generation;
use clb_protocol::api::{WorkerState, WorkerView};
use clb_tests::Cluster;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::engine::{address_of, call};
use crate::load::Caller;
use crate::{median, rounded};

const ROUNDS: usize = 15;
const ASK_EVERY: Duration = Duration::from_millis(2);
/// Longer than a container must live so that its death is no crash loop.
const LIFE: Duration = Duration::from_millis(10_500);

/// Both in turns, so that they meet the same machine.
pub(crate) async fn compare(cluster: &Cluster, leader: &str) -> Value {
    let mut caller = Caller::connect(leader).await;
    let mut bare = Bare::start(cluster).await;
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        tokio::time::sleep(LIFE).await;
        ours.push(replace(&mut caller, cluster).await);
        least.push(bare.replace().await);
    }
    bare.remove().await;
    let (clb, bare) = (median(&ours), median(&least));
    json!({
        "rounds": ROUNDS,
        "clb": rounded(clb),
        "bare_remove_create_start": rounded(bare),
        "ratio": rounded(clb / bare),
    })
}

async fn replace(caller: &mut Caller, cluster: &Cluster) -> f64 {
    let container = cluster.container("worker-1");
    let before = worker(caller).await.generation;
    let pid = container.inspect().await.state.pid;
    let began = Instant::now();
    kill(pid);
    while !is_replaced(&worker(caller).await, before) {
        tokio::time::sleep(ASK_EVERY).await;
    }
    began.elapsed().as_secs_f64() * 1_000.0
}

fn is_replaced(worker: &WorkerView, before: Generation) -> bool {
    worker.generation > before && worker.state == WorkerState::Ready
}

async fn worker(caller: &mut Caller) -> WorkerView {
    let workers = caller.call("/api/v1/workers", None, StatusCode::OK).await;
    let workers: Vec<WorkerView> = serde_json::from_slice(&workers).expect("workers");
    workers.into_iter().find(|worker| worker.name == "worker-1").expect("worker-1")
}

fn kill(pid: u32) {
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()), "process {pid} cannot be killed");
}

/// A worker's container without a cluster around it.
struct Bare {
    name: String,
    body: Value,
    id: String,
}

impl Bare {
    /// The same container as the cluster's first worker, but for its name, labels and port on the host.
    async fn start(cluster: &Cluster) -> Self {
        let name = format!("{}-bare", cluster.name());
        let model =
            call("GET", &format!("/containers/{}/json", cluster.container("worker-1").id()), None).await;
        let mut body = model["Config"].clone();
        body["Labels"] = json!({});
        body["Hostname"] = json!("bare");
        body["HostConfig"] = model["HostConfig"].clone();
        let port = model["Config"]["ExposedPorts"].as_object().and_then(|ports| ports.keys().next());
        let port = port.expect("a port").clone();
        body["HostConfig"]["PortBindings"] = json!({&port: [{"HostIp": "127.0.0.1", "HostPort": ""}]});
        let network = cluster.network();
        body["NetworkingConfig"] = json!({"EndpointsConfig": {network: {}}});
        let mut bare = Self { name, body, id: String::new() };
        bare.make().await;
        bare
    }

    fn port(&self) -> String {
        let ports = self.body["ExposedPorts"].as_object().and_then(|ports| ports.keys().next());
        ports.and_then(|port| port.split('/').next()).unwrap_or_default().to_owned()
    }

    async fn make(&mut self) {
        let made = call("POST", &format!("/containers/create?name={}", self.name), Some(&self.body)).await;
        self.id = String::from(made["Id"].as_str().expect("an id"));
        call("POST", &format!("/containers/{}/start", self.id), None).await;
        let address = format!("{}:{}", address_of(&self.id).await, self.port());
        while TcpStream::connect(&address).await.is_err() {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn replace(&mut self) -> f64 {
        let address = format!("{}:{}", address_of(&self.id).await, self.port());
        let mut held = TcpStream::connect(&address).await.expect("the container answers");
        let found = call("GET", &format!("/containers/{}/json", self.id), None).await;
        let pid = found["State"]["Pid"].as_u64().expect("a pid") as u32;
        let began = Instant::now();
        kill(pid);
        // Its end, or an error: both say that the process is gone.
        drop(held.read(&mut [0]).await);
        call("DELETE", &format!("/containers/{}?force=1&v=1", self.id), None).await;
        self.make().await;
        began.elapsed().as_secs_f64() * 1_000.0
    }

    async fn remove(self) {
        call("DELETE", &format!("/containers/{}?force=1&v=1", self.id), None).await;
    }
}
