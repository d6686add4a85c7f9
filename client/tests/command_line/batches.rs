use std::collections::HashSet;

use crate::program::{finish, interrupt, run, run_with_input, start_with_input};
use crate::stand_in::worker::shell;
use crate::stand_in::{Manner, StandIns};

const GOOD: &str = r#"{"kind": "command", "command": ["echo", "a"]}"#;

#[tokio::test]
async fn every_line_becomes_a_task_of_one_group_that_is_printed() {
    let cluster = StandIns::start([Manner::BreaksOff, Manner::Serves]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tasks.ndjson");
    std::fs::write(&file, format!("{GOOD}\n\n").repeat(12_000)).unwrap();
    let done = run(&cluster, &["batch", file.to_str().unwrap()]).await;
    assert_eq!(done.code, 0, "{done:?}");

    let memory = cluster.memory();
    assert_eq!(memory.tasks.len(), 12_000, "what was sent twice is there once");
    let groups: HashSet<&str> = memory.tasks.iter().map(|task| task["group"].as_str().unwrap()).collect();
    assert_eq!(groups, HashSet::from([done.stdout.trim()]));
    assert!(done.stdout.starts_with("batch-"));
}

#[tokio::test]
async fn waiting_tells_by_the_exit_code_whether_all_succeeded() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let own_group = r#"{"kind": "command", "command": ["echo", "a"], "group": "own"}"#;
    let lines = format!("{GOOD}\n{own_group}\n{GOOD}");
    let done = run_with_input(&cluster, &["batch", "-", "--wait", "--group", "g"], &lines).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "g\n"), "{done:?}");
    assert!(done.stderr.contains("3 succeeded, 0 failed"), "{done:?}");

    let failing = lines.replace("echo", "exit").replace("\"a\"", "\"1\"");
    let done = run_with_input(&cluster, &["batch", "-", "--wait", "--json"], &failing).await;
    assert_eq!((done.code, &done.json()["ended"]["failed"]), (1, &3.into()), "{done:?}");
}

#[tokio::test]
async fn a_mistake_is_named_by_its_line() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let no_json = format!("{GOOD}\n{{\"kind\"\n{GOOD}");
    let done = run_with_input(&cluster, &["batch", "-"], &no_json).await;
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("line 2: not a JSON object"), "{done:?}");
    assert_eq!(cluster.memory().tasks.len(), 1, "what stood before it was submitted");

    let refused = format!("{GOOD}\n\n{}\n", GOOD.replace("\"command\",", "\"dance\","));
    let done = run_with_input(&cluster, &["batch", "-"], &refused).await;
    assert_eq!(done.code, 4);
    assert!(done.stderr.contains("line 3: /kind must be"), "{done:?}");
}

#[tokio::test]
async fn keep_going_names_every_mistake_and_submits_the_rest() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let lines = format!("{GOOD}\nnonsense\n{}\n{GOOD}", GOOD.replace("\"command\",", "\"dance\","));
    let done = run_with_input(&cluster, &["batch", "-", "--keep-going"], &lines).await;
    assert_eq!(done.code, 2, "the code of the first mistake");
    assert!(done.stderr.contains("line 2: ") && done.stderr.contains("line 3: "), "{done:?}");
    assert!(done.stderr.contains("2 submitted, 0 already known, 2 refused"), "{done:?}");
    assert_eq!(cluster.memory().tasks.len(), 2);
}

#[tokio::test]
async fn ctrl_c_while_waiting_says_how_to_come_back() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let child = start_with_input(&cluster, &["batch", "-", "--wait", "--group", "g"], GOOD).await;
    cluster.until_asked("GET /api/v1/outcomes").await;
    interrupt(&child);
    let done = finish(child).await;
    assert_eq!((done.code, done.stdout.as_str()), (130, "g\n"));
    assert!(done.stderr.contains("clb wait --group 'g'"), "{done:?}");
    assert_eq!(cluster.memory().tasks[0]["state"], "queued");
}

