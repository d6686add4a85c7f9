//! Does to the engine what the core decided, and tells the core what the engine says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clb_core::fleet::Remains;
use clb_core::input::{Input, ProbeAnswer, SeenWorker};
use clb_core::output::FleetAction;
use clb_protocol::api::Role as MemberRole;
use clb_protocol::{ContainerId, WorkerId};
use futures::StreamExt;
use http_body_util::Empty;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::docker::{Docker, EngineError, Event, Myself, Role, Seen, State, What, WorkerPlan};
use crate::leader::{Handle, Message};
use crate::node::Node;

/// How often Docker's list is held against what should be there.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);
/// How many of a dead container's last lines are kept.
const LAST_LINES: usize = 50;
/// How long a dead container may take to be seen as dead by the engine.
const DEATH_LIMIT: Duration = Duration::from_secs(2);
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// How long an orchestrator that was stopped on purpose is left alone, so that whoever takes the whole
/// cluster down is not worked against.
const STOPPED_MEMBER_REST: Duration = Duration::from_secs(10);
/// An orchestrator that dies again and again is started no more often than this.
const MEMBER_RESTART_EVERY: Duration = Duration::from_secs(2);

/// One term's hands.
pub(crate) struct Fleet {
    node: Arc<Node>,
    docker: Docker,
    myself: Option<Arc<Myself>>,
    leader: Handle,
    meters: BTreeMap<WorkerId, AbortHandle>,
    member_deaths: BTreeMap<ContainerId, Instant>,
    jobs: JoinSet<()>,
}

impl Fleet {
    /// Hands for the term whose loop `leader` reaches.
    pub(crate) fn new(node: Arc<Node>, docker: Docker, myself: Option<Arc<Myself>>, leader: Handle) -> Self {
        Self {
            node,
            docker,
            myself,
            leader,
            meters: BTreeMap::new(),
            member_deaths: BTreeMap::new(),
            jobs: JoinSet::new(),
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
                _ = reconcile.tick() => self.reconcile().await,
                Some(_) = self.jobs.join_next(), if !self.jobs.is_empty() => {}
            }
        }
        watcher.abort();
        for meter in self.meters.values() {
            meter.abort();
        }
    }

    fn act(&mut self, action: FleetAction) {
        let (docker, leader) = (self.docker.clone(), self.leader.clone());
        match action {
            FleetAction::Create { worker, port } => {
                let plan = self.plan(worker, port);
                self.jobs.spawn(async move {
                    let worker = plan.worker.clone();
                    let fact = match create(&docker, &plan).await {
                        Ok(container) => Input::ContainerStarted { worker, container },
                        Err(error) => Input::ContainerFailed { worker, reason: error.to_string() },
                    };
                    leader.tell(Message::Fact(fact));
                });
            }
            FleetAction::Bury { worker, container } => {
                if let Some(meter) = self.meters.remove(&worker) {
                    meter.abort();
                }
                self.jobs.spawn(async move {
                    let remains = bury(&docker, &worker, container).await;
                    leader.tell(Message::Fact(Input::Buried { worker, remains }));
                });
            }
            FleetAction::Probe { worker, port, .. } => {
                let host = docker.worker_container_name(&worker);
                self.jobs.spawn(async move {
                    let answer = probe(&host, port).await;
                    leader.tell(Message::Fact(Input::WorkerProbed { worker, answer }));
                });
            }
            FleetAction::RemoveStray(container) => {
                self.jobs.spawn(async move {
                    if let Err(error) = docker.remove_forced(&container).await {
                        tracing::warn!("{container} could not be removed: {error}");
                    }
                });
            }
            FleetAction::Measure { worker, container } => {
                let for_worker = worker.clone();
                let meter = self.jobs.spawn(async move {
                    let mut samples = std::pin::pin!(docker.usage(&container));
                    while let Some(usage) = samples.next().await {
                        let worker = for_worker.clone();
                        leader.tell(Message::Fact(Input::UsageSampled { worker, usage }));
                    }
                });
                if let Some(former) = self.meters.insert(worker, meter) {
                    former.abort();
                }
            }
        }
    }

    fn plan(&self, worker: WorkerId, port: u16) -> WorkerPlan {
        let options = &self.node.options;
        let mut orchestrators: Vec<String> = vec![options.advertise.clone()];
        orchestrators.extend(self.node.peers());
        let mut env = vec![
            format!("CLB_ORCHESTRATORS={}", orchestrators.join(",")),
            format!("CLB_POOL={}", worker.pool),
            format!("CLB_SLOT={}", worker.slot),
            format!("CLB_GENERATION={}", worker.generation),
            format!("CLB_LISTEN=0.0.0.0:{port}"),
            format!("CLB_PORT={port}"),
            format!("CLB_SLOTS={}", options.worker_slots),
        ];
        env.extend(options.token.iter().map(|token| format!("CLB_TOKEN={token}")));
        WorkerPlan {
            worker,
            image: options.worker_image.clone(),
            network: self.myself.as_ref().and_then(|myself| myself.worker_network.clone()),
            env,
            port,
            host_port: port,
            memory_bytes: options.worker_memory,
            cpus: options.worker_cpus,
            pids: options.worker_pids,
            stop_grace: Duration::from_secs(10),
            own_labels: self.myself.as_ref().map(|myself| myself.labels.clone()).unwrap_or_default(),
        }
    }

    async fn take_event(&mut self, event: Event) {
        let event = match event {
            Event::Resync { .. } => return self.reconcile().await,
            Event::Away { .. } => return,
            Event::Container(event) => event,
        };
        match (event.role, event.what) {
            (Role::Worker(worker), What::Died { .. }) => {
                self.leader.tell(Message::Fact(Input::ContainerDied(worker)));
            }
            (Role::Worker(worker), What::Killed { signal }) => {
                self.leader.tell(Message::Fact(Input::ContainerSignalled { worker, signal }));
            }
            (Role::Orchestrator(_), What::Died { .. } | What::Started) => self.reconcile().await,
            _ => {}
        }
    }

    async fn reconcile(&mut self) {
        let seen = match self.docker.list().await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::debug!("the list of containers cannot be read: {error}");
                return;
            }
        };
        let workers = seen.iter().filter_map(|seen| match &seen.role {
            Role::Worker(worker) => Some(SeenWorker {
                container: seen.id.clone(),
                worker: worker.clone(),
                alive: matches!(seen.state, State::Running | State::Paused | State::Restarting),
            }),
            _ => None,
        });
        self.leader.tell(Message::Fact(Input::FleetObserved(workers.collect())));
        for seen in &seen {
            self.revive_member(seen);
        }
    }

    /// Brings back an orchestrator whose container has ended.
    fn revive_member(&mut self, seen: &Seen) {
        let Role::Orchestrator(member) = &seen.role else { return };
        if *member == self.node.name {
            return;
        }
        if !matches!(seen.state, State::Exited | State::Dead) {
            return;
        }
        self.node.put(member, MemberRole::Down, "");
        let tried = self.member_deaths.get(&seen.id);
        if tried.is_some_and(|at| at.elapsed() < MEMBER_RESTART_EVERY + STOPPED_MEMBER_REST) {
            return;
        }
        self.member_deaths.insert(seen.id.clone(), Instant::now());
        let (docker, id, member) = (self.docker.clone(), seen.id.clone(), member.clone());
        self.jobs.spawn(async move {
            let was_stopped = docker.inspect(&id).await.is_ok_and(|found| found.exit_code == Some(0));
            sleep(if was_stopped { STOPPED_MEMBER_REST } else { Duration::ZERO }).await;
            match docker.start(&id).await {
                Ok(()) => tracing::info!("{member} is started again"),
                Err(error) => tracing::warn!("{member} could not be started again: {error}"),
            }
        });
    }
}

