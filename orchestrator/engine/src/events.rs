//! The engine's news of the cluster's containers.
//!
//! The reader only forwards: the engine drops events for a reader that is slow, and slows down for all
//! others before it does. The list is the truth and events are the hurry, so each (re)connection says
//! [`Event::Resync`].

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, EventsOptionsBuilder};
use clb_protocol::{ContainerId, Timestamp};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::list::{CLUSTER, Role};
use crate::{Docker, EngineError};

/// An engine that hangs leaves the stream silent, so it is asked beside it.
const PING_EVERY: Duration = Duration::from_secs(3);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// Left out are, for one, the executions of health checks, of which there are many.
const ACTIONS: [&str; 4] = ["start", "die", "kill", "destroy"];

/// What the engine says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream is open: list now. Comes first, and again after every gap.
    Resync,
    /// Something happened to a container.
    Container(ContainerEvent),
}

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEvent {
    /// The container's full id.
    pub id: ContainerId,
    /// What it is.
    pub role: Role,
    /// What happened.
    pub what: What,
}

/// What can happen to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Its process began.
    Started,
    /// Its process ended.
    Died,
    /// Somebody asked the engine to send it a signal.
    Killed {
        /// Which one.
        signal: i64,
    },
    /// It is removed.
    Destroyed,
}

impl Docker {
    /// Forwards the engine's events to `news` until nobody receives them any more.
    #[must_use]
    pub fn watch(&self, news: mpsc::UnboundedSender<Event>) -> JoinHandle<()> {
        let watcher = Watcher { docker: self.clone(), news, last_nanos: None, undecodable: 0, away: false };
        tokio::spawn(watcher.run())
    }

    fn events(
        &self,
        since_nanos: i64,
    ) -> impl Stream<Item = Result<EventMessage, EngineError>> + Send + use<> {
        let label = format!("{CLUSTER}={}", self.cluster);
        let wanted = options(
            since_nanos,
            &HashMap::from([
                ("type", vec!["container"]),
                ("label", vec![label.as_str()]),
                ("event", ACTIONS.to_vec()),
            ]),
        );
        self.quick.events(Some(wanted)).map(|event| event.map_err(EngineError::from))
    }
}

fn options(since_nanos: i64, filters: &HashMap<&str, Vec<&str>>) -> EventsOptions {
    let since = format!("{}.{:09}", since_nanos / 1_000_000_000, since_nanos % 1_000_000_000);
    EventsOptionsBuilder::default().since(&since).filters(filters).build()
}

struct Watcher {
    docker: Docker,
    news: mpsc::UnboundedSender<Event>,
    /// Of the newest event that was read, since 1970.
    last_nanos: Option<i64>,
    undecodable: u64,
    away: bool,
}

impl Watcher {
    async fn run(mut self) {
        let mut retry = FIRST_RETRY;
        while !self.news.is_closed() {
            let connected = self.docker.negotiate().await;
            let ended = match connected {
                Ok(()) => {
                    let began = tokio::time::Instant::now();
                    let ended = self.read().await;
                    if began.elapsed() > LAST_RETRY {
                        retry = FIRST_RETRY;
                    }
                    ended
                }
                Err(error) => Some(error),
            };
            if let Some(error) = ended {
                self.note(&error);
            }
            tokio::select! {
                () = tokio::time::sleep(retry) => retry = (retry * 2).min(LAST_RETRY),
                () = self.news.closed() => return,
            }
        }
    }

    /// Reads one stream to its end and says why it ended, where there was a reason.
    async fn read(&mut self) -> Option<EngineError> {
        let opened_at = Timestamp::now();
        let since_nanos = self.last_nanos.map_or(opened_at.0.saturating_mul(1_000), |last| last + 1);
        let docker = self.docker.clone();
        let mut events = std::pin::pin!(docker.events(since_nanos));
        if std::mem::replace(&mut self.away, false) {
            tracing::info!("the Docker engine answers again");
        }
        self.send(Event::Resync);
        let mut pings = std::pin::pin!(first_failed_ping(&docker));
        let news = self.news.clone();
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event? {
                    Ok(event) => self.forward(&event),
                    Err(error) => return Some(error),
                },
                error = &mut pings => return Some(error),
                () = news.closed() => return None,
            }
        }
    }

    fn forward(&mut self, message: &EventMessage) {
        self.last_nanos = self.last_nanos.max(message.time_nano);
        if let Some(event) = event(message) {
            self.send(Event::Container(event));
        }
    }

    /// One line for each change, not for each try.
    fn note(&mut self, error: &EngineError) {
        if let EngineError::Other { source } = error {
            self.undecodable += 1;
            // The event that cannot be read would come again and again.
            self.last_nanos = Some(Timestamp::now().0.saturating_mul(1_000));
            tracing::warn!(
                count = self.undecodable,
                "an event of the Docker engine cannot be read: {source}"
            );
        } else if !std::mem::replace(&mut self.away, true) {
            tracing::warn!("the Docker engine is out of reach, trying until it is back: {error}");
        }
    }

    /// Without a receiver there is nobody to tell; the loops end by it.
    fn send(&self, event: Event) {
        let _ = self.news.send(event);
    }
}

async fn first_failed_ping(docker: &Docker) -> EngineError {
    loop {
        tokio::time::sleep(PING_EVERY).await;
        if let Err(error) = docker.ping().await {
            return error;
        }
    }
}

/// `None` for what is of no interest or lacks what it needs.
fn event(message: &EventMessage) -> Option<ContainerEvent> {
    let actor = message.actor.as_ref()?;
    let attributes = actor.attributes.as_ref()?;
    let what = match message.action.as_deref()? {
        "start" => What::Started,
        "die" => What::Died,
        "kill" => What::Killed { signal: attributes.get("signal")?.parse().ok()? },
        "destroy" => What::Destroyed,
        _ => return None,
    };
    Some(ContainerEvent { id: actor.id.as_deref()?.into(), role: Role::of(attributes), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<ContainerEvent> {
        event(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_death_is_read_with_its_worker() {
        let event = read(
            r#"{"Type": "container", "Action": "die", "timeNano": 1700000000123456789,
                "Actor": {"ID": "0f00", "Attributes": {"exitCode": "137", "clb.role": "worker",
                          "clb.pool": "default", "clb.slot": "2", "clb.generation": "7"}}}"#,
        )
        .unwrap();
        assert_eq!((event.id.as_str(), event.what), ("0f00", What::Died));
        assert!(matches!(event.role, Role::Worker(worker) if worker.generation.0 == 7));
    }

    #[test]
    fn a_signal_is_read_with_its_number() {
        let json = r#"{"Type": "container", "Action": "kill", "timeNano": 1,
                       "Actor": {"ID": "0f00", "Attributes": {"signal": "15"}}}"#;
        assert_eq!(read(json).unwrap().what, What::Killed { signal: 15 });
    }

    #[test]
    fn other_actions_are_left_out() {
        let json = r#"{"Type": "container", "Action": "rename", "timeNano": 1,
                       "Actor": {"ID": "0f00", "Attributes": {}}}"#;
        assert_eq!(read(json), None);
    }

    #[test]
    fn the_start_of_a_stream_is_given_to_the_nanosecond() {
        let options = options(1_700_000_000_000_000_007, &HashMap::new());
        assert_eq!(options.since.as_deref(), Some("1700000000.000000007"));
    }
}
