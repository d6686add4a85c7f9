//! `clb pool set`: what is said changes, the rest stays as it is.

use clb_client::protocol::api::PoolView;
use clb_client::protocol::pool::{Bytes, Mount, Placement, PoolSpec};
use clb_client::{Client, Error};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as ValueError, StrDeserializer};

use super::super::output::remark;
use super::super::values::{parse_pair, parse_pool_name, parse_seconds};
use super::super::{asked, completion};
use crate::failure::Failure;

const NOT_FOUND: u16 = 404;

/// What is said of the pool.
#[derive(Debug, clap::Args)]
pub(crate) struct SetOptions {
    /// The pool
    #[arg(value_name = "POOL", value_parser = parse_pool_name, add = completion::pool())]
    name: String,
    /// Image of the workers
    #[arg(long)]
    image: Option<String>,
    /// Number of workers
    #[arg(long, value_name = "N")]
    workers: Option<u16>,
    /// Number of tasks each worker runs at once
    #[arg(long, value_name = "N")]
    slots: Option<u16>,
    /// Memory limit of each worker, in bytes or with k, m or g
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// CPU limit of each worker, in cores
    #[arg(long, value_name = "CORES")]
    cpus: Option<f64>,
    /// Maximum number of processes and threads of each worker
    #[arg(long, value_name = "N")]
    pids: Option<u32>,
    /// Environment variable for programs; repeatable, replaces all existing ones
    #[arg(long = "env", short = 'e', value_name = "NAME=TEXT", value_parser = parse_pair)]
    env: Vec<(String, String)>,
    /// Remove all environment variables
    #[arg(long, conflicts_with = "env")]
    no_env: bool,
    /// Mount a host directory; repeatable, replaces all existing mounts
    #[arg(long = "mount", value_name = "SOURCE:TARGET[:ro]", value_parser = parse_mount)]
    mounts: Vec<Mount>,
    /// Remove all mounts
    #[arg(long, conflicts_with = "mounts")]
    no_mounts: bool,
    /// User that programs run as
    #[arg(long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Whether workers can reach anything besides the orchestrators; without a network they have no ports
    #[arg(long, value_name = "BOOL")]
    network: Option<bool>,
    /// Whether the container's root file system is read-only
    #[arg(long, value_name = "BOOL")]
    read_only: Option<bool>,
    /// Placement policy: least-loaded, seed, round-robin or random
    #[arg(long, value_name = "POLICY", value_parser = parse_placement)]
    placement: Option<Placement>,
    /// Time between SIGTERM and SIGKILL when a program is stopped
    #[arg(long, value_name = "DURATION", value_parser = parse_seconds)]
    stop_grace: Option<f64>,
    /// Publish the workers on 127.0.0.1 from this port on; `none` unpublishes them
    #[arg(long, value_name = "PORT", value_parser = parse_port)]
    first_port: Option<FirstPort>,
}

/// Where the ports of the workers begin, or that they have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FirstPort(Option<u16>);

/// Makes or changes the pool.
pub(super) async fn run(options: &SetOptions, client: &Client) -> Result<PoolView, Failure> {
    let spec = match client.pool(&options.name).await {
        Ok(pool) => pool.spec,
        Err(Error::Refused { problem }) if problem.status == NOT_FOUND => {
            if options.image.is_none() {
                let advice = "there is no such pool yet; give --image to create it";
                return Err(Failure::Usage(advice.to_owned()));
            }
            PoolSpec::default()
        }
        Err(error) => return Err(error.into()),
    };
    let spec = without_ports(changed(spec, options), options)?;
    let broken = spec.broken_limits();
    if broken.is_empty() {
        return Ok(client.set_pool(&options.name, &spec).await?);
    }
    Err(Failure::Usage(asked::sentence(&broken)))
}

/// A pool without a network has no ports: those that it had go, unless they were asked for.
fn without_ports(mut spec: PoolSpec, options: &SetOptions) -> Result<PoolSpec, Failure> {
    let (false, Some(port)) = (spec.network, spec.first_port) else { return Ok(spec) };
    if options.first_port.is_some() {
        let advice = "a pool without a network has no ports; use --network true or --first-port none";
        return Err(Failure::Usage(advice.to_owned()));
    }
    remark(format!("workers without a network have no ports: first port {port} was removed"));
    spec.first_port = None;
    Ok(spec)
}

fn changed(mut spec: PoolSpec, options: &SetOptions) -> PoolSpec {
    fn set<T: Clone>(place: &mut T, said: Option<&T>) {
        if let Some(value) = said {
            place.clone_from(value);
        }
    }
    if options.image.is_some() {
        spec.image.clone_from(&options.image);
    }
    if let Some(FirstPort(port)) = options.first_port {
        spec.first_port = port;
    }
    set(&mut spec.workers, options.workers.as_ref());
    set(&mut spec.slots, options.slots.as_ref());
    set(&mut spec.memory, options.memory.as_ref());
    set(&mut spec.cpus, options.cpus.as_ref());
    set(&mut spec.pids, options.pids.as_ref());
    set(&mut spec.user, options.user.as_ref());
    set(&mut spec.network, options.network.as_ref());
    set(&mut spec.read_only, options.read_only.as_ref());
    set(&mut spec.placement, options.placement.as_ref());
    set(&mut spec.stop_grace, options.stop_grace.as_ref());
    if options.no_env || !options.env.is_empty() {
        spec.env = options.env.iter().cloned().collect();
    }
    if options.no_mounts || !options.mounts.is_empty() {
        spec.mounts.clone_from(&options.mounts);
    }
    spec
}

fn parse_mount(text: &str) -> Result<Mount, String> {
    let (source, rest) =
        text.split_once(':').ok_or_else(|| format!("{text:?} must be written as SOURCE:TARGET"))?;
    let (target, read_only) = match rest.split_once(':') {
        None => (rest, false),
        Some((target, "ro")) => (target, true),
        Some((_, other)) => return Err(format!("{other:?} is not a mount option; the only one is ro")),
    };
    Ok(Mount { source: source.to_owned(), target: target.to_owned(), read_only })
}

fn parse_port(text: &str) -> Result<FirstPort, String> {
    if text == "none" {
        return Ok(FirstPort(None));
    }
    let port = text.parse().map_err(|_| format!("{text:?} is not a port; give a number or none"))?;
    Ok(FirstPort(Some(port)))
}

fn parse_placement(text: &str) -> Result<Placement, String> {
    let read: StrDeserializer<'_, ValueError> = text.into_deserializer();
    Placement::deserialize(read).map_err(|_| "must be least-loaded, seed, round-robin or random".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_policies_are_written_as_elsewhere() {
        let mount = parse_mount("/srv/a:/data:ro").unwrap();
        assert_eq!(
            (mount.source.as_str(), mount.target.as_str(), mount.read_only),
            ("/srv/a", "/data", true)
        );
        assert!(parse_mount("/srv/a").is_err() && parse_mount("/a:/b:rw").is_err());
        assert_eq!(parse_placement("round-robin"), Ok(Placement::RoundRobin));
        assert!(parse_placement("roundrobin").is_err());
    }
}
