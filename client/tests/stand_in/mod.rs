//! Orchestrators that are only a face: they speak the API over real sockets and keep their tasks in
//! memory, so that a test can say how each of them behaves.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on fails")]

mod more;
mod tasks;
pub(crate) mod worker;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clb_client::Client;
use clb_client::protocol::link::LogHandIn;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use tasks::{Pairs, batch, cancel, has_ended, list, outcomes, problem, submit, task};

/// How an orchestrator treats whoever asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should.
    Serves,
    /// Answers everything with this status.
    Answers(u16),
    /// Does what it is asked, and breaks off before the answer is complete.
    BreaksOff,
}

/// What all orchestrators of one cluster know.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) tasks: Vec<Value>,
    /// Where in `tasks` each id stands.
    places: HashMap<String, usize>,
    pub(crate) outcomes: Vec<Value>,
    pub(crate) submissions: Vec<Value>,
    pub(crate) logs: Vec<String>,
    /// The `Last-Event-ID` of every subscription.
    pub(crate) resumed_from: Vec<Option<String>>,
    pub(crate) tokens: Vec<Option<String>>,
    pub(crate) keys: Vec<Option<String>>,
    /// Bodies of whatever was asked of many tasks or of a pool.
    pub(crate) orders: Vec<Value>,
    /// How many tasks such an order fits.
    pub(crate) fits: u64,
    pub(crate) pools: Vec<Value>,
    /// What a task that waits waits for, where it is not a free slot.
    pub(crate) waits_for: Option<(&'static str, &'static str)>,
    /// The most tasks that were open at the same time.
    pub(crate) most_open: usize,
    /// So many further tasks find no room in the queue.
    pub(crate) full_for: usize,
    /// A list looks at so many tasks and then says where to go on.
    pub(crate) looks_at: Option<usize>,
    /// How many outcomes a page has, where it is not two.
    pub(crate) outcomes_a_page: Option<usize>,
    /// Whether a sleep is over as soon as it is submitted.
    pub(crate) ends_sleeps: bool,
    /// Runs each command as it is submitted.
    pub(crate) worker: Option<worker::Worker>,
}

#[derive(Debug)]
struct Shared {
    memory: Mutex<Memory>,
    changes: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
struct Face {
    shared: Arc<Shared>,
    manner: watch::Receiver<Manner>,
    asked: Arc<Mutex<Vec<String>>>,
    news: watch::Receiver<(u64, Vec<String>)>,
    name: &'static str,
}

impl Face {
    fn task(&self, id: &str) -> Value {
        let memory = self.shared.memory.lock().unwrap();
        memory.tasks.iter().find(|task| task["id"] == id).cloned().unwrap()
    }
}

/// One orchestrator.
#[derive(Debug)]
pub(crate) struct StandIn {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    manner: watch::Sender<Manner>,
    news: watch::Sender<(u64, Vec<String>)>,
    server: JoinHandle<()>,
}

/// A cluster of them.
#[derive(Debug)]
pub(crate) struct StandIns {
    shared: Arc<Shared>,
    pub(crate) all: Vec<StandIn>,
}

impl StandIns {
    pub(crate) async fn start<const N: usize>(manners: [Manner; N]) -> Self {
        let memory = Memory { fits: 3, ..Memory::default() };
        let shared = Arc::new(Shared { memory: Mutex::new(memory), changes: watch::Sender::new(0) });
        let mut all = Vec::new();
        for manner in manners {
            all.push(StandIn::start(Arc::clone(&shared), manner, "127.0.0.1:0").await);
        }
        Self { shared, all }
    }

    /// Puts an orchestrator where one was before.
    pub(crate) async fn start_again(&mut self, place: usize) {
        let address = self.all[place].url.trim_start_matches("http://").to_owned();
        self.all[place] = StandIn::start(Arc::clone(&self.shared), Manner::Serves, &address).await;
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.all.iter().map(|one| one.url.clone()).collect()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.urls(), None).unwrap()
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory.lock().unwrap()
    }

