//! Wires one orchestrator together and takes it through its life: stand by, lead, stand by.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clb_engine::{Docker, EngineError, Myself, State};
use clb_protocol::link::{ContainerIdentity, ContainerRole, Welcome};
use clb_protocol::{ContainerId, Epoch, MemberName, Timestamp, seed};
use clb_store::sqlite::SqliteStore;
use clb_store::{Claim, Member, Recovered, StoreError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::config::Serve;
use crate::definitions::DefinitionError;
use crate::fleet::{Fleet, Members};
use crate::follow::{Turn, wait_for_turn};
use crate::leader::{Beginning, End, Keeper, Term};
use crate::leave::{GOODBYE, leave};
use crate::node::{Leading, Node, Role};

const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long one that gave its lease up leaves it to others.
const HANDED_OVER_REST: Duration = Duration::from_secs(1);
/// The same, while the others may be leaving as well.
const LEFT_ALONE_REST: Duration = Duration::from_secs(3);
/// How long an engine waits for the end of a container that says nothing of it, before it kills it.
const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(10);

/// Why an orchestrator cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The configuration's fault; not worth a retry.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where it should.
        address: std::net::SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The operator's to decide: open to the network without a secret.
    #[error(
        "port {port} is reachable from outside of this machine ({address}): set CLB_TOKEN, or publish it on 127.0.0.1"
    )]
    OpenToAll {
        /// Which port.
        port: u16,
        /// On which address.
        address: std::net::IpAddr,
    },
    /// The operator's pools cannot be as they are defined.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The engine's address is wrong; the configuration's fault.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The machine gives no more threads or signals.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Runs an orchestrator until it is told to end.
