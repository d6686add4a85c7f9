//! Pools: showing, changing, removing and pausing them; and what is ordered for one worker.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clb_core::fleet::Standing;
use clb_core::input::Input;
use clb_core::output::PoolReceipt;
use clb_protocol::PoolName;
use clb_protocol::api::{FieldError, PoolPage, PoolView, WorkerView};
use clb_protocol::pool::{PoolSpec, is_pool_name};
use clb_protocol::task::escape;

use super::problem::Refusal;
use super::system::address_of;
use super::tasks::{is_media_type, unsupported};
use super::{Door, Named};
use crate::definitions::{broken_name, broken_spec, segments};

pub(super) async fn list(State(door): State<Door>) -> Result<Json<PoolPage>, Refusal> {
    let pools = door.leader()?.pools().await.ok_or_else(Refusal::no_leader)?;
    Ok(Json(PoolPage { pools }))
}

pub(super) async fn show(State(door): State<Door>, name: Named) -> Result<Json<PoolView>, Refusal> {
    let name = known_name(name)?;
    let pools = door.leader()?.pools().await.ok_or_else(Refusal::no_leader)?;
    pools.into_iter().find(|pool| pool.name == name).map(Json).ok_or_else(unknown_pool)
}

pub(super) async fn put(
    State(door): State<Door>,
    name: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    if !is_media_type(&headers, "application/json") {
        return Err(unsupported());
    }
    let Ok(Path(name)) = name else { return Err(Refusal::invalid(broken_name("").into_iter().collect())) };
    let spec = parse(&body)?;
    let mut errors: Vec<FieldError> = broken_name(&name).into_iter().collect();
    errors.extend(broken_spec(&name, &spec, &door.node.options.definitions.mount_prefixes));
    if !errors.is_empty() {
        return Err(Refusal::invalid(errors));
    }
    let location = format!("/api/v1/pools/{name}");
    let name = PoolName::from(name);
    let (receipt, view) = ask(&door, Input::PoolPut { name, spec: Box::new(spec) }).await?;
    match (receipt, view) {
        (PoolReceipt::Created, Some(view)) => {
            Ok((StatusCode::CREATED, [(LOCATION, location)], Json(view)).into_response())
        }
        (receipt, view) => answer(receipt, view),
    }
}

pub(super) async fn delete(State(door): State<Door>, name: Named) -> Result<Response, Refusal> {
    let (receipt, view) = ask(&door, Input::PoolRemoved(known_name(name)?)).await?;
    if let PoolReceipt::PortsTaken(detail) = receipt {
        let detail = format!("The pool cannot return to the operator's definition, first_port: {detail}.");
        return Err(Refusal::new(StatusCode::CONFLICT, detail));
    }
    answer(receipt, view)
}

pub(super) async fn pause(State(door): State<Door>, name: Named) -> Result<Response, Refusal> {
    let (receipt, view) = ask(&door, Input::PoolPaused { name: known_name(name)?, is_paused: true }).await?;
    answer(receipt, view)
}

pub(super) async fn resume(State(door): State<Door>, name: Named) -> Result<Response, Refusal> {
    let (receipt, view) = ask(&door, Input::PoolPaused { name: known_name(name)?, is_paused: false }).await?;
    answer(receipt, view)
}

pub(super) async fn drain_worker(State(door): State<Door>, name: Named) -> Result<Json<WorkerView>, Refusal> {
    order(&door, name, Standing::Drain).await
}

pub(super) async fn restart_worker(
    State(door): State<Door>,
    name: Named,
) -> Result<Json<WorkerView>, Refusal> {
    order(&door, name, Standing::Restart).await
}

pub(super) async fn resume_worker(
    State(door): State<Door>,
    name: Named,
) -> Result<Json<WorkerView>, Refusal> {
    order(&door, name, Standing::Serve).await
}

async fn order(door: &Door, name: Named, standing: Standing) -> Result<Json<WorkerView>, Refusal> {
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "There is no worker with this name.");
    let Path(name) = name.map_err(|_| unknown())?;
    let answer = door.leader()?.order(Input::WorkerOrdered { name, standing }).await;
    let mut worker = answer.ok_or_else(Refusal::no_leader)??.ok_or_else(unknown)?;
    worker.address = address_of(door, &worker);
    Ok(Json(worker))
}

async fn ask(door: &Door, input: Input) -> Result<(PoolReceipt, Option<PoolView>), Refusal> {
    Ok(door.leader()?.change_pool(input).await.ok_or_else(Refusal::no_leader)??)
}

fn answer(receipt: PoolReceipt, view: Option<PoolView>) -> Result<Response, Refusal> {
    let conflict = |detail: &str| Err(Refusal::new(StatusCode::CONFLICT, detail));
    match receipt {
        PoolReceipt::Created | PoolReceipt::Changed => {
            view.map(|view| Json(view).into_response()).ok_or_else(unknown_pool)
        }
        PoolReceipt::Removed => Ok(StatusCode::NO_CONTENT.into_response()),
        PoolReceipt::Unknown => Err(unknown_pool()),
        PoolReceipt::AsDefined => conflict(
            "This pool is defined by the operator, in the environment or in clb.toml, and can only be removed there.",
        ),
        PoolReceipt::HasTasks => {
            conflict("Tasks are waiting or running in this pool; let them end, or cancel them.")
        }
        PoolReceipt::PortsTaken(detail) => Err(Refusal::invalid(vec![FieldError::at("/first_port", detail)])),
    }
}

fn unknown_pool() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "There is no pool with this name.")
}

fn known_name(name: Named) -> Result<PoolName, Refusal> {
    match name {
        Ok(Path(name)) if is_pool_name(&name) => Ok(PoolName::from(name)),
        _ => Err(unknown_pool()),
    }
}

/// Reads a spec; what is wrong is named by its pointer.
fn parse(body: &[u8]) -> Result<PoolSpec, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let spec = serde_path_to_error::deserialize::<_, PoolSpec>(&mut reader).map_err(|error| {
        if error.inner().classify() == serde_json::error::Category::Data {
            let parts = segments(error.path());
            let pointer = parts.iter().fold(String::new(), |pointer, part| pointer + "/" + &escape(part));
            let detail = error.inner().to_string();
            let detail = detail.split(" at line ").next().unwrap_or_default();
            return Refusal::invalid(vec![FieldError::at(pointer, detail)]);
        }
        not_json(error.inner())
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    // An array would be read as the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::invalid(vec![FieldError::at("", "must be an object")]));
    }
    Ok(spec)
}

fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("The body is not JSON: {error}"))
}
