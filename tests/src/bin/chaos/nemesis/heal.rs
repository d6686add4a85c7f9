//! What must be so again after each round, and within which time.

use std::time::{Duration, Instant};

use clb_protocol::api::{ClusterView, PoolPage, PoolState, Role, TaskView, WorkerState, WorkerView};
use clb_tests::cluster::MEMBERS;
use clb_tests::sleep;
use serde_json::json;

use crate::checker::{End, Expected, Violation};
use crate::workload::PROGRAMS;
use crate::world::World;

/// An orchestrator that was stopped on purpose is left alone for ten seconds, one that was removed for fifteen, a
/// worker that keeps dying backs off for up to half a minute, and the machine may be slow.
const LIMIT: Duration = Duration::from_mins(2);
/// How long nobody may answer once all faults are undone.
const ANSWER_LIMIT: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(250);

/// Brings back what nobody else does, and waits until all is well.
pub(crate) async fn heals(world: &World, workers: usize) {
    let began = Instant::now();
    let mut answered_after = None;
    loop {
        world.cluster.revive_if_nobody_lives().await;
        let database = world.cluster.container("database");
        if !database.is_running().await {
            drop(database.try_do("start").await);
        }
        let why = match is_well(world, workers).await {
            Ok(()) => break,
            Err(Unwell::Silent(why)) => why,
            Err(Unwell::Told(why)) => {
                answered_after.get_or_insert_with(|| began.elapsed());
                why
            }
        };
        let limit = if answered_after.is_some() { LIMIT } else { ANSWER_LIMIT };
        if began.elapsed() > limit {
            let what = if answered_after.is_some() { "not whole" } else { "no answer" };
            let after = began.elapsed().as_secs();
            world
                .found(Violation::NotHealed(format!("{what} {after} s after the faults were undone: {why}")));
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    for pool in ["default", PROGRAMS] {
        if let Err(why) = takes_tasks(world, pool).await {
            world.found(Violation::NotHealed(format!("the pool {pool} is whole but ends no task: {why}")));
        }
    }
    let answered = answered_after.unwrap_or_default().as_secs_f64();
    world.tell(&format!(
        "  whole after {:.1} s, answered after {answered:.1} s",
        began.elapsed().as_secs_f64()
    ));
}

/// Why it is not well: nobody answers, or an answer says so.
enum Unwell {
    Silent(String),
    Told(String),
}

async fn is_well(world: &World, wanted: usize) -> Result<(), Unwell> {
    let views = [world.view_of(0).await, world.view_of(1).await];
    let [one, two] = match views {
        [Ok(one), Ok(two)] => [one, two],
        [Err(one), Err(two)] => return Err(Unwell::Silent(format!("{one}; {two}"))),
        [Ok(_), Err(why)] | [Err(why), Ok(_)] => return Err(Unwell::Told(why)),
    };
    if !has_all_members(&one) || (&one.leader, one.epoch) != (&two.leader, two.epoch) {
        return Err(Unwell::Told(format!("{:?}, {:?}", one.members, two.members)));
    }
    let highest = world.leadership().epoch();
    if highest.is_some_and(|highest| one.epoch < highest) {
        return Err(Unwell::Told(format!("epoch {} after {highest:?}", one.epoch)));
    }
    let workers: Vec<WorkerView> = get(world, "/api/v1/workers").await.map_err(Unwell::Told)?;
    let ready = workers.iter().filter(|worker| worker.state == WorkerState::Ready).count();
    if (ready, workers.len()) != (wanted, wanted) {
        let told = workers.iter().map(|it| format!("{} {:?} {:?}", it.name, it.state, it.reason));
        return Err(Unwell::Told(told.collect::<Vec<_>>().join("; ")));
    }
    let pools: PoolPage = get(world, "/api/v1/pools").await.map_err(Unwell::Told)?;
    match pools.pools.iter().find(|pool| pool.state != PoolState::Ready) {
        Some(pool) => Err(Unwell::Told(format!("{} is {:?}: {:?}", pool.name, pool.state, pool.reason))),
        None => Ok(()),
    }
}

fn has_all_members(view: &ClusterView) -> bool {
    let count = |role| view.members.iter().filter(|member| member.role == role).count();
    (count(Role::Leader), count(Role::Standby), view.members.len()) == (1, 1, MEMBERS.len())
}

pub(crate) async fn get<T: serde::de::DeserializeOwned>(world: &World, path: &str) -> Result<T, String> {
    let answer = world.insist(0, Duration::ZERO, |door| door.get(path)).await?;
    match answer.status {
        200 => serde_json::from_slice(&answer.body).map_err(|error| error.to_string()),
        status => Err(format!("{path}: {status} {}", answer.text())),
    }
}

/// A new task goes before all others and ends.
async fn takes_tasks(world: &World, pool: &str) -> Result<(), String> {
    let mut task = sleep(0.0);
    let Some(id) = task.id else { return Ok(()) };
    (task.pool, task.priority, task.max_attempts) = (Some(pool.to_owned()), Some(100), Some(100));
    world.checker().sent(id, Expected { end: End::Sum(7), max_attempts: 100, not_before: None });
    let body = json!(task).to_string();
    let answer = world.insist(1, ANSWER_LIMIT, |door| door.post("/api/v1/tasks", body.clone())).await?;
    if !matches!(answer.status, 200 | 201) {
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    world.checker().acknowledged(id);
    let until = Instant::now() + ANSWER_LIMIT;
    loop {
        let task: Result<TaskView, String> = get(world, &format!("/api/v1/tasks/{id}?wait=5")).await;
        match task {
            Ok(task) if task.state.has_ended() => return Ok(()),
            other if Instant::now() >= until => return Err(format!("{other:?}")),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}
