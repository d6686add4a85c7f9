//! Bad input at every address, at the leader and at the standby.

use clb_tests::cluster::{Cluster, Door};
use clb_tests::http::{Answer, Call};
use clb_tests::sleep;

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

/// Sends a request to both orchestrators; both must refuse it alike.
async fn is_refused(cluster: &Cluster, status: u16, what: &str, call: impl Fn(&Door) -> Call) -> Answer {
    let mut answers = Vec::new();
    for door in cluster.doors() {
        let answer = call(&door).send().await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        answer.problem();
        answers.push(answer);
    }
    answers.swap_remove(0)
}

#[tokio::test]
async fn a_task_that_is_none_is_refused_by_its_pointers() {
    let cluster = Cluster::shared().await;
    let known = serde_json::to_value(sleep(1.0)).unwrap();
    let with = |field: &str, value: &str| {
        let mut task = known.clone();
        task[field] = serde_json::from_str(value).unwrap();
        task.to_string()
    };
    let long = format!("\"{}\"", "x".repeat(256));
    for (pointer, body) in [
        ("", "[]".to_owned()),
        ("", "7".to_owned()),
        ("/kind", r#"{"seconds": 1}"#.to_owned()),
        ("/seconds", r#"{"kind": "sleep"}"#.to_owned()),
        ("/secs", with("secs", "1")),
        ("/kind", with("kind", "\"dance\"")),
        ("/seconds", with("seconds", "-0.1")),
        ("/seconds", with("seconds", "86401")),
        ("/seconds", with("seconds", "\"1\"")),
        ("/add", with("add", "[1]")),
        ("/add/1", with("add", "[1, 9007199254740992]")),
        ("/id", with("id", "\"7\"")),
        ("/id", with("id", "\"c2a0a6a4-5b0c-4b3c-8a55-0c9c9d6a1b11\"")),
        ("/pool", with("pool", "\"nobody\"")),
        ("/pool", with("pool", "\"\"")),
        ("/priority", with("priority", "101")),
        ("/priority", with("priority", "0.5")),
        ("/max_attempts", with("max_attempts", "0")),
        ("/max_attempts", with("max_attempts", "101")),
        ("/timeout", with("timeout", "0")),
        ("/retry", with("retry", "7")),
        ("/retry/delay", with("retry", r#"{"delay": -1}"#)),
        ("/retry/on", with("retry", r#"{"on": "failure"}"#)),
        ("/retry/factor", with("retry", r#"{"factor": 0}"#)),
        ("/retry/max_delay", with("retry", r#"{"max_delay": "1"}"#)),
        ("/retry/jitter", with("retry", r#"{"jitter": 1.5}"#)),
        ("/retry/max_attempts", with("retry", r#"{"max_attempts": 0}"#)),
        ("/retry/xyz", with("retry", r#"{"xyz": 1}"#)),
        ("/not_before", with("not_before", "\"tomorrow\"")),
        ("/not_before", with("not_before", "\"2999-01-01T00:00:00Z\"")),
        ("/group", with("group", &long)),
        ("/labels/a", with("labels", &format!("{{\"a\": {long}}}"))),
        ("/labels", with("labels", "{\"a\": 1}")),
    ] {
        let refused =
            is_refused(&cluster, 422, &body, |door| door.post("/api/v1/tasks", body.clone())).await.problem();
        let pointers: Vec<&str> = refused.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{body}");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused() {
    let cluster = Cluster::shared().await;
    let nested = "[".repeat(200_000);
    for path in ["/api/v1/tasks", "/api/v1/tasks/batch"] {
        for body in ["", "{", "nonsense", "{\"kind\": \"sl\u{0}eep\"", nested.as_str()] {
            is_refused(&cluster, 400, body, |door| door.post(path, body.to_owned())).await;
        }
        is_refused(&cluster, 400, "no UTF-8", |door| door.post(path, vec![b'"', 0xff, b'"'])).await;
        let task = serde_json::to_string(&sleep(1.0)).unwrap();
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
            is_refused(&cluster, 415, kind, |door| {
                Call::new("POST", door.url(path)).header("content-type", kind).body(task.clone())
            })
            .await;
        }
        is_refused(&cluster, 415, "no type", |door| Call::new("POST", door.url(path)).body(task.clone()))
            .await;
    }
    is_refused(&cluster, 422, "no array", |door| door.post("/api/v1/tasks/batch", "{}")).await;
    let key = "k".repeat(256);
    is_refused(&cluster, 400, "long key", |door| {
        door.post("/api/v1/tasks", serde_json::to_string(&sleep(1.0)).unwrap())
            .header("idempotency-key", &key)
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let cluster = Cluster::shared().await;
    let spaces = " ".repeat((1 << 20) + 1);
    is_refused(&cluster, 413, "1 MiB", |door| door.post("/api/v1/tasks", spaces.clone())).await;
    let spaces = " ".repeat((32 << 20) + 1);
    is_refused(&cluster, 413, "32 MiB", |door| door.post("/api/v1/tasks/batch", spaces.clone())).await;
    let many = format!("[{}1]", "1,".repeat(10_000));
    is_refused(&cluster, 413, "10,001", |door| door.post("/api/v1/tasks/batch", many.clone())).await;
}

#[tokio::test]
async fn a_query_that_asks_for_nonsense_is_refused() {
    let cluster = Cluster::shared().await;
    let task = cluster.submit(sleep(0.0)).await;
    let of_task = format!("/api/v1/tasks/{task}");
    for (path, queries) in [
        ("/api/v1/tasks", &["limit=0", "limit=1001", "limit=x", "state=dance", "cursor=x", "nonsense=1"][..]),
        (of_task.as_str(), &["wait=61", "wait=-1", "wait=x", "wait=NaN", "nonsense=1"][..]),
        ("/api/v1/outcomes", &["after=x", "after=-1", "limit=0", "limit=10001", "wait=61", "nonsense=1"][..]),
        ("/api/v1/obituaries", &["limit=0", "cursor=x", "nonsense=1"][..]),
        ("/api/v1/logs", &["after=x", "limit=0", "task=7", "nonsense=1"][..]),
        ("/api/v1/cluster", &["nonsense=1"][..]),
        ("/api/v1/workers", &["nonsense=1"][..]),
        ("/api/v1/pools/default", &["nonsense=1"][..]),
    ] {
        for query in queries {
            let url = format!("{path}?{query}");
            is_refused(&cluster, 422, &url, |door| door.get(&url)).await;
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let cluster = Cluster::shared().await;
    for path in ["/nowhere", "/api", "/api/v1", "/api/v1/nowhere", "/api/v2/tasks"] {
        is_refused(&cluster, 404, path, |door| door.get(path)).await;
    }
    for id in [UNKNOWN, "7", "..%2f..%2fetc", "%00", "%ff"] {
        is_refused(&cluster, 404, id, |door| door.get(&format!("/api/v1/tasks/{id}"))).await;
        is_refused(&cluster, 404, id, |door| door.get(&format!("/api/v1/tasks/{id}/explain"))).await;
        for action in ["cancel", "replay"] {
            let path = format!("/api/v1/tasks/{id}/{action}");
            is_refused(&cluster, 404, id, |door| door.post(&path, "")).await;
        }
    }
}

#[tokio::test]
async fn a_method_that_an_address_does_not_know_is_refused() {
    let cluster = Cluster::shared().await;
    let task = format!("/api/v1/tasks/{UNKNOWN}");
    let cancel = format!("{task}/cancel");
    for (method, path) in [
        ("PUT", "/api/v1/tasks"),
        ("DELETE", "/api/v1/tasks"),
        ("GET", "/api/v1/tasks/batch/"),
        ("PATCH", "/api/v1/tasks/batch"),
        ("DELETE", task.as_str()),
        ("GET", cancel.as_str()),
        ("POST", "/api/v1/outcomes"),
        ("POST", "/api/v1/cluster"),
        ("PUT", "/api/v1/workers"),
        ("POST", "/api/v1/obituaries"),
        ("POST", "/api/v1/logs"),
        ("POST", "/stop"),
        ("POST", "/logging"),
        ("POST", "/healthz"),
        ("DELETE", "/"),
    ] {
        let status = if path.ends_with('/') && path.len() > 1 { 404 } else { 405 };
        let refused = is_refused(&cluster, status, path, |door| Call::new(method, door.url(path))).await;
        assert_eq!(refused.headers.contains_key("allow"), status == 405, "{method} {path}");
    }
}
