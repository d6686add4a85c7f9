//! Does to the engine what the core decided, and tells the core what the engine says.
//!
//! `workers.rs` has what is done to one worker's container, `members.rs` how the other orchestrators are
//! brought back, `takedown.rs` the end of all of it. The loop here only starts jobs and takes in what they
//! bring: a slow engine holds up nothing but the job that waits for it.

mod members;
mod supplies;
mod takedown;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clb_core::build::Build;
use clb_core::clock::Moment;
use clb_core::input::{Input, SeenWorker};
use clb_core::output::FleetAction;
use clb_engine::{
    Blueprint, Docker, EngineError, Event, Myself, Program, Role, Seen, State, What, WorkerPlan,
};
use clb_protocol::api::Role as MemberRole;
use clb_protocol::pool::PoolSpec;
use clb_protocol::{ContainerId, MemberName, PoolVersion, WorkerId};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock;
use crate::leader::{Handle, Message};
use crate::node::Node;

pub(crate) use members::Members;
use supplies::Supplies;
pub(crate) use takedown::take_down;

/// How often Docker's list is held against what should be there.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);
/// What a worker may take beyond the grace of its programs.
const OWN_GRACE: Duration = Duration::from_secs(5);
/// No grace at all is none that a worker takes.
const LEAST_GRACE: f64 = 0.001;

/// One term's hands.
pub(crate) struct Fleet {
    node: Arc<Node>,
    docker: Docker,
    myself: Option<Arc<Myself>>,
    leader: Handle,
    members: Members,
    supplies: Arc<Supplies>,
    meters: BTreeMap<WorkerId, AbortHandle>,
    /// Containers that are being made: a burial waits for the making.
    creations: BTreeMap<WorkerId, JoinHandle<()>>,
    jobs: JoinSet<News>,
    is_listing: bool,
    must_list_again: bool,
}

/// What a job brings.
enum News {
    /// Nothing that the leader has not been told already.
    Nothing,
    /// Docker's list, asked for at that time; `None` when it could not be read.
    Listed(Moment, Option<Vec<Seen>>),
    /// How another orchestrator's container is made.
    Known(MemberName, ContainerId, Box<Blueprint>),
    /// This container of another orchestrator simulates a crash.
    Stopped(MemberName, ContainerId),
    /// It was tried to bring another orchestrator back, or to look at it.
    Tried(MemberName),
}

impl Fleet {
    /// Hands for the term whose loop `leader` reaches.
    pub(crate) fn new(
        node: Arc<Node>,
        docker: Docker,
        myself: Option<Arc<Myself>>,
        leader: Handle,
        members: Members,
    ) -> Self {
        let supplies = Arc::new(Supplies::new(Arc::clone(&node), docker.clone()));
        Self {
            node,
            docker,
            myself,
            leader,
            members,
            supplies,
            meters: BTreeMap::new(),
            creations: BTreeMap::new(),
            jobs: JoinSet::new(),
            is_listing: false,
            must_list_again: false,
        }
    }

