//! Sees to what the containers of pools are made of, one thing at a time each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clb_core::build::{Build, Builds};
use clb_engine::{Docker, EngineError, Role, Seen};
use clb_protocol::ContainerId;
use clb_protocol::pool::PoolSpec;
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use tokio::time::Instant;

use crate::node::Node;

/// How often a pull says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// Digits of the program's hash that name its volume.
const HASH_DIGITS: usize = 12;

/// See the module.
pub(super) struct Supplies {
    node: Arc<Node>,
    docker: Docker,
    /// The name of the volume with the worker's program, once that was read.
    volume: OnceCell<String>,
    /// Whether the program was seen there, and nothing has spoken against it since.
    is_filled: AtomicBool,
    filling: AsyncMutex<()>,
    pulls: Mutex<BTreeMap<String, Arc<AsyncMutex<()>>>>,
    /// Orchestrators on the network without a way out; `None` while nobody needs it.
    inside: Mutex<Option<BTreeSet<ContainerId>>>,
}

impl Supplies {
    pub(super) fn new(node: Arc<Node>, docker: Docker) -> Self {
        Self {
            node,
            docker,
            volume: OnceCell::new(),
            is_filled: AtomicBool::new(false),
            filling: AsyncMutex::default(),
            pulls: Mutex::default(),
            inside: Mutex::default(),
        }
    }

    /// The volume with the worker's program.
    pub(super) fn volume(&self) -> Option<String> {
        self.volume.get().cloned()
    }

    /// What containers are made of now. The program is this orchestrator's own and stays; the name of the bundled image
    /// may mean another one at any time.
    pub(super) async fn builds(&self) -> Builds {
        let resolve = async || {
            let name = &self.node.options.worker_image;
            let id = self.docker.image_id(name).await.map_err(|error| error.to_string())?;
            id.map(|id| Build(id.into())).ok_or_else(|| format!("there is no image {name}"))
        };
        let known = |error: &String| tracing::debug!("what workers are made of is not known: {error}");
        let bundled = resolve().await.inspect_err(known).ok();
        let program = self.name_volume().await.inspect_err(known).ok();
        Builds { bundled, program: program.map(|volume| Build(volume.as_str().into())) }
    }

    /// Sees to everything that the containers of a pool need; the error is for people.
    pub(super) async fn prepare(&self, spec: &PoolSpec) -> Result<(), String> {
        if let Some(image) = &spec.image {
            self.have_image(image).await.map_err(|error| match error {
                EngineError::Refused { message, .. } | EngineError::NotFound { message } => {
                    format!("the image {image} is not on this machine and cannot be pulled: {message}")
                }
                error => format!("the image {image} cannot be had: {error}"),
            })?;
            self.have_program(image).await?;
        }
        if !spec.network {
            self.have_inside().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn have_image(&self, image: &str) -> Result<(), EngineError> {
        let turn = {
            let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(pulls.entry(image.to_owned()).or_default())
        };
        let _turn = turn.lock().await;
        if self.docker.image_id(image).await?.is_some() {
            return Ok(());
        }
        self.node.journal.write(&format!("Pulls the image {image}"));
        let mut progress = std::pin::pin!(self.docker.pull(image)?);
        let mut layers: BTreeMap<String, bool> = BTreeMap::new();
        let mut said_at = Instant::now();
        while let Some(layer) = progress.next().await {
            let layer = layer?;
            if let Some(id) = layer.id {
                layers.insert(id, layer.status.ends_with("complete") || layer.status == "Already exists");
            }
            if said_at.elapsed() >= SAY_EVERY {
                said_at = Instant::now();
                let done = layers.values().filter(|is_done| **is_done).count();
                let text = format!("Pulls the image {image}: {done} of {} layers", layers.len());
                self.node.journal.write(&text);
            }
        }
        self.node.journal.write(&format!("The image {image} is here"));
        Ok(())
    }

    async fn have_program(&self, image: &str) -> Result<(), String> {
        let _turn = self.filling.lock().await;
        let volume = self.name_volume().await?;
        let in_vain = |error: EngineError| {
            format!("the worker's program cannot be put into the volume {volume}: {error}")
        };
        if self.is_filled.load(Ordering::Relaxed) && self.docker.has_volume(volume).await.map_err(in_vain)? {
            return Ok(());
        }
        self.is_filled.store(true, Ordering::Relaxed);
        let filled = self.docker.fill_program_volume(volume, image, &self.read_program().await?).await;
        match filled {
            Ok(was_missing) => {
                if was_missing {
                    let text =
                        format!("The worker's program is put into the volume {volume}, which had none");
                    self.node.journal.write(&text);
                }
                Ok(())
            }
            Err(error) => {
                self.doubt_program();
                Err(in_vain(error))
            }
        }
    }

    /// A container with the program could not be made: the volume is looked into before the next one is.
    pub(super) fn doubt_program(&self) {
        self.is_filled.store(false, Ordering::Relaxed);
    }

    async fn name_volume(&self) -> Result<&String, String> {
        let name = async || {
            let mut hash = format!("{:x}", Sha256::digest(&self.read_program().await?));
            hash.truncate(HASH_DIGITS);
            Ok(format!("{}-worker-{hash}", self.node.options.cluster))
        };
        self.volume.get_or_try_init(name).await
    }

    async fn read_program(&self) -> Result<Bytes, String> {
        let path = self.node.options.worker_binary.clone();
        let read = read(path.clone()).await;
        read.map_err(|error| format!("the worker's program {} cannot be read: {error}", path.display()))
    }

    /// Makes the network without a way out and puts the orchestrators on it.
    pub(super) async fn have_inside(&self) -> Result<(), EngineError> {
        self.docker.make_inside_network().await?;
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
        self.bring_inside(&self.docker.list().await?).await
    }

    /// Puts every orchestrator on that network that is not there yet, where anybody needs it.
    pub(super) async fn bring_inside(&self, seen: &[Seen]) -> Result<(), EngineError> {
        for seen in seen {
            let Role::Orchestrator(name) = &seen.role else { continue };
            let is_there = {
                let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
                inside.as_ref().is_none_or(|inside| inside.contains(&seen.id))
            };
            if is_there {
                continue;
            }
            let url = if *name == self.node.name {
                Some(self.node.options.advertise.clone())
            } else {
                self.node.roster.addresses(name).map(|(url, _)| url)
            };
            let host =
                url.as_deref().and_then(|url| url.parse::<http::Uri>().ok()?.host().map(str::to_owned));
            self.docker.join_inside_network(&seen.id, host.as_deref()).await?;
            if let Some(inside) = &mut *self.inside.lock().unwrap_or_else(PoisonError::into_inner) {
                inside.insert(seen.id.clone());
            }
        }
        Ok(())
    }
}

async fn read(path: PathBuf) -> std::io::Result<Bytes> {
    let read = tokio::task::spawn_blocking(move || std::fs::read(path));
    read.await.map_err(std::io::Error::other)?.map(Bytes::from)
}
