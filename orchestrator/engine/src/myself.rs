//! The container that this process runs in: what it is, and how to make it again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, EndpointSettings, NetworkConnectRequest,
    NetworkingConfig, PortMap,
};
use clb_protocol::ContainerId;
use serde::{Deserialize, Serialize};

use crate::{Docker, EngineError, PATIENT, names, within};

/// Digits of a container's short id, which is its default host name.
const SHORT_ID: usize = 12;
const LONGEST_GRACE: Duration = Duration::from_hours(1);

/// This process's own container.
#[derive(Clone, Debug)]
pub struct Myself {
    /// Its full id.
    pub id: ContainerId,
    /// The network for the workers: a user's own, where names resolve, before the engine's default.
    pub worker_network: Option<String>,
    /// Its ports on the host.
    pub published: Vec<Published>,
    /// How long the engine waits for its end before it kills it, where that is said of this container. What a
    /// `docker stop --time` says, nobody is told.
    pub stop_grace: Option<Duration>,
    /// How to make it again.
    pub blueprint: Blueprint,
}

/// A port of a container on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The port inside.
    pub port: u16,
    /// The host's address; unspecified (0.0.0.0) for all of them.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
}

/// Everything that makes a container again after it was removed. It holds the environment, secrets
/// included: keep it where they are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blueprint {
    name: String,
    body: ContainerCreateBody,
    /// Beyond the first, which is in the body: old engines take only one there.
    more_networks: BTreeMap<String, EndpointSettings>,
}

impl Docker {
    /// This process's own container; `None` when it runs in none of this engine's.
    pub async fn whoami(&self) -> Result<Option<Myself>, EngineError> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let by_hostname = || id_from_hostname(hostname.trim()).map(ContainerId::from);
        let Some(id) = ContainerId::in_mountinfo(&mounts).or_else(by_hostname) else { return Ok(None) };
        match self.inspect_raw(id.as_str()).await {
            Ok(container) => myself(&self.cluster, container).map(Some),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How to make another orchestrator's container again.
    pub async fn blueprint_of(&self, id: &ContainerId) -> Result<Blueprint, EngineError> {
        let container = self.inspect_raw(id.as_str()).await?;
        blueprint(container)
            .ok_or_else(|| EngineError::unreadable("a container without id, name or configuration"))
    }

    /// Makes a removed container again and starts it.
    pub async fn recreate(&self, blueprint: &Blueprint) -> Result<ContainerId, EngineError> {
        let id = self.create(&blueprint.name, blueprint.body.clone()).await?;
        for (network, endpoint) in &blueprint.more_networks {
            let request =
                NetworkConnectRequest { container: id.to_string(), endpoint_config: Some(endpoint.clone()) };
            let connect = self.patient.connect_network(names::container(network)?, request);
            within(PATIENT, connect).await?;
        }
        self.start(&id).await?;
        Ok(id)
    }
}

impl Blueprint {
    /// The name of the container that it makes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn id_from_hostname(hostname: &str) -> Option<&str> {
    let is_id = hostname.len() == SHORT_ID && hostname.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(hostname)
}

fn myself(cluster: &str, container: ContainerInspectResponse) -> Result<Myself, EngineError> {
    let missing = || EngineError::unreadable("a container without id, name or configuration");
    let id = container.id.clone().ok_or_else(missing)?;
    let stop_grace = container.config.as_ref().and_then(|config| config.stop_timeout).map(stop_grace);
    let settings = container.network_settings.clone().unwrap_or_default();
    let networks: BTreeMap<_, _> = settings.networks.unwrap_or_default().into_iter().collect();
    // A container that was cut off when it started is on none of them, and comes back to the one that it was made on.
    let home = container.host_config.as_ref().and_then(|host| host.network_mode.clone());
    let networks: Vec<String> = networks.into_keys().chain(home.filter(|mode| is_name(mode))).collect();
    let blueprint = blueprint(container).ok_or_else(missing)?;
    Ok(Myself {
        id: id.into(),
        worker_network: worker_network(cluster, &networks),
        published: published(&settings.ports.unwrap_or_default()),
        stop_grace,
        blueprint,
    })
}

/// Whether the mode of a container's network is the name of one.
fn is_name(mode: &str) -> bool {
    mode != "default" && !mode.starts_with("container:")
}

/// The engine writes -1 for "as long as it takes".
fn stop_grace(seconds: i64) -> Duration {
    u64::try_from(seconds).map_or(LONGEST_GRACE, Duration::from_secs)
}

fn worker_network(cluster: &str, networks: &[String]) -> Option<String> {
    let inside = crate::supplies::inside_network(cluster);
    let is_own = |name: &&String| !matches!(name.as_str(), "bridge" | "host" | "none") && **name != inside;
    let cluster_wide = networks.iter().find(|name| *name == cluster);
    let chosen = cluster_wide.or_else(|| networks.iter().find(is_own));
    chosen.or_else(|| networks.iter().find(|name| *name == "bridge")).cloned()
}

fn published(ports: &PortMap) -> Vec<Published> {
    let mut published: Vec<_> = ports
        .iter()
        .flat_map(|(port, bindings)| bindings.iter().flatten().map(move |binding| (port, binding)))
        .filter_map(|(port, binding)| {
            let host_ip = binding.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0");
            Some(Published {
                port: port.split('/').next()?.parse().ok()?,
                host_ip: host_ip.parse().ok()?,
                host_port: binding.host_port.as_deref()?.parse().ok()?,
            })
        })
        .collect();
    published.sort_by_key(|port| (port.port, port.host_ip));
    published
}

fn blueprint(container: ContainerInspectResponse) -> Option<Blueprint> {
    let id = container.id?;
    let short_id = id.get(..SHORT_ID)?;
    let host_config = container.host_config?;
    let mut networks: BTreeMap<_, _> = container
        .network_settings
        .and_then(|settings| settings.networks)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, endpoint)| (name, as_configured(endpoint, short_id)))
        .collect();
    let mode = host_config.network_mode.clone().unwrap_or_default();
    let first = networks.remove_entry(&mode).or_else(|| networks.pop_first());
    let mut body = body(container.config?, short_id)?;
    body.networking_config =
        first.map(|first| NetworkingConfig { endpoints_config: Some([first].into_iter().collect()) });
    body.host_config = Some(host_config);
    Some(Blueprint {
        name: container.name?.trim_start_matches('/').to_owned(),
        body,
        more_networks: networks,
    })
}

