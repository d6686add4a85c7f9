//! What is done to one worker's container.

use std::sync::Arc;
use std::time::Duration;

use clb_core::fleet::{End, Remains};
use clb_core::input::{Input, ProbeAnswer};
use clb_door::show_token;
use clb_engine::{Docker, EngineError, Program, Role, State, WorkerPlan};
use clb_protocol::{ContainerId, WorkerId};
use http_body_util::Empty;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep, timeout};

use super::supplies::Supplies;
use crate::leader::{Handle, Message};

/// How many of a dead container's last lines are kept.
const LAST_LINES: usize = 50;
/// How long a dead container may take to be seen as dead by the engine.
const DEATH_LIMIT: Duration = Duration::from_secs(2);
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// How long a container waits for an engine that is out of reach before its making counts as failed.
const ENGINE_WAIT: Duration = Duration::from_secs(20);
const SHORT_REST: Duration = Duration::from_millis(100);
const LONG_REST: Duration = Duration::from_secs(5);

/// Makes and starts a container, and tells the leader what became of it.
pub(super) async fn make(docker: Docker, plan: WorkerPlan, leader: Handle, supplies: Arc<Supplies>) {
    let began = Instant::now();
    let made = loop {
        match make_once(&docker, &plan, &supplies).await {
            Err(error) if error.is_absence() && began.elapsed() < ENGINE_WAIT => {
                tracing::debug!("{} waits for the Docker engine: {error}", plan.worker);
                sleep(SHORT_REST * 5).await;
            }
            made => break made,
        }
    };
    let worker = plan.worker;
    let fact = match made {
        Ok(container) => Input::ContainerStarted { worker, container },
        Err(error) => {
            if matches!(plan.program, Program::Volume(_)) {
                supplies.doubt_program();
            }
            Input::ContainerFailed { worker, reason: error.to_string() }
        }
    };
    leader.tell(Message::Fact(fact)).await;
}

/// One that stands in its way is from a former term and goes.
async fn make_once(
    docker: &Docker,
    plan: &WorkerPlan,
    supplies: &Supplies,
) -> Result<ContainerId, EngineError> {
    if plan.is_inside {
        supplies.have_inside().await?;
    }
    let container = match docker.create_worker(plan).await {
        Err(taken @ EngineError::NameTaken { .. }) => {
            let former = docker.inspect_by_name(&docker.worker_container_name(&plan.worker)).await?;
            if !is_former(&former.role, &plan.worker) {
                return Err(taken);
            }
            docker.remove_forced(&former.id).await?;
            docker.create_worker(plan).await?
        }
        created => created?,
    };
    if let Err(error) = docker.start(&container).await {
        docker.remove_forced(&container).await?;
        return Err(error);
    }
    Ok(container)
}

/// Whether a container of this role is an earlier one of a worker's slot. Another may be anybody's, or that of
/// a newer leader.
fn is_former(role: &Role, worker: &WorkerId) -> bool {
    matches!(role, Role::Worker(former) if former.pool == worker.pool
        && former.slot == worker.slot
        && former.generation <= worker.generation)
}

/// Looks at a container, ends what still lives of it and removes it, however often that takes.
pub(super) async fn bury(docker: &Docker, worker: &WorkerId, container: Option<ContainerId>) -> Remains {
    let container = match container {
        Some(container) => container,
        None => match docker.inspect_by_name(&docker.worker_container_name(worker)).await {
            Ok(found) if found.role == Role::Worker(worker.clone()) => found.id,
            _ => return Remains::default(),
        },
    };
    let remains = autopsy(docker, &container).await;
    let mut rest = SHORT_REST;
    while let Err(error) = docker.remove_forced(&container).await {
        tracing::warn!("{worker} could not be removed, trying again: {error}");
        sleep(rest).await;
        rest = (rest * 2).min(LONG_REST);
    }
    remains
}

async fn autopsy(docker: &Docker, container: &ContainerId) -> Remains {
    let started = Instant::now();
    let mut was_dead = true;
    loop {
        let Ok(found) = docker.inspect(container).await else { return Remains::default() };
        let is_dead = found.state.has_ended();
        // What never ran cannot die.
        if is_dead || found.state == State::Created || started.elapsed() >= DEATH_LIMIT {
            let last_logs = docker.last_lines(container, LAST_LINES).await.unwrap_or_default();
            return Remains {
                was_dead: was_dead && is_dead,
                end: match found.exit_code {
                    Some(code) if is_dead => End::Exited(code),
                    _ if found.state == State::Created => End::NeverRan,
                    _ => End::Unknown,
                },
                oom: found.oom_killed,
                memory_limit_bytes: found.memory_limit_bytes,
                last_logs,
            };
        }
        was_dead = false;
        if docker.kill(container, "SIGKILL").await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Asks the pages at a base URL how their container is.
pub(super) async fn probe(url: &str, token: Option<&str>) -> ProbeAnswer {
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let request = show_token(http::Request::get(format!("{url}/")), token);
    let request = request.body(Empty::<bytes::Bytes>::new());
    let Ok(request) = request else { return ProbeAnswer::Silent };
    match timeout(PROBE_LIMIT, client.request(request)).await {
        Ok(Ok(answer)) if answer.status() == http::StatusCode::IM_A_TEAPOT => ProbeAnswer::Stopped,
        Ok(Ok(_)) => ProbeAnswer::Alive,
        _ => ProbeAnswer::Silent,
    }
}

#[cfg(test)]
mod tests {
    use clb_protocol::{Generation, SlotNo};

    use super::*;

    #[test]
    fn only_an_earlier_container_of_the_same_slot_goes_for_its_name() {
        let worker = |pool: &str, slot, generation| WorkerId {
            pool: pool.into(),
            slot: SlotNo(slot),
            generation: Generation(generation),
        };
        let plan = worker("tools", 1, 3);
        assert!(is_former(&Role::Worker(worker("tools", 1, 2)), &plan));
        for other in [worker("tools", 1, 4), worker("tools", 2, 2), worker("default", 1, 2)] {
            assert!(!is_former(&Role::Worker(other), &plan));
        }
        assert!(!is_former(&Role::Unknown, &plan) && !is_former(&Role::Database, &plan));
    }
}
