//! What all parts of a run share: the cluster, what must hold of it, and the story so far.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clb_protocol::api::ClusterView;
use clb_tests::Cluster;
use clb_tests::cluster::Door;
use clb_tests::http::{Answer, Call};

use crate::checker::{Checker, Leadership, Violation};

/// Longer than an orchestrator waits for a leader.
const PATIENCE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) seed: u64,
    /// When it began, for names, in milliseconds since 1970.
    pub(crate) began_ms: u64,
    began: Instant,
    checker: Mutex<Checker>,
    leadership: Mutex<Leadership>,
    story: Mutex<Vec<String>>,
}

fn open<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(cluster: Cluster, seed: u64) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            cluster,
            seed,
            began_ms: since_1970.as_millis() as u64,
            began: Instant::now(),
            checker: Mutex::default(),
            leadership: Mutex::default(),
            story: Mutex::default(),
        }
    }

    pub(crate) fn checker(&self) -> MutexGuard<'_, Checker> {
        open(&self.checker)
    }

    pub(crate) fn leadership(&self) -> MutexGuard<'_, Leadership> {
        open(&self.leadership)
    }

    /// Tells what happens, and keeps it for the end.
    pub(crate) fn tell(&self, what: &str) {
        let line = format!("{:8.3}s {what}", self.began.elapsed().as_secs_f64());
        println!("{line}");
        open(&self.story).push(line);
    }

    pub(crate) fn story(&self) -> Vec<String> {
        open(&self.story).clone()
    }

    /// Asks one orchestrator once. Whoever does not serve at the moment gives an error, as does one that says nothing.
    pub(crate) async fn ask(&self, number: u64, call: impl Fn(&Door) -> Call) -> Result<Answer, String> {
        let door = &self.cluster.doors()[number as usize % 2];
        let answer = call(door).within(PATIENCE).try_send().await?;
        match answer.status {
            418 | 429 | 502 | 503 | 504 => Err(format!("{} {}", answer.status, answer.text())),
            _ => Ok(answer),
        }
    }

    /// Asks one orchestrator after the other until one answers.
    pub(crate) async fn insist(
        &self,
        first: u64,
        limit: Duration,
        call: impl Fn(&Door) -> Call,
    ) -> Result<Answer, String> {
        let until = Instant::now() + limit;
        for number in first.. {
            match self.ask(number, &call).await {
                Ok(answer) => return Ok(answer),
                Err(why) if Instant::now() >= until => return Err(why),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        Err("nobody was asked".to_owned())
    }

    /// What one orchestrator says of who leads, which is held against what was said before.
    pub(crate) async fn view_of(&self, number: u64) -> Result<ClusterView, String> {
        let answer = self.ask(number, |door| door.get("/api/v1/cluster")).await?;
        if answer.status != 200 {
            return Err(format!("{} {}", answer.status, answer.text()));
        }
        let view: ClusterView = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        Ok(view)
    }

    /// Remembers what one orchestrator told.
    pub(crate) fn told(&self, number: u64, view: &ClusterView) {
        let door = format!("orchestrator-{}'s address", number % 2 + 1);
        let violation = self.leadership().told(&door, view.epoch, &view.leader);
        if let Some(violation) = violation {
            self.found(violation);
        }
    }

    pub(crate) fn found(&self, violation: Violation) {
        self.checker().found(violation);
    }
}
