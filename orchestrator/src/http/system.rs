//! The state of the system: members, workers, obituaries, log lines.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::Json;
use axum::extract::{RawQuery, State};
use clb_protocol::LogSeq;
use clb_protocol::api::{ClusterView, LogPage, MemberView, ObituaryPage, Role as MemberRole, WorkerView};
use clb_store::{LogFilter, LogFrom};

use super::Door;
use super::problem::Refusal;
use crate::node::Role;

/// The store counts in signed numbers.
pub(super) const MAX_SEQ: u64 = i64::MAX as u64 - 1;

/// A query string, taken apart name by name; what nobody asked for is refused.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Refusal> {
        let uri = format!("/?{}", text.unwrap_or_default());
        let uri = uri.parse().map_err(|_| Refusal::parameter("", "is not a query string"))?;
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        let pairs = pairs.map_err(|_| Refusal::parameter("", "is not a query string"))?;
        Ok(Self(pairs.0.into_iter().collect()))
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    fn value<T: FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        name: &str,
        least: &T,
        most: &T,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<T>() {
            Ok(value) if value >= *least && value <= *most => Ok(Some(value)),
            _ => Err(Refusal::parameter(name, &format!("must be a number from {least} to {most}"))),
        }
    }

    pub(super) fn number(&mut self, name: &str, least: f64, most: f64) -> Result<Option<f64>, Refusal> {
        self.value(name, &least, &most)
    }

    pub(super) fn whole(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        self.value(name, &least, &most)
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, name: &str) -> Result<bool, Refusal> {
        Ok(self.either(name)?.unwrap_or(false))
    }

    /// `true`, `false`, or nothing at all.
    pub(super) fn either(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.text(name).as_deref() {
            None => Ok(None),
            Some("false") => Ok(Some(false)),
            Some("true") => Ok(Some(true)),
            Some(_) => Err(Refusal::parameter(name, "must be true or false")),
        }
    }

    /// All `label.KEY=VALUE`.
    pub(super) fn labels(&mut self) -> Vec<(String, String)> {
        let (labels, rest) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| name.starts_with("label."));
        self.0 = rest;
        let labels: BTreeMap<String, String> = labels;
        labels.into_iter().map(|(name, value)| (name["label.".len()..].to_owned(), value)).collect()
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        match self.0.into_iter().next() {
            Some((name, _)) => Err(Refusal::parameter(&name, "is not a parameter here")),
            None => Ok(()),
        }
    }
}

pub(super) async fn view(door: &Door) -> Result<(ClusterView, Vec<WorkerView>), Refusal> {
    let Role::Leading(leading) = door.node.role() else { return Err(Refusal::no_leader()) };
    let mut standing = leading.handle.show().await.ok_or_else(Refusal::no_leader)?;
    let node = &door.node;
    let mut members = node.roster.views();
    members.push(MemberView {
        name: node.name.clone(),
        role: MemberRole::Leader,
        url: node.options.public_url.clone(),
        since: leading.since,
    });
    members.sort_by(|a, b| a.name.cmp(&b.name));
    for worker in &mut standing.workers {
        worker.address = address_of(door, worker);
    }
    let cluster = ClusterView {
        cluster: node.options.cluster.clone(),
        leader: node.name.clone(),
        epoch: leading.epoch,
        members,
        tasks: standing.tasks,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok((cluster, standing.workers))
}

/// Where a worker listens inside of its network; the core knows its name and port there.
pub(super) fn address_of(door: &Door, worker: &WorkerView) -> Option<String> {
    let address = worker.address.as_ref().filter(|_| worker.container.is_some())?;
    Some(format!("{}-{address}", door.node.options.cluster))
}

pub(super) async fn cluster(State(door): State<Door>) -> Result<Json<ClusterView>, Refusal> {
    Ok(Json(view(&door).await?.0))
}

pub(super) async fn workers(State(door): State<Door>) -> Result<Json<Vec<WorkerView>>, Refusal> {
    Ok(Json(view(&door).await?.1))
}

pub(super) async fn obituaries(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
) -> Result<Json<ObituaryPage>, Refusal> {
    let mut query = Query::parse(query.as_deref())?;
    let limit = query.whole("limit", 1, 1_000)?.unwrap_or(100) as usize;
    let before = query.whole("cursor", 0, MAX_SEQ)?;
    query.finish()?;
    let page = door.read(move |store| store.obituaries(before, limit)).await?;
    Ok(Json(ObituaryPage { obituaries: page.obituaries, next: page.next.map(|seq| seq.to_string()) }))
}

pub(super) async fn logs(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
) -> Result<Json<LogPage>, Refusal> {
    let mut query = Query::parse(query.as_deref())?;
    let after = LogSeq(query.whole("after", 0, MAX_SEQ)?.unwrap_or(0));
    let limit = query.whole("limit", 1, 10_000)?.unwrap_or(1_000) as usize;
    let task = match query.text("task") {
        Some(text) => Some(text.parse().map_err(|_| Refusal::parameter("task", "must be a task's id"))?),
        None => None,
    };
    let filter = LogFilter { container: query.text("container"), task };
    query.finish()?;
    let page = door.read(move |store| store.logs(&filter, LogFrom::After(after), limit)).await?;
    Ok(Json(LogPage { logs: page.logs, next: page.newer }))
}

/// Whether a leader is known and the store answers.
pub(super) async fn ready(State(door): State<Door>) -> Result<&'static str, Refusal> {
    match door.node.role() {
        Role::Leading(_) | Role::Following(_) => {}
        Role::Leaderless { why } => return Err(Refusal::leaderless(why.as_deref())),
        Role::Crashed => return Err(Refusal::no_leader()),
    }
    door.read(clb_store::Reader::lease).await?;
    Ok("ready\n")
}
