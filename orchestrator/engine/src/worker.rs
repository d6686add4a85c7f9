//! A worker's container: hardened, limited, published on the loopback address only.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType,
    NetworkingConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use clb_protocol::pool::Mount as PoolMount;
use clb_protocol::{ContainerId, PoolVersion, WorkerId};

use crate::list::{CLUSTER, GENERATION, POOL, PORT, ROLE, SLOT, VERSION};
use crate::supplies::{PROGRAM, program_mount};
use crate::{Docker, EngineError, PATIENT, names, within};

const TMP: &str = "rw,noexec,nosuid,nodev,size=16m,mode=1777";
/// The part of a worker's memory that its `/tmp` may hold, where programs of foreign images work.
const TMP_SHARE: u64 = 4;
/// Everything that makes a worker's container.
#[derive(Clone, Debug)]
pub struct WorkerPlan {
    /// Which slot of which pool, and which container there.
    pub worker: WorkerId,
    /// What it is made of, as a fingerprint.
    pub version: PoolVersion,
    /// The image's name.
    pub image: String,
    /// Where the worker's program is.
    pub program: Program,
    /// As whom it runs.
    pub user: String,
    /// Folders of the host.
    pub mounts: Vec<PoolMount>,
    /// Whether the container's own files are read-only.
    pub read_only: bool,
    /// The network to be on; the engine's default where there is none.
    pub network: Option<String>,
    /// Whether that is the one without a way out.
    pub is_inside: bool,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// The port that it listens on inside.
    pub port: u16,
    /// The port on 127.0.0.1 of the host, where it has one.
    pub host_port: Option<u16>,
    /// Its memory limit, swap included.
    pub memory_bytes: u64,
    /// Its share of the machine in cores; more than the machine has counts as all of them.
    pub cpus: f64,
    /// How many processes and threads it may have.
    pub pids: u32,
    /// How long it may take to end once it is asked to.
    pub stop_grace: Duration,
}

/// Where a worker's program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// In the image, which starts it by itself.
    Bundled,
    /// In this volume; the image is any.
    Volume(String),
}

impl Docker {
    /// The name of a worker's container, shared by all generations of its slot.
    #[must_use]
    pub fn worker_container_name(&self, worker: &WorkerId) -> String {
        format!("{}-{}", self.cluster, worker.name())
    }

    /// Makes a worker's container; it does not run yet.
    pub async fn create_worker(&self, plan: &WorkerPlan) -> Result<ContainerId, EngineError> {
        let body = body(&self.cluster, plan, self.machine_cpus().await?);
        self.create(&self.worker_container_name(&plan.worker), body).await
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<ContainerId, EngineError> {
        let options = CreateContainerOptionsBuilder::default().name(names::container(name)?).build();
        let _turn = self.making.turn().await?;
        let created = within(PATIENT, self.patient.create_container(Some(options), body)).await?;
        for warning in created.warnings {
            tracing::debug!(container = name, "the Docker engine warns: {warning}");
        }
        Ok(created.id.into())
    }
}

fn body(cluster: &str, plan: &WorkerPlan, machine_cpus: i64) -> ContainerCreateBody {
    let port = format!("{}/tcp", plan.port);
    let is_foreign = plan.program != Program::Bundled;
    let networks = plan.network.iter().map(|name| (name.clone(), EndpointSettings::default())).collect();
    ContainerCreateBody {
        image: Some(plan.image.clone()),
        hostname: Some(plan.worker.name()),
        user: Some(plan.user.clone()),
        entrypoint: is_foreign.then(|| vec![PROGRAM.to_owned()]),
        stop_signal: is_foreign.then(|| "SIGTERM".to_owned()),
        // The leader watches its workers itself.
        healthcheck: is_foreign
            .then(|| HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        env: Some(plan.env.clone()),
        labels: Some(labels(cluster, plan)),
        exposed_ports: Some(vec![port.clone()]),
        stop_timeout: i64::try_from(plan.stop_grace.as_secs()).ok(),
        host_config: Some(host_config(cluster, plan, port, machine_cpus)),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(networks) }),
        ..Default::default()
    }
}

fn host_config(cluster: &str, plan: &WorkerPlan, port: String, machine_cpus: i64) -> HostConfig {
    let memory = i64::try_from(plan.memory_bytes).unwrap_or(i64::MAX);
    let published = plan.host_port.map(|host_port| {
        let host_ip = Some("127.0.0.1".to_owned());
        HashMap::from([(port, Some(vec![PortBinding { host_ip, host_port: Some(host_port.to_string()) }]))])
    });
    let tmp = match &plan.program {
        Program::Bundled => TMP.to_owned(),
        Program::Volume(_) => {
            format!("rw,exec,nosuid,nodev,size={},mode=1777", plan.memory_bytes / TMP_SHARE)
        }
    };
    let log_options =
        HashMap::from([("max-size".to_owned(), "10m".to_owned()), ("max-file".to_owned(), "3".to_owned())]);
    HostConfig {
        network_mode: plan.network.clone(),
        port_bindings: published,
        mounts: Some(mounts(cluster, plan)),
        memory: Some(memory),
        // Equal to `memory`: no swap on top of it.
        memory_swap: Some(memory),
        nano_cpus: Some(nano_cpus(plan.cpus, machine_cpus)),
        pids_limit: Some(i64::from(plan.pids)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        privileged: Some(false),
        readonly_rootfs: Some(plan.read_only),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmp)])),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(log_options),
        }),
        ..Default::default()
    }
}

