//! What a fault does, and how it is undone. A victim may have gone already: that is part of the turmoil, and told.

use std::time::{Duration, Instant};

use clb_protocol::task::{Argv, Command, TaskRequest, Work};
use clb_tests::cluster::{Door, MEMBERS, other_than};
use clb_tests::engine::{Container, Frozen, Gate, try_docker};
use clb_tests::images::images;
use clb_tests::tasks::named;
use serde_json::{Value, json};

use super::draw::{Crew, Fault, Victim};
use crate::checker::Expected;
use crate::workload::{PROGRAMS, breaks_off_a_batch, is_killed_in_a_batch};
use crate::world::World;

type Done = Result<String, String>;

const TOO_LITTLE: &str = "6m";
const MORE_THAN_IT_HAS: &str = "400";
const SLOW: Duration = Duration::from_millis(400);
const QUESTIONS: usize = 60;
const UNDOING: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(200);

/// The pool of programs, in one of its versions.
pub(crate) fn pool_spec(image: &str, crew: Crew, version: u64) -> Value {
    json!({"image": image, "workers": crew.programs, "slots": 4, "memory": "128m", "stop_grace": 1,
           "env": {"VERSION": version.to_string()}})
}

/// Whoever strikes.
#[derive(Debug)]
pub(crate) struct Striker<'a> {
    pub(crate) world: &'a World,
    pub(crate) gate: &'a Gate,
    pub(crate) crew: Crew,
}

