//! What an orchestrator is told at its start.

use std::net::SocketAddr;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clb_core::Config;
use clb_core::ports::Reserved;
use clb_protocol::pool::{Bytes, Placement, PoolSpec};

use crate::definitions::{DefinitionError, Definitions, Environment};
use crate::http::LEAST_IN_FLIGHT;

const LEAST_CONNECTIONS: usize = 64;

/// The CLB orchestrator: a durable task queue and the fleet of worker containers behind it
#[derive(Debug, Parser)]
#[command(name = "clb-orchestrator", version)]
pub(crate) struct Cli {
    /// What to run
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lead the cluster, or stand by
    Serve(Box<Serve>),
    /// Serve the stored data, the logs of all containers and backups
    Database(clb_database::Options),
    /// Check that the orchestrator or database at an address is up; exits with 0 or 1
    Healthcheck {
        /// Address it listens on
        #[arg(long, env = "CLB_LISTEN", default_value = "127.0.0.1:3002")]
        listen: SocketAddr,
    },
}

/// Ports, separated by commas; none of an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports(Vec<u16>);

impl FromStr for Ports {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Room for less than the largest batch would refuse it for ever.
fn room_for_bodies(text: &str) -> Result<Bytes, String> {
    let bytes: Bytes = text.parse()?;
    if bytes.0 < LEAST_IN_FLIGHT {
        return Err(format!("must be at least {} MiB", LEAST_IN_FLIGHT >> 20));
    }
    Ok(bytes)
}

/// Fewer would not do for the workers' links.
fn room_for_connections(text: &str) -> Result<usize, String> {
    let connections = text.parse().map_err(|error| format!("{error}"))?;
    if connections < LEAST_CONNECTIONS {
        return Err(format!("must be at least {LEAST_CONNECTIONS}"));
    }
    Ok(connections)
}

/// The options of `serve`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    /// Cluster name, the prefix of all container names
    #[arg(long, env = "CLB_CLUSTER", default_value = "clb")]
    pub(crate) cluster: String,
    /// Name of this orchestrator; must stay the same across restarts
    #[arg(long, env = "CLB_NAME", default_value = "orchestrator-1")]
    pub(crate) name: String,
    /// Address to listen on
    #[arg(long, env = "CLB_LISTEN", default_value = "127.0.0.1:3002")]
    pub(crate) listen: SocketAddr,
    /// Database file shared by all orchestrators
    #[arg(long, env = "CLB_STORE", default_value = "/data/clb.db")]
    pub(crate) store: PathBuf,
    /// Base URL for workers and other orchestrators
    #[arg(long, env = "CLB_ADVERTISE", default_value = "http://127.0.0.1:3002")]
    pub(crate) advertise: String,
    /// Base URL for callers on the host
    #[arg(long, env = "CLB_PUBLIC_URL", default_value = "http://127.0.0.1:3002")]
    pub(crate) public_url: String,
    /// Number of workers in the pool default
    #[arg(long, env = "CLB_WORKERS", default_value_t = 3)]
    pub(crate) workers: u16,
    /// Number of tasks each worker runs at once
    #[arg(long, env = "CLB_WORKER_SLOTS", default_value_t = 16)]
    pub(crate) worker_slots: u16,
    /// Image of the workers
    #[arg(long, env = "CLB_WORKER_IMAGE", default_value = "clb-worker")]
    pub(crate) worker_image: String,
    /// Host port of the first worker; the others follow, skipping reserved ports
    #[arg(long, env = "CLB_WORKER_PORT", default_value_t = 3004)]
    pub(crate) worker_port: u16,
    /// Memory limit of each worker, in bytes or with k, m or g
    #[arg(long, env = "CLB_WORKER_MEMORY", default_value = "256m")]
    pub(crate) worker_memory: Bytes,
    /// CPU limit of each worker, in cores
    #[arg(long, env = "CLB_WORKER_CPUS", default_value_t = 1.0)]
    pub(crate) worker_cpus: f64,
    /// Maximum number of processes and threads of each worker
    #[arg(long, env = "CLB_WORKER_PIDS", default_value_t = 256)]
    pub(crate) worker_pids: u32,
    /// Seconds between SIGTERM and SIGKILL when a program is stopped
    #[arg(long, env = "CLB_WORKER_STOP_GRACE", default_value_t = 5.0)]
    pub(crate) worker_stop_grace: f64,
    /// Statically linked worker program, for pools with an image of their own
    #[arg(long, env = "CLB_WORKER_BINARY", default_value = "/clb-worker")]
    pub(crate) worker_binary: PathBuf,
    /// File that defines pools [default: /etc/clb/clb.toml, if it exists]
    #[arg(long, env = "CLB_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Host directories below which pools may mount, separated by colons
    #[arg(long, env = "CLB_MOUNT_PREFIXES", value_delimiter = ':')]
    pub(crate) mount_prefixes: Vec<String>,
    /// What the file says
    #[arg(skip)]
    pub(crate) definitions: Definitions,
    /// Placement policy: least-loaded, seed, round-robin or random
    #[arg(long, env = "CLB_PLACEMENT", default_value = "least-loaded")]
    pub(crate) placement: Placement,
    /// Maximum number of waiting tasks
    #[arg(long, env = "CLB_QUEUE_LIMIT", default_value_t = 1_000_000)]
    pub(crate) queue_limit: usize,
    /// Maximum number of connections; at most three quarters of them from one address
    #[arg(long, env = "CLB_CONNECTIONS", default_value_t = 4_096, value_parser = room_for_connections)]
    pub(crate) connections: usize,
    /// Seconds to receive the header of a request, counted from the start of the connection or the previous response
    #[arg(long, env = "CLB_HEADER_TIME", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) header_time: u32,
    /// Maximum total size of the request bodies in memory, in bytes or with k, m or g; at least 64m
    #[arg(long, env = "CLB_BODIES_IN_FLIGHT", default_value = "128m", value_parser = room_for_bodies)]
    pub(crate) bodies_in_flight: Bytes,
    /// Additional host ports that no worker may be published on, separated by commas: those of the other
    /// orchestrators and the database
    #[arg(long, env = "CLB_RESERVED_PORTS", default_value = "")]
    pub(crate) reserved_ports: Ports,
    /// Seconds after which a worker that simulates a crash is replaced
    #[arg(long, env = "CLB_SOFT_STOP_GRACE", default_value_t = 60)]
    pub(crate) soft_stop_grace: u64,
    /// Token that callers must send
    #[arg(long, env = "CLB_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Port of the client, for log messages and reserved for it
    #[arg(long, env = "CLB_CLIENT_PORT", default_value_t = 3001)]
    pub(crate) client_port: u16,
    /// Log level: error, warn, info, debug, trace
    #[arg(long, env = "CLB_LOG", default_value = "info")]
    pub(crate) log: String,
}

