//! The containers of the cluster as the engine lists them, told apart by their labels.

use std::collections::HashMap;
use std::hash::BuildHasher;

use bollard::models::{
    ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum, MountPoint, PortSummary,
};
use bollard::query_parameters::ListContainersOptionsBuilder;
use clb_protocol::{ContainerId, MemberName, PoolVersion, SlotNo, WorkerId};

use crate::supplies::PROGRAM_FOLDER;
use crate::{Docker, EngineError, QUICK, within};

pub(crate) const CLUSTER: &str = "clb.cluster";
pub(crate) const ROLE: &str = "clb.role";
const MEMBER: &str = "clb.member";
pub(crate) const POOL: &str = "clb.pool";
pub(crate) const SLOT: &str = "clb.slot";
pub(crate) const GENERATION: &str = "clb.generation";
pub(crate) const VERSION: &str = "clb.version";
pub(crate) const PORT: &str = "clb.port";

/// What a container of the cluster is, by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs tasks.
    Worker(WorkerId),
    /// Leads or stands by.
    Orchestrator(MemberName),
    /// Carries the worker's program into its volume and never runs.
    Carrier,
    /// Serves the web page.
    Client,
    /// Shows what is stored.
    Database,
    /// Its labels are missing or cannot be read.
    Unknown,
}

impl Role {
    pub(crate) fn of<S: BuildHasher>(labels: &HashMap<String, String, S>) -> Self {
        let label = |name: &str| labels.get(name).map(String::as_str);
        let read = match label(ROLE) {
            Some("worker") => worker(label).map(Self::Worker),
            Some("orchestrator") => label(MEMBER).map(|member| Self::Orchestrator(member.into())),
            Some("carrier") => Some(Self::Carrier),
            Some("client") => Some(Self::Client),
            Some("database") => Some(Self::Database),
            _ => None,
        };
        read.unwrap_or(Self::Unknown)
    }
}

fn worker<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<WorkerId> {
    Some(WorkerId {
        pool: label(POOL)?.into(),
        slot: SlotNo(label(SLOT)?.parse().ok()?),
        generation: clb_protocol::Generation(label(GENERATION)?.parse().ok()?),
    })
}

/// Where a container stands, in the engine's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made and not started.
    Created,
    /// Its process runs.
    Running,
    /// Its process is frozen.
    Paused,
    /// The engine is about to start it again.
    Restarting,
    /// On its way out.
    Removing,
    /// Its process has ended.
    Exited,
    /// The engine failed to remove it.
    Dead,
}

impl State {
    /// Whether it has a process, or is about to have one again.
    #[must_use]
    pub fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Whether its process has ended, or the container could not even be removed.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Exited | Self::Dead)
    }
}

/// The list and the inspection of a container have the same words in two types.
macro_rules! state_from {
    ($($engine:ident),*) => {$(
        impl From<Option<$engine>> for State {
            fn from(state: Option<$engine>) -> Self {
                use $engine as Engine;
                match state {
                    None | Some(Engine::EMPTY | Engine::CREATED) => Self::Created,
                    Some(Engine::RUNNING | Engine::STOPPING) => Self::Running,
                    Some(Engine::PAUSED) => Self::Paused,
                    Some(Engine::RESTARTING) => Self::Restarting,
                    Some(Engine::REMOVING) => Self::Removing,
                    Some(Engine::EXITED) => Self::Exited,
                    Some(Engine::DEAD) => Self::Dead,
                }
            }
        }
    )*};
}

state_from!(ContainerSummaryStateEnum, ContainerStateStatusEnum);

/// A container of the cluster, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its full id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// What a worker is made of; 0 where that is not said.
    pub version: PoolVersion,
    /// The id of its image.
    pub image: Option<String>,
    /// The volume with the worker's program, where it has one.
    pub program: Option<String>,
    /// Where a worker listens inside, where that is said.
    pub port: Option<u16>,
    /// The port on the host, of one that runs and has one.
    pub published: Option<u16>,
    /// Where it stands.
    pub state: State,
}

impl Seen {
    /// Whether it is the container of the orchestrator with this name.
    #[must_use]
    pub fn is_orchestrator(&self, name: &MemberName) -> bool {
        matches!(&self.role, Role::Orchestrator(it) if it == name)
    }
}

