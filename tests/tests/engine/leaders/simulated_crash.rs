//! `/stop` of an orchestrator: it pretends to be dead until it is told again.

use clb_protocol::api::{ClusterView, Role};
use clb_protocol::{MemberName, seed};
use clb_tests::cluster::expect::ran_once;
use clb_tests::cluster::{Cluster, Door, other_than};
use clb_tests::{SOON, eventually, sleep};

async fn has_role(cluster: &Cluster, name: &MemberName, role: Role) -> ClusterView {
    eventually(&format!("{name} is {role:?}"), SOON, async || {
        let view = cluster.view().await;
        let is_so = view.members.iter().any(|member| member.name == *name && member.role == role);
        if is_so { Ok(view) } else { Err(format!("{:?}", view.members)) }
    })
    .await
}

async fn flips_to(door: &Door, word: &str) {
    let flipped = door.get("/stop").send().await;
    assert_eq!((flipped.status, flipped.text().as_str()), (200, word));
}

async fn log_says(door: &Door, line: &str) {
    eventually(&format!("its log says {line}"), SOON, async || {
        let log = door.get("/logging").send().await;
        assert_eq!(log.status, 200, "{}", log.text());
        log.text().contains(line).then_some(()).ok_or_else(|| log.text())
    })
    .await;
}

/// What a stopped one still answers, and how it refuses the rest.
async fn plays_dead(door: &Door) {
    for path in ["/", "/api/v1/cluster", "/api/v1/tasks", "/readyz", "/nowhere"] {
        let refused = door.get(path).send().await;
        assert_eq!((refused.status, refused.text().as_str()), (418, seed::TEAPOT), "{path}");
    }
    let refused = door.submit(&sleep(0.1)).await.unwrap();
    assert_eq!((refused.status, refused.text().as_str()), (418, seed::TEAPOT));
    assert_eq!(door.get("/healthz").send().await.status, 200);
    log_says(door, seed::CRASH).await;
}

#[tokio::test]
async fn a_leader_that_simulates_a_crash_is_replaced_and_stands_by_when_flipped_back() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let task = cluster.submit(sleep(6.0)).await;
    cluster.worker_of(task).await;
    let door = cluster.leaders_door().await;
    flips_to(&door, "True").await;
    plays_dead(&door).await;
    let after = cluster.is_led_after(before.epoch).await;
    assert_ne!(after.leader, before.leader);
    has_role(&cluster, &before.leader, Role::Stopped).await;
    flips_to(&door, "False").await;
    let now = has_role(&cluster, &before.leader, Role::Standby).await;
    assert_eq!((now.epoch, now.leader), (after.epoch, after.leader));
    log_says(&door, seed::RECOVERED).await;
    ran_once(&cluster.ends_once(task).await);
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_standby_that_simulates_a_crash_disturbs_nobody() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let standby = MemberName::from(other_than(&before.leader));
    let door = cluster.door_of(standby.as_str());
    let links = async || door.get("/logging").send().await.text().matches("Stands by for").count();
    let links_before = links().await;
    flips_to(&door, "True").await;
    plays_dead(&door).await;
    assert_eq!(links().await, links_before, "it stood by again between the order and the crash");
    has_role(&cluster, &standby, Role::Stopped).await;
    ran_once(&cluster.ends_once(cluster.submit(sleep(0.1)).await).await);
    flips_to(&door, "False").await;
    let after = has_role(&cluster, &standby, Role::Standby).await;
    assert_eq!((after.epoch, after.leader), (before.epoch, before.leader));
    assert_eq!(door.get("/api/v1/cluster").send().await.status, 200);
}
