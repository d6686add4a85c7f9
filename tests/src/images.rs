//! Images of the programs that cargo builds right now, each of one static binary.

mod debian;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::engine::try_docker;
use crate::run;

pub use debian::debian;

const WORKER: &str = r#"ENTRYPOINT ["/clb-worker"]"#;
const SUPERVISED: &str = r#"ENTRYPOINT ["/fixture", "supervise", "/clb-worker"]"#;
const BROKEN: &str = r#"ENTRYPOINT ["/fixture", "exit", "1"]"#;
const NOBODY: &str = "USER 65534:65534";

/// The names of the images of this process.
#[derive(Clone, Debug)]
pub struct Images {
    /// Orchestrator and database.
    pub orchestrator: String,
    /// The worker.
    pub worker: String,
    /// The worker, with the fixture beside it for tests that act inside of its container.
    pub worker_with_fixture: String,
    /// A worker under a process that ends as told.
    pub supervised_worker: String,
    /// A program that ends at once with exit code 1.
    pub broken_worker: String,
    /// The client.
    pub client: String,
    /// The fixture.
    pub fixture: String,
    /// Not an image: the command line, for this machine.
    pub clb: PathBuf,
}

/// Builds everything once in this process. Without an engine it fails with one sentence.
pub async fn images() -> &'static Images {
    static IMAGES: OnceCell<Result<Images, String>> = OnceCell::const_new();
    match IMAGES.get_or_init(build).await {
        Ok(images) => images,
        Err(why) => panic!("{why}"),
    }
}

async fn build() -> Result<Images, String> {
    try_docker(&["version", "--format", "{{.Server.Version}}"])
        .await
        .map_err(|why| format!("These tests need a Docker Engine that this user may use: {why}"))?;
    run::begin();
    let programs = Programs::compile().await?;
    let image = async |name, files: &[&str], changes: &[&str]| programs.image(name, files, changes).await;
    Ok(Images {
        orchestrator: image(
            "orchestrator",
            &["clb-orchestrator", "clb-worker"],
            &[r#"ENTRYPOINT ["/clb-orchestrator"]"#, "ENV MALLOC_TRIM_THRESHOLD_=131072"],
        )
        .await?,
        worker: image("worker", &["clb-worker"], &[WORKER, NOBODY]).await?,
        worker_with_fixture: image("worker-fixture", &["clb-worker", "fixture"], &[WORKER, NOBODY]).await?,
        supervised_worker: image("worker-supervised", &["clb-worker", "fixture"], &[SUPERVISED, NOBODY])
            .await?,
        broken_worker: image("worker-broken", &["fixture"], &[BROKEN, NOBODY]).await?,
        client: image("client", &["clb"], &[r#"ENTRYPOINT ["/clb"]"#, NOBODY]).await?,
        fixture: image("fixture", &["fixture"], &[r#"ENTRYPOINT ["/fixture"]"#]).await?,
        clb: programs.clb.clone(),
    })
}

/// One line of what cargo says with `--message-format json`.
#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
}

/// The programs.
struct Programs {
    /// All of them, as they go into images.
    folder: TempDir,
    /// The command line, where cargo put it.
    clb: PathBuf,
}

impl Programs {
    /// Has cargo build them with the profile of this very process.
    async fn compile() -> Result<Self, String> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--bins"]);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        for package in ["clb-orchestrator", "clb-worker", "clb-client", "clb-tests"] {
            cargo.args(["--package", package]);
        }
        if is_release() {
            cargo.arg("--release");
        }
        let done = cargo.output().await.map_err(|error| format!("cargo cannot be started: {error}"))?;
        if !done.status.success() {
            return Err(format!("cargo build failed:\n{}", String::from_utf8_lossy(&done.stderr)));
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut clb = PathBuf::new();
        for line in String::from_utf8_lossy(&done.stdout).lines() {
            let Ok(Artifact { executable: Some(program) }) = serde_json::from_str(line) else { continue };
            strip(&program, &folder.path().join(program.file_name().unwrap_or_default())).await?;
            if program.file_name().is_some_and(|name| name == "clb") {
                clb = program;
            }
        }
        Ok(Self { folder, clb })
    }

    /// Makes an image that holds some of them in its root and nothing else.
    async fn image(&self, name: &str, programs: &[&str], changes: &[&str]) -> Result<String, String> {
        let tag = format!("{}{name}", run::prefix());
        let archive = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(self.folder.path()).args(["--owner=0", "--group=0", "-cf"]).arg(archive.path());
        succeeds(tar.args(programs)).await?;
        let archive = archive.path().to_string_lossy();
        let mut arguments = vec!["import"];
        arguments.extend(changes.iter().flat_map(|change| ["--change", change]));
        arguments.extend([&*archive, tag.as_str()]);
        try_docker(&arguments).await?;
        Ok(tag)
    }
}

fn is_release() -> bool {
    let path = std::env::current_exe().unwrap_or_default();
    path.ancestors().any(|folder| folder.file_name().is_some_and(|name| name == "release"))
}

/// Copies a program without what only a debugger needs, where the tool for that is there.
async fn strip(from: &Path, to: &Path) -> Result<(), String> {
    let stripped = Command::new("strip").args(["--strip-debug", "-o"]).args([to, from]).output().await;
    if stripped.is_ok_and(|done| done.status.success()) {
        return Ok(());
    }
    std::fs::copy(from, to).map(drop).map_err(|error| format!("{} cannot be copied: {error}", from.display()))
}

async fn succeeds(command: &mut Command) -> Result<(), String> {
    let done = command.output().await.map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}
