//! The database container: shows what is stored and every container's log lines, hands out backups and
//! writes new lines to its standard output.
//!
//! A program of its own, which runs from the orchestrator's binary. It only reads the store, needs no
//! leader and is needed by nobody: killing it disturbs nothing.

mod backup;
mod journal;
mod logging;
mod options;
mod output;
mod pages;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use clb_outlet::Outlet;
use clb_protocol::Timestamp;
use clb_protocol::link::{ContainerIdentity, ContainerRole};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use self::backup::Backups;
use self::journal::{HandIn, Journal};
pub use self::options::Options;
use self::output::Follower;
use self::pages::Desk;
use self::source::Source;

/// Its stable name.
const NAME: &str = "database";

/// Why the database cannot start. The configuration's or the machine's fault; its message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not of this machine.
    #[error("cannot listen on {address}: {source}; choose another one with CLB_LISTEN")]
    Listen {
        /// Where it should.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Open to the network without a secret.
    #[error("{address} is reachable from outside of this machine: set CLB_TOKEN, or listen on 127.0.0.1")]
    OpenToAll {
        /// Where it should listen.
        address: SocketAddr,
    },
    /// The secret cannot be sent.
    #[error("CLB_TOKEN has characters that no HTTP header can carry: choose letters and digits")]
    Token,
    /// The machine gives no more threads or signals.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Runs until it is told to end. The containers' log lines go to `output`.
pub async fn run(options: Options, output: Outlet) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = options.token.filter(|token| !token.is_empty());
    let container = journal::container_id();
    // In a container the published address decides, which only the engine knows.
    if token.is_none() && container.is_none() && !options.listen.ip().is_loopback() {
        return Err(StartError::OpenToAll { address: options.listen });
    }
    let id = container.unwrap_or_else(|| uuid::Uuid::now_v7().to_string().into());
    let identity = ContainerIdentity { name: NAME.to_owned(), id, role: ContainerRole::Database };

    let address = options.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    let source = Source::new(&options.store);
    let backups = Backups::new(source.clone());
    backups.remove_leftovers();
    let journal = Arc::new(Journal::default());
    let hand_in = HandIn::new(&options.urls, token.as_deref(), identity.clone())?;
    journal.write(format!("The database is served on port {}", address.port()));

    let desk = Desk::new(options.cluster, token, source.clone(), backups.clone(), Arc::clone(&journal));
    tokio::spawn(pages::serve(listener, desk));
    // Where the output begins is settled before this process adds lines of its own.
    let follower = Follower::new(source, identity.id, Timestamp::now());
    if let Some((follower, _)) = output::look(follower, &output).await {
        tokio::spawn(output::follow(follower, output));
    }
    tokio::spawn(hand_in.run(journal));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    backups.remove_leftovers();
    Ok(())
}
