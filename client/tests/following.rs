//! The library against orchestrators that fail in every way that it has to live with.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod stand_in;

use std::pin::pin;
use std::time::Duration;

use clb_client::protocol::task::{Number, TaskRequest, Work};
use clb_client::protocol::{OutcomeSeq, TaskId};
use clb_client::{Client, Error, Fault, TaskFilter};
use futures::StreamExt as _;
use stand_in::{Manner, StandIns};

fn request() -> TaskRequest {
    TaskRequest::new(Work::sleep(0.0, [Number::Integer(3), Number::Integer(4)]))
}

/// An address at which nothing listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn whoever_cannot_serve_is_passed_by_and_the_one_that_can_is_remembered() {
    let manners = [503, 418, 421, 500].map(Manner::Answers);
    let [a, b, c, d] = manners;
    let cluster = StandIns::start([a, b, c, d, Manner::Serves]).await;
    let client = Client::new([vec![nobody()], cluster.urls()].concat(), None).unwrap();

    client.submit(request()).await.unwrap();
    for one in &cluster.all {
        assert_eq!(one.asked(), ["POST /api/v1/tasks"]);
    }
    client.submit(request()).await.unwrap();
    assert_eq!(cluster.all[0].asked().len(), 1, "the second went where the first was served");
    assert_eq!(client.orchestrator().as_str().trim_end_matches('/'), cluster.all[4].url);
}

#[tokio::test]
async fn a_task_whose_answer_was_lost_is_submitted_again_under_its_id() {
    let cluster = StandIns::start([Manner::BreaksOff, Manner::Serves]).await;
    let task = cluster.client().submit(request()).await.unwrap();

    let memory = cluster.memory();
    let ids: Vec<&str> = memory.submissions.iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [task.id.to_string(), task.id.to_string()]);
    assert_eq!(memory.tasks.len(), 1, "two submissions are one task");
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_submitted_once_too() {
    let cluster = StandIns::start([Manner::BreaksOff, Manner::Serves]).await;
    let entries = cluster.client().submit_many(vec![request(); 5_001]).await.unwrap();
    assert_eq!(entries.len(), 5_001);
    assert_eq!(cluster.memory().tasks.len(), 5_001);
}

#[tokio::test]
async fn large_tasks_go_in_as_many_requests_as_they_need() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let mut large = request();
    large.group = Some("g".repeat(1 << 20));
    let mut requests = vec![large; 40];
    for request in &mut requests {
        request.id = Some(TaskId::now());
    }
    let entries = cluster.client().submit_many(requests.clone()).await.unwrap();
    let asked: Vec<Option<TaskId>> = requests.iter().map(|request| request.id).collect();
    assert_eq!(entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), asked);
    assert_eq!(cluster.all[0].asked(), ["POST /api/v1/tasks/batch"; 3]);
}

#[tokio::test]
async fn a_client_waits_for_a_leader_until_there_is_one() {
    let cluster = StandIns::start([Manner::Answers(503), Manner::Answers(503)]).await;
    let client = cluster.client();
    let submitted = tokio::spawn(async move { client.submit(request()).await });
    while cluster.all[1].asked().len() < 2 {
        tokio::task::yield_now().await;
    }
    cluster.all[1].behave(Manner::Serves);
    submitted.await.unwrap().unwrap();
}

#[tokio::test]
async fn nobody_in_reach_is_said_in_words_and_may_be_retried() {
    let client = Client::new([nobody()], None).unwrap().with_patience(Duration::from_millis(80));
    let error = client.submit(request()).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.fault(), Fault::Cluster);
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_says_why() {
    let cluster = StandIns::start([Manner::Serves, Manner::Serves]).await;
    let client = cluster.client();
    let mut first = request();
    first.id = Some(TaskId::now());
    client.submit(first.clone()).await.unwrap();
    first.work = Work::sleep(9.0, [Number::Integer(3), Number::Integer(4)]);
    let error = client.submit(first).await.unwrap_err();
    assert!(error.problem().unwrap().detail.contains("which differs in: seconds"), "{error}");
    assert_eq!(error.fault(), Fault::Caller);
    assert!(cluster.all[1].asked().is_empty());
}