/// The configuration has the same fields under the same names as the body of a creation.
fn body(config: ContainerConfig, short_id: &str) -> Option<ContainerCreateBody> {
    let mut body: ContainerCreateBody = serde_json::from_value(serde_json::to_value(config).ok()?).ok()?;
    body.hostname = body.hostname.filter(|hostname| hostname != short_id);
    Some(body)
}

/// What was asked for, without the addresses that the engine gave.
fn as_configured(endpoint: EndpointSettings, short_id: &str) -> EndpointSettings {
    let aliases = endpoint.aliases.unwrap_or_default();
    EndpointSettings {
        ipam_config: endpoint.ipam_config,
        links: endpoint.links,
        aliases: Some(aliases.into_iter().filter(|alias| alias != short_id).collect()),
        driver_opts: endpoint.driver_opts,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn inspected() -> ContainerInspectResponse {
        let json = format!(
            r#"{{"Id": "{ID}", "Name": "/clb-orchestrator-2",
                "HostConfig": {{"NetworkMode": "clb", "Binds": ["clb-store:/data:rw"], "GroupAdd": ["998"]}},
                "Config": {{"Hostname": "0123456789ab", "Image": "clb-orchestrator", "Cmd": ["serve"],
                            "ExposedPorts": {{"3012/tcp": {{}}}}, "Env": ["CLB_NAME=orchestrator-2"],
                            "Labels": {{"clb.cluster": "clb"}}}},
                "NetworkSettings": {{
                    "Ports": {{"3012/tcp": [{{"HostIp": "127.0.0.1", "HostPort": "3012"}}], "9/tcp": null}},
                    "Networks": {{"bridge": {{"IPAddress": "172.17.0.2"}},
                                  "clb": {{"IPAddress": "172.18.0.2", "NetworkID": "ff",
                                           "Aliases": ["orchestrator-2", "0123456789ab"]}}}}}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_host_name_counts_only_when_it_looks_like_an_id() {
        assert_eq!(id_from_hostname("0123456789ab"), Some("0123456789ab"));
        assert_eq!(id_from_hostname("my-machine"), None);
    }

    #[test]
    fn workers_go_where_names_resolve() {
        let network = |names: &[&str]| {
            worker_network("clb", &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(network(&["bridge", "other"]).as_deref(), Some("other"));
        assert_eq!(network(&["another", "bridge", "clb"]).as_deref(), Some("clb"));
        assert_eq!(network(&["clb-inside", "net"]).as_deref(), Some("net"));
        assert_eq!(network(&["bridge"]).as_deref(), Some("bridge"));
        assert_eq!(network(&["host"]), None);
    }

    #[test]
    fn workers_of_an_orchestrator_that_was_cut_off_when_it_started_go_where_it_was_made() {
        let mut container = inspected();
        container.network_settings.as_mut().unwrap().networks = None;
        assert_eq!(myself("clb", container).unwrap().worker_network.as_deref(), Some("clb"));
    }

    #[test]
    fn published_ports_are_read_with_their_addresses() {
        let myself = myself("clb", inspected()).unwrap();
        let only = Published { port: 3012, host_ip: "127.0.0.1".parse().unwrap(), host_port: 3012 };
        assert_eq!(myself.published, [only]);
        assert_eq!(myself.worker_network.as_deref(), Some("clb"));
    }

    #[test]
    fn the_grace_of_a_container_is_read_where_it_has_one() {
        let grace = |seconds| {
            let mut container = inspected();
            container.config.as_mut().unwrap().stop_timeout = seconds;
            myself("clb", container).unwrap().stop_grace
        };
        assert_eq!(
            [None, Some(60), Some(-1)].map(grace),
            [None, Some(Duration::from_mins(1)), Some(LONGEST_GRACE)]
        );
    }

    #[test]
    fn a_blueprint_has_what_was_asked_for_and_not_what_was_given() {
        let blueprint = blueprint(inspected()).unwrap();
        assert_eq!(blueprint.name(), "clb-orchestrator-2");
        assert_eq!(blueprint.body.hostname, None);
        assert_eq!(blueprint.body.cmd.as_deref(), Some(&["serve".to_owned()][..]));
        assert_eq!(blueprint.body.exposed_ports.as_deref(), Some(&["3012/tcp".to_owned()][..]));
        let first = blueprint.body.networking_config.as_ref().unwrap().endpoints_config.as_ref().unwrap();
        assert_eq!(first["clb"].aliases.as_deref(), Some(&["orchestrator-2".to_owned()][..]));
        assert_eq!((&first["clb"].ip_address, &first["clb"].network_id), (&None, &None));
        assert_eq!(blueprint.more_networks.keys().collect::<Vec<_>>(), ["bridge"]);
    }

    #[test]
    fn a_blueprint_survives_its_text() {
        let blueprint = blueprint(inspected()).unwrap();
        let text = serde_json::to_string(&blueprint).unwrap();
        assert_eq!(serde_json::from_str::<Blueprint>(&text).unwrap(), blueprint);
    }
}
