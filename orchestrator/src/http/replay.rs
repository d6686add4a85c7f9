//! Doing the work of ended tasks again.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use clb_protocol::TaskId;
use clb_protocol::api::{ManyReplayed, TaskState, TaskView};
use clb_protocol::task::NewTask;

use super::Door;
use super::many::{Walk, filter, selection};
use super::problem::Refusal;
use super::tasks::{find, located, task_id};
use crate::leader::Submitted;
use crate::store::{Original, TaskFilter};

async fn originals(door: &Door, ids: Vec<TaskId>) -> Result<Vec<Original>, Refusal> {
    door.read(move |store| store.originals(&ids)).await
}

pub(super) async fn one(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let id = task_id(id)?;
    let original = originals(&door, vec![id]).await?.pop().ok_or_else(Refusal::unknown_task)?;
    if !original.has_ended {
        let detail = "The task has not ended: wait for its end, or cancel it, before it is replayed.";
        return Err(Refusal::new(StatusCode::CONFLICT, detail));
    }
    if let Some(replay) = original.replay {
        return Ok(located(StatusCode::OK, find(&door, replay).await?));
    }
    let task = Arc::new(original.again(TaskId::now()));
    let answer = door.leader()?.submit([Arc::clone(&task)]).await.ok_or_else(Refusal::no_leader)?;
    match answer.into_iter().next().map_or(Submitted::QueueFull, |(_, status)| status) {
        Submitted::Accepted(at) => {
            let view =
                TaskView::accepted(&task, at).map_err(|error| Refusal::unavailable(error.to_string()))?;
            Ok(located(StatusCode::CREATED, view))
        }
        Submitted::Known => match originals(&door, vec![id]).await?.pop().and_then(|it| it.replay) {
            Some(replay) => Ok(located(StatusCode::OK, find(&door, replay).await?)),
            None => Err(Refusal::no_leader()),
        },
        Submitted::QueueFull => Err(Refusal::queue_full()),
        Submitted::NoSuchPool => {
            let detail = format!("The task's pool, {}, is not there any more.", task.pool);
            Err(Refusal::new(StatusCode::CONFLICT, detail))
        }
        Submitted::Refused(reason) => Err(Refusal::unavailable(reason)),
    }
}

pub(super) async fn many(
    State(door): State<Door>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ManyReplayed>, Refusal> {
    let states = [TaskState::Failed, TaskState::Cancelled, TaskState::Succeeded];
    let selection = selection(&headers, &body, &states)?;
    let state = Some(selection.state.unwrap_or(TaskState::Failed));
    let mut walk = Walk::new(TaskFilter { state, ..filter(selection) });
    let mut done = ManyReplayed::default();
    while let Some(ids) = walk.step(&door).await? {
        replay(&door, originals(&door, ids).await?, &mut done).await?;
    }
    Ok(Json(done))
}

async fn replay(door: &Door, originals: Vec<Original>, done: &mut ManyReplayed) -> Result<(), Refusal> {
    let (known, fresh): (Vec<_>, Vec<_>) = originals.into_iter().partition(|it| it.replay.is_some());
    done.known += known.len() as u64;
    if fresh.is_empty() {
        return Ok(());
    }
    // They are listed newest first; within a piece, what was submitted first goes first again.
    let tasks: Vec<NewTask> = fresh.into_iter().rev().map(|it| it.again(TaskId::now())).collect();
    for (_, status) in door.leader()?.submit(tasks).await.ok_or_else(Refusal::no_leader)? {
        match status {
            Submitted::Accepted(_) => done.replayed += 1,
            Submitted::Known => done.known += 1,
            Submitted::QueueFull | Submitted::NoSuchPool => done.refused += 1,
            Submitted::Refused(reason) => return Err(Refusal::unavailable(reason)),
        }
    }
    Ok(())
}
