//! `clb serve`: the web page that creates and sends payloads and shows their results.
//!
//! It keeps nothing: what it shows is what the cluster answers, so a restart loses nothing. It holds
//! one subscription to the cluster's events and passes the news on to every browser.

mod board;
mod feed;
mod follow;
mod forms;
mod journal;
mod listing;
mod logging;
mod origin;
mod page;
mod payload;
mod routes;
mod row;
mod status;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clb_client::Client;
use clb_door::{Limits, serve_until};
use clb_outlet::Outlet;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tracing_subscriber::EnvFilter;

use board::Board;
use journal::Journal;
use listing::Listings;
use origin::KnownHosts;

/// How long a request that came before the end may still take.
const FAREWELL: Duration = Duration::from_millis(400);
/// How long the last log lines may take to the leader.
const LAST_HAND_IN: Duration = Duration::from_millis(300);
/// Browsers that may follow the news at the same time.
const FEEDS: usize = 256;

/// How the page is served.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeOptions {
    /// Address to listen on
    #[arg(long, env = "CLB_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:3001")]
    listen: SocketAddr,
    /// Cluster name; this container is called NAME-client
    #[arg(long, env = "CLB_CLUSTER", value_name = "NAME", default_value = "clb")]
    cluster: String,
    /// Additional host names under which browsers reach this page, separated by commas
    #[arg(long, env = "CLB_HOSTS", value_name = "HOST", value_delimiter = ',')]
    hosts: Vec<String>,
    /// URL at which browsers reach the database's pages
    #[arg(long, env = "CLB_DATABASE_URL", value_name = "URL", default_value = "http://127.0.0.1:3003")]
    database_url: String,
    /// Maximum number of connections; at most three quarters of them from one address
    #[arg(
        long,
        env = "CLB_CONNECTIONS",
        value_name = "N",
        default_value_t = 1_024,
        value_parser = clap::value_parser!(u32).range(64..)
    )]
    connections: u32,
    /// Seconds to receive the header of a request, counted from the start of the connection or the previous response
    #[arg(
        long,
        env = "CLB_HEADER_TIME",
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    header_time: u32,
    /// Log filter: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, env = "CLB_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

impl ServeOptions {
    fn limits(&self) -> Limits {
        Limits {
            connections: self.connections as usize,
            header_time: Duration::from_secs(self.header_time.into()),
            ..Limits::default()
        }
    }
}

/// Why the page is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The address is taken or not of this machine. The caller's fault; retry when it is free.
    #[error(
        "cannot listen on {listen}; is another `clb serve` running? Choose another address with --listen"
    )]
    Listen {
        listen: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// The system refuses what a server needs. Retrying may help.
    #[error("the system does not let this program serve")]
    System(#[from] std::io::Error),
}

/// What the handlers of all requests share.
pub(crate) struct App {
    client: Client,
    board: Board,
    journal: Arc<Journal>,
    listings: Listings,
    hosts: KnownHosts,
    database_url: String,
    feeds: Arc<Semaphore>,
    /// Turns true when the process has been told to end.
    ending: watch::Receiver<bool>,
}

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn run(options: ServeOptions, client: Client) -> Result<(), ServeError> {
    let filter = EnvFilter::try_new(&options.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stdout().is_terminal();
    let output = Outlet::stdout();
    let _farewell = output.farewell();
    output.report_panics();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(is_terminal);
    log.with_writer(move || output.clone()).init();
    let listen = options.listen;
    let refused = |source| ServeError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr()?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;

    let (end, ending) = watch::channel(false);
    let journal = Arc::new(Journal::default());
    let app = Arc::new(App {
        client: client.clone(),
        board: Board::default(),
        journal: Arc::clone(&journal),
        listings: Listings::default(),
        hosts: KnownHosts::new(&options.cluster, options.hosts.clone()),
        database_url: options.database_url.trim_end_matches('/').to_owned(),
        feeds: Arc::new(Semaphore::new(FEEDS)),
        ending: ending.clone(),
    });
    journal.write(format!("The page is served at http://{address}"));
    let background = [
        tokio::spawn(follow::follow(Arc::clone(&app))),
        tokio::spawn(journal::hand_in(Arc::clone(&journal), client.clone())),
    ];
    let mut told = ending.clone();
    let told = async move { drop(told.wait_for(|told| *told).await) };
    let routes = routes::routes(Arc::clone(&app));
    let mut serving = tokio::spawn(serve_until(listener, routes, options.limits(), told));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        _ = &mut serving => {}
    }
    end.send_replace(true);
    journal.write("The page is no longer served".to_owned());
    let _ = tokio::time::timeout(FAREWELL, serving).await;
    for task in background {
        task.abort();
    }
    let _ = tokio::time::timeout(LAST_HAND_IN, journal.hand_in_rest(&client)).await;
    Ok(())
}
