//! Submitting, showing, listing, cancelling and collecting tasks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use clb_core::input::Cancellable;
use clb_core::output::CancelReceipt;
use clb_protocol::api::{BatchEntry, BatchError, FieldError, OutcomePage, TaskPage, TaskState, TaskView};
use clb_protocol::ids::NotAPart;
use clb_protocol::task::{self, NewTask, ParseError, TaskRequest};
use clb_protocol::{OutcomeSeq, SubmissionSeq, TaskId, TaskIdPart, Timestamp};
use clb_store::{Existing, TaskFilter};
use tokio::time::{Instant, timeout_at};

use super::Door;
use super::forwarded::{Forwarded, FreshIds};
use super::problem::{Refusal, differing, taken};
use super::system::{MAX_SEQ, Query};
use crate::leader::Submitted;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_BATCH: usize = 10_000;
const MAX_WAIT_S: f64 = 60.0;
/// A batch that is not larger is read before others get a word in.
const AT_ONCE_BYTES: usize = 256 << 10;

pub(super) fn is_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    given.split(';').next().is_some_and(|given| given.trim().eq_ignore_ascii_case(wanted))
}

pub(super) fn unsupported() -> Refusal {
    let detail = "Send JSON with Content-Type: application/json (a batch may be application/x-ndjson).";
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

pub(super) async fn submit(
    State(door): State<Door>,
    headers: HeaderMap,
    forwarded: Option<Extension<Forwarded>>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Refusal> {
    let mut query = Query::parse(query.as_deref())?;
    let until = wait(&mut query)?;
    query.finish()?;
    if !is_media_type(&headers, "application/json") {
        return Err(unsupported());
    }
    let key = idempotency_key(&headers)?;
    let fresh = FreshIds::of(forwarded).at(0);
    let task = task::parse_task(&body)?.check(fresh, key, Timestamp::now()).map_err(Refusal::invalid)?;
    let task = Arc::new(task);
    let answer = door.leader()?.submit([Arc::clone(&task)]).await.ok_or_else(Refusal::no_leader)?;
    let status = answer.into_iter().next().map_or(Submitted::QueueFull, |(_, status)| status);
    if let Submitted::Accepted(at) = status {
        if let Some(until) = until {
            return answer_ended(&door, &task, at, until).await;
        }
        return Ok(located(StatusCode::CREATED, accepted(&task, at)?));
    }
    // The leader knows open tasks only: one that has ended is neither of no pool nor too much.
    match (existing(&door, vec![task]).await?.pop().flatten(), status) {
        (Some(Existing::Same(id)), _) => Ok(located(StatusCode::OK, find_until(&door, id, until).await?)),
        (Some(Existing::Different { id, fields }), _) => Err(Refusal::conflict(id, &fields)),
        (None, Submitted::QueueFull) => Err(Refusal::queue_full()),
        (None, Submitted::NoSuchPool) => Err(Refusal::invalid(vec![no_such_pool()])),
        (None, Submitted::Refused(reason)) => Err(Refusal::unavailable(reason)),
        (None, Submitted::Known | Submitted::Accepted(_)) => Err(Refusal::no_leader()),
    }
}

/// Answers with an accepted task once it has ended, or as it is when the time is over. It is stored in any case: a
/// leader that leads no more says so too.
async fn answer_ended(
    door: &Door,
    task: &NewTask,
    at: Timestamp,
    until: Instant,
) -> Result<Response, Refusal> {
    let view = find_until(door, task.id, Some(until)).await.or_else(|_| accepted(task, at))?;
    let status = if view.state.has_ended() { StatusCode::OK } else { StatusCode::CREATED };
    Ok(located(status, view))
}

/// A task that has just been accepted.
pub(super) fn accepted(task: &NewTask, at: Timestamp) -> Result<TaskView, Refusal> {
    TaskView::accepted(task, at).map_err(|error| Refusal::unavailable(error.to_string()))
}

/// Until when a caller wants to wait for the end of a task.
fn wait(query: &mut Query) -> Result<Option<Instant>, Refusal> {
    let wait_s = query.number("wait", 0.0, MAX_WAIT_S)?.filter(|wait_s| *wait_s > 0.0);
    Ok(wait_s.map(|wait_s| Instant::now() + Duration::from_secs_f64(wait_s)))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= task::MAX_TEXT => Ok(Some(key.to_owned())),
        _ => {
            let detail = format!("Idempotency-Key must have 1 to {} visible characters.", task::MAX_TEXT);
            Err(Refusal::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

fn no_such_pool() -> FieldError {
    FieldError::at("/pool", "there is no such pool")
}

pub(super) fn located(status: StatusCode, task: TaskView) -> Response {
    (status, [(LOCATION, format!("/api/v1/tasks/{}", task.id))], Json(task)).into_response()
}

/// What the store has of these tasks, in their order.
async fn existing(door: &Door, tasks: Vec<Arc<NewTask>>) -> Result<Vec<Option<Existing>>, Refusal> {
    door.read(move |store| store.existing(&tasks.iter().map(|task| &**task).collect::<Vec<_>>())).await
}

pub(super) async fn find(door: &Door, id: TaskId) -> Result<TaskView, Refusal> {
    door.read(move |store| store.task(id)).await?.ok_or_else(Refusal::unknown_task)
}

pub(super) async fn submit_batch(
    State(door): State<Door>,
    headers: HeaderMap,
    forwarded: Option<Extension<Forwarded>>,
    body: Bytes,
) -> Result<Json<Vec<BatchEntry>>, Refusal> {
    let is_lines = is_media_type(&headers, "application/x-ndjson");
    if !is_lines && !is_media_type(&headers, "application/json") {
        return Err(unsupported());
    }
    let _turn = door.bodies.turn(body.len()).await?;
    let fresh = FreshIds::of(forwarded);
    let (mut entries, mut tasks) = if body.len() <= AT_ONCE_BYTES {
        read_batch(body, is_lines, &fresh)?
    } else {
        let reading = tokio::task::spawn_blocking(move || read_batch(body, is_lines, &fresh));
        reading.await.map_err(|_| Refusal::unavailable("The batch could not be read; send it again."))??
    };
    // Ids within one message differ; the same id again waits for the next round.
    while !tasks.is_empty() {
        let mut seen = BTreeSet::new();
        let (round, again): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|(_, task)| seen.insert(task.id));
        submit_round(&door, round, &mut entries).await?;
        tasks = again;
    }
    Ok(Json(entries.into_iter().flatten().collect()))
}

/// The tasks of a batch by their places, and the entries of what is none.
type Read = (Vec<Option<BatchEntry>>, Vec<(usize, Arc<NewTask>)>);

fn read_batch(body: Bytes, is_lines: bool, fresh: &FreshIds) -> Result<Read, ParseError> {
    let items =
        if is_lines { task::parse_ndjson(&body, MAX_BATCH)? } else { task::parse_batch(&body, MAX_BATCH)? };
    drop(body);
    let (mut entries, mut tasks) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for (place, item) in items.into_iter().enumerate() {
        match checked(item, fresh.at(place)) {
            Ok(task) => {
                entries.push(None);
                tasks.push((place, Arc::new(task)));
            }
            Err(entry) => entries.push(Some(entry)),
        }
    }
    Ok((entries, tasks))
}

fn checked(item: Result<TaskRequest, ParseError>, fresh: TaskId) -> Result<NewTask, BatchEntry> {
    let errors = match item {
        Ok(request) => {
            let id = request.id;
            match request.check(fresh, None, Timestamp::now()) {
                Ok(task) => return Ok(task),
                Err(errors) => return Err(refused(id, 422, "The task is not valid.", errors)),
            }
        }
        Err(ParseError::NotJson(why)) => vec![FieldError::at("", format!("is not JSON: {why}"))],
        Err(ParseError::Invalid(errors)) => errors,
        Err(error @ ParseError::TooMany(_)) => vec![FieldError::at("", error.to_string())],
    };
    Err(refused(None, 422, "The task is not valid.", errors))
}

fn refused(id: Option<TaskId>, status: u16, detail: &str, errors: Vec<FieldError>) -> BatchEntry {
    BatchEntry { id, status, error: Some(BatchError { detail: detail.to_owned(), errors }) }
}

async fn submit_round(
    door: &Door,
    round: Vec<(usize, Arc<NewTask>)>,
    entries: &mut [Option<BatchEntry>],
) -> Result<(), Refusal> {
    let tasks = round.iter().map(|(_, task)| Arc::clone(task));
    let statuses = door.leader()?.submit(tasks).await.ok_or_else(Refusal::no_leader)?;
    let mut rest = Vec::new();
    for ((place, task), (id, status)) in round.into_iter().zip(statuses) {
        match status {
            Submitted::Accepted(_) => {
                entries[place] = Some(BatchEntry { id: Some(id), status: 201, error: None });
            }
            status => rest.push((place, task, status)),
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    let found = existing(door, rest.iter().map(|(_, task, _)| Arc::clone(task)).collect()).await?;
    for ((place, task, status), found) in rest.into_iter().zip(found) {
        entries[place] = Some(entry_of(task.id, status, found)?);
    }
    Ok(())
}

/// The entry of a task that the leader did not accept.
fn entry_of(id: TaskId, status: Submitted, found: Option<Existing>) -> Result<BatchEntry, Refusal> {
    match (found, status) {
        (Some(Existing::Same(id)), _) => Ok(BatchEntry { id: Some(id), status: 200, error: None }),
        (Some(Existing::Different { id, fields }), _) => {
            Ok(refused(Some(id), 409, &taken(id, &fields), differing(&fields)))
        }
        (None, Submitted::QueueFull) => {
            Ok(refused(Some(id), 429, "The queue is full; send it again later.", Vec::new()))
        }
        (None, Submitted::NoSuchPool) => {
            Ok(refused(Some(id), 422, "The task is not valid.", vec![no_such_pool()]))
        }
        (None, Submitted::Refused(reason)) => Err(Refusal::unavailable(reason)),
        (None, Submitted::Known | Submitted::Accepted(_)) => Err(Refusal::no_leader()),
    }
}

/// What is no id is the id of no task.
pub(super) fn task_id(path: Result<Path<String>, PathRejection>) -> Result<TaskId, Refusal> {
    path.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(Refusal::unknown_task)
}

pub(super) async fn show(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<TaskView>, Refusal> {
    let id = task_id(id)?;
    let mut query = Query::parse(query.as_deref())?;
    let until = wait(&mut query)?;
    query.finish()?;
    Ok(Json(find_until(&door, id, until).await?))
}

/// A task once it has ended, or as it is when the time is over.
async fn find_until(door: &Door, id: TaskId, until: Option<Instant>) -> Result<TaskView, Refusal> {
    if let Some(until) = until {
        match timeout_at(until, door.leader()?.ended(id)).await {
            Ok(Some(Some(task))) => return Ok(*task),
            Ok(Some(None)) => return door.read_fresh(id).await?.ok_or_else(Refusal::unknown_task),
            Ok(None) | Err(_) => {}
        }
    }
    let mut task = find(door, id).await?;
    door.leader()?.board().complete([&mut task]);
    Ok(task)
}

pub(super) async fn cancel(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    forwarded: Option<Extension<Forwarded>>,
) -> Result<Json<TaskView>, Refusal> {
    let id = task_id(id)?;
    let receipts =
        door.leader()?.cancel(vec![id], Cancellable::Open).await.ok_or_else(Refusal::no_leader)??;
    let task = find(&door, id).await?;
    let is_again = forwarded.is_some_and(|it| it.is_again);
    match receipts.first() {
        Some(CancelReceipt::Cancelled) => Ok(Json(task)),
        // The former leader did it, and could not say so any more.
        Some(CancelReceipt::NotOpen) if is_again && task.state == TaskState::Cancelled => Ok(Json(task)),
        Some(CancelReceipt::NotOpen | CancelReceipt::Spared) | None => Err(Refusal::new(
            StatusCode::CONFLICT,
            format!("The task has already ended; its state is {}.", task.state.as_str()),
        )),
    }
}

pub(super) async fn list(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
) -> Result<Json<TaskPage>, Refusal> {
    let mut query = Query::parse(query.as_deref())?;
    let limit = query.whole("limit", 1, 1_000)?.unwrap_or(100);
    let before = query.whole("cursor", 0, MAX_SEQ)?.map(SubmissionSeq);
    let state = match query.text("state") {
        Some(text) => Some(state(&text)?),
        None => None,
    };
    let pool = query.text("pool").map(|pool| pool.as_str().into());
    let filter = TaskFilter {
        state,
        id: query.text("id").map(|part| id_part(&part)).transpose()?,
        is_open: false,
        is_replayed: query.either("replayed")?,
        pool,
        group: query.text("group"),
        labels: query.labels(),
    };
    query.finish()?;
    let mut page = door.read(move |store| store.tasks(&filter, before, limit as usize)).await?;
    door.leader()?.board().complete(&mut page.tasks);
    Ok(Json(TaskPage { tasks: page.tasks, next: page.next.map(|seq| seq.to_string()) }))
}

fn id_part(text: &str) -> Result<TaskIdPart, Refusal> {
    text.parse().map_err(|error: NotAPart| Refusal::parameter("id", &error.to_string()))
}

fn state(text: &str) -> Result<TaskState, Refusal> {
    use TaskState::{Cancelled, Failed, Queued, Running, Succeeded};
    let all = [Queued, Running, Succeeded, Failed, Cancelled];
    all.into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| Refusal::parameter("state", "must be queued, running, succeeded, failed or cancelled"))
}

pub(super) async fn outcomes(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
) -> Result<Json<OutcomePage>, Refusal> {
    let mut query = Query::parse(query.as_deref())?;
    let after = OutcomeSeq(query.whole("after", 0, MAX_SEQ)?.unwrap_or(0));
    let limit = query.whole("limit", 1, 10_000)?.unwrap_or(1_000) as usize;
    let wait_s = query.number("wait", 0.0, MAX_WAIT_S)?.unwrap_or(0.0);
    let group = query.text("group");
    query.finish()?;
    let until = Instant::now() + Duration::from_secs_f64(wait_s);
    let mut progress = door.leader()?.progress();
    loop {
        progress.mark_unchanged();
        let of = group.clone();
        let page = door.read(move |store| store.outcomes(after, of.as_deref(), limit)).await?;
        if !page.outcomes.is_empty() || !matches!(timeout_at(until, progress.changed()).await, Ok(Ok(()))) {
            return Ok(Json(page));
        }
    }
}
