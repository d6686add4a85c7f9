//! The leader dies: the other one leads, nothing acknowledged is lost, nothing that runs is run again.

use clb_protocol::TaskId;
use clb_tests::cluster::Cluster;
use clb_tests::cluster::expect::ran_once;
use clb_tests::{Setup, sleep};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

#[tokio::test]
async fn running_tasks_outlive_the_leader_and_are_not_run_again() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let mut tasks: Vec<TaskId> = Vec::new();
    for _ in 0..6 {
        tasks.push(cluster.submit(sleep(8.0)).await);
    }
    for task in &tasks {
        cluster.worker_of(*task).await;
    }
    cluster.leader().await.kill().await;
    let after = cluster.is_led_after(before.epoch).await;
    assert_ne!(after.leader, before.leader);
    for task in cluster.all_end_once(&tasks).await {
        ran_once(&task);
    }
    let again = cluster.has_two_orchestrators().await;
    assert_eq!((again.epoch, &again.leader), (after.epoch, &after.leader), "it led again without need");
    cluster.is_whole().await;
}

#[tokio::test]
async fn what_the_leader_acknowledged_just_before_it_died_is_not_lost() {
    let cluster = Setup::new().workers(1).slots(1).start().await;
    let mut acknowledged = vec![cluster.submit(sleep(3.0)).await];
    for _ in 0..3 {
        let before = cluster.has_two_orchestrators().await;
        acknowledged.extend(submits_while_the_leader_dies(&cluster).await);
        cluster.is_led_after(before.epoch).await;
    }
    cluster.all_end_once(&acknowledged).await;
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_leader_whose_process_is_killed_past_docker_comes_back() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let task = cluster.submit(sleep(6.0)).await;
    cluster.worker_of(task).await;
    cluster.leader().await.signal_from_outside("-KILL").await;
    ran_once(&cluster.ends_once(task).await);
    let after = cluster.is_led_after(before.epoch).await;
    assert!(after.epoch > before.epoch);
    cluster.is_whole().await;
}

#[tokio::test]
async fn a_leader_whose_container_is_removed_is_made_again() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let task = cluster.submit(sleep(6.0)).await;
    cluster.worker_of(task).await;
    let leader = cluster.leader().await;
    let id = leader.inspect().await.id;
    leader.remove().await;
    let after = cluster.is_led_after(before.epoch).await;
    assert_ne!(after.leader, before.leader);
    ran_once(&cluster.ends_once(task).await);
    cluster.has_two_orchestrators().await;
    assert_ne!(leader.inspect().await.id, id);
    cluster.is_whole().await;
}

/// Sends many tasks at once and kills the leader as soon as some are acknowledged; gives those.
async fn submits_while_the_leader_dies(cluster: &Cluster) -> Vec<TaskId> {
    let (door, leader) = (cluster.leaders_door().await, cluster.leader().await);
    let tasks: Vec<_> = (0..60).map(|_| sleep(0.02)).collect();
    let mut answers: FuturesUnordered<_> =
        tasks.iter().map(async |task| (task.id, door.submit(task).await)).collect();
    let mut acknowledged = Vec::new();
    let mut death = None;
    while let Some((id, answer)) = answers.next().await {
        if answer.is_ok_and(|answer| answer.status == 201) {
            acknowledged.extend(id);
        }
        if acknowledged.len() >= 10 && death.is_none() {
            let leader = leader.clone();
            death = Some(tokio::spawn(async move { leader.kill().await }));
        }
    }
    death.expect("ten tasks are acknowledged").await.expect("the leader is killed");
    acknowledged
}