    /// Works until `actions` closes, which is the end of the term.
    pub(crate) async fn run(mut self, mut actions: mpsc::UnboundedReceiver<FleetAction>) {
        let (news, mut events) = mpsc::unbounded_channel();
        let watcher = self.docker.watch(news);
        let mut reconcile = interval(RECONCILE_EVERY);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                action = actions.recv() => match action {
                    Some(action) => self.act(action),
                    None => break,
                },
                Some(event) = events.recv() => self.take_event(event).await,
                _ = reconcile.tick() => self.list(),
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    if let Ok(news) = done {
                        self.take_news(news).await;
                    }
                }
            }
        }
        watcher.abort();
    }

    fn act(&mut self, action: FleetAction) {
        let (docker, leader) = (self.docker.clone(), self.leader.clone());
        match action {
            FleetAction::Prepare { pool, version, spec } => {
                let supplies = Arc::clone(&self.supplies);
                self.jobs.spawn(async move {
                    let fact = match supplies.prepare(&spec).await {
                        Ok(()) => Input::ImageReady { pool, version },
                        Err(reason) => Input::ImageFailed { pool, version, reason },
                    };
                    leader.tell(Message::Fact(fact)).await;
                    News::Nothing
                });
            }
            FleetAction::Create { worker, version, spec, port, published } => {
                let mut plan = self.plan(worker.clone(), &spec, port);
                (plan.version, plan.host_port) = (version, published);
                let supplies = Arc::clone(&self.supplies);
                self.creations.retain(|_, making| !making.is_finished());
                self.creations.insert(worker, tokio::spawn(workers::make(docker, plan, leader, supplies)));
            }
            FleetAction::Bury { worker, container } => {
                if let Some(meter) = self.meters.remove(&worker) {
                    meter.abort();
                }
                let making = self.creations.remove(&worker);
                self.jobs.spawn(async move {
                    if let Some(making) = making {
                        drop(making.await);
                    }
                    let remains = workers::bury(&docker, &worker, container).await;
                    leader.tell(Message::Fact(Input::Buried { worker, remains })).await;
                    News::Nothing
                });
            }
            FleetAction::Probe { worker, port, .. } => {
                let url = format!("http://{}:{port}", docker.worker_container_name(&worker));
                let token = self.node.options.token.clone();
                self.jobs.spawn(async move {
                    let answer = workers::probe(&url, token.as_deref()).await;
                    leader.tell(Message::Fact(Input::WorkerProbed { worker, answer })).await;
                    News::Nothing
                });
            }
            FleetAction::RemoveStray(container) => {
                self.jobs.spawn(async move {
                    if let Err(error) = docker.remove_forced(&container).await {
                        tracing::warn!("{container} could not be removed: {error}");
                    }
                    News::Nothing
                });
            }
            FleetAction::Measure { worker, container } => self.measure(worker, container),
        }
    }

    fn measure(&mut self, worker: WorkerId, container: ContainerId) {
        let (docker, leader, of) = (self.docker.clone(), self.leader.clone(), worker.clone());
        let meter = self.jobs.spawn(async move {
            let mut samples = std::pin::pin!(docker.usage(&container));
            while let Some(usage) = samples.next().await {
                leader.tell(Message::Fact(Input::UsageSampled { worker: of.clone(), usage })).await;
            }
            News::Nothing
        });
        if let Some(former) = self.meters.insert(worker, meter) {
            former.abort();
        }
    }

    fn plan(&self, worker: WorkerId, spec: &PoolSpec, port: u16) -> WorkerPlan {
        let options = &self.node.options;
        let mut env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.extend([
            format!("CLB_ORCHESTRATORS={}", self.node.orchestrators().join(",")),
            format!("CLB_POOL={}", worker.pool),
            format!("CLB_SLOT={}", worker.slot),
            format!("CLB_GENERATION={}", worker.generation),
            format!("CLB_LISTEN=0.0.0.0:{port}"),
            format!("CLB_PORT={port}"),
            format!("CLB_SLOTS={}", spec.slots),
            format!("CLB_STOP_GRACE={}", spec.stop_grace.max(LEAST_GRACE)),
        ]);
        env.extend(options.token.iter().map(|token| format!("CLB_TOKEN={token}")));
        let (image, program) = match &spec.image {
            Some(image) => (image.clone(), Program::Volume(self.supplies.volume().unwrap_or_default())),
            None => (options.worker_image.clone(), Program::Bundled),
        };
        let network = if spec.network {
            self.myself.as_ref().and_then(|myself| myself.worker_network.clone())
        } else {
            Some(self.docker.inside_network())
        };
        WorkerPlan {
            worker,
            version: PoolVersion::default(),
            image,
            program,
            user: spec.user.clone(),
            mounts: spec.mounts.clone(),
            read_only: spec.read_only,
            network,
            is_inside: !spec.network,
            env,
            port,
            host_port: None,
            memory_bytes: spec.memory.0,
            cpus: spec.cpus,
            pids: spec.pids,
            stop_grace: Duration::from_secs_f64(spec.stop_grace.ceil()) + OWN_GRACE,
        }
    }

    async fn take_event(&mut self, event: Event) {
        let event = match event {
            Event::Resync => return self.list(),
            Event::Container(event) => event,
        };
        match (event.role, event.what) {
            (Role::Worker(worker), What::Died) => {
                self.leader.tell(Message::Fact(Input::ContainerDied(worker))).await;
            }
            (Role::Worker(worker), What::Killed { signal }) => {
                self.leader.tell(Message::Fact(Input::ContainerSignalled { worker, signal })).await;
            }
            (Role::Orchestrator(name), What::Died) => {
                // The engine's list shows it as running for a while after this event.
                let jobs = self.members.see(&self.node, &self.docker, &name, &event.id, State::Exited);
                for job in jobs {
                    self.jobs.spawn(job);
                }
            }
            (Role::Orchestrator(_), What::Started | What::Destroyed) => self.list(),
            _ => {}
        }
    }

    /// Asks for Docker's list; one question at a time.
    fn list(&mut self) {
        if std::mem::replace(&mut self.is_listing, true) {
            self.must_list_again = true;
            return;
        }
        let docker = self.docker.clone();
        self.jobs.spawn(async move {
            let asked_at = clock::now();
            let seen = docker.list().await;
            if let Err(error) = &seen {
                tracing::debug!("the list of containers cannot be read: {error}");
            }
            News::Listed(asked_at, seen.ok())
        });
    }

    async fn take_news(&mut self, news: News) {
        match news {
            News::Nothing => {}
            News::Listed(asked_at, seen) => {
                self.is_listing = false;
                if std::mem::take(&mut self.must_list_again) {
                    self.list();
                }
                if let Some(seen) = seen {
                    self.take_list(&seen, asked_at).await;
                }
            }
            News::Known(name, container, blueprint) => {
                let member = self.members.learn(&self.node, name, container, *blueprint);
                if let Some(member) = member {
                    self.leader.tell(Message::Member(member)).await;
                }
            }
            News::Stopped(name, container) => self.node.roster.put(&name, &container, MemberRole::Stopped),
            News::Tried(name) => self.members.take_try(&name, clock::now()),
        }
    }

    fn tell_builds(&mut self, seen: &[Seen]) {
        let of_orchestrators = |runs: bool| -> BTreeSet<Build> {
            let those =
                |seen: &&Seen| matches!(seen.role, Role::Orchestrator(_)) && seen.state.runs() == runs;
            seen.iter().filter(those).filter_map(|seen| Some(Build(seen.image.as_deref()?.into()))).collect()
        };
        let (orchestrators, stopped) = (of_orchestrators(true), of_orchestrators(false));
        let (supplies, leader) = (Arc::clone(&self.supplies), self.leader.clone());
        self.jobs.spawn(async move {
            let builds = supplies.builds().await;
            leader.tell(Message::Fact(Input::BuildsSeen { builds, orchestrators, stopped })).await;
            News::Nothing
        });
    }

    async fn take_list(&mut self, seen: &[Seen], asked_at: Moment) {
        let workers = seen.iter().filter_map(|seen| match &seen.role {
            Role::Worker(worker) => Some(SeenWorker {
                container: seen.id.clone(),
                worker: worker.clone(),
                version: seen.version,
                build: seen.program.as_ref().or(seen.image.as_ref()).map(|it| Build(it.as_str().into())),
                port: seen.port,
                published: seen.published,
                alive: seen.state.runs(),
            }),
            _ => None,
        });
        let observed = Input::FleetObserved { seen: workers.collect(), asked_at };
        self.leader.tell(Message::Fact(observed)).await;
        self.tell_builds(seen);
        let (supplies, list) = (Arc::clone(&self.supplies), seen.to_vec());
        self.jobs.spawn(async move {
            let brought = supplies.bring_inside(&list).await;
            if let Err(error) = brought.or_else(EngineError::unless_taken_down) {
                tracing::warn!("an orchestrator cannot reach the workers without a network: {error}");
            }
            News::Nothing
        });
        for job in self.members.reconcile(&self.node, &self.docker, seen, asked_at) {
            self.jobs.spawn(job);
        }
    }
}
