//! Following the cluster: one subscription to its events keeps the board current. Events are the
//! hurry; what the cluster answers when asked is the truth.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clb_client::protocol::api::{TaskEvent, WorkerView};
use clb_client::protocol::seed;
use clb_client::{Event, EventType};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep_until};

use super::App;
use super::board::Reach;
use super::payload::GROUP;

/// How often the cluster is asked although nothing seems to have changed.
const RECONCILE: Duration = Duration::from_secs(10);
/// The counts are at most this old while tasks change.
const COUNTS: Duration = Duration::from_secs(1);
/// A take-over is shorter than this and not worth an alarm.
pub(crate) const ALARM_AFTER: Duration = Duration::from_secs(1);
/// How long the cluster is asked before it is left for the next time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the page shows; log lines are the database's.
const HEARD: [EventType; 3] = [EventType::Task, EventType::Worker, EventType::Cluster];

struct Follower {
    app: Arc<App>,
    counted_at: Instant,
    ask_at: Instant,
    alarm_at: Option<Instant>,
}

/// Follows without end.
pub(crate) async fn follow(app: Arc<App>) {
    let mut events = pin!(app.client.events(&HEARD));
    let now = Instant::now();
    let alarm_at = Some(now + ALARM_AFTER);
    let mut follower = Follower { app, counted_at: now, ask_at: now + RECONCILE, alarm_at };
    loop {
        let alarm_at = follower.alarm_at.unwrap_or_else(|| Instant::now() + RECONCILE);
        tokio::select! {
            Some(event) = events.next() => follower.take(event),
            () = sleep_until(follower.ask_at) => follower.ask().await,
            () = sleep_until(alarm_at), if follower.alarm_at.is_some() => {
                follower.alarm_at = None;
                follower.app.board.show_again();
            }
        }
    }
}

impl Follower {
    fn take(&mut self, event: Event) {
        let board = &self.app.board;
        match event {
            Event::Connected(url) => {
                board.change(|picture| picture.reach = Reach::Reached);
                let address = url.as_str().trim_end_matches('/');
                self.app.journal.write(format!("Following the cluster through {address}"));
                self.alarm_at = None;
                self.start_over();
            }
            Event::Interrupted(reason) => self.lose(&reason),
            Event::Gap => self.start_over(),
            Event::Task(task) => self.take_task(&task),
            Event::Worker(worker) => board.change(|picture| {
                let slot = (worker.pool.clone(), worker.slot);
                picture.workers.insert(slot, Arc::new(*worker));
            }),
            Event::Cluster(cluster) => {
                self.counted_at = Instant::now();
                board.change(|picture| picture.cluster = Some(Arc::new(*cluster)));
            }
            Event::Log(_) => {}
        }
    }

    fn take_task(&mut self, task: &TaskEvent) {
        self.app.board.ring();
        if task.state.has_ended() && task.group.as_deref() == Some(GROUP) {
            self.app.journal.write_of(task.id, seed::received_result(task.id));
        }
        self.ask_at = self.ask_at.min(self.counted_at + COUNTS);
    }

    fn lose(&mut self, reason: &str) {
        let now = Instant::now();
        self.alarm_at = Some(now + ALARM_AFTER);
        self.app.journal.write(format!("No orchestrator serves this page: {reason}"));
        self.app.board.change(|picture| {
            if matches!(picture.reach, Reach::Reached) {
                picture.reach = Reach::Lost { since: now, reason: reason.into() };
            }
        });
    }

    fn start_over(&mut self) {
        self.ask_at = Instant::now();
        self.app.board.ring();
    }

    /// Asks for everything that the board shows.
    async fn ask(&mut self) {
        let client = self.app.client.with_patience(PATIENCE);
        if !matches!(self.app.board.picture().reach, Reach::Reached) {
            self.ask_at = Instant::now() + RECONCILE;
            return;
        }
        let (cluster, workers) = tokio::join!(client.cluster(), client.workers());
        self.app.board.change(|picture| {
            if let Ok(cluster) = cluster {
                picture.cluster = Some(Arc::new(cluster));
            }
            if let Ok(workers) = workers {
                let by_slot = |worker: WorkerView| ((worker.pool.clone(), worker.slot), Arc::new(worker));
                picture.workers = workers.into_iter().map(by_slot).collect();
            }
        });
        self.counted_at = Instant::now();
        self.ask_at = self.counted_at + RECONCILE;
    }
}
