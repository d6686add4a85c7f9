//! The containers as `docker-compose.yml` describes them.

use super::{Cluster, MEMBERS};
use crate::engine::{Container, docker, docker_output};
use crate::images::{Images, images};
use crate::patience::SOON;

/// How far a container is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// It runs.
    Run,
    /// It is made and not started, as `docker compose up --no-start` does.
    Create,
}

impl Begin {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Run => &["run", "--detach"],
            Self::Create => &["create"],
        }
    }
}

const HARDENED: [&str; 14] = [
    "--restart",
    "unless-stopped",
    "--read-only",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges:true",
    "--tmpfs",
    "/tmp:mode=1777,size=64m",
    "--pids-limit",
    "256",
    "--stop-timeout",
    "10",
    "--env=CLB_LOG=info",
];

impl Cluster {
    pub(super) async fn run_orchestrator(&self, images: &Images, member: &str, begin: Begin) {
        let container = self.container(member);
        let number = MEMBERS.iter().position(|name| *name == member).unwrap_or_default();
        let port = self.ports.orchestrator(number);
        let mut env = vec![
            "CLB_STORE=/data/clb.db".to_owned(),
            format!("CLB_NAME={member}"),
            format!("CLB_ADVERTISE=http://{}:{port}", container.id()),
            format!("CLB_PUBLIC_URL=http://127.0.0.1:{port}"),
            format!("CLB_CLIENT_PORT={}", self.ports.client()),
            format!("CLB_WORKERS={}", self.setup.workers),
            format!("CLB_WORKER_PORT={}", self.ports.first_worker()),
            format!("CLB_WORKER_IMAGE={}", self.setup.worker_image(images)),
        ];
        if self.setup.second_port_reserved {
            env.push(format!("CLB_RESERVED_PORTS={}", self.ports.first_worker() + 1));
        }
        env.extend(self.setup.env.iter().cloned());
        let engine = match &self.setup.gate {
            Some(gate) => {
                env.push("DOCKER_HOST=unix:///engine/docker.sock".to_owned());
                format!("--volume={}:/engine", gate.folder().display())
            }
            None => "--volume=/var/run/docker.sock:/var/run/docker.sock".to_owned(),
        };
        let mut options = vec![
            "--memory=1g".to_owned(),
            "--stop-timeout=60".to_owned(),
            format!("--volume={}:/data", self.volume()),
            engine,
            format!("--label=clb.member={member}"),
        ];
        if let Some(folder) = &self.setup.config {
            // As with Compose: the folder may be readable for its owner only.
            options.push("--cap-add=DAC_READ_SEARCH".to_owned());
            options.push(format!("--volume={}:/etc/clb:ro", folder.display()));
        }
        options.extend(env.into_iter().map(|variable| format!("--env={variable}")));
        let command = [images.orchestrator.as_str(), "serve"];
        self.run_part(begin, &container, "orchestrator", port, &options, command).await;
    }

    /// Starts the client's container; gives its address on the host.
    pub async fn run_client(&self) -> String {
        let port = self.ports.client();
        let options = ["--memory=256m".to_owned(), self.urls()];
        let image = &images().await.client;
        let container = self.container("client");
        self.run_part(Begin::Run, &container, "client", port, &options, [image, "serve"]).await;
        format!("http://127.0.0.1:{port}")
    }

    /// Starts the database's container; gives its address on the host.
    pub async fn run_database(&self) -> String {
        self.make_database(Begin::Run).await
    }

    pub(super) async fn make_database(&self, begin: Begin) -> String {
        let port = self.ports.database();
        let volume = format!("--volume={}:/data", self.volume());
        let store = "--env=CLB_STORE=/data/clb.db".to_owned();
        let options = ["--memory=512m".to_owned(), volume, store, self.urls()];
        let image = &images().await.orchestrator;
        let container = self.container("database");
        self.run_part(begin, &container, "database", port, &options, [image, "database"]).await;
        format!("http://127.0.0.1:{port}")
    }

    /// Runs an orchestrator that is published on all addresses of the machine, until it ends; gives what it
    /// says. It belongs to no cluster that there is.
    pub async fn run_open_orchestrator(&self) -> String {
        let name = format!("{}-open", self.name);
        let cluster = format!("--env=CLB_CLUSTER={name}");
        let image = &images().await.orchestrator;
        let arguments = [
            "run",
            "--rm",
            "--name",
            &name,
            "--publish=0.0.0.0::3002",
            "--env=CLB_LISTEN=0.0.0.0:3002",
            "--env=CLB_STORE=/clb.db",
            "--volume=/var/run/docker.sock:/var/run/docker.sock",
            &cluster,
            image,
            "serve",
        ];
        let run = tokio::time::timeout(SOON, docker_output(&arguments));
        run.await.expect("it ends by itself")
    }

    fn urls(&self) -> String {
        let url = |number| {
            let container = self.container(MEMBERS[number]);
            format!("http://{}:{}", container.id(), self.ports.orchestrator(number))
        };
        format!("--env=CLB_URL={},{}", url(0), url(1))
    }

    async fn run_part(
        &self,
        begin: Begin,
        container: &Container,
        role: &str,
        port: u16,
        options: &[String],
        command: [&str; 2],
    ) {
        let mut all = vec![
            format!("--name={}", container.id()),
            format!("--network={}", self.network()),
            format!("--publish=127.0.0.1:{port}:{port}"),
            format!("--env=CLB_CLUSTER={}", self.name),
            format!("--env=CLB_LISTEN=0.0.0.0:{port}"),
            format!("--label=clb.cluster={}", self.name),
            format!("--label=clb.role={role}"),
        ];
        all.extend(self.setup.token.iter().map(|token| format!("--env=CLB_TOKEN={token}")));
        all.extend_from_slice(options);
        let mut arguments = begin.words().to_vec();
        arguments.extend(HARDENED);
        arguments.extend(all.iter().map(String::as_str));
        arguments.extend(command);
        docker(&arguments).await;
    }

    /// Runs the fixture once, with the store's volume at `/data`; gives what it says.
    pub async fn run_fixture(&self, command: &[&str]) -> String {
        let name = format!("--name={}-fixture", self.name);
        let volume = format!("--volume={}:/data", self.volume());
        let image = &images().await.fixture;
        docker(&[&["run", "--rm", &name, "--network=none", &volume, image], command].concat()).await
    }
}
