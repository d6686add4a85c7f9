//! A registry of images that has one image with one program, on this machine's loopback address, where an
//! engine asks for no certificate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::engine::docker;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const NAME: &str = "tool";

#[derive(Debug)]
struct Shelf {
    manifest: Bytes,
    blobs: BTreeMap<String, Bytes>,
    pulls: AtomicUsize,
}

/// A registry that ends when it goes out of scope.
#[derive(Debug)]
pub struct Registry {
    shelf: Arc<Shelf>,
    port: u16,
    server: JoinHandle<()>,
}

impl Registry {
    /// A registry with an image that holds what an image of this machine does, in one layer.
    pub async fn with(image: &str) -> Self {
        let shelf = Arc::new(Shelf::of(&layer_of(image).await));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let app = Router::new()
            .route("/v2/", get(|| async {}))
            .route("/v2/tool/manifests/{reference}", get(manifest))
            .route("/v2/tool/blobs/{digest}", get(blob))
            .with_state(Arc::clone(&shelf));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { shelf, port, server }
    }

    /// The image's name with the registry's address.
    pub fn image(&self) -> String {
        format!("127.0.0.1:{}/{NAME}:1", self.port)
    }

    /// How often the image was asked for in earnest.
    pub fn pulls(&self) -> usize {
        self.shelf.pulls.load(Ordering::Relaxed)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
        drop(std::process::Command::new("docker").args(["rmi", "-f", &self.image()]).output());
    }
}

impl Shelf {
    fn of(layer: &Bytes) -> Self {
        let config = json!({"architecture": architecture(), "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}});
        let config = Bytes::from(config.to_string());
        let part =
            |kind: &str, blob: &Bytes| json!({"mediaType": kind, "size": blob.len(), "digest": digest(blob)});
        let manifest: Value = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": part(CONFIG, &config), "layers": [part(LAYER, layer)]});
        let blobs = [config, layer.clone()].map(|blob| (digest(&blob), blob));
        Self { manifest: manifest.to_string().into(), blobs: blobs.into(), pulls: AtomicUsize::new(0) }
    }
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// The files of an image, as a tar archive.
async fn layer_of(image: &str) -> Bytes {
    let file = tempfile::NamedTempFile::new().expect("a file for the layer");
    let container = docker(&["create", image]).await;
    docker(&["export", "-o", &file.path().to_string_lossy(), &container]).await;
    docker(&["rm", &container]).await;
    std::fs::read(file.path()).expect("the layer can be read").into()
}

fn digest(blob: &Bytes) -> String {
    format!("sha256:{:x}", Sha256::digest(blob))
}

async fn manifest(State(shelf): State<Arc<Shelf>>) -> Response {
    let headers = [
        (CONTENT_TYPE, MANIFEST.to_owned()),
        (axum::http::HeaderName::from_static("docker-content-digest"), digest(&shelf.manifest)),
    ];
    (headers, shelf.manifest.clone()).into_response()
}

async fn blob(State(shelf): State<Arc<Shelf>>, Path(digest): Path<String>) -> Response {
    shelf.pulls.fetch_add(1, Ordering::Relaxed);
    match shelf.blobs.get(&digest) {
        Some(blob) => blob.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
