//! The steady stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clb_protocol::TaskId;
use clb_protocol::api::{BatchEntry, TaskView};
use clb_tests::cluster::Door;
use clb_tests::http::{Answer, Call};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::plan::{Planned, Submission, draw};
use crate::checker::KEY;
use crate::world::World;

/// Nobody is without an answer for so long unless something is broken.
const LIMIT: Duration = Duration::from_mins(3);
/// No more than so many acknowledged tasks are open at a time.
const MOST_OPEN: usize = 1_500;
const WAIT: &str = "?wait=5";
const NDJSON: &str = "application/x-ndjson";

/// A stream that goes on until it is ended.
#[derive(Debug)]
pub(crate) struct Stream {
    is_over: Arc<AtomicBool>,
    running: JoinHandle<()>,
}

impl Stream {
    /// So many submissions a second.
    pub(crate) fn begin(world: &Arc<World>, rate: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let running = tokio::spawn(flow(Arc::clone(world), rate, Arc::clone(&is_over)));
        Self { is_over, running }
    }

    /// Begins nothing more and waits until all that was begun is answered.
    pub(crate) async fn end(self) -> Result<(), String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.running.await.map_err(|error| format!("the stream of submissions broke off: {error}"))
    }
}

async fn flow(world: Arc<World>, rate: u32, is_over: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut callers = JoinSet::new();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        while callers.try_join_next().is_some() {}
        if callers.len() < MOST_OPEN && world.checker().waiting() < MOST_OPEN {
            callers.spawn(Caller { world: Arc::clone(&world), number }.submit());
            number += 1;
        }
    }
    while callers.join_next().await.is_some() {}
}

/// Whoever sends one submission.
struct Caller {
    world: Arc<World>,
    number: u64,
}

impl Caller {
    async fn submit(self) {
        match draw(self.world.seed, self.world.began_ms, self.number) {
            Submission::Single { task, again, cancel_after } => self.single(task, again, cancel_after).await,
            Submission::Keyed { task, key, times } => self.keyed(task, &key, times).await,
            Submission::Batch { tasks, as_lines } => drop(self.batch(tasks, as_lines).await),
            Submission::Doomed { tasks, group } => self.doomed(tasks, &group).await,
            Submission::Replayed { task } => self.replayed(task).await,
        }
    }

    /// Different callers begin at different orchestrators.
    async fn insist(&self, call: impl Fn(&Door) -> Call) -> Option<Answer> {
        self.world.insist(self.number, LIMIT, call).await.ok()
    }

    /// Whether a task was accepted; a good one must be.
    fn is_accepted(&self, id: TaskId, answer: &Answer) -> bool {
        let is_accepted = matches!(answer.status, 200 | 201);
        if !is_accepted {
            self.world.checker().refused(id, answer.status, answer.text());
        }
        is_accepted
    }

    async fn send(&self, id: TaskId, task: &Planned) -> bool {
        let body = json!(task.request).to_string();
        let answer = self.insist(|door| door.post("/api/v1/tasks", body.clone())).await;
        let is_accepted = answer.is_some_and(|answer| self.is_accepted(id, &answer));
        if is_accepted {
            self.world.checker().acknowledged(id);
        }
        is_accepted
    }

    async fn single(&self, task: Planned, again: bool, cancel_after: Option<Duration>) {
        let Some(id) = task.request.id else { return };
        self.world.checker().sent(id, task.expected.clone());
        if !self.send(id, &task).await {
            return;
        }
        if again {
            self.send(id, &task).await;
        }
        let Some(after) = cancel_after else { return };
        tokio::time::sleep(after).await;
        self.world.checker().cancel_sent(id);
        let answer = self.insist(|door| door.post(&format!("/api/v1/tasks/{id}/cancel"), "")).await;
        match answer {
            Some(answer) if answer.status == 200 => self.world.checker().cancelled(id),
            // It has ended.
            Some(answer) if answer.status == 409 => {}
            Some(answer) => self.world.checker().refused(id, answer.status, answer.text()),
            None => {}
        }
    }

