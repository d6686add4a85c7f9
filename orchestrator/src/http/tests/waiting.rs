//! Submitting a task and waiting for its end in one request.

use clb_protocol::api::{TaskState, TaskView};
use clb_store::Reader;

use super::*;

const SLEEP: &str = r#"{"kind":"sleep","seconds":0,"add":[3,4]}"#;

async fn submit(app: Router, query: &str, body: String) -> (StatusCode, TaskView) {
    let request = Request::post(format!("/api/v1/tasks{query}"))
        .header("host", "127.0.0.1:3002")
        .header("content-type", "application/json");
    let answer = app.oneshot(request.body(Body::from(body)).unwrap());
    let answer = timeout(PATIENCE, answer).await.expect("it is not answered").unwrap();
    let (status, location) = (answer.status(), answer.headers().get("location").cloned());
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let task: TaskView = serde_json::from_slice(&body).unwrap();
    assert_eq!(location.unwrap(), format!("/api/v1/tasks/{}", task.id));
    (status, task)
}

#[tokio::test]
async fn one_request_brings_the_result() {
    let mut bench = Bench::start();
    let (app, mut worker) = (app(&bench), bench.join().await);
    let asked = tokio::spawn(submit(app.clone(), "?wait=60", SLEEP.to_owned()));
    let (id, attempt) = worker.begin_one().await;
    worker.give(id, attempt, bench.epoch, Yield::Succeeded(to_raw_value(&7).unwrap()));
    let (status, ended) = asked.await.unwrap();
    assert_eq!((status, ended.id, ended.state), (StatusCode::OK, id, TaskState::Succeeded));
    assert_eq!(ended.result.unwrap().get(), "7");
    let again = format!(r#"{{"id":"{id}",{}"#, &SLEEP[1..]);
    let (status, known) = submit(app, "?wait=60", again).await;
    assert_eq!((status, known.state), (StatusCode::OK, TaskState::Succeeded));
}

#[tokio::test]
async fn when_the_time_is_over_the_task_is_accepted_as_ever() {
    let bench = Bench::start();
    let app = app(&bench);
    let (status, task) = submit(app.clone(), "?wait=0.01", SLEEP.to_owned()).await;
    assert_eq!((status, task.state), (StatusCode::CREATED, TaskState::Queued));
    let known = format!(r#"{{"id":"{}",{}"#, task.id, &SLEEP[1..]);
    let (status, known) = submit(app, "?wait=0.01", known).await;
    assert_eq!((status, known.state), (StatusCode::OK, TaskState::Queued));
}

#[tokio::test]
async fn hanging_up_cancels_nothing() {
    let mut bench = Bench::start();
    let (app, mut worker) = (app(&bench), bench.join().await);
    let asked = tokio::spawn(submit(app, "?wait=60", SLEEP.to_owned()));
    let (id, attempt) = worker.begin_one().await;
    asked.abort();
    worker.give(id, attempt, bench.epoch, Yield::Succeeded(to_raw_value(&7).unwrap()));
    bench.handle.ended(id).await.unwrap();
    assert_eq!(bench.store.task(id).unwrap().unwrap().state, TaskState::Succeeded);
}

#[tokio::test]
async fn a_task_that_is_stored_is_accepted_though_its_leader_leads_no_more() {
    let mut bench = Bench::start();
    let (app, mut worker) = (app(&bench), bench.join().await);
    let asked = tokio::spawn(submit(app, "?wait=60", SLEEP.to_owned()));
    let (id, _) = worker.begin_one().await;
    bench.handle.tell(crate::leader::Message::StepDown).await;
    bench.end().await;
    let (status, task) = asked.await.unwrap();
    assert_eq!((status, task.id), (StatusCode::CREATED, id));
}
