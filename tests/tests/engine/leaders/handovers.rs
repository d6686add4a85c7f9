//! The leader is stopped or frozen: the other one leads, and the former one does no harm.

use clb_protocol::TaskId;
use clb_protocol::api::Role;
use clb_tests::cluster::Cluster;
use clb_tests::cluster::expect::ran_once;
use clb_tests::{LONG, eventually, sleep};

async fn running_tasks(cluster: &Cluster, seconds: f64) -> Vec<TaskId> {
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(cluster.submit(sleep(seconds)).await);
    }
    for task in &tasks {
        cluster.worker_of(*task).await;
    }
    tasks
}

#[tokio::test]
async fn a_leader_that_is_stopped_hands_over_and_comes_back() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let tasks = running_tasks(&cluster, 8.0).await;
    let leader = cluster.leader().await;
    leader.stop().await;
    assert_eq!(leader.inspect().await.state.exit_code, 0, "it had to be killed");
    let after = cluster.is_led_after(before.epoch).await;
    assert_ne!(after.leader, before.leader);
    for task in cluster.all_end_once(&tasks).await {
        ran_once(&task);
    }
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_leader_that_was_frozen_wakes_up_fenced_and_stands_by() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let tasks = running_tasks(&cluster, 10.0).await;
    let former = cluster.leader().await;
    former.pause().await;
    let after = cluster.is_led_after(before.epoch).await;
    assert_ne!(after.leader, before.leader);
    let during = cluster.submit(sleep(0.1)).await;
    cluster.ends_once(during).await;
    former.unpause_if_there().await;

    eventually("both orchestrators agree", LONG, async || {
        let mut views = Vec::new();
        for door in cluster.doors() {
            let answer = door.get("/api/v1/cluster").try_send().await?;
            if answer.status != 200 {
                return Err(answer.text());
            }
            views.push(answer.json::<clb_protocol::api::ClusterView>());
        }
        let agree = (&views[0].leader, views[0].epoch) == (&views[1].leader, views[1].epoch);
        let former_role = views[0].members.iter().find(|it| it.name == before.leader).map(|it| it.role);
        (agree && former_role == Some(Role::Standby)).then_some(()).ok_or_else(|| format!("{views:?}"))
    })
    .await;
    for task in cluster.all_end_once(&tasks).await {
        ran_once(&task);
    }
    assert!(cluster.obituaries().await.is_empty(), "the frozen leader took a worker along");
    let now = cluster.view().await;
    assert_eq!((now.epoch, now.leader), (after.epoch, after.leader));
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_leader_that_is_cut_off_from_its_network_is_succeeded() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let tasks = running_tasks(&cluster, 10.0).await;
    let former = cluster.leader().await;
    former.disconnect(&cluster.network()).await;
    let after = cluster.is_led_after(before.epoch).await;
    assert_ne!(after.leader, before.leader);
    cluster.ends_once(cluster.submit(sleep(0.1)).await).await;
    former.connect(&cluster.network()).await;
    cluster.all_end_once(&tasks).await;
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_leader_that_is_restarted_costs_no_attempt() {
    let cluster = Cluster::start().await;
    let tasks = running_tasks(&cluster, 8.0).await;
    cluster.leader().await.restart().await;
    for task in cluster.all_end_once(&tasks).await {
        ran_once(&task);
    }
    cluster.is_whole().await;
}

#[tokio::test]
async fn orchestrators_that_were_frozen_together_go_on() {
    let cluster = Cluster::start().await;
    let tasks = running_tasks(&cluster, 8.0).await;
    let [first, second] = cluster.orchestrators();
    tokio::join!(first.pause(), second.pause());
    let worker = cluster.container("worker-1");
    eventually("a worker has lost its leader", LONG, async || {
        let logs = worker.logs().await;
        if logs.contains("Lost the link") { Ok(()) } else { Err(logs) }
    })
    .await;
    tokio::join!(first.unpause_if_there(), second.unpause_if_there());
    for task in cluster.all_end_once(&tasks).await {
        ran_once(&task);
    }
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_standby_that_dies_is_brought_back_and_disturbs_nobody() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let task = cluster.submit(sleep(3.0)).await;
    let standby = cluster.standby().await;
    let started_at = standby.inspect().await.state.started_at;
    standby.kill().await;
    eventually("the standby is started again", LONG, async || {
        let state = standby.inspect().await.state;
        (state.running && state.started_at != started_at).then_some(()).ok_or_else(|| format!("{state:?}"))
    })
    .await;
    ran_once(&cluster.ends_once(task).await);
    let after = cluster.has_two_orchestrators().await;
    assert_eq!((after.epoch, after.leader), (before.epoch, before.leader));
}
