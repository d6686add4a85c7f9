//! What a worker is told at its start, by flags or by the environment that its creator sets.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use clb_protocol::{Generation, PoolName, SlotNo, WorkerId};

/// A CLB worker: runs tasks for the leader of a cluster.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Config {
    /// Base URLs of the orchestrators, separated by commas
    #[arg(long, env = "CLB_ORCHESTRATORS", value_delimiter = ',', required = true, value_parser = base_url)]
    pub(crate) orchestrators: Vec<String>,
    /// Pool this worker belongs to
    #[arg(long, env = "CLB_POOL", default_value = clb_protocol::task::DEFAULT_POOL, value_parser = pool)]
    pub(crate) pool: PoolName,
    /// Its slot in the pool, from 1
    #[arg(long, env = "CLB_SLOT", default_value_t = 1)]
    pub(crate) slot: u16,
    /// Its generation: which container of that slot it is, from 1
    #[arg(long, env = "CLB_GENERATION", default_value_t = 1)]
    pub(crate) generation: u64,
    /// Address its own pages listen on
    #[arg(long, env = "CLB_LISTEN", default_value = "0.0.0.0:3004")]
    pub(crate) listen: SocketAddr,
    /// Host port its pages are published on
    #[arg(long, env = "CLB_PORT", default_value_t = 3004)]
    pub(crate) port: u16,
    /// Number of tasks it runs at once
    #[arg(long, env = "CLB_SLOTS", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) slots: u16,
    /// Token of the cluster, for the link to the leader and for its pages
    #[arg(long, env = "CLB_TOKEN", hide_env_values = true, value_parser = token)]
    pub(crate) token: Option<String>,
    /// Seconds without a leader after which it exits
    #[arg(long, env = "CLB_ORPHAN_LIMIT", default_value = "300", value_parser = seconds)]
    pub(crate) orphan_limit: Duration,
    /// Seconds between SIGTERM and SIGKILL when a program is stopped
    #[arg(long, env = "CLB_STOP_GRACE", default_value = "5", value_parser = seconds)]
    pub(crate) stop_grace: Duration,
    /// Log level: error, warn, info, debug, trace
    #[arg(long, env = "CLB_LOG", default_value = "info")]
    pub(crate) log: String,
}

impl Config {
    /// Which worker this is.
    pub(crate) fn worker(&self) -> WorkerId {
        WorkerId { pool: self.pool.clone(), slot: SlotNo(self.slot), generation: Generation(self.generation) }
    }
}

fn base_url(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/');
    match text.parse::<http::Uri>() {
        Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() && uri.path() == "/" => {
            Ok(text.to_owned())
        }
        _ => Err("must be a base URL like http://clb-orchestrator-1:3002".to_owned()),
    }
}

fn pool(text: &str) -> Result<PoolName, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.into()) }
}

fn token(text: &str) -> Result<String, String> {
    let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible {
        Ok(text.to_owned())
    } else {
        Err("must be visible ASCII characters without spaces".to_owned())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_hours(366 * 24);
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|span| !span.is_zero() && *span <= LONGEST)
        .ok_or_else(|| "must be a number of seconds above 0, at most a year".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, clap::Error> {
        Config::try_parse_from(["clb-worker"].iter().chain(arguments))
    }

    #[test]
    fn orchestrators_are_a_list_without_trailing_slashes() {
        let config = parse(&["--orchestrators", "http://a:3002/,http://b:3012"]).unwrap();
        assert_eq!(config.orchestrators, ["http://a:3002", "http://b:3012"]);
        assert_eq!(config.worker().name(), "worker-1");
        assert_eq!(config.orphan_limit, Duration::from_mins(5));
    }

    #[test]
    fn nonsense_is_refused_before_anything_starts() {
        assert!(parse(&["--orchestrators", "clb-orchestrator-1:3002"]).is_err());
        assert!(parse(&["--orchestrators", "https://a:3002"]).is_err());
        assert!(parse(&["--orchestrators", "http://a:1", "--slots", "0"]).is_err());
        assert!(parse(&["--orchestrators", "http://a:1", "--token", "a b"]).is_err());
        assert!(parse(&["--orchestrators", "http://a:1", "--orphan-limit", "-1"]).is_err());
    }
}
