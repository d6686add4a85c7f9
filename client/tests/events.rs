//! The subscription to the cluster's events, through the loss of the orchestrator that serves it.

mod stand_in;

use std::pin::pin;

use clb_client::protocol::TaskId;
use clb_client::{Event, EventType};
use futures::StreamExt as _;
use serde_json::json;
use stand_in::{Manner, StandIns, worker_view};

#[tokio::test]
async fn a_subscription_resumes_at_the_next_orchestrator_where_it_broke_off() {
    let mut cluster = StandIns::start([Manner::Serves, Manner::Serves]).await;
    let mut events = pin!(cluster.client().events(&EventType::ALL));
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    let id = TaskId::now();
    let task = json!({
        "id": id, "state": "running", "worker": "worker-1", "attempt": 1, "group": null,
        "at": "2026-01-01T00:00:00Z",
    });
    cluster.all[0].tell("e3-17", "task", &task);
    assert!(matches!(events.next().await, Some(Event::Task(event)) if event.id == id));

    cluster.all[0].die().await;
    assert!(matches!(events.next().await, Some(Event::Interrupted(_))));
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
    assert_eq!(cluster.memory().resumed_from, [None, Some("e3-17".to_owned())]);

    cluster.all[1].tell("e4-1", "gap", &json!({}));
    cluster.all[1].tell("e4-2", "worker", &worker_view(2, "ready", 3.5));
    assert!(matches!(events.next().await, Some(Event::Gap)));
    assert!(matches!(events.next().await, Some(Event::Worker(worker)) if worker.name == "worker-2"));
}

#[tokio::test]
async fn an_orchestrator_in_a_simulated_crash_is_left_for_the_next() {
    let cluster = StandIns::start([Manner::Answers(418), Manner::Serves]).await;
    let mut events = pin!(cluster.client().events(&EventType::ALL));
    let reason = match events.next().await {
        Some(Event::Interrupted(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason.contains("418"), "{reason}");
    assert!(matches!(events.next().await, Some(Event::Connected(_))));
}
