//! One fault after the other, at random, while tasks are submitted all the time: nothing is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use clb_protocol::TaskId;
use clb_tests::cluster::{Cluster, MEMBERS};
use clb_tests::dice::Dice;
use clb_tests::engine::Container;
use clb_tests::{Setup, sleep};

const FAULTS: usize = 10;

/// Submits until it is told to end; gives what was acknowledged.
async fn submits_all_the_time(cluster: &Cluster, over: &AtomicBool) -> Vec<TaskId> {
    let mut acknowledged = Vec::new();
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let mut task = sleep(f64::from(turn % 5) * 0.4);
        task.max_attempts = Some(100);
        let door = &cluster.doors()[turn as usize % MEMBERS.len()];
        let id = task.id;
        let answer = door.submit(&task).await;
        if answer.is_ok_and(|answer| answer.status == 201) {
            acknowledged.extend(id);
        }
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    acknowledged
}

async fn worker_container(cluster: &Cluster, dice: &mut Dice) -> Container {
    let all = cluster.worker_containers().await;
    match all.len() {
        0 => cluster.container("worker-1"),
        count => all[dice.roll(count as u64) as usize].clone(),
    }
}

/// Some faults may find their victim gone already; that is part of the turmoil.
async fn strikes(cluster: &Cluster, dice: &mut Dice) {
    let fault = dice.roll(7);
    println!("fault {fault}");
    let worker = worker_container(cluster, dice).await;
    match fault {
        0 => drop(worker.try_do("kill").await),
        1 => drop(worker.try_do("stop").await),
        2 => drop(worker.try_do("pause").await),
        3 => drop(cluster.leader().await.try_do("kill").await),
        4 => drop(cluster.standby().await.try_do("kill").await),
        5 => {
            let (leader, epoch) = (cluster.leader().await, cluster.view().await.epoch);
            if leader.try_do("pause").await.is_ok() {
                cluster.is_led_after(epoch).await;
                leader.unpause_if_there().await;
            }
        }
        _ => {
            let leader = cluster.leader().await;
            drop(tokio::join!(worker.try_do("kill"), leader.try_do("kill")));
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_in_any_turmoil() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let cluster = Setup::new().slots(4).start().await;
    let over = AtomicBool::new(false);
    let faults = async {
        for _ in 0..FAULTS {
            strikes(&cluster, &mut dice).await;
            cluster.has_two_orchestrators().await;
        }
        over.store(true, Ordering::Relaxed);
    };
    let (acknowledged, ()) = tokio::join!(submits_all_the_time(&cluster, &over), faults);
    assert!(acknowledged.len() > FAULTS, "hardly anything was accepted: {}", acknowledged.len());
    cluster.all_end_once(&acknowledged).await;
    cluster.is_whole().await;
}