    /// Waits until what the orchestrators know is as a test expects it.
    pub(crate) async fn until(&self, holds: impl Fn(&Memory) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !holds(&self.memory()) {
            changes.changed().await.unwrap();
        }
    }

    /// Waits until one of them was asked for this.
    pub(crate) async fn until_asked(&self, what: &str) {
        self.until(|_| self.all.iter().any(|one| one.asked().iter().any(|asked| asked == what))).await;
    }

    /// Ends a task with the sum of its numbers.
    pub(crate) fn finish(&self, id: &str) -> Value {
        let mut memory = self.memory();
        let outcome = memory.add_up(id);
        self.shared.changes.send_modify(|n| *n += 1);
        outcome
    }

    /// Ends every sleep at once from now on.
    pub(crate) fn employ_sleepers(&self) {
        self.memory().ends_sleeps = true;
    }

    /// Runs every command from now on.
    pub(crate) fn employ(&self, worker: worker::Worker) {
        self.memory().worker = Some(worker);
    }

    /// Lets a command run and write; gives its id.
    pub(crate) fn play(&self, place: usize, attempt: u64, written: &str) -> String {
        let mut memory = self.memory();
        let task = &mut memory.tasks[place];
        task["state"] = "running".into();
        task["attempt"] = attempt.into();
        task["live"] = json!({ "stdout": written, "stderr": "" });
        let id = task["id"].as_str().unwrap().to_owned();
        drop(memory);
        self.changed();
        id
    }

    /// Ends what waits, the newest first.
    pub(crate) fn run_all_backwards(&self, worker: worker::Worker) {
        let mut memory = self.memory();
        let open = |task: &&Value| task["state"] == "queued";
        let ids: Vec<String> = memory
            .tasks
            .iter()
            .rev()
            .filter(open)
            .map(|task| task["id"].as_str().unwrap().to_owned())
            .collect();
        for id in ids {
            memory.run(&id, worker);
        }
        self.shared.changes.send_modify(|n| *n += 1);
    }

    /// Tells everybody that something has changed.
    pub(crate) fn changed(&self) {
        self.shared.changes.send_modify(|n| *n += 1);
    }
}