fn mounts(cluster: &str, plan: &WorkerPlan) -> Vec<Mount> {
    let program = match &plan.program {
        Program::Bundled => None,
        Program::Volume(volume) => Some(program_mount(cluster, volume, true)),
    };
    // Unlike a bind by text, this refuses a source that is not there instead of making it.
    let folder = |mount: &PoolMount| Mount {
        target: Some(mount.target.clone()),
        source: Some(mount.source.clone()),
        typ: Some(MountType::BIND),
        read_only: Some(mount.read_only),
        ..Default::default()
    };
    program.into_iter().chain(plan.mounts.iter().map(folder)).collect()
}

/// The engine refuses more CPUs than the machine has.
fn nano_cpus(cpus: f64, machine_cpus: i64) -> i64 {
    (cpus.min(machine_cpus as f64) * 1e9).round() as i64
}

fn labels(cluster: &str, plan: &WorkerPlan) -> HashMap<String, String> {
    let worker = &plan.worker;
    HashMap::from([
        (CLUSTER.to_owned(), cluster.to_owned()),
        (ROLE.to_owned(), "worker".to_owned()),
        (POOL.to_owned(), worker.pool.to_string()),
        (SLOT.to_owned(), worker.slot.to_string()),
        (GENERATION.to_owned(), worker.generation.to_string()),
        (VERSION.to_owned(), plan.version.to_string()),
        (PORT.to_owned(), plan.port.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use clb_protocol::{Generation, SlotNo};

    use super::*;

    fn plan() -> WorkerPlan {
        WorkerPlan {
            worker: WorkerId { pool: "default".into(), slot: SlotNo(2), generation: Generation(7) },
            version: PoolVersion(5),
            image: "clb-worker".to_owned(),
            program: Program::Bundled,
            user: "65534:65534".to_owned(),
            mounts: Vec::new(),
            read_only: true,
            network: Some("clb".to_owned()),
            is_inside: false,
            env: vec!["CLB_SLOT=2".to_owned()],
            port: 3005,
            host_port: Some(3005),
            memory_bytes: 256 << 20,
            cpus: 1.0,
            pids: 256,
            stop_grace: Duration::from_secs(10),
        }
    }

    #[test]
    fn a_worker_is_hardened_and_published_on_loopback_only() {
        let host = body("clb", &plan(), 2).host_config.unwrap();
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges:true"]);
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.memory, host.memory_swap);
        let bindings = host.port_bindings.unwrap();
        let binding = &bindings["3005/tcp"].as_ref().unwrap()[0];
        assert_eq!(binding.host_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(binding.host_port.as_deref(), Some("3005"));
    }

    #[test]
    fn any_image_runs_the_worker_and_nothing_of_its_own() {
        let mount = PoolMount { source: "/srv/a".into(), target: "/data".into(), read_only: true };
        let program = Program::Volume("clb-worker-0f".into());
        let plan = WorkerPlan { program, mounts: vec![mount], host_port: None, ..plan() };
        let body = body("clb", &plan, 2);
        assert_eq!(body.entrypoint.unwrap(), ["/.clb/clb-worker"]);
        assert_eq!((body.cmd, body.healthcheck.unwrap().test.unwrap()), (None, vec!["NONE".to_owned()]));
        let host = body.host_config.unwrap();
        let mounts = host.mounts.unwrap();
        assert_eq!(
            mounts.iter().map(|m| m.target.as_deref().unwrap()).collect::<Vec<_>>(),
            ["/.clb", "/data"]
        );
        assert!(mounts.iter().all(|mount| mount.read_only == Some(true)));
        let labels = mounts[0].volume_options.as_ref().unwrap().labels.as_ref().unwrap();
        assert_eq!((labels[CLUSTER].as_str(), labels[ROLE].as_str()), ("clb", "program"));
        assert!(host.port_bindings.is_none() && host.readonly_rootfs == Some(true));
        let tmp = &host.tmpfs.unwrap()["/tmp"];
        assert!(tmp.contains("exec") && !tmp.contains("noexec") && tmp.contains("size=67108864"), "{tmp}");
    }

    #[test]
    fn more_cpus_than_the_machine_has_count_as_all_of_them() {
        assert_eq!(nano_cpus(64.0, 2), 2_000_000_000);
        assert_eq!(nano_cpus(0.5, 2), 500_000_000);
    }

    #[test]
    fn labels_say_whose_container_it_is() {
        let labels = labels("clb", &plan());
        assert_eq!(labels[SLOT], "2");
        assert!(matches!(crate::Role::of(&labels), crate::Role::Worker(w) if w == plan().worker));
    }
}
