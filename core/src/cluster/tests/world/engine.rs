//! Docker: it does what it is asked, and tells what there is.

use std::collections::BTreeSet;
use std::time::Duration;

use clb_protocol::api::Usage;
use clb_protocol::{ContainerId, WorkerId};

use super::World;
use super::workers::Process;
use crate::build::{Build, Builds};
use crate::fleet::{End, Remains};
use crate::input::{Input, ProbeAnswer, SeenWorker};
use crate::output::{FleetAction, Output};

impl World {
    pub(in crate::cluster::tests) fn observe(&mut self) -> Output {
        let seen = self.containers.iter().map(|(worker, (alive, process))| SeenWorker {
            container: container(worker),
            worker: worker.clone(),
            version: process.version,
            build: process.build.clone(),
            port: Some(process.port),
            published: process.published,
            alive: *alive,
        });
        let seen = seen.collect();
        // Docker answers a moment after it was asked.
        let asked_at = self.now;
        self.now = self.now + Duration::from_millis(1);
        let out = self.tell(Input::FleetObserved { seen, asked_at });
        let told = self.build_told.map(build);
        let builds = Builds { bundled: told.clone(), program: told };
        let orchestrators = (0..self.kinds).map(build).collect();
        self.tell(Input::BuildsSeen { builds, orchestrators, stopped: BTreeSet::new() });
        out
    }

    /// Does the first thing that the reducer asked of the engine.
    pub(in crate::cluster::tests) fn act_once(&mut self) {
        if self.actions.is_empty() {
            return;
        }
        match self.actions.remove(0) {
            FleetAction::Prepare { pool, version, spec } => {
                let image = spec.image.clone().unwrap_or_default();
                self.tell(if self.missing_images.contains(&image) {
                    Input::ImageFailed { pool, version, reason: format!("{image} is not there") }
                } else {
                    Input::ImageReady { pool, version }
                });
            }
            FleetAction::Create { worker, version, spec, port, published } => {
                let container = container(&worker);
                let has_port = |(alive, process): &(bool, Process)| *alive && process.published == published;
                if published.is_some() && self.containers.values().any(has_port) {
                    let reason = format!("port {published:?} is taken");
                    self.tell(Input::ContainerFailed { worker, reason });
                    return;
                }
                let is_alive = self.broken != Some(spec.cpus);
                let build = Some(build(self.build));
                let process = Process { version, build, port, published, ..Process::default() };
                self.containers.insert(worker.clone(), (is_alive, process));
                self.tell(Input::ContainerStarted { worker: worker.clone(), container });
                if !is_alive {
                    self.tell(Input::ContainerDied(worker));
                }
            }
            FleetAction::Bury { worker, .. } => {
                self.containers.remove(&worker);
                let remains = Remains { end: End::Exited(137), ..Remains::default() };
                self.tell(Input::Buried { worker, remains });
            }
            FleetAction::Probe { worker, .. } => {
                let answer = match self.containers.get(&worker) {
                    Some((true, process)) if process.is_stopped => ProbeAnswer::Stopped,
                    Some((true, _)) => ProbeAnswer::Alive,
                    _ => ProbeAnswer::Silent,
                };
                self.tell(Input::WorkerProbed { worker, answer });
            }
            FleetAction::RemoveStray(stray) => self.containers.retain(|worker, _| container(worker) != stray),
            FleetAction::Measure { worker, .. } => {
                let usage =
                    Usage { at: self.now.at, cpu_percent: 1.0, memory_bytes: 1, memory_limit_bytes: 100 };
                self.tell(Input::UsageSampled { worker, usage });
            }
        }
    }

    pub(in crate::cluster::tests) fn act(&mut self) {
        while !self.actions.is_empty() {
            self.act_once();
        }
    }
}

pub(in crate::cluster::tests) fn container(worker: &WorkerId) -> ContainerId {
    ContainerId::from(worker.to_string())
}

fn build(number: u32) -> Build {
    Build(number.to_string().into())
}
