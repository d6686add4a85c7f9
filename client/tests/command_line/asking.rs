use serde_json::Value;

use crate::program::{clb, clb_of, ended, finish, interrupt, run, run_with_input};
use crate::stand_in::worker::shell;
use crate::stand_in::{Manner, StandIns};

async fn with_tasks(count: usize) -> StandIns {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let line = r#"{"kind": "command", "command": ["echo", "a, \"b\""], "group": "g"}"#;
    let done = run_with_input(&cluster, &["batch", "-"], &format!("{line}\n").repeat(count)).await;
    assert_eq!(done.code, 0, "{done:?}");
    cluster
}

fn id_of(cluster: &StandIns, place: usize) -> String {
    cluster.memory().tasks[place]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn lists_are_tables_for_people_and_one_array_for_programs() {
    let cluster = with_tasks(3).await;
    let done = run(&cluster, &["list", "--state", "succeeded", "--group", "g"]).await;
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(lines[0].starts_with("ID  ") && lines.len() == 4, "{done:?}");
    assert_eq!(lines[0].find("STATE"), lines[1].find("succeeded"), "the columns are aligned");
    assert!(!done.stdout.contains('\u{1b}'), "colours are for terminals");

    let all = run(&cluster, &["list", "--json", "--all"]).await.json();
    assert_eq!(all.as_array().unwrap().len(), 3);
    let two = run(&cluster, &["list", "--json", "-n", "2"]).await.json();
    assert_eq!(two.as_array().unwrap().len(), 2);
    assert_eq!(run(&cluster, &["list", "--state", "lost"]).await.code, 2);
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_quietly() {
    let cluster = with_tasks(2_000).await;
    let mut child = clb_of(&cluster, &["list", "--all"]).spawn().unwrap();
    drop(child.stdout.take());
    let done = finish(child).await;
    assert_eq!((done.code, done.stderr.as_str()), (141, ""));
}

#[tokio::test]
async fn a_task_is_shown_and_an_unknown_one_has_a_code_of_its_own() {
    let cluster = with_tasks(1).await;
    let id = id_of(&cluster, 0);
    let done = run(&cluster, &["show", &id]).await;
    assert!(done.stdout.contains("state        succeeded"), "{done:?}");
    assert_eq!(run(&cluster, &["show", &id, "--json"]).await.json()["id"], *id);
    let unknown = clb_client::protocol::TaskId::now().to_string();
    assert_eq!(run(&cluster, &["show", &unknown]).await.code, 5);
    assert_eq!(run(&cluster, &["show", "17"]).await.code, 2);
}

#[tokio::test]
async fn results_come_as_lines_json_or_csv() {
    let cluster = with_tasks(5).await;
    let done = run(&cluster, &["results", "--group", "g"]).await;
    assert_eq!(done.stdout.lines().filter(|line| line.ends_with("a, \"b\"")).count(), 5, "{done:?}");
    let done = run(&cluster, &["results", "--group", "g", "--json", "--after", "2"]).await;
    let places: Vec<Value> =
        done.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].clone()).collect();
    assert_eq!(places, [3, 4, 5]);

    let done = run(&cluster, &["results", "--group", "g", "--csv"]).await;
    let mut reader = csv::Reader::from_reader(done.stdout.as_bytes());
    let column = reader.headers().unwrap().iter().position(|name| name == "stdout").unwrap();
    let texts: Vec<String> = reader.records().map(|record| record.unwrap()[column].to_owned()).collect();
    assert_eq!(texts, vec!["a, \"b\"\n"; 5]);
}

#[tokio::test]
async fn results_to_come_are_followed_until_ctrl_c() {
    let cluster = with_tasks(1).await;
    let mut child = clb_of(&cluster, &["results", "--group", "g", "--follow", "--json"]).spawn().unwrap();
    let first = crate::program::written(&mut child, 8).await;
    assert_eq!(first, "{\"seq\":1");
    interrupt(&child);
    let done = finish(child).await;
    assert_eq!(done.code, 130, "{done:?}");
}

