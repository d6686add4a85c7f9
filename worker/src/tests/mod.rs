//! The worker in front of leaders that speak the link over real sockets.

mod leader;

use std::time::Duration;

use clap::Parser;
use clb_protocol::link::{RunOrder, WorkerOrder, Yield};
use clb_protocol::{AttemptNo, TaskId};
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::journal::Journal;
use crate::run::command::Launcher;
use crate::worker::{Desk, Ending, Worker};
use leader::{Answer, Leader};

const FIRST: AttemptNo = AttemptNo(1);

struct Running {
    desk: Desk,
    journal: Journal,
    task: JoinHandle<Ending>,
}

fn start(orchestrators: &[&Leader]) -> Running {
    start_with(orchestrators, &[])
}

fn start_with(orchestrators: &[&Leader], options: &[&str]) -> Running {
    let urls: Vec<&str> = orchestrators.iter().map(|leader| leader.url.as_str()).collect();
    let urls = urls.join(",");
    let arguments = ["clb-worker", "--orchestrators", &urls].into_iter().chain(options.iter().copied());
    let config = Config::parse_from(arguments);
    let journal = Journal::default();
    let (desk, asks) = Desk::open();
    let task = tokio::spawn(Worker::new(&config, journal.clone(), asks, Launcher::own()).run());
    Running { desk, journal, task }
}

