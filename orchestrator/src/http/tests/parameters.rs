//! Parameters that nobody asked for, at every address.

use super::*;

#[tokio::test]
async fn a_parameter_that_an_address_does_not_know_is_refused_everywhere() {
    let bench = Bench::start();
    let app = app(&bench);
    let task = format!("/api/v1/tasks/{}", TaskId::now());
    let of_task = |what: &str| format!("{task}/{what}");
    let addresses = [
        ("POST", "/api/v1/tasks".to_owned()),
        ("GET", "/api/v1/tasks".to_owned()),
        ("POST", "/api/v1/tasks/batch".to_owned()),
        ("POST", "/api/v1/tasks/cancel".to_owned()),
        ("POST", "/api/v1/tasks/replay".to_owned()),
        ("GET", task.clone()),
        ("GET", of_task("explain")),
        ("GET", of_task("output")),
        ("POST", of_task("cancel")),
        ("POST", of_task("replay")),
        ("GET", "/api/v1/groups".to_owned()),
        ("GET", "/api/v1/outcomes".to_owned()),
        ("GET", "/api/v1/cluster".to_owned()),
        ("GET", "/api/v1/workers".to_owned()),
        ("POST", "/api/v1/workers/worker-1/drain".to_owned()),
        ("POST", "/api/v1/workers/worker-1/restart".to_owned()),
        ("POST", "/api/v1/workers/worker-1/resume".to_owned()),
        ("GET", "/api/v1/pools".to_owned()),
        ("GET", "/api/v1/pools/default".to_owned()),
        ("PUT", "/api/v1/pools/default".to_owned()),
        ("DELETE", "/api/v1/pools/default".to_owned()),
        ("POST", "/api/v1/pools/default/pause".to_owned()),
        ("POST", "/api/v1/pools/default/resume".to_owned()),
        ("GET", "/api/v1/obituaries".to_owned()),
        ("GET", "/api/v1/logs".to_owned()),
        ("GET", "/api/v1/events".to_owned()),
    ];
    for (method, path) in addresses {
        for query in ["limti=5", "limti", "limti="] {
            let request = Request::builder().method(method).uri(format!("{path}?{query}"));
            let request = request.header("host", "127.0.0.1:3002").body(Body::empty()).unwrap();
            let answer = timeout(PATIENCE, app.clone().oneshot(request)).await.unwrap().unwrap();
            assert_eq!(answer.status(), 422, "{method} {path}?{query}");
            let problem = answer.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
            assert_eq!(problem["errors"][0]["pointer"], "?limti", "{method} {path}?{query}: {problem}");
        }
    }
    // A bare question mark asks for nothing.
    assert_eq!(get(&app, "/api/v1/cluster?").await.status(), 200);
}