impl Striker<'_> {
    /// Strikes, and undoes what lasts for a time; gives what came of it.
    pub(crate) async fn strike(&self, fault: Fault) -> Done {
        match fault {
            Fault::KillProcess(victim) => self.kill_process(&self.container(victim).await).await,
            Fault::Kill(victim) => self.docker("kill", victim).await,
            Fault::Stop(victim) => self.docker("stop", victim).await,
            Fault::Remove(victim) => docker(&["rm", "-f"], &[&self.container(victim).await]).await,
            Fault::Pause(victim, time) => pause(&[&self.container(victim).await], time).await,
            Fault::Freeze(victim, time) => freeze(&self.container(victim).await, Frozen::Program, time).await,
            Fault::StallLog(victim, time) => {
                freeze(&self.container(victim).await, Frozen::Output, time).await
            }
            Fault::CutOff(victim, time) => self.cut_off(&self.container(victim).await, time).await,
            Fault::SimulateCrash(victim, time) => self.simulate_crash(victim, time).await,
            Fault::StarveOfMemory(slot) => {
                let worker = self.container(Victim::Worker(slot)).await;
                docker(&["update", "--memory", TOO_LITTLE, "--memory-swap", TOO_LITTLE], &[&worker]).await
            }
            Fault::EatMemory => self.eat_memory().await,
            Fault::KillBoth => self.both(&["kill"]).await,
            Fault::StopBoth => self.both(&["stop"]).await,
            Fault::RemoveBoth => self.both(&["rm", "-f"]).await,
            Fault::PauseBoth(time) => {
                let [one, two] = self.world.cluster.orchestrators();
                pause(&[&one, &two], time).await
            }
            Fault::RollPool(version) => self.roll_pool(version).await,
            Fault::Restart(victim) => self.order(victim, "restart").await,
            Fault::Drain(victim, time) => self.drain(victim, time).await,
            Fault::AskALot => self.ask_a_lot().await,
            Fault::BreakOffABatch(door) => breaks_off_a_batch(self.world, door).await.map(|()| String::new()),
            Fault::KillClient(after) => is_killed_in_a_batch(self.world, after).await.map(|()| String::new()),
            Fault::KillDatabase => docker(&["kill"], &[&self.world.cluster.container("database")]).await,
            Fault::TakeEngineAway(time) => {
                self.gate.go_away();
                tokio::time::sleep(time).await;
                self.gate.come_back();
                Ok(String::new())
            }
            Fault::SlowEngine(time) => {
                self.gate.delay(SLOW);
                tokio::time::sleep(time).await;
                self.gate.delay(Duration::ZERO);
                Ok(String::new())
            }
        }
    }

    /// Who it is at this moment.
    async fn member(&self, victim: Victim) -> &'static str {
        let leader =
            match self.world.insist(0, Duration::from_secs(3), |door| door.get("/api/v1/cluster")).await {
                Ok(answer) if answer.status == 200 => {
                    Some(answer.json::<clb_protocol::api::ClusterView>().leader)
                }
                _ => self.world.leadership().leader(),
            };
        let standby = leader.as_ref().map_or(MEMBERS[1], other_than);
        if victim == Victim::Standby { standby } else { other_than(&standby.into()) }
    }

    async fn container(&self, victim: Victim) -> Container {
        match victim {
            Victim::Worker(_) | Victim::Program(_) => self.world.cluster.container(&victim.to_string()),
            Victim::Leader | Victim::Standby => self.world.cluster.container(self.member(victim).await),
        }
    }

    async fn docker(&self, command: &str, victim: Victim) -> Done {
        docker(&[command], &[&self.container(victim).await]).await
    }

    async fn both(&self, command: &[&str]) -> Done {
        let [one, two] = self.world.cluster.orchestrators();
        docker(command, &[&one, &two]).await
    }

    async fn kill_process(&self, container: &Container) -> Done {
        let found = container.inspect_if_there().await.filter(|found| found.state.pid > 1);
        let Some(found) = found else { return Err(format!("{} does not run", container.id())) };
        let pid = found.state.pid.to_string();
        let done = tokio::process::Command::new("kill").args(["-9", &pid]).status().await;
        done.map_err(|error| error.to_string())?;
        Ok(container.id().to_owned())
    }

    async fn cut_off(&self, container: &Container, time: Duration) -> Done {
        let network = self.world.cluster.network();
        docker(&["network", "disconnect", &network], &[container]).await?;
        tokio::time::sleep(time).await;
        docker(&["network", "connect", &network], &[container]).await
    }

    /// Its answer says what it has become: the switch only flips.
    async fn simulate_crash(&self, victim: Victim, time: Duration) -> Done {
        let door = match victim {
            Victim::Worker(slot) | Victim::Program(slot) => self.world.cluster.door_of_worker(slot),
            Victim::Leader | Victim::Standby => self.world.cluster.door_of(self.member(victim).await),
        };
        let flipped = flip(&door).await?;
        tokio::time::sleep(time).await;
        let until = Instant::now() + UNDOING;
        loop {
            match flip(&door).await {
                Ok(word) if word == "False" => return Ok(format!("{} ({flipped})", door.url(""))),
                // One that was made anew meanwhile has just been stopped.
                Ok(_) => {}
                Err(why) if Instant::now() >= until => return Err(why),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn eat_memory(&self) -> Done {
        let words = ["steps", "eat", MORE_THAN_IT_HAS];
        let mut task = named(Work::Command(Command::new(Argv::new("/fixture", words))));
        task.max_attempts = Some(1);
        task.pool = Some(PROGRAMS.to_owned());
        self.submit(task).await
    }

    async fn submit(&self, task: TaskRequest) -> Done {
        let Some(id) = task.id else { return Err("it has no name".to_owned()) };
        self.world.checker().sent(id, Expected { max_attempts: 1, ..Expected::any() });
        let body = json!(task).to_string();
        let answer = self.world.insist(0, UNDOING, |door| door.post("/api/v1/tasks", body.clone())).await?;
        if matches!(answer.status, 200 | 201) {
            self.world.checker().acknowledged(id);
        }
        Ok(format!("task {id}: {}", answer.status))
    }

    async fn roll_pool(&self, version: u64) -> Done {
        let spec = pool_spec(&images().await.worker_with_fixture, self.crew, version).to_string();
        let path = format!("/api/v1/pools/{PROGRAMS}");
        let answer = self.world.insist(0, UNDOING, |door| door.put(&path, spec.clone())).await?;
        Ok(answer.status.to_string())
    }

    async fn order(&self, victim: Victim, order: &str) -> Done {
        let path = format!("/api/v1/workers/{victim}/{order}");
        let answer = self.world.insist(0, UNDOING, |door| door.post(&path, "")).await?;
        Ok(answer.status.to_string())
    }

    async fn drain(&self, victim: Victim, time: Duration) -> Done {
        let drained = self.order(victim, "drain").await?;
        tokio::time::sleep(time).await;
        let resumed = self.order(victim, "resume").await?;
        Ok(format!("drain {drained}, resume {resumed}"))
    }

    async fn ask_a_lot(&self) -> Done {
        let page = self.world.ask(0, |door| door.get("/api/v1/tasks?limit=20")).await?;
        let tasks: Value = serde_json::from_slice(&page.body).map_err(|error| error.to_string())?;
        let ids: Vec<&str> =
            tasks["tasks"].as_array().into_iter().flatten().filter_map(|it| it["id"].as_str()).collect();
        let mut paths: Vec<String> = ids.iter().map(|id| format!("/api/v1/tasks/{id}/explain")).collect();
        paths.extend(
            ["failed", "queued", "running"].map(|state| format!("/api/v1/tasks?state={state}&limit=200")),
        );
        paths.extend(
            ["workers", "pools", "obituaries", "logs?limit=100"].map(|what| format!("/api/v1/{what}")),
        );
        let asked = (0..QUESTIONS).map(|number| {
            let path = &paths[number % paths.len()];
            self.world.ask(number as u64, move |door| door.get(path))
        });
        let answers = futures::future::join_all(asked).await;
        let answered =
            answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200));
        Ok(format!("{} of {QUESTIONS} answered", answered.count()))
    }
}

async fn docker(command: &[&str], on: &[&Container]) -> Done {
    let names: Vec<&str> = on.iter().map(|container| container.id()).collect();
    try_docker(&[command, &names].concat()).await.map(|done| done.replace('\n', " "))
}

async fn pause(containers: &[&Container], time: Duration) -> Done {
    let paused = docker(&["pause"], containers).await;
    tokio::time::sleep(time).await;
    for container in containers {
        container.unpause_if_there().await;
    }
    paused
}

async fn freeze(container: &Container, which: Frozen, time: Duration) -> Done {
    container.freeze(which, time).await.map(|()| container.id().to_owned())
}

async fn flip(door: &Door) -> Result<String, String> {
    Ok(door.get("/stop").within(Duration::from_secs(5)).try_send().await?.text())
}
