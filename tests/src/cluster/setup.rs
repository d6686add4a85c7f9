//! How a cluster is to be, where that differs from what Compose starts.

use std::path::PathBuf;
use std::sync::Arc;

use clb_protocol::api::{ClusterView, Role, WorkerState, WorkerView};

use super::{Cluster, MEMBERS};
use crate::engine::Gate;
use crate::images::Images;

/// Which image the workers have.
#[derive(Clone, Debug)]
pub enum WorkerKind {
    /// The worker and nothing else.
    Plain,
    /// The worker, with the fixture beside it.
    WithFixture,
    /// The worker under a process that ends as told.
    Supervised,
    /// A program that ends at once with exit code 1.
    Broken,
    /// An image of this name, which need not be there.
    Named(String),
}

/// A cluster to be.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) workers: u16,
    pub(super) kind: WorkerKind,
    pub(super) store_bytes: Option<u64>,
    pub(super) token: Option<String>,
    pub(super) env: Vec<String>,
    pub(super) worker_port_taken: bool,
    pub(super) second_port_reserved: bool,
    pub(super) gate: Option<Arc<Gate>>,
    pub(super) config: Option<PathBuf>,
}

impl Setup {
    /// Two orchestrators and three workers.
    pub fn new() -> Self {
        Self {
            workers: 3,
            kind: WorkerKind::Plain,
            store_bytes: None,
            token: None,
            env: Vec::new(),
            worker_port_taken: false,
            second_port_reserved: false,
            gate: None,
            config: None,
        }
    }

    /// With so many workers.
    #[must_use]
    pub fn workers(mut self, count: u16) -> Self {
        self.workers = count;
        self
    }

    /// With so many tasks at once on each worker.
    #[must_use]
    pub fn slots(self, count: u16) -> Self {
        self.option("CLB_WORKER_SLOTS", count)
    }

    /// With such workers.
    #[must_use]
    pub fn kind(mut self, kind: WorkerKind) -> Self {
        self.kind = kind;
        self
    }

    /// With a store on a volume in memory that holds so much and no more.
    #[must_use]
    pub fn store_bytes(mut self, bytes: u64) -> Self {
        self.store_bytes = Some(bytes);
        self
    }

    /// With a secret that every request must carry.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// With another program on the first worker's port, until [`Cluster::free_worker_port`].
    #[must_use]
    pub fn worker_port_taken(mut self) -> Self {
        self.worker_port_taken = true;
        self
    }

    /// With a part of the system on the port after the first worker's.
    #[must_use]
    pub fn second_worker_port_reserved(mut self) -> Self {
        self.second_port_reserved = true;
        self
    }

    /// With this gate between the orchestrators and the engine.
    #[must_use]
    pub fn gate(mut self, gate: &Arc<Gate>) -> Self {
        self.gate = Some(Arc::clone(gate));
        self
    }

    /// With this folder of the machine where the orchestrators look for `clb.toml`.
    #[must_use]
    pub fn config(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config = Some(folder.into());
        self
    }

    /// With this option of the orchestrators.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// Starts it and waits until it is whole.
    pub async fn start(self) -> Cluster {
        let cluster = Cluster::launch(self).await;
        cluster.is_whole().await;
        cluster
    }

    /// Starts it and waits for the orchestrators only: the workers need not come.
    pub async fn start_without_waiting_for_workers(self) -> Cluster {
        let cluster = Cluster::launch(self).await;
        cluster.has_two_orchestrators().await;
        cluster
    }

    /// Starts it and waits for nothing: it cannot come up.
    pub async fn start_in_vain(self) -> Cluster {
        Cluster::launch(self).await
    }

    pub(super) fn worker_image(&self, images: &Images) -> String {
        match &self.kind {
            WorkerKind::Plain => images.worker.clone(),
            WorkerKind::WithFixture => images.worker_with_fixture.clone(),
            WorkerKind::Supervised => images.supervised_worker.clone(),
            WorkerKind::Broken => images.broken_worker.clone(),
            WorkerKind::Named(name) => name.clone(),
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether both orchestrators do their part.
pub(super) fn has_two_orchestrators(view: &ClusterView) -> bool {
    let leaders = view.members.iter().filter(|member| member.role == Role::Leader).count();
    let standbys = view.members.iter().filter(|member| member.role == Role::Standby).count();
    (leaders, standbys, view.members.len()) == (1, 1, MEMBERS.len())
}

/// Whether nothing is missing.
pub(super) fn is_whole(view: &ClusterView, workers: &[WorkerView], wanted: usize) -> bool {
    let ready = workers.iter().filter(|worker| worker.state == WorkerState::Ready).count();
    has_two_orchestrators(view) && (ready, workers.len()) == (wanted, wanted)
}
