//! Brings back the other orchestrators: one whose container ended is started again, one whose container
//! was removed is made again. When is the core's to decide.
//!
//! A container that was never seen alive in this term, and did not hold the lease before it, is not
//! missed: whoever took the cluster down and up again may have changed who belongs to it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use clb_core::clock::Moment;
use clb_core::fleet::{Fall, revive_at};
use clb_core::input::ProbeAnswer;
use clb_engine::{Blueprint, Docker, Role, Seen, State};
use clb_protocol::api::Role as MemberRole;
use clb_protocol::{ContainerId, MemberName};
use clb_store::Member;
use tokio::time::sleep;

use super::News;
use super::workers::probe;
use crate::clock;
use crate::node::Node;

type Job = Pin<Box<dyn Future<Output = News> + Send>>;

/// What is known of one other orchestrator's container.
#[derive(Debug, Default)]
struct Known {
    container: Option<ContainerId>,
    blueprint: Option<Blueprint>,
    missing_since: Option<Moment>,
    last_try: Option<Moment>,
    is_busy: bool,
}

/// The other orchestrators' containers.
#[derive(Debug, Default)]
pub(crate) struct Members(BTreeMap<MemberName, Known>);

impl Members {
    /// Nobody is known but the one that led before and did not give its lease up, if there was one.
    pub(crate) fn after(former: Option<&Member>) -> Self {
        let known = former.and_then(|member| {
            let text = member.blueprint.as_ref()?.get();
            let known = Known {
                container: Some(member.container.clone()),
                blueprint: Some(serde_json::from_str(text).ok()?),
                ..Known::default()
            };
            Some((member.name.clone(), known))
        });
        Self(known.into_iter().collect())
    }

    /// Holds Docker's list against what should be there; what is to be done is returned.
    pub(super) fn reconcile(
        &mut self,
        node: &Arc<Node>,
        docker: &Docker,
        seen: &[Seen],
        asked_at: Moment,
    ) -> Vec<Job> {
        let mut jobs = Vec::new();
        for seen in seen {
            if let Role::Orchestrator(name) = &seen.role {
                jobs.extend(self.see(node, docker, name, &seen.id, seen.state));
            }
        }
        for (name, known) in &mut self.0 {
            let is_seen = seen.iter().any(|seen| seen.is_orchestrator(name));
            if !is_seen {
                jobs.extend(known.miss(node, docker, name, asked_at));
            }
        }
        for name in node.roster.names_of_down() {
            if !self.0.contains_key(&name) {
                node.roster.strike(&name);
            }
        }
        jobs
    }

    /// Takes in how one container is; what is to be done is returned.
    pub(super) fn see(
        &mut self,
        node: &Arc<Node>,
        docker: &Docker,
        name: &MemberName,
        id: &ContainerId,
        state: State,
    ) -> Vec<Job> {
        let mut jobs = Vec::new();
        if *name == node.name {
            return jobs;
        }
        let known = self.0.entry(name.clone()).or_default();
        known.missing_since = None;
        if known.container.as_ref() != Some(id) {
            (known.container, known.blueprint) = (Some(id.clone()), None);
        }
        let is_ended = state.has_ended();
        if is_ended {
            node.roster.put(name, id, MemberRole::Down);
        }
        if state == State::Running && node.roster.is_down(name) {
            jobs.extend(ask(node, name, id));
        }
        let must_look = known.blueprint.is_none() && node.roster.addresses(name).is_some();
        if known.is_busy || !(is_ended || must_look) {
            return jobs;
        }
        known.is_busy = true;
        let (node, docker, id, name) = (Arc::clone(node), docker.clone(), id.clone(), name.clone());
        let last_try = known.last_try;
        jobs.push(if is_ended {
            Box::pin(async move { raise(&node, &docker, name, &id, last_try).await }) as Job
        } else {
            Box::pin(async move { look(&docker, name, id).await })
        });
        jobs
    }

    /// Takes in how a container is made; returns what is to be stored of it.
    pub(super) fn learn(
        &mut self,
        node: &Node,
        name: MemberName,
        container: ContainerId,
        blueprint: Blueprint,
    ) -> Option<Member> {
        let known = self.0.get_mut(&name).filter(|known| known.container.as_ref() == Some(&container))?;
        known.is_busy = false;
        let text = serde_json::value::to_raw_value(&blueprint).ok()?;
        known.blueprint = Some(blueprint);
        let (url, public_url) = node.roster.addresses(&name)?;
        Some(Member { name, container, url, public_url, blueprint: Some(text) })
    }

    /// Takes in that a job on this one is over.
    pub(super) fn take_try(&mut self, name: &MemberName, now: Moment) {
        if let Some(known) = self.0.get_mut(name) {
            (known.is_busy, known.last_try) = (false, Some(now));
        }
    }
}

impl Known {
    fn miss(&mut self, node: &Arc<Node>, docker: &Docker, name: &MemberName, now: Moment) -> Option<Job> {
        let since = *self.missing_since.get_or_insert(now);
        if let Some(container) = &self.container {
            node.roster.put(name, container, MemberRole::Down);
        }
        let blueprint = self.blueprint.clone()?;
        if self.is_busy || revive_at(Fall::Removed, since, self.last_try) > now {
            return None;
        }
        self.is_busy = true;
        let (node, docker, name) = (Arc::clone(node), docker.clone(), name.clone());
        Some(Box::pin(async move {
            match docker.recreate(&blueprint).await {
                Ok(_) => node.journal.write(&format!("{name} was gone; its container is made again")),
                Err(error) => tracing::warn!("{} could not be made again: {error}", blueprint.name()),
            }
            News::Tried(name)
        }))
    }
}

/// Starts a container that ended, once it may be.
async fn raise(
    node: &Node,
    docker: &Docker,
    name: MemberName,
    id: &ContainerId,
    last_try: Option<Moment>,
) -> News {
    let Ok(found) = docker.inspect(id).await else { return News::Tried(name) };
    if !found.state.has_ended() {
        return News::Tried(name);
    }
    let fall = if found.exit_code == Some(0) { Fall::Stopped } else { Fall::Crashed };
    let now = clock::now();
    // The engine tells by the clock on the wall.
    let fell_at = found.finished_at.map_or(now, |at| now.before(now.at.since(at)));
    sleep(revive_at(fall, fell_at, last_try).since(now)).await;
    match docker.start(id).await {
        Ok(()) => node.journal.write(&format!("{name} is started again")),
        Err(error) => tracing::warn!("{name} could not be started again: {error}"),
    }
    News::Tried(name)
}

/// Asks one that runs and does not stand by whether it simulates a crash.
fn ask(node: &Node, name: &MemberName, id: &ContainerId) -> Option<Job> {
    let (url, _) = node.roster.addresses(name)?;
    let (name, id, token) = (name.clone(), id.clone(), node.options.token.clone());
    Some(Box::pin(async move {
        match probe(&url, token.as_deref()).await {
            ProbeAnswer::Stopped => News::Stopped(name, id),
            ProbeAnswer::Alive | ProbeAnswer::Silent => News::Nothing,
        }
    }))
}

async fn look(docker: &Docker, name: MemberName, id: ContainerId) -> News {
    match docker.blueprint_of(&id).await {
        Ok(blueprint) => News::Known(name, id, Box::new(blueprint)),
        Err(error) => {
            tracing::debug!("the container of {name} cannot be looked at: {error}");
            News::Tried(name)
        }
    }
}
