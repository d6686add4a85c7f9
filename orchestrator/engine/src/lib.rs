//! The edge to the Docker Engine: does what it is told and reports what it sees.
//!
//! The only package that knows bollard; everything that leaves it is a type of its own. Nothing is
//! decided here: what to do with a dead container, when to try again and how to judge an end is the
//! core's, and asking for it is the orchestrator's (`fleet/`).

mod container;
mod error;
mod events;
mod list;
mod making;
mod myself;
mod names;
mod supplies;
mod transport;
mod usage;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

pub use container::Inspection;
pub use error::EngineError;
pub use events::{ContainerEvent, Event, What};
pub use list::{Role, Seen, State};
pub use myself::{Blueprint, Myself, Published};
pub use supplies::{Layer, PROGRAM_FOLDER, is_image_name};
pub use worker::{Program, WorkerPlan};

/// The longest that a call may take which only reads.
const QUICK: Duration = Duration::from_secs(10);
/// The longest that a call may take which starts, stops or removes: the engine does these one after
/// the other, at about five a second.
const PATIENT: Duration = Duration::from_mins(1);

/// A handle to the engine, cheap to clone. It can be made before the engine is there: every call
/// then gives [`EngineError::Unreachable`] until it is.
#[derive(Clone, Debug)]
pub struct Docker {
    quick: bollard::Docker,
    patient: bollard::Docker,
    cluster: Arc<str>,
    machine_cpus: Arc<OnceCell<i64>>,
    making: Arc<making::Making>,
}

impl Docker {
    /// A handle for the containers of `cluster`, to the engine that `DOCKER_HOST` names or else to the
    /// one behind `/var/run/docker.sock`. Nothing is sent yet.
    pub fn connect(cluster: &str) -> Result<Self, EngineError> {
        let address = std::env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty());
        Self::connect_to(address.as_deref().unwrap_or(transport::DEFAULT_ADDRESS), cluster)
    }

    fn connect_to(address: &str, cluster: &str) -> Result<Self, EngineError> {
        let cluster = names::container(cluster)?.into();
        let client = transport::client(address)?;
        Ok(Self {
            quick: client.clone().with_timeout(QUICK),
            patient: client.with_timeout(PATIENT),
            cluster,
            machine_cpus: Arc::default(),
            making: Arc::default(),
        })
    }

    /// Whether the engine answers.
    async fn ping(&self) -> Result<(), EngineError> {
        within(QUICK, self.quick.ping()).await.map(drop)
    }

    /// Agrees with the engine on the version of its API. All clones share what was agreed.
    async fn negotiate(&self) -> Result<(), EngineError> {
        within(QUICK, self.quick.clone().negotiate_version()).await.map(drop)
    }

    /// The engine's CPUs; it refuses a container that asks for more.
    async fn machine_cpus(&self) -> Result<i64, EngineError> {
        let ask = async || {
            let info = within(QUICK, self.quick.info()).await?;
            Ok(info.ncpu.filter(|cpus| *cpus > 0).unwrap_or(1))
        };
        self.machine_cpus.get_or_try_init(ask).await.copied()
    }
}

/// bollard's own timeout covers the wait for the headers only; this one covers the body too.
async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(EngineError::from),
        Err(_) => Err(EngineError::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_socket_is_told_by_the_calls_and_not_by_connect() {
        let docker = Docker::connect_to("unix:///nowhere/docker.sock", "clb").unwrap();
        let error = docker.ping().await.unwrap_err();
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
        assert!(error.is_absence());
    }

    #[test]
    fn an_address_that_cannot_be_spoken_to_is_refused() {
        let error = Docker::connect_to("ssh://host", "clb").unwrap_err();
        assert!(matches!(error, EngineError::BadAddress { .. }), "{error:?}");
    }
}
