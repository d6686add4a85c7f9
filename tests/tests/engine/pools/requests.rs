//! What is asked wrongly is refused with what is wrong.

use clb_tests::Cluster;
use clb_tests::http::Call;
use serde_json::{Value, json};

fn with(field: &str, value: Value) -> Value {
    let mut spec = json!({"image": "a"});
    spec[field] = value;
    spec
}

#[tokio::test]
async fn a_spec_that_is_none_is_refused_by_its_pointers() {
    let cluster = Cluster::shared().await;
    let mount = |source: &str| json!([{"source": source, "target": "/data"}]);
    let port = cluster.worker("worker-1").await.port.unwrap();
    for (pointer, spec) in [
        ("/imgae", with("imgae", json!("b"))),
        ("/workers", with("workers", json!("three"))),
        ("/memory", with("memory", json!("lots"))),
        ("/memory", with("memory", json!("1k"))),
        ("/cpus", with("cpus", json!(0))),
        ("/image", json!({})),
        ("/image", with("image", json!("../containers/a"))),
        ("/mounts/0/source", with("mounts", mount("/etc"))),
        ("/mounts/0/sauce", with("mounts", json!([{"source": "/a", "target": "/b", "sauce": 1}]))),
        ("/user", with("user", json!("root"))),
        ("/placement", with("placement", json!("best"))),
        ("/first_port", json!({"image": "a", "network": false, "first_port": 4000})),
        ("/first_port", with("first_port", json!(port))),
        ("/env/CLB_TOKEN", with("env", json!({"CLB_TOKEN": "x"}))),
        ("", json!([])),
    ] {
        let answer = cluster.put_pool("bad", &spec).await;
        assert_eq!(answer.status, 422, "{spec}: {}", answer.text());
        let errors = answer.problem().errors;
        assert!(errors.iter().any(|error| error.pointer == pointer), "{spec}: {errors:?}");
    }
    for name in ["Bad", "-bad", "worker", "orchestrator", "a_b"] {
        let answer = cluster.put_pool(name, &json!({"image": "a"})).await;
        assert_eq!((answer.status, answer.problem().errors[0].pointer.as_str()), (422, ""), "{name}");
    }
    assert!(cluster.try_pool("bad").await.is_err());
}

#[tokio::test]
async fn a_body_that_is_no_spec_in_json_is_refused() {
    let cluster = Cluster::shared().await;
    for door in cluster.doors() {
        let put = |kind: &str, body: String| {
            Call::new("PUT", door.url("/api/v1/pools/bad")).header("content-type", kind).body(body)
        };
        let bodies = [
            (415, "text/plain", r#"{"image": "a"}"#.to_owned()),
            (400, "application/json", r#"{"image": "#.to_owned()),
            (413, "application/json", " ".repeat(2 << 20)),
        ];
        for (status, kind, body) in bodies {
            let answer = put(kind, body).send().await;
            assert_eq!((answer.status, answer.problem().status), (status, status));
        }
    }
    assert!(cluster.try_pool("bad").await.is_err());
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_defined_elsewhere_stays() {
    let cluster = Cluster::shared().await;
    for path in ["pools/none/pause", "pools/none/resume", "workers/none-1/drain", "workers/worker-99/restart"]
    {
        let answer = cluster.command(&format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.problem();
    }
    assert_eq!(cluster.delete_pool("none").await.status, 404);
    assert_eq!(cluster.delete_pool("default").await.status, 409);
    for door in cluster.doors() {
        assert_eq!(door.get("/api/v1/pools/No%20Name").send().await.status, 404);
        let pools: Value = door.get("/api/v1/pools").send().await.json();
        assert_eq!(pools["pools"][0]["name"], "default");
        assert_eq!(pools["pools"][0]["source"], "environment");
    }
}
