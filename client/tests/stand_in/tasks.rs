//! Tasks as an orchestrator takes them, tells of them and lists them.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{Face, Memory, now};

pub(super) fn take(memory: &mut Memory, request: &Value) -> (u16, Value) {
    memory.submissions.push(request.clone());
    let made_up = clb_client::protocol::TaskId::now().to_string();
    let id = request["id"].as_str().unwrap_or(&made_up).to_owned();
    let work = ["kind", "seconds", "add", "command", "env", "stdin", "working_dir"];
    let mut spec: serde_json::Map<String, Value> = work
        .iter()
        .filter(|name| !request[**name].is_null())
        .map(|name| ((*name).into(), request[*name].clone()))
        .collect();
    if request["kind"] == "command" {
        if request["command"].as_array().is_some_and(|words| words.contains(&"forbidden".into())) {
            let errors = json!([{ "pointer": "/command", "detail": "is forbidden" }]);
            return (422, json!({ "detail": "the task is not valid", "errors": errors }));
        }
        spec.insert("success_codes".into(), json!([0]));
    } else if request["kind"] != "sleep" {
        let errors = json!([{ "pointer": "/kind", "detail": "must be \"sleep\", \"spin\" or \"command\"" }]);
        return (422, json!({ "detail": "the task is not valid", "errors": errors }));
    }
    if request["pool"] == "nope" {
        let errors = json!([{ "pointer": "/pool", "detail": "there is no such pool" }]);
        return (422, json!({ "detail": "/pool there is no such pool", "errors": errors }));
    }
    if request["priority"].as_i64().is_some_and(|priority| priority.abs() > 100) {
        let errors = json!([{ "pointer": "/priority", "detail": "must be from -100 to 100" }]);
        return (422, json!({ "detail": "/priority must be from -100 to 100", "errors": errors }));
    }
    if memory.full_for > 0 {
        memory.full_for -= 1;
        return (429, json!({ "id": id }));
    }
    spec.insert("max_attempts".into(), 3.into());
    spec.insert("timeout".into(), 3600.0.into());
    let spec = Value::Object(spec);
    if let Some(known) = memory.places.get(&id).map(|place| &memory.tasks[*place]) {
        let known_pool = request["pool"].is_null() || known["pool"] == request["pool"];
        return match (known["spec"] == spec, known_pool) {
            (true, true) => (200, known.clone()),
            (false, _) => {
                (409, conflict(&id, if request["kind"] == "sleep" { "seconds" } else { "command" }))
            }
            (true, false) => (409, conflict(&id, "pool")),
        };
    }
    let or =
        |name: &str, default: Value| if request[name].is_null() { default } else { request[name].clone() };
    let task = json!({
        "id": id, "kind": request["kind"], "pool": or("pool", "default".into()), "group": request["group"],
        "labels": or("labels", json!({})), "priority": or("priority", 0.into()), "spec": spec, "state": "queued",
        "submitted_at": now(), "started_at": null, "finished_at": null, "worker": null, "attempt": null,
        "result": null, "error": null, "attempts": [],
    });
    memory.places.insert(id.clone(), memory.tasks.len());
    memory.tasks.push(task.clone());
    let open = memory.tasks.len() - memory.outcomes.len();
    memory.most_open = memory.most_open.max(open);
    match memory.worker {
        Some(worker) if request["kind"] == "command" => memory.run(&id, worker),
        _ if request["kind"] == "sleep" && memory.ends_sleeps => drop(memory.add_up(&id)),
        _ => {}
    }
    (201, task)
}

fn conflict(id: &str, field: &str) -> Value {
    let detail = format!("This id already belongs to task {id}, which differs in: {field}.");
    let errors = json!([{ "pointer": format!("/{field}"), "detail": "differs from the existing task" }]);
    json!({ "id": id, "detail": detail, "errors": errors })
}

