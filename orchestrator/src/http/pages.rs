//! The orchestrator's own pages: status, log, simulated crash.

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use clb_protocol::api::{ClusterView, WorkerView};
use clb_protocol::link::LogLine;

use super::Door;
use super::problem::Refusal;
use super::system::view;
use crate::node::Role;

#[derive(Template)]
#[template(path = "status.html")]
struct Status {
    name: String,
    role: &'static str,
    leader: Option<(String, String)>,
    standing: Option<(ClusterView, Vec<WorkerView>)>,
}

#[derive(Template)]
#[template(path = "logging.html")]
struct Logging {
    name: String,
    lines: Vec<LogLine>,
}

fn page(template: &impl Template) -> Result<Html<String>, Refusal> {
    template.render().map(Html).map_err(|error| Refusal::unavailable(error.to_string()))
}

pub(super) async fn status(State(door): State<Door>) -> Result<Html<String>, Refusal> {
    let role_now = door.node.role();
    let token = door.node.options.token.as_deref();
    let (role, leader) = match &role_now {
        Role::Leading(_) => ("leader", None),
        Role::Following(lease) => ("standby", Some((lease.holder.to_string(), lease.public_url.clone()))),
        Role::Leaderless { .. } => ("looking for a leader", None),
        Role::Crashed => ("simulating a crash", None),
    };
    let standing = match &role_now {
        Role::Following(lease) => door.forwarder.standing(&lease.url, token).await,
        _ => view(&door).await.ok(),
    };
    page(&Status { name: door.node.name.to_string(), role, leader, standing })
}

pub(super) async fn logging(State(door): State<Door>) -> Result<Html<String>, Refusal> {
    page(&Logging { name: door.node.name.to_string(), lines: door.node.journal.lines() })
}

pub(super) async fn stop(State(door): State<Door>) -> &'static str {
    if door.node.flip_crash() { "True" } else { "False" }
}
