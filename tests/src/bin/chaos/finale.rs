//! The end: nothing is submitted any more, and everything is looked at once more.

use std::time::{Duration, Instant};

use clb_protocol::api::{ClusterView, WorkerView};
use clb_tests::engine::{Container, docker, try_docker};
use clb_tests::sleep;
use serde_json::json;

use crate::checker::{End, Expected, Violation};
use crate::nemesis::get;
use crate::watch::{drain, read_all_again};
use crate::workload::Waiting;
use crate::world::World;

/// How long no task may end while there are some.
const PATIENCE: Duration = Duration::from_mins(3);
const LIMIT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(200);
/// A task that fills a slot does so for so many seconds.
const FILLER_S: f64 = 5.0;

/// Looks at everything.
pub(crate) async fn check(world: &World, waiting: Waiting, slots: u64) -> Result<(), String> {
    world.tell("the end begins");
    drain(world, PATIENCE).await;
    fill_all_slots(world, slots).await?;
    drain(world, PATIENCE).await;
    world.checker().close();
    read_all_again(world).await?;
    let view: ClusterView = get(world, "/api/v1/cluster").await?;
    let tasks = view.tasks;
    world.checker().counted_by_cluster(tasks.succeeded + tasks.failed + tasks.cancelled);
    if (tasks.queued, tasks.running) != (waiting.0, 0) {
        let told = format!("{} wait and {} run where {} wait", tasks.queued, tasks.running, waiting.0);
        world.found(Violation::NotHealed(format!("in the end {told}")));
    }
    waiting.check(world).await
}

/// As many tasks run at once as there are slots: none was lost with a task.
async fn fill_all_slots(world: &World, slots: u64) -> Result<(), String> {
    let tasks: Vec<_> = (0..slots).map(|_| sleep(FILLER_S)).collect();
    for task in &tasks {
        if let Some(id) = task.id {
            world.checker().sent(id, Expected { end: End::Sum(7), max_attempts: 3, not_before: None });
        }
    }
    let body = json!(tasks).to_string();
    let answer = world.insist(0, LIMIT, |door| door.post("/api/v1/tasks/batch", body.clone())).await?;
    if answer.status != 200 {
        return Err(format!("the last tasks were refused: {} {}", answer.status, answer.text()));
    }
    tasks.iter().filter_map(|task| task.id).for_each(|id| world.checker().acknowledged(id));
    let until = Instant::now() + LIMIT;
    let mut most = 0;
    loop {
        let workers: Vec<WorkerView> = get(world, "/api/v1/workers").await?;
        let running: usize =
            workers.iter().filter(|it| it.pool.as_str() == "default").map(|it| it.running.len()).sum();
        most = most.max(running as u64);
        if most == slots {
            return Ok(());
        }
        if Instant::now() >= until || (running == 0 && most > 0) {
            let told = format!("of {slots} slots only {most} were ever taken at once");
            world.found(Violation::NotHealed(told));
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Stops the cluster as Compose does; nothing of it may stay.
pub(crate) async fn tear_down(world: &World) {
    world.cluster.container("database").remove().await;
    let orchestrators = world.cluster.orchestrators();
    let names = orchestrators.each_ref().map(Container::id);
    if let Err(why) = try_docker(&[&["stop"], &names[..]].concat()).await {
        world.found(Violation::NotHealed(format!("it cannot be stopped: {why}")));
    }
    let ours = format!("label=clb.cluster={}", world.cluster.name());
    let left = docker(&["ps", "-a", "--format", "{{.Names}}", "--filter", &ours]).await;
    let left: Vec<&str> = left.lines().filter(|name| !names.contains(name)).collect();
    if !left.is_empty() {
        world.found(Violation::NotHealed(format!("containers stay behind: {}", left.join(", "))));
    }
}
