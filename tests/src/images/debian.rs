//! A Debian with Python 3 and `ImageMagick`, as callers' pools have: an image that knows nothing of CLB. It is
//! made once on a machine and kept, for it takes a minute: from the published one, or with debootstrap.

use std::fs::File;
use std::path::Path;

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::succeeds;
use crate::engine::try_docker;

/// Its contents are named by the tag: whoever changes them changes that.
const TAG: &str = "clb-tests-debian:bookworm-python3-imagemagick";
const SUITE: &str = "bookworm";
const PACKAGES: &str = "--include=python3-minimal,imagemagick";
const PUBLISHED: &str = "debian:bookworm-slim";
const DOCKERFILE: &str = r#"FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3-minimal imagemagick && rm -r /var/lib/apt/lists/*
ENV OF_THE_IMAGE=kept
ENTRYPOINT ["/bin/false"]
"#;
/// Nobody reads these in a test.
const NEEDLESS: [&str; 4] = ["usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists"];

/// The image's name. Panics with one sentence where it can be neither found nor made.
pub async fn debian() -> &'static str {
    static MADE: OnceCell<Result<(), String>> = OnceCell::const_new();
    match MADE.get_or_init(have).await {
        Ok(()) => TAG,
        Err(why) => panic!("an image of Debian can be neither pulled nor made here with debootstrap: {why}"),
    }
}

async fn have() -> Result<(), String> {
    // Other processes may want it at the same time.
    let lock = File::create(std::env::temp_dir().join("clb-tests-debian.lock")).map_err(|e| e.to_string())?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    let _lock = lock.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if try_docker(&["image", "inspect", TAG]).await.is_ok() {
        return Ok(());
    }
    let pulled = pull().await;
    if pulled.is_ok() {
        return pulled;
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let root = folder.path().join("root");
    let mut debootstrap = Command::new("debootstrap");
    succeeds(debootstrap.args(["--variant=minbase", PACKAGES, SUITE]).arg(&root)).await?;
    for needless in NEEDLESS {
        drop(std::fs::remove_dir_all(root.join(needless)));
    }
    import(&root, &folder.path().join("image.tar")).await
}

/// From the published image, where that can be had.
async fn pull() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::write(folder.path().join("Dockerfile"), DOCKERFILE).map_err(|error| error.to_string())?;
    try_docker(&["pull", "--quiet", PUBLISHED]).await?;
    try_docker(&["build", "--quiet", "--tag", TAG, &folder.path().to_string_lossy()]).await.map(drop)
}

async fn import(root: &Path, archive: &Path) -> Result<(), String> {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).args(["--one-file-system", "--exclude=./var/cache/apt/archives/*.deb", "-cf"]);
    succeeds(tar.arg(archive).arg(".")).await?;
    // Something of its own to start, which a worker must not start.
    let changes = ["--change", r#"ENTRYPOINT ["/bin/false"]"#, "--change", "ENV OF_THE_IMAGE=kept"];
    let archive = archive.to_string_lossy();
    try_docker(&[&["import"], &changes[..], &[&*archive, TAG]].concat()).await.map(drop)
}