/// Makes and starts a container. One that stands in its way is from a former term and goes.
async fn create(docker: &Docker, plan: &WorkerPlan) -> Result<ContainerId, EngineError> {
    let container = match docker.create_worker(plan).await {
        Err(EngineError::NameTaken { .. }) => {
            let former = docker.inspect_by_name(&docker.worker_container_name(&plan.worker)).await?;
            docker.remove_forced(&former.id).await?;
            docker.create_worker(plan).await?
        }
        created => created?,
    };
    if let Err(error) = docker.start(&container).await {
        docker.remove_forced(&container).await?;
        return Err(error);
    }
    Ok(container)
}

/// Looks at a container, ends what still lives of it and removes it, however often that takes.
async fn bury(docker: &Docker, worker: &WorkerId, container: Option<ContainerId>) -> Remains {
    let container = match container {
        Some(container) => container,
        None => match docker.inspect_by_name(&docker.worker_container_name(worker)).await {
            Ok(found) if found.role == Role::Worker(worker.clone()) => found.id,
            _ => return Remains::default(),
        },
    };
    let remains = autopsy(docker, &container).await;
    let mut rest = Duration::from_millis(100);
    while let Err(error) = docker.remove_forced(&container).await {
        tracing::warn!("{worker} could not be removed, trying again: {error}");
        sleep(rest).await;
        rest = (rest * 2).min(Duration::from_secs(5));
    }
    remains
}

async fn autopsy(docker: &Docker, container: &ContainerId) -> Remains {
    let started = Instant::now();
    loop {
        let Ok(found) = docker.inspect(container).await else { return Remains::default() };
        let is_dead = matches!(found.state, State::Exited | State::Dead);
        if is_dead || started.elapsed() >= DEATH_LIMIT {
            let last_logs = docker.last_lines(container, LAST_LINES).await.unwrap_or_default();
            return Remains {
                exit_code: if is_dead { found.exit_code } else { None },
                oom: found.oom_killed,
                memory_limit_bytes: found.memory_limit_bytes,
                last_logs,
            };
        }
        if docker.kill(container, "SIGKILL").await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Asks a worker's own pages how it is.
async fn probe(host: &str, port: u16) -> ProbeAnswer {
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let request = http::Request::get(format!("http://{host}:{port}/")).body(Empty::<bytes::Bytes>::new());
    let Ok(request) = request else { return ProbeAnswer::Silent };
    match timeout(PROBE_LIMIT, client.request(request)).await {
        Ok(Ok(answer)) if answer.status() == http::StatusCode::IM_A_TEAPOT => ProbeAnswer::Stopped,
        Ok(Ok(_)) => ProbeAnswer::Alive,
        _ => ProbeAnswer::Silent,
    }
}

/// Removes every worker: the last orchestrator is leaving.
pub(crate) async fn remove_workers(docker: &Docker) {
    let Ok(seen) = docker.list().await else { return };
    let workers = seen.into_iter().filter(|seen| matches!(seen.role, Role::Worker(_)));
    let removals = workers.map(|worker| async move {
        if let Err(error) = docker.remove_forced(&worker.id).await {
            tracing::warn!("{} could not be removed: {error}", worker.name);
        }
    });
    futures::future::join_all(removals).await;
}