#[tokio::test]
async fn waiting_is_for_tasks_or_for_a_group() {
    let cluster = StandIns::start([Manner::Serves]).await;
    run(&cluster, &["submit", "--group", "g", "--", "echo", "a"]).await;
    run(&cluster, &["submit", "--group", "g", "--", "exit", "1"]).await;
    let (good, bad) = (id_of(&cluster, 0), id_of(&cluster, 1));
    let late = run(&cluster, &["wait", &good, "--timeout", "0.01"]).await;
    assert_eq!(late.code, 124, "{late:?}");

    let group = clb_of(&cluster, &["wait", "--group", "g"]).spawn().unwrap();
    let one = clb_of(&cluster, &["wait", &good]).spawn().unwrap();
    cluster.until_asked(&format!("GET /api/v1/tasks/{bad}")).await;
    cluster.run_all_backwards(shell);
    let (group, one) = (finish(group).await, finish(one).await);
    assert_eq!((one.code, one.stdout), (0, format!("{good} succeeded\n")));
    assert_eq!(group.code, 1, "{group:?}");
    assert!(group.stdout.contains("some failed"), "{group:?}");
    assert_eq!(run(&cluster, &["wait", &good, &bad]).await.code, 1);
    assert_eq!(run(&cluster, &["wait", "--group", "nobody"]).await.code, 5);
}

#[tokio::test]
async fn a_group_is_waited_for_though_many_tasks_of_others_stand_before_it() {
    let cluster = StandIns::start([Manner::Serves]).await;
    run(&cluster, &["submit", "--group", "g", "--", "echo", "a"]).await;
    run_with_input(&cluster, &["batch", "-"], &"{\"kind\": \"sleep\"}\n".repeat(5)).await;
    cluster.memory().looks_at = Some(2);
    let late = run(&cluster, &["wait", "--group", "g", "--timeout", "0.5"]).await;
    assert_eq!(late.code, 124, "{late:?}");
    let listed = run(&cluster, &["list", "--group", "g", "--json"]).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    let table = run(&cluster, &["list", "--group", "g"]).await.stdout;
    assert_eq!((table.matches("STATE").count(), table.lines().count()), (1, 2), "{table}");
}

#[tokio::test]
async fn logs_are_the_output_of_a_command_and_the_log_lines_of_anything_else() {
    let cluster = with_tasks(1).await;
    let done = run(&cluster, &["logs", &id_of(&cluster, 0)]).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "a, \"b\"\n"));
    cluster.memory().worker = None;
    run(&cluster, &["submit", "--sleep", "5"]).await;
    let done = run(&cluster, &["logs", &id_of(&cluster, 1)]).await;
    assert!(done.stdout.ends_with("worker-1  sleeps\n"), "{done:?}");
}

#[tokio::test]
async fn the_live_view_says_that_it_needs_a_terminal() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let done = run(&cluster, &["top"]).await;
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("needs a terminal"), "{done:?}");
}

#[tokio::test]
async fn the_help_says_that_what_fails_is_repeated() {
    for command in ["submit", "map"] {
        let done = ended(clb(&[command, "--help"]).output().await.unwrap());
        let text = done.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("`--max-attempts 1` runs it once"), "{text}");
        assert!(
            text.contains("--retry-on <WHAT>") && text.contains("[possible values: any, loss]"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn waiting_for_any_ends_with_the_first() {
    let cluster = StandIns::start([Manner::Serves]).await;
    for word in ["0", "1"] {
        run(&cluster, &["submit", "--group", "g", "--", "exit", word]).await;
    }
    let (good, bad) = (id_of(&cluster, 0), id_of(&cluster, 1));
    let late = run(&cluster, &["wait", "--any", &good, &bad, "--timeout", "0.1"]).await;
    assert_eq!(late.code, 124, "{late:?}");
    let waiting = clb_of(&cluster, &["wait", "--any", &good, &bad]).spawn().unwrap();
    cluster.memory().run(&bad, shell);
    cluster.changed();
    let done = finish(waiting).await;
    assert_eq!((done.code, done.stdout), (1, format!("{bad} failed\n")));
    let group = run(&cluster, &["wait", "--any", "--group", "g"]).await;
    assert_eq!((group.code, group.stdout), (1, format!("{bad} failed\n")));

    run(&cluster, &["retry", "--to-pool", "big", &bad]).await;
    let replay = id_of(&cluster, 2);
    let waiting = clb_of(&cluster, &["wait", "--any", "--group", "g"]).spawn().unwrap();
    let asked = cluster.all[0].asked().len();
    let is_asked = |what: &String| what == "GET /api/v1/outcomes";
    cluster.until(|_| cluster.all[0].asked()[asked..].iter().any(is_asked)).await;
    cluster.memory().run(&replay, |_, _| (0, String::new(), String::new()));
    cluster.changed();
    let done = finish(waiting).await;
    assert_eq!(
        (done.code, done.stdout),
        (0, format!("{replay} succeeded\n")),
        "its replay stands for what failed"
    );
}
