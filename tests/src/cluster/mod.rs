//! One cluster: two orchestrators with their workers, under a name, a network, a volume and ports of its
//! own. It is removed when it goes out of scope, and says everything it knows when a test failed.

mod ask;
mod command_line;
mod containers;
pub mod expect;
pub mod pools;
mod ports;
mod revive;
mod setup;
mod shared;

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use clb_protocol::MemberName;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::engine::{Container, blocking, docker, stop_together};
use crate::images::{Images, images};
use crate::patience::{LONG, eventually};
use crate::run;
use containers::Begin;
use ports::Ports;

pub use ask::Door;
pub use setup::{Setup, WorkerKind};
pub use shared::Shared;

/// How many clusters run at once: the engine starts containers one after the other anyway.
const AT_ONCE: usize = 2;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// The names of the orchestrators.
pub const MEMBERS: [&str; 2] = ["orchestrator-1", "orchestrator-2"];

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    setup: Setup,
    ports: Ports,
    intruder: Mutex<Option<TcpListener>>,
    answered_last: AtomicUsize,
    _turn: SemaphorePermit<'static>,
}

impl Cluster {
    /// A cluster as Compose starts it.
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    /// A cluster for tests that only use it; they share one.
    pub async fn shared() -> Shared {
        Shared::get().await
    }

    async fn launch(setup: Setup) -> Self {
        let images = images().await;
        let turn = TURNS.acquire().await.expect("the turns never end");
        let (name, ports) = (run::new_name(), Ports::reserve());
        let intruder = Mutex::new(setup.worker_port_taken.then(|| ports.occupy_first_worker()));
        let answered_last = AtomicUsize::new(0);
        let cluster = Self { name, setup, ports, intruder, answered_last, _turn: turn };
        cluster.make_volume().await;
        cluster.run_orchestrators(images).await;
        cluster
    }

    async fn run_orchestrators(&self, images: &Images) {
        docker(&["network", "create", &self.network()]).await;
        let [first, second] = MEMBERS.map(|member| self.run_orchestrator(images, member, Begin::Run));
        tokio::join!(first, second);
    }

    /// Stops both orchestrators at once, as Compose does, and removes everything but the volume. The workers and
    /// what they were made of must be gone by then.
    pub async fn tear_down(&self) {
        let orchestrators = self.orchestrators();
        stop_together(&orchestrators).await;
        for orchestrator in &orchestrators {
            assert_eq!(orchestrator.inspect().await.state.exit_code, 0, "{} was killed", orchestrator.id());
        }
        let ours = format!("label=clb.cluster={}", self.name);
        let mut left = docker(&["ps", "-a", "--format", "{{.Names}}", "--filter", &ours]).await;
        for orchestrator in &orchestrators {
            left = left.replace(orchestrator.id(), "");
        }
        left += &docker(&["volume", "ls", "-q", "--filter", &ours]).await;
        left += &docker(&["network", "ls", "--format", "{{.Name}}", "--filter", &ours]).await;
        assert_eq!(left.trim(), "", "something of the workers stayed behind");
        for orchestrator in &orchestrators {
            orchestrator.remove().await;
        }
        docker(&["network", "rm", &self.network()]).await;
    }

    /// Makes everything but the volume again, after it was removed.
    pub async fn start_again(&self) {
        self.run_orchestrators(images().await).await;
        self.is_whole().await;
    }

    /// The same with another option of the orchestrators, and without waiting for workers.
    pub async fn start_again_with(&mut self, name: &str, value: &str) {
        self.setup.env.push(format!("{name}={value}"));
        self.run_orchestrators(images().await).await;
        self.has_two_orchestrators().await;
    }

    /// Brings a backup back on a new volume, command by command as docs/operations.md says, after everything was removed.
    pub async fn restore(&self, backup: &[u8]) {
        let folder = tempfile::tempdir().expect("a folder for the backup");
        let file = folder.path().join("clb-backup.db");
        std::fs::write(&file, backup).expect("room for the backup");
        docker(&["volume", "rm", &self.volume()]).await;
        self.make_volume().await;
        docker(&["network", "create", &self.network()]).await;
        for member in MEMBERS {
            self.run_orchestrator(images().await, member, Begin::Create).await;
        }
        self.make_database(Begin::Create).await;
        let database = self.container("database");
        docker(&["cp", &file.to_string_lossy(), &format!("{}:/data/clb.db", database.id())]).await;
        for container in self.orchestrators().iter().chain([&database]) {
            container.start().await;
        }
        self.is_whole().await;
    }

    async fn make_volume(&self) {
        let volume = self.volume();
        let mut arguments = vec!["volume", "create"];
        let size = self.setup.store_bytes.map(|bytes| format!("o=size={bytes}"));
        if let Some(size) = &size {
            arguments.extend(["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", size]);
        }
        arguments.push(&volume);
        docker(&arguments).await;
    }

    /// The cluster's name, which all names of its containers begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The network of its containers.
    pub fn network(&self) -> String {
        format!("{}-net", self.name)
    }

    /// The volume that holds its store.
    pub fn volume(&self) -> String {
        format!("{}-store", self.name)
    }

    /// The first of the ports that its workers are published on.
    pub fn first_worker_port(&self) -> u16 {
        self.ports.first_worker()
    }

    /// How many workers it is to have.
    pub fn worker_count(&self) -> usize {
        usize::from(self.setup.workers)
    }

    /// A container of it, by its stable name (`worker-1`).
    pub fn container(&self, stable_name: &str) -> Container {
        Container::named(format!("{}-{stable_name}", self.name))
    }

    /// Both orchestrators' containers.
    pub fn orchestrators(&self) -> [Container; 2] {
        MEMBERS.map(|member| self.container(member))
    }

    /// The leader's container.
    pub async fn leader(&self) -> Container {
        self.container(self.view().await.leader.as_str())
    }

    /// The container of the orchestrator that does not lead.
    pub async fn standby(&self) -> Container {
        let leader = self.view().await.leader;
        self.container(other_than(&leader))
    }

    /// Ends the program that has the first worker's port.
    pub fn free_worker_port(&self) {
        drop(self.intruder.lock().expect("no test panicked here").take());
    }

    /// The workers' containers that exist, running or not.
    pub async fn worker_containers(&self) -> Vec<Container> {
        let cluster = format!("label=clb.cluster={}", self.name);
        let names = docker(&["ps", "-aq", "--filter", &cluster, "--filter", "label=clb.role=worker"]).await;
        names.lines().map(Container::named).collect()
    }

    /// Prints what its containers say; for tests that are failing.
    fn tell_all(&self) {
        println!("==== {}\n{}", self.name, blocking::report(&format!("{}-", self.name)));
    }

    /// Waits until there are two orchestrators and every worker.
    pub async fn is_whole(&self) {
        eventually("two orchestrators, all workers ready", LONG, async || {
            let view = self.try_view().await?;
            let workers = self.try_workers().await?;
            let wanted = self.worker_count();
            setup::is_whole(&view, &workers, wanted)
                .then_some(())
                .ok_or_else(|| format!("{:?}; {}", view.members, ask::states(&workers)))
        })
        .await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_all();
        }
        blocking::remove_cluster(&format!("{}-", self.name));
    }
}

/// The other one of two orchestrators.
pub fn other_than(member: &MemberName) -> &'static str {
    MEMBERS.into_iter().find(|name| *name != member.as_str()).unwrap_or(MEMBERS[0])
}