impl Docker {
    /// All containers of the cluster, stopped ones too.
    pub async fn list(&self) -> Result<Vec<Seen>, EngineError> {
        let filters = HashMap::from([("label", vec![format!("{CLUSTER}={}", self.cluster)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = within(QUICK, self.quick.list_containers(Some(options))).await?;
        Ok(found.into_iter().filter_map(seen).collect())
    }
}

fn seen(container: ContainerSummary) -> Option<Seen> {
    let names = container.names.unwrap_or_default();
    let labels = container.labels.unwrap_or_default();
    Some(Seen {
        id: container.id?.into(),
        name: own_name(&names),
        role: Role::of(&labels),
        version: version(&labels),
        image: container.image_id,
        program: program(container.mounts.unwrap_or_default()),
        port: labels.get(PORT).and_then(|text| text.parse().ok()),
        published: published(&container.ports.unwrap_or_default()),
        state: container.state.into(),
    })
}

fn version<S: BuildHasher>(labels: &HashMap<String, String, S>) -> PoolVersion {
    PoolVersion(labels.get(VERSION).and_then(|text| text.parse().ok()).unwrap_or_default())
}

fn program(mounts: Vec<MountPoint>) -> Option<String> {
    let is_program = |mount: &MountPoint| mount.destination.as_deref() == Some(PROGRAM_FOLDER);
    mounts.into_iter().find(is_program)?.name
}

fn published(ports: &[PortSummary]) -> Option<u16> {
    ports.iter().find_map(|port| port.public_port)
}

/// A container that others link to has their names for it too, `/other/alias`.
fn own_name(names: &[String]) -> String {
    let own = names.iter().filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'));
    own.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(labels: &[(&str, &str)]) -> Role {
        Role::of(&labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<HashMap<_, _>>())
    }

    #[test]
    fn a_worker_is_told_by_its_labels() {
        let labels = [(ROLE, "worker"), (POOL, "default"), (SLOT, "2"), (GENERATION, "7")];
        let Role::Worker(worker) = role(&labels) else { panic!() };
        assert_eq!(worker.name(), "worker-2");
        assert_eq!(worker.generation.0, 7);
    }

    #[test]
    fn labels_that_cannot_be_read_make_an_unknown_container() {
        assert_eq!(role(&[]), Role::Unknown);
        assert_eq!(
            role(&[(ROLE, "worker"), (POOL, "default"), (SLOT, "x"), (GENERATION, "7")]),
            Role::Unknown
        );
        assert_eq!(role(&[(ROLE, "orchestrator")]), Role::Unknown);
    }

    #[test]
    fn the_other_roles_are_told_by_their_labels() {
        assert_eq!(role(&[(ROLE, "orchestrator"), (MEMBER, "o-1")]), Role::Orchestrator("o-1".into()));
        assert_eq!(role(&[(ROLE, "client")]), Role::Client);
        assert_eq!(role(&[(ROLE, "database")]), Role::Database);
    }

    #[test]
    fn a_worker_is_read_with_its_ports() {
        let listed = |ports: &str| {
            let text = format!(
                r#"{{"Id": "0f00", "Names": ["/clb-worker-1"], "State": "running", "Ports": {ports},
                     "Labels": {{"clb.role": "worker", "clb.port": "3004"}}}}"#
            );
            seen(serde_json::from_str(&text).unwrap()).unwrap()
        };
        let published = listed(
            r#"[{"PrivatePort": 80, "Type": "tcp"},
                {"IP": "127.0.0.1", "PrivatePort": 3004, "PublicPort": 3004, "Type": "tcp"}]"#,
        );
        assert_eq!((published.port, published.published), (Some(3004), Some(3004)));
        let hidden = listed(r#"[{"PrivatePort": 3004, "Type": "tcp"}]"#);
        assert_eq!((hidden.port, hidden.published), (Some(3004), None));
    }

    #[test]
    fn a_container_is_read_with_its_image_and_the_volume_of_the_program() {
        let listed = seen(
            serde_json::from_str(
                r#"{"Id": "0f00", "Names": ["/clb-tool-1"], "State": "running", "ImageID": "sha256:1", "Mounts": [
                    {"Type": "bind", "Source": "/srv", "Destination": "/srv"},
                    {"Type": "volume", "Name": "clb-worker-0f", "Destination": "/.clb"}]}"#,
            )
            .unwrap(),
        )
        .unwrap();
        assert_eq!(
            (listed.image.as_deref(), listed.program.as_deref()),
            (Some("sha256:1"), Some("clb-worker-0f"))
        );
    }

    #[test]
    fn a_linked_container_keeps_its_own_name() {
        assert_eq!(own_name(&["/other/alias".to_owned(), "/own".to_owned()]), "own");
    }
}
