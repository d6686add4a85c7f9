//! From `kill -9` of the leader until a task that is sent to the standby has its result.

use std::time::{Duration, Instant};

use clb_protocol::api::TaskView;
use clb_tests::Cluster;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::engine::address_of;
use crate::load::{Caller, JSON, NO_OP};
use crate::respawn::kill;
use crate::{median, quantile, rounded};

const ROUNDS: usize = 11;
const ASK_EVERY: Duration = Duration::from_millis(2);
/// So that everybody has settled after the last one.
const REST: Duration = Duration::from_secs(3);

/// Kills one leader after the other.
pub(crate) async fn measure(cluster: &Cluster) -> Value {
    let mut dispatched = Vec::new();
    for _ in 0..ROUNDS {
        let view = cluster.has_two_orchestrators().await;
        tokio::time::sleep(REST).await;
        let standby = view.members.iter().find(|member| member.name != view.leader).expect("a standby");
        let door = cluster.door_of(standby.name.as_str()).url("");
        let port = door.rsplit(':').next().unwrap_or_default();
        let address = format!("{}:{port}", address_of(cluster.container(standby.name.as_str()).id()).await);
        let mut caller = Caller::connect(&address).await;
        let pid = cluster.leader().await.inspect().await.state.pid;
        let began = Instant::now();
        kill(pid);
        run_one(&mut caller).await;
        dispatched.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    json!({
        "rounds": ROUNDS,
        "dispatching_again_ms": {"p50": rounded(median(&dispatched)), "max": rounded(quantile(&dispatched, 1.0))},
    })
}

/// Submits until it is accepted, and waits for the result.
async fn run_one(caller: &mut Caller) {
    let accepted = loop {
        let (status, body) = caller.ask("/api/v1/tasks", Some((JSON, NO_OP.into()))).await;
        if status == StatusCode::CREATED {
            break body;
        }
        tokio::time::sleep(ASK_EVERY).await;
    };
    let id = serde_json::from_slice::<TaskView>(&accepted).expect("a task").id;
    let ended = caller.call(&format!("/api/v1/tasks/{id}?wait=30"), None, StatusCode::OK).await;
    let ended: TaskView = serde_json::from_slice(&ended).expect("a task");
    assert!(ended.result.is_some(), "{ended:?}");
}