impl Serve {
    /// Reads what the operator defines; a mistake in it is told before anything starts.
    pub(crate) fn define(&mut self) -> Result<(), DefinitionError> {
        self.mount_prefixes.retain(|prefix| !prefix.is_empty());
        let path = self.config.as_deref().filter(|path| !path.as_os_str().is_empty());
        let environment = Environment {
            mount_prefixes: self.mount_prefixes.clone(),
            default_pool: self.default_pool(),
            reserved_ports: self.all_reserved_ports(),
        };
        self.definitions = Definitions::load(path, &environment)?;
        Ok(())
    }

    /// The pool of the environment.
    fn default_pool(&self) -> PoolSpec {
        PoolSpec {
            workers: self.workers,
            slots: self.worker_slots,
            memory: self.worker_memory,
            cpus: self.worker_cpus,
            pids: self.worker_pids,
            stop_grace: self.worker_stop_grace,
            placement: self.placement,
            first_port: Some(self.worker_port),
            ..PoolSpec::default()
        }
    }

    /// Ports of the host that no worker may be published on.
    fn all_reserved_ports(&self) -> Reserved {
        let own = [self.listen.port(), self.client_port];
        own.into_iter().chain(self.reserved_ports.0.iter().copied()).collect()
    }

    /// The numbers that decisions depend on.
    pub(crate) fn decisions(&self) -> Config {
        let mut config = Config::new(self.definitions.pools(self.default_pool()));
        config.reserved_ports = self.all_reserved_ports();
        config.queue_limit = self.queue_limit;
        config.soft_stop_grace = Duration::from_secs(self.soft_stop_grace);
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn limits_that_leave_no_room_are_refused() {
        assert!(room_for_bodies("128m").is_ok() && room_for_bodies("63m").is_err());
        assert!(room_for_connections("64").is_ok() && room_for_connections("63").is_err());
    }

    #[test]
    fn ports_may_be_none_or_many() {
        assert_eq!("".parse(), Ok(Ports::default()));
        assert_eq!("3002, 3003,".parse(), Ok(Ports(vec![3_002, 3_003])));
        assert!("3002,http".parse::<Ports>().is_err());
    }
}
