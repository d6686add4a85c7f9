//! `GET /api/v1/events`: changes as they happen, without a gap for whoever comes back.

use clb_protocol::TaskId;
use clb_tests::cluster::expect::container_of;
use clb_tests::cluster::{Cluster, Door};
use clb_tests::http::{Event, Events};
use clb_tests::{LONG, sleep};

const PATH: &str = "/api/v1/events";

fn tells(event: &Event, task: TaskId, state: &str) -> bool {
    event.kind == "task" && event.data["id"] == task.to_string() && event.data["state"] == state
}

async fn listen_from(door: &Door, last: &str) -> Events {
    door.get(PATH).header("last-event-id", last).listen().await
}

#[tokio::test]
async fn a_listener_hears_of_tasks_and_goes_on_where_it_was_cut_off() {
    let cluster = Cluster::shared().await;
    for door in cluster.doors() {
        let mut events = door.get(PATH).listen().await;
        events.until(|event| event.kind == "cluster").await;
        let task = cluster.submit(sleep(0.3)).await;
        let whole = async {
            let queued = events.until(|event| tells(event, task, "queued")).await;
            let running = events.until(|event| tells(event, task, "running")).await;
            assert!(running.data["worker"].is_string(), "{running:?}");
            events.until(|event| tells(event, task, "succeeded")).await;
            drop(events);
            let last = queued.id.expect("events of tasks have ids");
            let mut again = listen_from(&door, &last).await;
            let next = again.until(|event| event.id.is_some()).await;
            assert!(tells(&next, task, "running") || next.kind == "log", "{next:?}");
            again.until(|event| tells(event, task, "succeeded")).await;
        };
        tokio::time::timeout(LONG, whole).await.expect("the events come");
        let mut lost = listen_from(&door, "0-1").await;
        let gap = lost.until(|event| event.id.is_some()).await;
        assert_eq!(gap.kind, "gap", "a listener that missed something was not told");
    }
}

#[tokio::test]
async fn a_listener_hears_of_workers_and_log_lines() {
    let cluster = Cluster::start().await;
    let mut events = cluster.doors()[1].get(PATH).listen().await;
    let worker = cluster.worker("worker-2").await;
    events.until(|event| event.kind == "worker" && event.data["name"] == "worker-2").await;
    container_of(&worker).kill().await;
    let all = async {
        let is_new = |event: &Event| {
            event.kind == "worker"
                && event.data["name"] == "worker-2"
                && event.data["generation"].as_u64() > Some(worker.generation.0)
                && event.data["state"] == "ready"
        };
        events.until(is_new).await;
    };
    tokio::time::timeout(LONG, all).await.expect("the events come");
    let mut logs = cluster.doors()[0].get(PATH).listen().await;
    logs.until(|event| event.kind == "cluster").await;
    let task = cluster.submit(sleep(0.1)).await;
    let said = async {
        logs.until(|event| event.kind == "log" && event.data["task"] == task.to_string()).await;
    };
    tokio::time::timeout(LONG, said).await.expect("the log lines come");
}
