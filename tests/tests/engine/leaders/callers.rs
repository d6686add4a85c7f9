//! What callers of the standby notice of a leader that stops or freezes: that it takes a moment.

use clb_protocol::api::TaskView;
use clb_tests::cluster::{Cluster, other_than};
use clb_tests::http::Answer;
use futures::future::join_all;

/// Comes without an id: whoever makes it up, it must be one task.
const NAMELESS: &str = r#"{"kind": "sleep", "seconds": 0, "add": [3, 4]}"#;
const ROUNDS: usize = 6;

async fn has_one_task_for_each(cluster: &Cluster, answers: &[Answer]) {
    let mut ids = Vec::new();
    for answer in answers {
        assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text());
        ids.push(answer.json::<TaskView>().id);
    }
    cluster.all_end_once(&ids).await;
    let recorded = cluster.outcomes().await.len();
    assert_eq!(recorded, ids.len(), "some of them became more than one task");
}

#[tokio::test]
async fn a_leader_that_was_just_told_to_simulate_a_crash_is_not_heard_through_the_standby() {
    let cluster = Cluster::start().await;
    let mut answers = Vec::new();
    for _ in 0..ROUNDS {
        let before = cluster.has_two_orchestrators().await;
        let standby = cluster.door_of(other_than(&before.leader));
        let leader = cluster.leaders_door().await;
        assert_eq!(leader.get("/stop").send().await.text(), "True");
        let (creation, view) = (standby.post("/api/v1/tasks", NAMELESS), standby.get("/api/v1/cluster"));
        let (created, seen) = tokio::join!(creation.send(), view.send());
        assert_eq!(seen.status, 200, "{}", seen.text());
        answers.push(created);
        assert_eq!(leader.get("/stop").send().await.text(), "False");
    }
    has_one_task_for_each(&cluster, &answers).await;
}

#[tokio::test]
async fn a_frozen_leader_holds_up_no_caller_of_the_standby() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let standby = cluster.door_of(other_than(&before.leader));
    let frozen = cluster.leader().await;
    frozen.pause().await;
    let (creation, view) = (standby.post("/api/v1/tasks", NAMELESS), standby.get("/api/v1/cluster"));
    let creations = (0..8).map(|_| creation.send());
    let unknown = format!("/api/v1/tasks/{}?wait=1", clb_protocol::TaskId::now());
    // It does not wake before all of them are answered.
    let waiting = standby.get(&unknown);
    let (answers, seen, unknown) = tokio::join!(join_all(creations), view.send(), waiting.send());
    assert_eq!((seen.status, unknown.status), (200, 404), "{} {}", seen.text(), unknown.text());
    assert!(frozen.unpause_if_there().await);
    cluster.is_led_after(before.epoch).await;
    cluster.is_whole().await;
    has_one_task_for_each(&cluster, &answers).await;
}
