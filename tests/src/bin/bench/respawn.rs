//! From `kill -9` of a worker until its task runs elsewhere, and until its replacement serves,
//! beside the least that any program needs: it sees the closed connection, removes the container,
//! makes the same one again, starts it and asks until it answers.

use std::time::{Duration, Instant};

use clb_protocol::Generation;
use clb_protocol::api::{TaskView, WorkerState, WorkerView};
use clb_tests::Cluster;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::engine::{address_of, call};
use crate::load::{Caller, JSON};
use crate::{median, quantile, rounded};

const ROUNDS: usize = 15;
const ASK_EVERY: Duration = Duration::from_millis(2);
/// Longer than a container must live so that its death is no crash loop.
const LIFE: Duration = Duration::from_millis(10_500);

/// What one death of a worker took, in milliseconds.
struct Healed {
    rerun: f64,
    replaced: f64,
}

/// Ours and the bare program in turns, so that they meet the same machine.
pub(crate) async fn compare(cluster: &Cluster, leader: &str) -> Value {
    let mut callers = [Caller::connect(leader).await, Caller::connect(leader).await];
    let mut bare = Bare::start(cluster).await;
    let (mut rerun, mut ours, mut least) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        tokio::time::sleep(LIFE).await;
        let healed = heal(&mut callers, cluster).await;
        rerun.push(healed.rerun);
        ours.push(healed.replaced);
        least.push(bare.replace().await);
    }
    bare.remove().await;
    let (clb, bare) = (median(&ours), median(&least));
    json!({
        "rounds": ROUNDS,
        "task_runs_elsewhere_ms": {"p50": rounded(median(&rerun)), "max": rounded(quantile(&rerun, 1.0))},
        "respawn_ms": {
            "clb": rounded(clb),
            "bare_remove_create_start": rounded(bare),
            "ratio": rounded(clb / bare),
        },
    })
}

/// Kills the worker that a long task has.
async fn heal([first, second]: &mut [Caller; 2], cluster: &Cluster) -> Healed {
    let task = r#"{"kind":"sleep","seconds":600}"#;
    let accepted = first.call("/api/v1/tasks", Some((JSON, task.into())), StatusCode::CREATED).await;
    let id = serde_json::from_slice::<TaskView>(&accepted).expect("a task").id;
    let name = loop {
        let workers = all_workers(first).await;
        if let Some(worker) = workers.into_iter().find(|it| it.running.contains(&id)) {
            break worker.name;
        }
        tokio::time::sleep(ASK_EVERY).await;
    };
    let pid = cluster.container(&name).inspect().await.state.pid;
    let before = worker(first, &name).await.generation;
    let began = Instant::now();
    kill(pid);
    let elapsed = || began.elapsed().as_secs_f64() * 1_000.0;
    let rerun = async {
        while !all_workers(first).await.iter().any(|it| it.name != name && it.running.contains(&id)) {
            tokio::time::sleep(ASK_EVERY / 2).await;
        }
        elapsed()
    };
    let replaced = async {
        while !is_replaced(&worker(second, &name).await, before) {
            tokio::time::sleep(ASK_EVERY).await;
        }
        elapsed()
    };
    let (rerun, replaced) = tokio::join!(rerun, replaced);
    first.call(&format!("/api/v1/tasks/{id}/cancel"), Some((JSON, "".into())), StatusCode::OK).await;
    Healed { rerun, replaced }
}

fn is_replaced(worker: &WorkerView, before: Generation) -> bool {
    worker.generation > before && worker.state == WorkerState::Ready
}

async fn all_workers(caller: &mut Caller) -> Vec<WorkerView> {
    let workers = caller.call("/api/v1/workers", None, StatusCode::OK).await;
    serde_json::from_slice(&workers).expect("workers")
}

async fn worker(caller: &mut Caller, name: &str) -> WorkerView {
    all_workers(caller).await.into_iter().find(|worker| worker.name == name).expect("the worker")
}

pub(crate) fn kill(pid: u32) {
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