fn order(task: TaskId, kind: &str, seconds: f64) -> RunOrder {
    let spec =
        format!(r#"{{"kind":"{kind}","seconds":{seconds},"add":[3,4],"max_attempts":3,"timeout":60.0}}"#);
    RunOrder { task, attempt: FIRST, group: None, spec: RawValue::from_string(spec).unwrap() }
}

fn run(task: TaskId, kind: &str, seconds: f64) -> WorkerOrder {
    WorkerOrder::Run(vec![order(task, kind, seconds)])
}

#[tokio::test]
async fn orders_and_results_flow_both_ways_on_one_request() {
    let mut leader = Leader::start(1).await;
    let worker = start(&[&leader]);
    let mut link = leader.accept().await;
    assert_eq!((link.hello.port, link.hello.slots), (3004, 16));
    // Each answer comes while both bodies stay open: nothing on the way waits for more.
    for kind in ["sleep", "spin", "sleep"] {
        let task = TaskId::now();
        link.say(run(task, kind, 0.002)).await;
        let result = link.result().await;
        assert_eq!((result.task, result.epoch.0), (task, 1));
        assert!(matches!(&result.gave, Yield::Succeeded(sum) if sum.get() == r#"{"sum":7}"#));
        assert!(result.ended_at >= result.started_at);
        link.ack(&result).await;
    }
    let view = worker.desk.view().await.unwrap();
    assert_eq!(view.ended, 3);
}

#[tokio::test]
async fn many_orders_in_one_line_are_answered_in_one_line_with_their_log_lines() {
    let mut leader = Leader::start(1).await;
    let worker = start(&[&leader]);
    let mut link = leader.accept().await;
    let tasks: Vec<TaskId> = (0..16).map(|_| TaskId::now()).collect();
    link.say(WorkerOrder::Run(tasks.iter().map(|task| order(*task, "sleep", 0.0)).collect())).await;
    let report = link.report_with(|report| !report.finished.is_empty()).await;
    assert_eq!(report.finished.len(), 16);
    let words: Vec<&str> = report.logs.iter().map(|line| line.message.as_str()).collect();
    for task in tasks {
        assert!(words.contains(&format!("Received payload: {task}").as_str()));
        assert!(words.contains(&format!("Sent result: {task} for leader to port: 3002").as_str()));
    }
    assert!(worker.journal.last(usize::MAX).len() >= 32);
}

#[tokio::test]
async fn after_a_lost_link_the_next_leader_hears_what_is_unacknowledged_and_what_runs() {
    let mut leader = Leader::start(1).await;
    let _worker = start(&[&leader]);
    let mut link = leader.accept().await;
    let (acked, unacked, running) = (TaskId::now(), TaskId::now(), TaskId::now());
    link.say(run(running, "sleep", 600.0)).await;
    link.say(run(acked, "sleep", 0.0)).await;
    let result = link.result().await;
    link.ack(&result).await;
    link.say(run(unacked, "sleep", 0.0)).await;
    assert_eq!(link.result().await.task, unacked);
    drop(link);
    leader.lead(2);
    let mut link = leader.accept().await;
    let finished: Vec<TaskId> = link.hello.finished.iter().map(|it| it.task).collect();
    assert_eq!(finished, [unacked]);
    assert_eq!(link.hello.running.len(), 1);
    assert_eq!((link.hello.running[0].task, link.hello.running[0].epoch.0), (running, 1));
    link.say(WorkerOrder::Cancel(vec![(running, FIRST)])).await;
    let result = link.result().await;
    assert_eq!(result.task, running, "what the greeting had is not said again");
    assert!(matches!(result.gave, Yield::Cancelled(_)));
}

#[tokio::test]
async fn a_standby_names_the_leader_and_the_worker_goes_there() {
    let mut leader = Leader::start(3).await;
    let mut standby = Leader::start(3).await;
    standby.answer(Answer::Misdirect(leader.url.clone()));
    let _worker = start(&[&standby]);
    leader.accept().await;
    assert!(standby.was_asked().await);
}

#[tokio::test]
async fn one_that_holds_the_request_does_not_keep_it_from_the_leader() {
    let mut holding = Leader::start(3).await;
    holding.answer(Answer::Hold);
    let mut leader = Leader::start(3).await;
    let _worker = start(&[&holding, &leader]);
    assert!(holding.was_asked().await);
    leader.accept().await;
}

#[tokio::test]
async fn a_leader_of_an_older_term_is_refused() {
    let mut leader = Leader::start(5).await;
    let _worker = start(&[&leader]);
    let link = leader.accept().await;
    leader.lead(4);
    drop(link);
    let mut outdated = leader.accept().await;
    outdated.say(run(TaskId::now(), "sleep", 0.0)).await;
    assert!(outdated.ended().await.is_empty(), "it is left without a word");
    leader.lead(6);
    let mut link = leader.accept_in_term(6).await;
    let task = TaskId::now();
    link.say(run(task, "sleep", 0.0)).await;
    assert_eq!(link.result().await.task, task);
}

#[tokio::test]
async fn a_silent_leader_is_left_for_the_next_one_and_running_tasks_go_on() {
    let mut silent = Leader::start(1).await;
    let mut next = Leader::start(2).await;
    next.answer(Answer::Misdirect(silent.url.clone()));
    let _worker = start(&[&silent, &next]);
    let mut link = silent.accept().await;
    let task = TaskId::now();
    link.say(run(task, "spin", 600.0)).await;
    // From here on the first one says nothing, with its connection open.
    next.answer(Answer::Lead);
    let next_link = next.accept().await;
    assert_eq!(next_link.hello.running[0].task, task);
    link.ended().await;
}

#[tokio::test]
async fn leaving_hands_everything_back_and_ends_once_the_leader_has_it() {
    let mut leader = Leader::start(1).await;
    let worker = start(&[&leader]);
    let mut link = leader.accept().await;
    let (over, running) = (TaskId::now(), TaskId::now());
    link.say(WorkerOrder::Run(vec![order(over, "sleep", 0.0), order(running, "spin", 600.0)])).await;
    let result = link.result().await;
    assert_eq!(result.task, over);
    worker.desk.leave().await.unwrap();
    let report = link.report_with(|report| report.leaving.is_some()).await;
    assert_eq!(report.leaving.unwrap().returned, [(running, FIRST)]);
    assert!(!worker.task.is_finished(), "the result is not safe yet");
    link.ack(&result).await;
    link.ended().await;
    drop(link);
    assert_eq!(worker.task.await.unwrap(), Ending::Left);
}

#[tokio::test]
async fn a_simulated_crash_ends_the_link_and_the_worker_comes_back_as_another() {
    let mut leader = Leader::start(1).await;
    let worker = start(&[&leader]);
    let mut link = leader.accept().await;
    let before = link.hello.incarnation;
    link.say(run(TaskId::now(), "spin", 600.0)).await;
    link.report_with(|report| !report.logs.is_empty()).await;
    assert!(worker.desk.flip().await.unwrap());
    link.ended().await;
    assert!(worker.desk.view().await.unwrap().running.is_empty());
    assert!(!worker.desk.flip().await.unwrap());
    let link = leader.accept().await;
    assert_ne!(link.hello.incarnation, before);
    assert!(link.hello.running.is_empty() && link.hello.finished.is_empty());
}

#[tokio::test]
async fn the_token_is_shown_to_the_leader() {
    let mut leader = Leader::start(1).await;
    leader.answer(Answer::LeadFor("Bearer secret".to_owned()));
    let _worker = start_with(&[&leader], &["--token", "secret"]);
    leader.accept().await;
}

#[tokio::test]
async fn an_orphan_ends_itself() {
    let nobody = Leader::start(1).await;
    nobody.answer(Answer::Hold);
    let worker = start_with(&[&nobody], &["--orphan-limit", "0.05"]);
    let ending = tokio::time::timeout(Duration::from_secs(30), worker.task).await.unwrap();
    assert_eq!(ending.unwrap(), Ending::Orphaned);
}

#[tokio::test]
async fn thousands_of_tasks_are_each_answered_once() {
    const LINES: usize = 200;
    const EACH: usize = 50;
    let mut leader = Leader::start(1).await;
    let _worker = start(&[&leader]);
    let mut link = leader.accept().await;
    let orders = link.orders.clone();
    tokio::spawn(async move {
        for _ in 0..LINES {
            let batch = (0..EACH).map(|_| order(TaskId::now(), "sleep", 0.0)).collect();
            orders.send(WorkerOrder::Run(batch)).await.unwrap();
        }
    });
    let mut seen = std::collections::HashSet::new();
    while seen.len() < LINES * EACH {
        let report = link.report_with(|report| !report.finished.is_empty()).await;
        let keys = report.finished.iter().map(|it| (it.task, it.attempt)).collect();
        for result in report.finished {
            assert!(seen.insert(result.task));
        }
        link.say(WorkerOrder::Ack(keys)).await;
    }
}