#[tokio::test]
async fn waiting_ends_with_the_task() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let client = cluster.client();
    let id = client.submit(request()).await.unwrap().id;
    let waiting = tokio::spawn(async move { client.wait(id, Duration::from_mins(1)).await });
    let asked = || cluster.all[0].asked().len();
    while asked() < 2 {
        tokio::task::yield_now().await;
    }
    cluster.finish(&id.to_string());
    let task = waiting.await.unwrap().unwrap();
    assert_eq!(task.result.unwrap().get(), r#"{"sum":7}"#);
}

#[tokio::test]
async fn cancelling_twice_is_cancelling_once_but_not_what_has_ended() {
    let cluster = StandIns::start([Manner::BreaksOff, Manner::Serves]).await;
    let client = cluster.client();
    let id = client.submit(request()).await.unwrap().id;
    cluster.all[1].behave(Manner::BreaksOff);
    cluster.all[0].behave(Manner::Serves);
    assert_eq!(client.cancel(id).await.unwrap().state.as_str(), "cancelled");

    let ended = client.submit(request()).await.unwrap().id;
    cluster.finish(&ended.to_string());
    assert!(matches!(client.cancel(ended).await, Err(Error::Refused { problem }) if problem.status == 409));
}

#[tokio::test]
async fn every_outcome_arrives_once_across_a_take_over() {
    let cluster = StandIns::start([Manner::Serves, Manner::Serves]).await;
    let client = cluster.client();
    let ids: Vec<TaskId> =
        client.submit_many(vec![request(); 6]).await.unwrap().iter().map(|entry| entry.id.unwrap()).collect();
    let mut outcomes = pin!(client.outcomes(OutcomeSeq(0), None));
    let mut seen = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        if n == 3 {
            cluster.all[0].behave(Manner::Answers(503));
        }
        cluster.finish(&id.to_string());
        seen.push(outcomes.next().await.unwrap().unwrap().task.id);
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn tasks_are_listed_page_by_page_and_the_token_goes_along() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let client = Client::new(cluster.urls(), Some("s3cret")).unwrap();
    client.submit_many(vec![request(); 3]).await.unwrap();
    let mut filter = TaskFilter { limit: Some(2), ..TaskFilter::default() };
    let first = client.tasks(&filter).await.unwrap();
    filter.cursor = first.next;
    let second = client.tasks(&filter).await.unwrap();
    assert_eq!((first.tasks.len(), second.tasks.len(), second.next), (2, 1, None));
    assert_eq!(client.cluster().await.unwrap().epoch.0, 3);
    assert_eq!(client.workers().await.unwrap().len(), 3);
    assert!(cluster.memory().tokens.iter().all(|token| token.as_deref() == Some("Bearer s3cret")));
}

#[tokio::test]
async fn the_outcomes_of_a_group_end_with_the_group() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let client = cluster.client();
    let of = |group: &str| TaskRequest { group: Some(group.to_owned()), ..request() };
    let ids = [client.submit(of("g")).await.unwrap().id, client.submit(of("g")).await.unwrap().id];
    let other = client.submit(of("another")).await.unwrap().id;
    assert_eq!(client.groups("", None, 10).await.unwrap().groups.len(), 2);
    cluster.finish(&ids[0].to_string());
    let collect = async {
        let mut outcomes = pin!(client.group_outcomes("g", OutcomeSeq(0)));
        let mut seen = Vec::new();
        while let Some(outcome) = outcomes.next().await {
            seen.push(outcome.unwrap().task.id);
            if seen.len() == 1 {
                cluster.finish(&ids[1].to_string());
            }
        }
        seen
    };
    assert_eq!(collect.await, ids, "that of the other group, {other}, is still open");
    assert!(pin!(client.group_outcomes("nobody", OutcomeSeq(0))).next().await.is_none());
}

#[tokio::test]
async fn whether_a_group_is_over_is_asked_once_all_that_has_ended_is_known() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ_sleepers();
    cluster.memory().outcomes_a_page = Some(1_000);
    let lines = "{\"kind\": \"sleep\", \"add\": [3, 4], \"group\": \"g\"}\n".repeat(2_000);
    cluster.client().submit_lines(lines.into()).await.unwrap();
    let client = cluster.client();
    let mut outcomes = pin!(client.group_outcomes("g", OutcomeSeq(0)));
    let questions = || cluster.all[0].asked().iter().filter(|asked| *asked == "GET /api/v1/tasks").count();
    for _ in 0..2_000 {
        outcomes.next().await.unwrap().unwrap();
    }
    assert_eq!(questions(), 0, "whole pages had more behind them");
    assert!(outcomes.next().await.is_none());
    assert_eq!(questions(), 4);
}