pub(crate) async fn serve(mut options: Serve) -> Result<(), StartError> {
    options.define()?;
    options.token = options.token.filter(|token| !token.is_empty());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let docker = Docker::connect(&options.cluster)?;
    let myself = docker.whoami().await.unwrap_or_else(|error| {
        tracing::warn!("the Docker engine does not say who this container is: {error}");
        None
    });
    refuse_open_ports(&options, myself.as_ref())?;
    let store = SqliteStore::new(&options.store);
    let address = options.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    let id = myself
        .as_ref()
        .map_or_else(|| ContainerId::from(uuid::Uuid::now_v7().to_string()), |me| me.id.clone());
    let identity = ContainerIdentity { name: options.name.clone(), id, role: ContainerRole::Orchestrator };
    let stop_grace = myself.as_ref().and_then(|me| me.stop_grace).unwrap_or(DEFAULT_STOP_GRACE);
    let node = Arc::new(Node::new(options, identity, Arc::new(store)));
    let pages = tokio::spawn(crate::http::serve(Arc::clone(&node), listener));
    let mut life = std::pin::pin!(live(Arc::clone(&node), docker.clone(), myself.map(Arc::new)));
    tokio::select! {
        () = &mut life => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::select! {
        () = &mut life => {}
        () = leave(&node, &docker, stop_grace) => {}
    }
    pages.abort();
    Ok(())
}

fn refuse_open_ports(options: &Serve, myself: Option<&Myself>) -> Result<(), StartError> {
    if options.token.is_some() {
        return Ok(());
    }
    match myself {
        Some(myself) => match myself.published.iter().find(|port| !port.host_ip.is_loopback()) {
            Some(open) => Err(StartError::OpenToAll { port: open.host_port, address: open.host_ip }),
            None => Ok(()),
        },
        None if options.listen.ip().is_loopback() => Ok(()),
        None => Err(StartError::OpenToAll { port: options.listen.port(), address: options.listen.ip() }),
    }
}

/// Stands by and leads, in turns, for ever.
async fn live(node: Arc<Node>, docker: Docker, myself: Option<Arc<Myself>>) {
    let mut crashed = node.crashed();
    loop {
        if *crashed.borrow_and_update() {
            node.play(Role::Crashed);
            node.journal.write(seed::CRASH);
            if crashed.wait_for(|crashed| !crashed).await.is_err() {
                return;
            }
            node.journal.write(seed::RECOVERED);
            node.play(Role::Leaderless { why: None });
        }
        let mut turn = std::pin::pin!(async {
            if let Some(turn) = wait_for_turn(&node, &docker).await {
                lead(&node, &docker, myself.as_ref(), turn).await;
            }
        });
        tokio::select! {
            () = &mut turn => {}
            _ = crashed.changed() => {
                // A standby still says what became of it; a leader falls at once.
                if matches!(node.role(), Role::Following(_)) {
                    drop(timeout(GOODBYE, turn).await);
                }
            }
        }
    }
}

async fn lead(node: &Arc<Node>, docker: &Docker, myself: Option<&Arc<Myself>>, turn: Turn) {
    let (keeper, recovered) = match take_lease(node, turn.seen).await {
        Ok(taken) => taken,
        Err(StoreError::LeaseLost { .. }) => return,
        Err(error) => {
            node.journal.write(&format!("Cannot lead: {error}"));
            node.play(Role::Leaderless { why: Some(error.to_string()) });
            if let (StoreError::Busy { .. }, Some(lease)) = (&error, &turn.former) {
                end_frozen(node, docker, &lease.holder).await;
            }
            return sleep(RETRY_AFTER).await;
        }
    };
    node.roster.begin(&node.name, &recovered.members);
    if let (Some(lease), true) = (&turn.former, turn.is_stopped) {
        node.roster.stop(&lease.holder);
    }
    let former = turn.former.filter(|lease| !lease.is_released && lease.holder != node.name);
    let members = Members::after(
        former.and_then(|lease| recovered.members.iter().find(|member| member.name == lease.holder)),
    );
    let epoch = recovered.cluster.epoch;
    let beginning = begin(node, myself, keeper, recovered);
    let (actions, hands) = mpsc::unbounded_channel();
    let store = Arc::clone(&node.store);
    let (term, handle) = match blocking(move || Term::new(beginning, store, actions)).await {
        Ok(term) => term,
        Err(error) => {
            node.journal.write(&format!("Epoch {epoch} cannot begin: {error}"));
            return sleep(RETRY_AFTER).await;
        }
    };
    node.journal.write(seed::IS_MASTER);
    let fleet = Fleet::new(Arc::clone(node), docker.clone(), myself.cloned(), handle.clone(), members);
    let fleet = tokio::spawn(fleet.run(hands));
    let _hands = AbortOnDrop(fleet);
    node.play(Role::Leading(Leading { epoch, since: Timestamp::now(), handle }));
    let end = term.run().await;
    node.play(Role::Leaderless { why: None });
    match end {
        End::Fenced(current) => {
            node.journal.write(&format!("Stands by: epoch {epoch} is over, epoch {current} has begun"));
        }
        End::SteppedDown => {
            node.journal.write(&format!("Stands by: epoch {epoch} is handed over"));
            let is_leaving = *node.leaving().borrow();
            sleep(if is_leaving { LEFT_ALONE_REST } else { HANDED_OVER_REST }).await;
        }
        End::Broken(error) => {
            node.journal.write(&format!("Epoch {epoch} cannot go on: {error}"));
            sleep(RETRY_AFTER).await;
        }
    }
}

/// A task that ends with the future that waits for it, also when that is dropped.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes the lease, keeps it from then on, and reads what there is besides tasks.
async fn take_lease(node: &Node, seen: Epoch) -> Result<(Keeper, Recovered), StoreError> {
    let claim = Claim {
        holder: node.name.clone(),
        url: node.options.advertise.clone(),
        public_url: node.options.public_url.clone(),
    };
    let store = Arc::clone(&node.store);
    blocking(move || {
        let epoch = store.acquire(&claim, seen)?;
        let keeper = Keeper::start(Arc::clone(&store), epoch)
            .map_err(|error| StoreError::Unavailable { detail: error.to_string() })?;
        Ok((keeper, store.restore(epoch)?))
    })
    .await
}

/// Asks the store on a thread that may wait.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let answer = tokio::task::spawn_blocking(ask).await;
    answer.unwrap_or_else(|error| Err(StoreError::Unavailable { detail: error.to_string() }))
}

fn begin(node: &Node, myself: Option<&Arc<Myself>>, keeper: Keeper, recovered: Recovered) -> Beginning {
    let epoch = recovered.cluster.epoch;
    let member = myself.map(|myself| Member {
        name: node.name.clone(),
        container: node.identity.id.clone(),
        url: node.options.advertise.clone(),
        public_url: node.options.public_url.clone(),
        blueprint: serde_json::value::to_raw_value(&myself.blueprint).ok(),
    });
    let mut config = node.options.decisions();
    config.refused = node.options.definitions.refused(&recovered.cluster.pools);
    Beginning {
        config,
        keeper,
        recovered,
        welcome: Welcome {
            epoch,
            leader: node.name.clone(),
            port: node.options.listen.port(),
            orchestrators: node.orchestrators(),
        },
        identity: node.identity.clone(),
        client_port: node.options.client_port,
        member,
        journal: Arc::clone(&node.journal),
        roster: Arc::clone(&node.roster),
    }
}

/// A leader that was frozen in the middle of a commit holds the store's lock for ever: it is ended.
async fn end_frozen(node: &Node, docker: &Docker, holder: &MemberName) {
    let Ok(seen) = docker.list().await else { return };
    let frozen = seen.iter().find(|seen| seen.state == State::Paused && seen.is_orchestrator(holder));
    let Some(frozen) = frozen else { return };
    node.journal.write(&format!("{holder} is frozen and holds the store's lock: it is killed"));
    if let Err(error) = docker.kill(&frozen.id, "SIGKILL").await {
        tracing::warn!("{holder} could not be killed: {error}");
    }
}
