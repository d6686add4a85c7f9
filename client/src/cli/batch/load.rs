//! The lines of a file on their way to the cluster, a request at a time.

use std::time::Duration;

use clb_client::protocol::TaskId;
use clb_client::protocol::api::BatchEntry;
use clb_client::protocol::task::FieldError;
use clb_client::{Client, Error};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::super::asked;
use super::super::lines::{Chunk, Line, reason};
use super::super::output::remark;
use super::super::progress::Progress;
use super::names::id_of;
use super::waiting::Waiting;
use super::{BatchOptions, Summary};
use crate::failure::{Failure, REFUSED, USAGE};

/// Tasks in one request; the cluster takes 10,000.
const MOST_TASKS: usize = 5_000;
/// Bytes in one request; the cluster takes 32 MiB.
const MOST_BYTES: usize = 24 << 20;
/// How long a full queue is given to make room.
const QUEUE_PAUSE: Duration = Duration::from_secs(1);
const QUEUE_FULL: u16 = 429;

/// A line that can be sent.
struct Item {
    number: u64,
    id: TaskId,
    group: String,
    /// Whether its pool is that of the command line.
    takes_pool: bool,
    json: Vec<u8>,
}

/// See the module.
pub(super) struct Load<'a> {
    client: &'a Client,
    progress: &'a Progress,
    group: &'a str,
    options: &'a BatchOptions,
    items: Vec<Item>,
    bytes: usize,
    pub(super) summary: Summary,
    pub(super) waiting: Option<Waiting>,
    /// The exit code for the first line that was refused.
    pub(super) code: Option<u8>,
}

impl<'a> Load<'a> {
    pub(super) fn new(
        client: &'a Client,
        progress: &'a Progress,
        group: &'a str,
        options: &'a BatchOptions,
        waiting: Option<Waiting>,
    ) -> Self {
        let summary = Summary::default();
        Self { client, progress, group, options, items: vec![], bytes: 0, summary, waiting, code: None }
    }

    /// Sends a request whenever it is full, and whenever the input has no more for the moment.
    pub(super) async fn submit_all(&mut self, chunks: &mut mpsc::Receiver<Chunk>) -> Result<(), Failure> {
        while let Some(chunk) = chunks.recv().await {
            let lines = match chunk {
                Ok(lines) => lines,
                Err(failure) => {
                    self.send().await?;
                    return Err(failure);
                }
            };
            for line in lines {
                self.progress.advance(line.bytes.as_ref().map_or(0, Vec::len) as u64 + 1);
                self.take(&line).await?;
            }
            if chunks.is_empty() {
                self.send().await?;
            }
        }
        self.send().await
    }

    async fn take(&mut self, line: &Line) -> Result<(), Failure> {
        if line.bytes.as_ref().is_ok_and(|bytes| bytes.iter().all(u8::is_ascii_whitespace)) {
            return Ok(());
        }
        match self.prepare(line) {
            Ok(item) => {
                self.bytes += item.json.len() + 1;
                self.items.push(item);
            }
            Err(detail) => {
                if !self.options.keep_going {
                    self.send().await?;
                }
                self.refuse(line.number, &detail, USAGE)?;
            }
        }
        if self.items.len() >= MOST_TASKS || self.bytes >= MOST_BYTES { self.send().await } else { Ok(()) }
    }

    /// The task with an id, so that it can be sent twice, and a group, so that it can be found.
    fn prepare(&self, line: &Line) -> Result<Item, String> {
        let bytes = line.bytes.as_ref().map_err(Clone::clone)?;
        let mut task: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| format!("not a JSON object: {error}"))?;
        let takes_pool = self.options.pool.is_some() && task.get("pool").is_none_or(Value::is_null);
        let mut text = |name: &str, default: Option<&str>| match task.get(name) {
            None | Some(Value::Null) => {
                let Some(default) = default else { return Ok(String::new()) };
                task.insert(name.to_owned(), default.into());
                Ok(default.to_owned())
            }
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("/{name} must be text")),
        };
        let group = text("group", Some(self.group))?;
        text("pool", self.options.pool.as_deref())?;
        let own = id_of(self.group, line.number, bytes).to_string();
        let id = text("id", Some(&own))?.parse().map_err(|error| format!("/id {error}"))?;
        let json = serde_json::to_vec(&task).map_err(|error| error.to_string())?;
        Ok(Item { number: line.number, id, group, takes_pool, json })
    }

    async fn send(&mut self) -> Result<(), Failure> {
        while !self.items.is_empty() {
            let mut body = Vec::with_capacity(self.bytes);
            for item in &self.items {
                body.extend_from_slice(&item.json);
                body.push(b'\n');
            }
            match self.client.submit_lines(body.into()).await {
                Ok(entries) => {
                    self.check_pool(&entries).await?;
                    self.sort(&entries)?;
                }
                Err(Error::QueueFull { .. }) => {}
                Err(error) => {
                    let number = self.items.first().map_or(0, |item| item.number);
                    remark(format!("the request starting at line {number} was not answered"));
                    return Err(error.into());
                }
            }
            if !self.items.is_empty() {
                self.progress.say("the queue is full; waiting");
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
        }
        self.bytes = 0;
        Ok(())
    }

    /// What is wrong with the pool of the command line is told once and not for every line.
    async fn check_pool(&mut self, entries: &[BatchEntry]) -> Result<(), Failure> {
        let Some(pool) = &self.options.pool else { return Ok(()) };
        let is_of_pool = |errors: &&[FieldError]| errors.iter().all(|error| error.pointer == "/pool");
        let with_it = self.items.iter().zip(entries).filter(|(item, _)| item.takes_pool);
        let wrong = with_it.filter_map(|(_, entry)| asked::of_every_task(entry)).find(is_of_pool);
        let Some(mut errors) = wrong.map(<[FieldError]>::to_vec) else { return Ok(()) };
        asked::name_pools(self.client, pool, &mut errors).await;
        for entry in entries {
            self.count(entry);
        }
        Err(Failure::Asked(errors))
    }

    fn count(&mut self, entry: &BatchEntry) {
        self.summary.known += u64::from(entry.status == 200);
        self.summary.accepted += u64::from(entry.status == 201);
    }

    /// Keeps the items for which the queue had no room.
    fn sort(&mut self, entries: &[BatchEntry]) -> Result<(), Failure> {
        let items = std::mem::take(&mut self.items);
        if items.len() != entries.len() {
            let detail = format!("the cluster answered for {} of {} tasks", entries.len(), items.len());
            return Err(Failure::Usage(format!("{detail}; do clb and the cluster have the same version?")));
        }
        let mut first_refusal = Ok(());
        for (item, entry) in items.into_iter().zip(entries) {
            match entry.status {
                200 | 201 => {
                    self.count(entry);
                    if let Some(waiting) = &mut self.waiting {
                        waiting.expect(item.group, item.id);
                    }
                }
                QUEUE_FULL => self.items.push(item),
                _ => {
                    let refused = self.refuse(item.number, &reason(entry), REFUSED);
                    first_refusal = first_refusal.and(refused);
                }
            }
        }
        self.progress.submitted(self.summary.accepted + self.summary.known);
        first_refusal
    }

    fn refuse(&mut self, number: u64, detail: &str, code: u8) -> Result<(), Failure> {
        self.summary.refused += 1;
        self.code.get_or_insert(code);
        let detail = detail.to_owned();
        let failure = if code == USAGE {
            Failure::Line { number, detail }
        } else {
            Failure::LineRefused { number, detail }
        };
        if self.options.keep_going {
            self.progress.suspended(|| failure.report());
            return Ok(());
        }
        Err(failure)
    }
}