    async fn keyed(&self, mut task: Planned, key: &str, times: u64) {
        let Some(placeholder) = task.request.id.take() else { return };
        task.request.labels.insert(KEY.to_owned(), key.to_owned());
        self.world.checker().sent_by_key(key, task.expected.clone());
        let body = json!(task.request).to_string();
        for _ in 0..times {
            let call = |door: &Door| door.post("/api/v1/tasks", body.clone()).header("idempotency-key", key);
            let Some(answer) = self.insist(call).await else { return };
            if self.is_accepted(placeholder, &answer) {
                let id = answer.json::<TaskView>().id;
                let mut checker = self.world.checker();
                checker.key_names(key, id);
                checker.acknowledged(id);
            }
        }
    }

    /// Sends what is not acknowledged yet again and again; gives what is in the end.
    async fn batch(&self, mut tasks: Vec<Planned>, as_lines: bool) -> Vec<TaskId> {
        let mut accepted = Vec::new();
        for task in &tasks {
            if let Some(id) = task.request.id {
                self.world.checker().sent(id, task.expected.clone());
            }
        }
        let until = tokio::time::Instant::now() + LIMIT;
        while !tasks.is_empty() && tokio::time::Instant::now() < until {
            let requests: Vec<_> = tasks.iter().map(|task| json!(task.request)).collect();
            let lines: String = requests.iter().map(|request| request.to_string() + "\n").collect();
            let array = json!(requests).to_string();
            let call = |door: &Door| {
                let path = "/api/v1/tasks/batch";
                let as_ndjson =
                    || Call::new("POST", door.url(path)).header("content-type", NDJSON).body(lines.clone());
                if as_lines { as_ndjson() } else { door.post(path, array.clone()) }
            };
            let Some(answer) = self.insist(call).await else { break };
            if answer.status != 200 {
                let first = tasks[0].request.id.unwrap_or_else(TaskId::now);
                self.world.checker().refused(first, answer.status, answer.text());
                break;
            }
            let entries: Vec<BatchEntry> = answer.json();
            let mut entries = entries.iter();
            tasks.retain(|task| !self.is_settled(task, entries.next(), &mut accepted));
        }
        accepted
    }

    /// Whether an entry of a batch needs not be sent again.
    fn is_settled(&self, task: &Planned, entry: Option<&BatchEntry>, accepted: &mut Vec<TaskId>) -> bool {
        let (Some(id), Some(entry)) = (task.request.id, entry) else { return false };
        match entry.status {
            200 | 201 => {
                self.world.checker().acknowledged(id);
                accepted.push(id);
                true
            }
            429 | 503 => false,
            status => {
                self.world.checker().refused(id, status, format!("{:?}", entry.error));
                true
            }
        }
    }

    async fn doomed(&self, tasks: Vec<Planned>, group: &str) {
        let accepted = self.batch(tasks, false).await;
        for id in &accepted {
            self.world.checker().cancel_sent(*id);
        }
        let body = json!({"group": group}).to_string();
        let answer = self.insist(|door| door.post("/api/v1/tasks/cancel", body.clone())).await;
        if answer.is_some_and(|answer| answer.status == 200) {
            for id in &accepted {
                self.world.checker().cancelled(*id);
            }
        }
    }

    async fn replayed(&self, task: Planned) {
        let Some(id) = task.request.id else { return };
        self.world.checker().sent(id, task.expected.clone());
        if !self.send(id, &task).await || !self.has_ended(id).await {
            return;
        }
        for _ in 0..2 {
            let answer = self.insist(|door| door.post(&format!("/api/v1/tasks/{id}/replay"), "")).await;
            if let Some(answer) = answer.filter(|answer| self.is_accepted(id, answer)) {
                let replay = answer.json::<TaskView>().id;
                self.world.checker().replayed(id, replay);
            }
        }
    }

    async fn has_ended(&self, id: TaskId) -> bool {
        let until = tokio::time::Instant::now() + LIMIT;
        while tokio::time::Instant::now() < until {
            let answer = self.insist(|door| door.get(&format!("/api/v1/tasks/{id}{WAIT}"))).await;
            match answer {
                Some(answer) if answer.status != 200 => {
                    self.world.checker().refused(id, answer.status, answer.text());
                    return false;
                }
                Some(answer) if answer.json::<TaskView>().state.has_ended() => return true,
                _ => {}
            }
        }
        false
    }
}