#[tokio::test]
async fn a_full_queue_is_waited_for() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.memory().full_for = 2;
    let done = run_with_input(&cluster, &["batch", "-"], &format!("{GOOD}\n{GOOD}\n")).await;
    assert_eq!((done.code, cluster.memory().tasks.len()), (0, 2), "{done:?}");
}

#[tokio::test]
async fn a_repetition_submits_only_what_is_missing() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let wrong = format!("{GOOD}\n{}\n{GOOD}\n", GOOD.replace("\"a\"", "\"forbidden\""));
    let done = run_with_input(&cluster, &["batch", "-", "--group", "g"], &wrong).await;
    assert_eq!(done.code, 4, "{done:?}");
    assert!(done.stderr.contains("line 2: ") && done.stderr.contains("--group 'g' to continue"), "{done:?}");

    let right = wrong.replace("forbidden", "b");
    let done = run_with_input(&cluster, &["batch", "-", "--group", "g"], &right).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stderr.contains("1 submitted, 2 already known"), "{done:?}");
    assert_eq!(cluster.memory().tasks.len(), 3);
}

#[tokio::test]
async fn the_group_of_a_file_follows_from_its_content_and_that_of_a_stream_is_said_beforehand() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tasks.ndjson");
    std::fs::write(&file, format!("{GOOD}\n{GOOD}\n")).unwrap();
    let first = run(&cluster, &["batch", file.to_str().unwrap()]).await;
    let second = run(&cluster, &["batch", file.to_str().unwrap()]).await;
    assert_eq!(first.stdout, second.stdout);
    assert!(second.stderr.contains("0 submitted, 2 already known"), "{second:?}");

    cluster.all[0].behave(Manner::Answers(503));
    let done = run_with_input(&cluster, &["batch", "-", "--patience", "0"], GOOD).await;
    let (_, group) = done.stderr.split_once("repeat with --group ").unwrap();
    let group = group.split_once(' ').unwrap().0;
    cluster.all[0].behave(Manner::Serves);
    let done = run_with_input(&cluster, &["batch", "-", "--group", group], GOOD).await;
    assert_eq!((done.code, done.stdout.trim(), cluster.memory().tasks.len()), (0, group, 3));
}

#[tokio::test]
async fn a_pool_of_the_command_line_that_is_not_there_is_told_once() {
    let cluster = StandIns::start([Manner::Serves]).await;
    run(&cluster, &["pool", "set", "py", "--image", "python"]).await;
    let own = GOOD.replace("\"kind\"", "\"pool\": \"py\", \"kind\"");
    for keep_going in [None, Some("--keep-going")] {
        let arguments = ["batch", "-", "--pool", "nope", "--group", "g"].into_iter().chain(keep_going);
        let lines = format!("{own}\n{GOOD}\n{GOOD}\n");
        let done = run_with_input(&cluster, &arguments.collect::<Vec<_>>(), &lines).await;
        assert_eq!(done.code, 4, "{done:?}");
        assert_eq!(done.stderr.matches("there is no").count(), 1, "{done:?}");
        assert!(done.stderr.contains("--pool: there is no pool \"nope\"; the pools are py"), "{done:?}");
        assert!(done.stderr.contains("1 tasks of group g were submitted"), "{done:?}");
    }
}

#[tokio::test]
async fn a_line_in_conflict_names_the_task_and_the_field() {
    let cluster = StandIns::start([Manner::Serves]).await;
    run_with_input(&cluster, &["batch", "-", "--group", "g"], GOOD).await;
    let id = cluster.memory().tasks[0]["id"].as_str().unwrap().to_owned();
    let done = run_with_input(&cluster, &["batch", "-", "--group", "g", "--pool", "py"], GOOD).await;
    assert_eq!(done.code, 4, "{done:?}");
    assert!(
        done.stderr
            .contains(&format!("line 1: This id already belongs to task {id}, which differs in: pool.")),
        "{done:?}"
    );
}
