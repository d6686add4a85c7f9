//! Which groups there are.

use axum::Json;
use axum::extract::{RawQuery, State};
use clb_protocol::api::{GroupPage, GroupView};

use super::Door;
use super::problem::Refusal;
use super::system::Query;

pub(super) async fn list(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
) -> Result<Json<GroupPage>, Refusal> {
    let mut query = Query::parse(query.as_deref())?;
    let limit = query.whole("limit", 1, 1_000)?.unwrap_or(100) as usize;
    let prefix = query.text("prefix").unwrap_or_default();
    let after = query.text("cursor");
    query.finish()?;
    let names = door.read(move |store| store.groups(&prefix, after.as_deref(), limit)).await?;
    let next = names.last().filter(|_| names.len() == limit).cloned();
    let groups = names.into_iter().map(|name| GroupView { name }).collect();
    Ok(Json(GroupPage { groups, next }))
}
