//! What operators ask for: pools, explanations, replays, single workers, outputs.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::tasks::take;
use super::{Face, Manner, Memory, Pairs, problem, worker_view};

pub(super) fn routes() -> Router<Face> {
    Router::new()
        .route("/api/v1/tasks/cancel", post(cancel_many))
        .route("/api/v1/tasks/replay", post(replay_many))
        .route("/api/v1/tasks/{id}/replay", post(replay))
        .route("/api/v1/tasks/{id}/explain", get(explain))
        .route("/api/v1/tasks/{id}/output", get(output))
        .route("/api/v1/groups", get(groups))
        .route("/api/v1/logs", get(logs))
        .route("/api/v1/pools", get(pools))
        .route("/api/v1/pools/{name}", any(pool))
        .route("/api/v1/pools/{name}/{order}", post(order_pool))
        .route("/api/v1/workers/{name}/{order}", post(order_worker))
}

async fn cancel_many(State(face): State<Face>, Json(body): Json<Value>) -> Json<Value> {
    let mut memory = face.shared.memory.lock().unwrap();
    memory.orders.push(body);
    Json(json!({ "cancelled": memory.fits }))
}

async fn replay_many(State(face): State<Face>, Json(body): Json<Value>) -> Json<Value> {
    let mut memory = face.shared.memory.lock().unwrap();
    memory.orders.push(body);
    let some = u64::from(memory.fits > 0);
    Json(json!({ "replayed": 2 * some, "known": some, "refused": some }))
}

async fn replay(State(face): State<Face>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut memory = face.shared.memory.lock().unwrap();
    match memory.tasks.iter().find(|task| task["id"] == *id).cloned() {
        None => problem(404, "no such task"),
        Some(_) if body["changes"]["pool"] == "nope" => {
            let errors = json!([{ "pointer": "/changes/pool", "detail": "there is no such pool" }]);
            let body = json!({ "type": "about:blank", "title": "Problem", "status": 422, "detail": "not valid", "errors": errors });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
        }
        Some(task) if task["state"] == "queued" => problem(409, "the task has not ended"),
        Some(task) => (StatusCode::CREATED, Json(memory.do_again(&task, &body["changes"]))).into_response(),
    }
}

impl Memory {
    /// Takes in a task that does the work of an ended one again; gives it as it stands then.
    fn do_again(&mut self, original: &Value, changes: &Value) -> Value {
        let mut request = original["spec"].clone();
        for field in ["pool", "group", "labels", "priority"] {
            request[field] = original[field].clone();
        }
        for (field, value) in changes.as_object().into_iter().flatten() {
            request[field] = value.clone();
        }
        let worker = self.worker.take();
        let id = take(self, &request).1["id"].as_str().unwrap().to_owned();
        self.worker = worker;
        let records = self.tasks.iter_mut().chain(&mut self.outcomes);
        records.filter(|it| it["id"] == original["id"]).for_each(|it| it["replayed_by"] = id.as_str().into());
        let replay = self.tasks.last_mut().unwrap();
        replay["replay_of"] = original["id"].clone();
        if let Some(worker) = worker {
            self.run(&id, worker);
        }
        self.tasks.last().unwrap().clone()
    }
}

async fn explain(State(face): State<Face>, Path(id): Path<String>) -> Json<Value> {
    let waits_for = face.shared.memory.lock().unwrap().waits_for;
    let (reason, detail) = waits_for.unwrap_or(("no_free_slot", "every worker is full"));
    let candidate = json!({
        "worker": "worker-1", "state": "ready", "free_slots": 0, "slots": 16, "score": null, "is_eligible": false,
        "reason": "it is full",
    });
    let waiting = json!({ "reason": reason, "detail": detail, "until": null, "ahead": 7 });
    Json(json!({
        "id": id, "state": "queued", "summary": "It waits for a free slot.", "waiting": waiting, "placement": null,
        "candidates": [candidate],
    }))
}