pub(super) fn problem(status: u16, detail: &str) -> Response {
    let body = json!({ "type": "about:blank", "title": "Problem", "status": status, "detail": detail });
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

pub(super) async fn submit(State(face): State<Face>, Json(request): Json<Value>) -> Response {
    match take(&mut face.shared.memory.lock().unwrap(), &request) {
        (status @ (409 | 422), mut error) => {
            error["type"] = "about:blank".into();
            error["title"] = "Problem".into();
            error["status"] = status.into();
            (StatusCode::from_u16(status).unwrap(), Json(error)).into_response()
        }
        (429, _) => problem(429, "the queue is full"),
        (status, task) => (StatusCode::from_u16(status).unwrap(), Json(task)).into_response(),
    }
}

pub(super) async fn batch(State(face): State<Face>, headers: HeaderMap, body: String) -> Json<Value> {
    let is_lines = headers.get("content-type").is_some_and(|of| of == "application/x-ndjson");
    let requests: Vec<Value> = if is_lines {
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    } else {
        serde_json::from_str(&body).unwrap()
    };
    let mut memory = face.shared.memory.lock().unwrap();
    let entries = requests.iter().map(|request| match take(&mut memory, request) {
        (422, error) => json!({ "id": null, "status": 422, "error": error }),
        (409, error) => json!({ "id": error["id"], "status": 409, "error": error }),
        (status, task) => json!({ "id": task["id"], "status": status }),
    });
    Json(entries.collect())
}

pub(super) fn has_ended(task: &Value) -> bool {
    !matches!(task["state"].as_str(), Some("queued" | "running"))
}

pub(super) type Pairs = Query<HashMap<String, String>>;

pub(super) async fn task(State(face): State<Face>, Path(id): Path<String>, Query(query): Pairs) -> Response {
    let mut changes = face.shared.changes.subscribe();
    let hold: f64 = query.get("wait").map_or(0.0, |wait| wait.parse().unwrap());
    let over = tokio::time::Instant::now() + std::time::Duration::from_secs_f64(hold);
    loop {
        let known = face.shared.memory.lock().unwrap().tasks.iter().find(|task| task["id"] == *id).cloned();
        match known {
            None => return problem(404, "no such task"),
            Some(task) if has_ended(&task) || tokio::time::Instant::now() >= over => {
                return Json(task).into_response();
            }
            Some(_) => {
                let _ = tokio::time::timeout_at(over, changes.changed()).await;
            }
        }
    }
}

pub(super) async fn cancel(State(face): State<Face>, Path(id): Path<String>) -> Response {
    let mut memory = face.shared.memory.lock().unwrap();
    match memory.tasks.iter_mut().find(|task| task["id"] == *id) {
        None => problem(404, "no such task"),
        Some(task) if task["state"] == "queued" => {
            task["state"] = "cancelled".into();
            Json(task.clone()).into_response()
        }
        Some(_) => problem(409, "the task has ended"),
    }
}

pub(super) async fn list(State(face): State<Face>, Query(query): Pairs) -> Response {
    let memory = face.shared.memory.lock().unwrap();
    let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let limit: usize = query.get("limit").map_or(50, |limit| limit.parse().unwrap());
    let wanted = |task: &Value| {
        ["state", "pool", "group"]
            .iter()
            .all(|name| query.get(*name).is_none_or(|text| task[*name] == **text))
            && query.get("id").is_none_or(|part| is_named(task, part))
            && query.get("replayed").is_none_or(|is| (is == "false") == task["replayed_by"].is_null())
    };
    let most = memory.looks_at.unwrap_or(usize::MAX);
    let looked_at = memory.tasks.iter().rev().enumerate().skip(from).take(most);
    let page: Vec<(usize, Value)> =
        looked_at.filter(|(_, task)| wanted(task)).take(limit).map(|(n, task)| (n, task.clone())).collect();
    let end = if page.len() == limit { page.last().map(|(n, _)| n + 1) } else { from.checked_add(most) };
    let next = end.filter(|end| *end < memory.tasks.len()).map(|end| end.to_string());
    let page: Vec<Value> = page.into_iter().map(|(_, task)| task).collect();
    Json(json!({ "tasks": page, "next": next })).into_response()
}

fn is_named(task: &Value, part: &str) -> bool {
    let id = task["id"].as_str().unwrap().replace('-', "");
    id.starts_with(part) || id.ends_with(part)
}

pub(super) async fn outcomes(State(face): State<Face>, Query(query): Pairs) -> Json<Value> {
    let after: usize = query["after"].parse().unwrap();
    let mut changes = face.shared.changes.subscribe();
    loop {
        let is_wanted = |outcome: &&Value| query.get("group").is_none_or(|group| outcome["group"] == **group);
        let found: Vec<Value> = {
            let memory = face.shared.memory.lock().unwrap();
            let most = memory.outcomes_a_page.unwrap_or(2);
            memory.outcomes.iter().skip(after).filter(is_wanted).take(most).cloned().collect()
        };
        if let Some(last) = found.last() {
            return Json(json!({ "next": last["seq"], "outcomes": found }));
        }
        if !query.contains_key("wait") {
            return Json(json!({ "next": after, "outcomes": [] }));
        }
        changes.changed().await.unwrap();
    }
}
