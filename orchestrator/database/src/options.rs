//! What the database is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// The options of `database`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on
    #[arg(long, env = "CLB_LISTEN", default_value = "127.0.0.1:3003")]
    pub listen: SocketAddr,
    /// Database file shared by all orchestrators; it is only read
    #[arg(long, env = "CLB_STORE", default_value = "/data/clb.db")]
    pub store: PathBuf,
    /// Cluster name
    #[arg(long, env = "CLB_CLUSTER", default_value = "clb")]
    pub cluster: String,
    /// Base URLs of the orchestrators, separated by commas; its log lines go to the leader
    #[arg(
        long = "url",
        env = "CLB_URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:3002,http://127.0.0.1:3012"
    )]
    pub urls: Vec<String>,
    /// Token that callers must send
    #[arg(long, env = "CLB_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Log level: error, warn, info, debug, trace
    #[arg(long, env = "CLB_LOG", default_value = "info")]
    pub log: String,
}