impl StandIn {
    async fn start(shared: Arc<Shared>, manner: Manner, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let manner = watch::Sender::new(manner);
        let news = watch::Sender::new((0, Vec::new()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let face = Face {
            shared,
            manner: manner.subscribe(),
            asked: Arc::clone(&asked),
            news: news.subscribe(),
            name: "orchestrator-1",
        };
        let server = tokio::spawn(async move { axum::serve(listener, routes(face)).await.unwrap() });
        Self { url, asked, manner, news, server }
    }

    /// `METHOD /path` of everything that it was asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Tells everybody who subscribed.
    pub(crate) fn tell(&self, id: &str, name: &str, data: &Value) {
        let text = format!("{id}\n{name}\n{data}");
        self.news.send_modify(|(n, told)| {
            *n += 1;
            told.push(text);
        });
    }

    /// Ends like a killed process: nothing listens any more, every connection breaks.
    pub(crate) async fn die(&mut self) {
        self.manner.send_replace(Manner::BreaksOff);
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn routes(face: Face) -> Router {
    Router::new()
        .route("/api/v1/tasks", post(submit).get(list))
        .route("/api/v1/tasks/batch", post(batch))
        .route("/api/v1/tasks/{id}", get(task))
        .route("/api/v1/tasks/{id}/cancel", post(cancel))
        .route("/api/v1/outcomes", get(outcomes))
        .route("/api/v1/cluster", get(cluster))
        .route("/api/v1/workers", get(workers))
        .merge(more::routes())
        .route("/api/v1/events", get(events))
        .route("/link/v1/logs", post(logs))
        // As the cluster has it.
        .layer(DefaultBodyLimit::max(32 << 20))
        .layer(from_fn_with_state(face.clone(), behave))
        .with_state(face)
}

async fn behave(State(face): State<Face>, request: Request, next: Next) -> Response {
    face.asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
    let token = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let key = request.headers().get("idempotency-key").map(|value| value.to_str().unwrap().to_owned());
    face.shared.memory.lock().unwrap().tokens.push(token);
    face.shared.memory.lock().unwrap().keys.push(key);
    face.shared.changes.send_modify(|n| *n += 1);
    let manner = *face.manner.borrow();
    if let Manner::Answers(status) = manner {
        return (StatusCode::from_u16(status).unwrap(), "not now").into_response();
    }
    let response = next.run(request).await;
    face.shared.changes.send_modify(|n| *n += 1);
    // It may have died meanwhile.
    if *face.manner.borrow() == Manner::BreaksOff {
        let broken = stream::once(async { Err::<String, _>(std::io::Error::other("killed")) });
        return (response.status(), Body::from_stream(broken)).into_response();
    }
    response
}

fn now() -> Value {
    clb_client::protocol::Timestamp::now().to_string().into()
}

async fn cluster(State(face): State<Face>) -> Json<Value> {
    Json(cluster_view(&face.shared.memory.lock().unwrap(), face.name))
}

fn cluster_view(memory: &Memory, leader: &str) -> Value {
    let count = |state: &str| memory.tasks.iter().filter(|task| task["state"] == state).count();
    let member = |name: &str, role: &str, port: u16| {
        let url = format!("http://127.0.0.1:{port}");
        json!({ "name": name, "role": role, "url": url, "since": "2026-01-01T00:00:00Z" })
    };
    json!({
        "cluster": "clb", "leader": leader, "epoch": 3, "version": "0.1.0",
        "members": [member("orchestrator-1", "leader", 3002), member("orchestrator-2", "standby", 3012)],
        "tasks": {
            "queued": count("queued"), "running": count("running"), "succeeded": count("succeeded"),
            "failed": count("failed"), "cancelled": count("cancelled"),
        },
    })
}

pub(crate) fn worker_view(slot: u16, state: &str, cpu_percent: f64) -> Value {
    json!({
        "name": format!("worker-{slot}"), "pool": "default", "slot": slot, "generation": 1, "state": state,
        "reason": null, "container": "c0ffee", "address": "10.0.0.4:3004", "port": 3003 + slot, "slots": 16,
        "running": [], "cpu_percent": cpu_percent, "memory_bytes": 5_242_880_u64 * u64::from(slot),
        "memory_limit_bytes": 268_435_456, "tasks_done": 12, "since": "2026-01-01T00:00:00Z",
    })
}

async fn workers() -> Json<Value> {
    Json((1..=3).map(|slot| worker_view(slot, "ready", 7.5 * f64::from(slot))).collect())
}

async fn events(State(face): State<Face>, headers: HeaderMap) -> impl IntoResponse {
    let last = headers.get("last-event-id").map(|value| value.to_str().unwrap().to_owned());
    face.shared.memory.lock().unwrap().resumed_from.push(last);
    let from = face.news.borrow().1.len();
    let told = stream::unfold((face.news.clone(), from), |(mut news, from)| async move {
        let next = news.wait_for(|(_, told)| told.len() > from).await.ok()?.1[from].clone();
        Some((next, (news, from + 1)))
    });
    let mut manner = face.manner.clone();
    let told = told.take_until(async move {
        let _ = manner.wait_for(|manner| *manner != Manner::Serves).await;
    });
    Sse::new(told.map(|text| {
        let mut parts = text.splitn(3, '\n');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let event = Event::default().id(part()).event(part()).data(part());
        Ok::<_, Infallible>(event)
    }))
}

async fn logs(State(face): State<Face>, Json(handed_in): Json<LogHandIn>) -> Json<Value> {
    assert_eq!(handed_in.container.name, "client");
    let lines = handed_in.lines.into_iter().map(|line| line.message);
    face.shared.memory.lock().unwrap().logs.extend(lines);
    Json(json!({ "container": 4 }))
}
