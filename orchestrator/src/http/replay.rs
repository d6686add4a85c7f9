//! Doing the work of ended tasks again, as it was or a little otherwise.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use clb_protocol::TaskId;
use clb_protocol::api::{ManyReplayed, TaskState};
use clb_protocol::task::{Changes, FieldError, NewTask, escape};
use clb_store::{Original, TaskFilter};
use serde_json::{Map, Value};

use super::Door;
use super::many::{Walk, fields, filter, selection};
use super::problem::Refusal;
use super::tasks::{accepted, find, located, task_id};
use crate::leader::Submitted;

const CHANGES: &str = "changes";

async fn originals(door: &Door, ids: Vec<TaskId>) -> Result<Vec<Original>, Refusal> {
    door.read(move |store| store.originals(&ids)).await
}

/// Takes out of a body what the replays are to do otherwise.
async fn changes(door: &Door, fields: &mut Map<String, Value>) -> Result<Changes, Refusal> {
    let Some(written) = fields.remove(CHANGES).filter(|value| !value.is_null()) else {
        return Ok(Changes::default());
    };
    let changes = Changes::read(&written).map_err(|errors| errors.into_iter().map(within).collect());
    let changes = changes.map_err(Refusal::invalid)?;
    if let Some(pool) = &changes.pool {
        let pools = door.leader()?.pools().await.ok_or_else(Refusal::no_leader)?;
        if !pools.iter().any(|known| known.name.as_str() == pool) {
            return Err(Refusal::invalid(vec![within(FieldError::at("/pool", "there is no such pool"))]));
        }
    }
    Ok(changes)
}

fn within(error: FieldError) -> FieldError {
    FieldError::at(format!("/{CHANGES}{}", error.pointer), error.detail)
}

pub(super) async fn one(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let id = task_id(id)?;
    let mut fields = if body.is_empty() { Map::new() } else { fields(&headers, &body)? };
    let changes = changes(&door, &mut fields).await?;
    if let Some(unknown) = fields.keys().next() {
        let pointer = format!("/{}", escape(unknown));
        return Err(Refusal::invalid(vec![FieldError::at(pointer, "is not a field of a replay")]));
    }
    let original = originals(&door, vec![id]).await?.pop().ok_or_else(Refusal::unknown_task)?;
    if !original.has_ended {
        let detail = "The task has not ended: let it end, or cancel it, before replaying it.";
        return Err(Refusal::new(StatusCode::CONFLICT, detail));
    }
    let known = original.replay;
    let task =
        original.again(TaskId::now(), &changes).map_err(|error| Refusal::invalid(vec![within(error)]))?;
    if let Some(replay) = known {
        return existing(&door, replay, &task, &changes).await;
    }
    let task = Arc::new(task);
    let answer = door.leader()?.submit([Arc::clone(&task)]).await.ok_or_else(Refusal::no_leader)?;
    match answer.into_iter().next().map_or(Submitted::QueueFull, |(_, status)| status) {
        Submitted::Accepted(at) => Ok(located(StatusCode::CREATED, accepted(&task, at)?)),
        Submitted::Known => match originals(&door, vec![id]).await?.pop().and_then(|it| it.replay) {
            Some(replay) => existing(&door, replay, &task, &changes).await,
            None => Err(Refusal::no_leader()),
        },
        Submitted::QueueFull => Err(Refusal::queue_full()),
        Submitted::NoSuchPool => {
            let detail = format!("The task's pool, {}, no longer exists.", task.pool);
            Err(Refusal::new(StatusCode::CONFLICT, detail))
        }
        Submitted::Refused(reason) => Err(Refusal::unavailable(reason)),
    }
}

/// The replay that there is already, unless it should do something otherwise and does not.
async fn existing(
    door: &Door,
    replay: TaskId,
    wanted: &NewTask,
    changes: &Changes,
) -> Result<Response, Refusal> {
    let there = originals(door, vec![replay]).await?.pop().ok_or_else(Refusal::unknown_task)?;
    if !changes.is_empty() && (&there.pool, &there.spec) != (&wanted.pool, &wanted.spec) {
        let detail = format!("The task was already replayed with other changes: replay {replay} instead.");
        return Err(Refusal::new(StatusCode::CONFLICT, detail));
    }
    Ok(located(StatusCode::OK, find(door, replay).await?))
}

pub(super) async fn many(
    State(door): State<Door>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ManyReplayed>, Refusal> {
    let states = [TaskState::Failed, TaskState::Cancelled, TaskState::Succeeded];
    let mut fields = fields(&headers, &body)?;
    let changes = changes(&door, &mut fields).await?;
    let selection = selection(&fields, &states)?;
    let state = Some(selection.state.unwrap_or(TaskState::Failed));
    let mut walk = Walk::new(TaskFilter { state, ..filter(selection) });
    let mut done = ManyReplayed::default();
    while let Some(ids) = walk.step(&door).await? {
        replay(&door, originals(&door, ids).await?, &changes, &mut done).await?;
    }
    Ok(Json(done))
}

async fn replay(
    door: &Door,
    originals: Vec<Original>,
    changes: &Changes,
    done: &mut ManyReplayed,
) -> Result<(), Refusal> {
    let (known, fresh): (Vec<_>, Vec<_>) = originals.into_iter().partition(|it| it.replay.is_some());
    done.known += known.len() as u64;
    let asked = fresh.len();
    // They are listed newest first; within a piece, what was submitted first goes first again.
    let again = fresh.into_iter().rev().map(|it| it.again(TaskId::now(), changes));
    let tasks: Vec<Arc<NewTask>> = again.filter_map(Result::ok).map(Arc::new).collect();
    done.refused += (asked - tasks.len()) as u64;
    if tasks.is_empty() {
        return Ok(());
    }
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
