//! The head of the page: whether anybody answers, who leads, how much there is, how the workers are.

use std::time::Duration;

use askama::Template;
use clb_client::protocol::api::{MemberView, Role, WorkerState, WorkerView};

use super::App;
use super::board::{Picture, Reach};
use super::follow::ALARM_AFTER;
use super::row::{bytes_words, duration_words};

/// The head of the page.
#[derive(Debug, Template)]
#[template(path = "status.html")]
pub(crate) struct Status {
    outage: Option<Outage>,
    cluster: Option<Cluster>,
    workers: Vec<Worker>,
    database_url: String,
}

/// Nobody answers.
#[derive(Debug)]
struct Outage {
    tried: Vec<String>,
    seconds: f64,
    reason: String,
}

#[derive(Debug)]
struct Cluster {
    leader: String,
    epoch: u64,
    members: Vec<Member>,
    counts: [(&'static str, u64); 5],
}

#[derive(Debug)]
struct Member {
    name: String,
    role: &'static str,
    url: String,
}

#[derive(Debug)]
struct Worker {
    name: String,
    url: String,
    state: &'static str,
    reason: String,
    running: usize,
    slots: u16,
    cpu: Option<Meter>,
    memory: Option<Meter>,
    done: u64,
}

/// An amount as a part of 100, and in words.
#[derive(Debug)]
struct Meter {
    percent: f64,
    words: String,
}

impl Status {
    pub(crate) fn new(app: &App, picture: &Picture) -> Self {
        Self {
            outage: Outage::of(app, &picture.reach),
            cluster: picture.cluster.as_deref().map(|view| Cluster {
                leader: view.leader.to_string(),
                epoch: view.epoch.0,
                members: view.members.iter().map(Member::from).collect(),
                counts: [
                    ("queued", view.tasks.queued),
                    ("running", view.tasks.running),
                    ("succeeded", view.tasks.succeeded),
                    ("failed", view.tasks.failed),
                    ("cancelled", view.tasks.cancelled),
                ],
            }),
            workers: picture.workers.values().map(|worker| Worker::from(worker.as_ref())).collect(),
            database_url: app.database_url.clone(),
        }
    }
}

impl Outage {
    /// A take-over is no outage: it is over before a person has read that it is there.
    fn of(app: &App, reach: &Reach) -> Option<Self> {
        let (since, reason) = match reach {
            Reach::Reached => return None,
            Reach::Searching { since } => (since, ""),
            Reach::Lost { since, reason } => (since, reason.as_ref()),
        };
        let elapsed: Duration = since.elapsed();
        let address = |url: &reqwest::Url| url.as_str().trim_end_matches('/').to_owned();
        (elapsed >= ALARM_AFTER).then(|| Self {
            tried: app.client.orchestrators().iter().map(address).collect(),
            seconds: elapsed.as_secs_f64(),
            reason: reason.to_owned(),
        })
    }

    fn since(&self) -> String {
        duration_words(self.seconds)
    }
}

impl From<&MemberView> for Member {
    fn from(view: &MemberView) -> Self {
        let role = match view.role {
            Role::Leader => "leader",
            Role::Standby => "standby",
            Role::Down => "down",
            Role::Stopped => "stopped",
        };
        Self { name: view.name.to_string(), role, url: linkable(&view.url) }
    }
}

impl From<&WorkerView> for Worker {
    fn from(view: &WorkerView) -> Self {
        let state = match view.state {
            WorkerState::Starting => "starting",
            WorkerState::Ready => "ready",
            WorkerState::Stopped => "stopped",
            WorkerState::Draining => "draining",
            WorkerState::Lost => "lost",
            WorkerState::BackingOff => "backing off",
        };
        let memory = view.memory_bytes.map(|used| {
            let limit = view.memory_limit_bytes.unwrap_or(0);
            let percent = if limit == 0 { 0.0 } else { used as f64 * 100.0 / limit as f64 };
            Meter { percent, words: bytes_words(used) }
        });
        Self {
            name: view.name.clone(),
            url: view.port.map(|port| format!("http://127.0.0.1:{port}")).unwrap_or_default(),
            state,
            reason: view.reason.clone().unwrap_or_default(),
            running: view.running.len(),
            slots: view.slots,
            cpu: view.cpu_percent.map(|percent| Meter { percent, words: format!("{percent:.1} %") }),
            memory,
            done: view.tasks_done,
        }
    }
}

/// Only the web is linked to; anything else that came as an address stays text.
fn linkable(url: &str) -> String {
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    if is_web { url.trim_end_matches('/').to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_web_is_linked_to() {
        assert_eq!(linkable("http://127.0.0.1:3002/"), "http://127.0.0.1:3002");
        assert_eq!(linkable("javascript:alert(1)"), "");
    }
}
