//! Wires one orchestrator together and takes it through its life: stand by, lead, stand by.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clb_core::lease::TERM_MS;
use clb_protocol::link::{ContainerIdentity, ContainerRole, Welcome};
use clb_protocol::{ContainerId, Epoch, Timestamp, seed};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::config::Serve;
use crate::docker::{Docker, EngineError, Myself};
use crate::fleet::{Fleet, remove_workers};
use crate::follow::wait_for_turn;
use crate::leader::{Beginning, End, Message, Term};
use crate::node::{Node, Role};
use crate::store::sqlite::SqliteStore;
use crate::store::{Claim, StoreError};

const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long the last commit of a term may take.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);
/// How long the others may take to say that they are leaving too.
const FAREWELL: Duration = Duration::from_millis(500);

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
    /// The store's fault; its message says what to do.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine's address is wrong; the configuration's fault.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The machine gives no more threads or signals.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Runs an orchestrator until it is told to end.
pub(crate) async fn serve(options: Serve) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let docker = Docker::connect(&options.cluster)?;
    let myself = docker.whoami().await.unwrap_or_else(|error| {
        tracing::warn!("the Docker engine does not say who this container is: {error}");
        None
    });
    refuse_open_ports(&options, myself.as_ref())?;
    let store = SqliteStore::open(&options.store)?;
    let address = options.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    let id = myself
        .as_ref()
        .map_or_else(|| ContainerId::from(uuid::Uuid::now_v7().to_string()), |me| me.id.clone());
    let identity = ContainerIdentity { name: options.name.clone(), id, role: ContainerRole::Orchestrator };
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
        () = leave(&node, &docker) => {}
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
        if node.is_leaving() {
            return std::future::pending().await;
        }
        if *crashed.borrow_and_update() {
            node.play(Role::Crashed);
            node.log(seed::CRASH);
            if crashed.wait_for(|crashed| !crashed).await.is_err() {
                return;
            }
            node.log(seed::RECOVERED);
            node.play(Role::Leaderless);
        }
        let turn = async {
            let seen = wait_for_turn(&node).await;
            lead(&node, &docker, myself.clone(), seen).await;
        };
        tokio::select! {
            () = turn => {}
            _ = crashed.changed() => {}
        }
    }
}

async fn lead(node: &Arc<Node>, docker: &Docker, myself: Option<Arc<Myself>>, seen: Epoch) {
    let claim = Claim {
        holder: node.name.clone(),
        url: node.options.advertise.clone(),
        public_url: node.options.public_url.clone(),
    };
    let store = Arc::clone(&node.store);
    let taken = tokio::task::spawn_blocking(move || {
        let epoch = store.acquire(&claim, seen, Timestamp::now(), Duration::from_millis(TERM_MS))?;
        Ok::<_, StoreError>((epoch, store.restore(epoch)?))
    });
    let (epoch, recovered) = match taken.await {
        Ok(Ok(taken)) => taken,
        Ok(Err(StoreError::LeaseLost { .. })) => return,
        Ok(Err(error)) => {
            tracing::error!("cannot lead: {error}");
            return sleep(RETRY_AFTER).await;
        }
        Err(error) => {
            tracing::error!("cannot lead: {error}");
            return sleep(RETRY_AFTER).await;
        }
    };
    let mut orchestrators = vec![node.options.advertise.clone()];
    orchestrators.extend(recovered.members.iter().map(|member| member.url.clone()));
    let beginning = Beginning {
        config: node.options.decisions(),
        recovered,
        welcome: Welcome {
            epoch,
            leader: node.name.clone(),
            port: node.options.listen.port(),
            orchestrators,
        },
        identity: node.identity.clone(),
        client_port: node.options.client_port,
    };
    let (actions, hands) = mpsc::unbounded_channel();
    let (term, handle) = match Term::new(beginning, Arc::clone(&node.store), actions, Timestamp::now()) {
        Ok(term) => term,
        Err(error) => return tracing::error!("cannot lead: {error}"),
    };
    node.log(seed::IS_MASTER);
    let fleet = Fleet::new(Arc::clone(node), docker.clone(), myself, handle.clone());
    let fleet = tokio::spawn(fleet.run(hands));
    node.play(Role::Leading(epoch, handle));
    let end = term.run().await;
    node.play(Role::Leaderless);
    fleet.abort();
    match end {
        End::Fenced(current) => tracing::warn!("epoch {epoch} is over: epoch {current} has begun"),
        End::SteppedDown => tracing::info!("epoch {epoch} is handed over"),
        End::Broken(error) => {
            tracing::error!("epoch {epoch} cannot go on: {error}");
            sleep(RETRY_AFTER).await;
        }
    }
}

/// Hands over to a standby; the last one to leave takes the workers along.
async fn leave(node: &Node, docker: &Docker) {
    node.begin_leaving();
    let Role::Leading(_, handle) = node.role() else { return };
    let alone = async {
        while node.has_standby() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(FAREWELL, alone).await.is_ok() {
        remove_workers(docker).await;
    }
    handle.tell(Message::StepDown);
    drop(timeout(HAND_OVER_LIMIT, node.until_not_leading()).await);
}