/// The first half, and then nothing more until the task has ended.
async fn output(State(face): State<Face>, Path(id): Path<String>, Query(query): Pairs) -> Response {
    let mut changes = face.shared.changes.subscribe();
    loop {
        let task = face.shared.memory.lock().unwrap().tasks.iter().find(|task| task["id"] == *id).cloned();
        match task {
            None => return problem(404, "no such task"),
            Some(task) if task["kind"] != "command" => return problem(409, "the task is no command"),
            Some(task) if super::has_ended(&task) && task["result"].is_null() => {
                return problem(404, "the output is not kept");
            }
            Some(task) if super::has_ended(&task) => {
                let text = task["result"][&query["stream"]].as_str().unwrap_or_default().to_owned();
                return text.into_response();
            }
            Some(task) if task["state"] == "queued" && !query.contains_key("follow") => {
                return problem(404, "there is no output");
            }
            Some(task) if !query.contains_key("follow") => {
                return task["live"][&query["stream"]]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
                    .into_response();
            }
            Some(task) if !task["live"].is_null() => {
                let text = task["live"][&query["stream"]].as_str().unwrap().to_owned();
                let attempt: u64 = query["attempt"].parse().unwrap();
                let mut manner = face.manner.clone();
                let over = async move {
                    let is_over =
                        |task: Value| super::has_ended(&task) || task["attempt"].as_u64() > Some(attempt);
                    while !is_over(face.task(&id)) {
                        changes.changed().await.unwrap();
                    }
                };
                let rest = async move {
                    tokio::select! {
                        () = over => Ok::<_, std::io::Error>(Bytes::new()),
                        _ = manner.wait_for(|manner| *manner != Manner::Serves) => Err(std::io::Error::other("killed")),
                    }
                };
                let first = futures::future::ready(Ok(Bytes::from(text)));
                let pieces =
                    futures::StreamExt::chain(futures::stream::once(first), futures::stream::once(rest));
                return axum::body::Body::from_stream(pieces).into_response();
            }
            Some(_) => changes.changed().await.unwrap(),
        }
    }
}

async fn groups(State(face): State<Face>, Query(query): Pairs) -> Json<Value> {
    let memory = face.shared.memory.lock().unwrap();
    let names = memory.tasks.iter().filter_map(|task| task["group"].as_str());
    let wanted = names.filter(|name| query.get("prefix").is_none_or(|prefix| name.starts_with(prefix)));
    let names: std::collections::BTreeSet<&str> = wanted.collect();
    let groups: Vec<Value> = names.into_iter().map(|name| json!({ "name": name })).collect();
    Json(json!({ "groups": groups, "next": null }))
}

async fn logs(State(_): State<Face>, Query(query): Pairs) -> Json<Value> {
    let line = json!({
        "seq": 5, "at": "2026-01-01T00:00:00Z", "container": "worker-1", "container_id": 1, "task": query["task"],
        "message": "sleeps",
    });
    let lines = if query["after"] == "0" { vec![line] } else { vec![] };
    Json(json!({ "logs": lines, "next": 5 }))
}

async fn pools(State(face): State<Face>) -> Json<Value> {
    Json(json!({ "pools": face.shared.memory.lock().unwrap().pools }))
}

async fn pool(State(face): State<Face>, method: Method, Path(name): Path<String>, body: Bytes) -> Response {
    let mut memory = face.shared.memory.lock().unwrap();
    let place = memory.pools.iter().position(|pool| pool["name"] == *name);
    match (method, place) {
        (Method::PUT, place) => {
            let spec: Value = serde_json::from_slice(&body).unwrap();
            let pool = pool_view(&name, &spec);
            place.map(|place| memory.pools.remove(place));
            memory.pools.push(pool.clone());
            Json(pool).into_response()
        }
        (_, None) => problem(404, "no such pool"),
        (Method::DELETE, Some(place)) => {
            memory.pools.remove(place);
            StatusCode::NO_CONTENT.into_response()
        }
        (_, Some(place)) => Json(memory.pools[place].clone()).into_response(),
    }
}

async fn order_pool(State(face): State<Face>, Path((name, order)): Path<(String, String)>) -> Response {
    let mut memory = face.shared.memory.lock().unwrap();
    let Some(pool) = memory.pools.iter_mut().find(|pool| pool["name"] == *name) else {
        return problem(404, "no such pool");
    };
    pool["is_paused"] = (order == "pause").into();
    Json(pool.clone()).into_response()
}

async fn order_worker(Path((name, order)): Path<(String, String)>) -> Response {
    match name.strip_prefix("worker-").and_then(|slot| slot.parse().ok()) {
        Some(slot) => {
            let state = if order == "resume" { "ready" } else { "draining" };
            Json(worker_view(slot, state, 0.0)).into_response()
        }
        None => problem(404, "no such worker"),
    }
}

fn pool_view(name: &str, spec: &Value) -> Value {
    json!({
        "name": name, "source": "api", "spec": spec, "state": "ready", "reason": null, "is_paused": false,
        "workers": { "ready": spec["workers"], "wanted": spec["workers"] }, "tasks": { "queued": 0, "running": 0 },
        "since": "2026-01-01T00:00:00Z",
    })
}
