//! Why tasks have no success, and short names for them.

use crate::program::{run, run_with_input};
use crate::stand_in::{Manner, StandIns};

fn worker(words: &[&str], _: &str) -> (i64, String, String) {
    match words {
        ["sh", "-c", _] => (3, "half\n".to_owned(), "first\nno such file\n\n".to_owned()),
        ["quiet"] => (-9, String::new(), String::new()),
        _ => (0, "fine".to_owned(), "a warning\n".to_owned()),
    }
}

async fn with_failures() -> StandIns {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(worker);
    let lines = r#"{"kind": "command", "command": ["sh", "-c", "cat x"], "labels": {"run": "7"}}
{"kind": "command", "command": ["quiet"]}
{"kind": "command", "command": ["echo"]}"#;
    assert_eq!(run_with_input(&cluster, &["batch", "-", "--group", "g"], lines).await.code, 0);
    cluster
}

fn id(cluster: &StandIns, place: usize) -> String {
    cluster.memory().tasks[place]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn lists_and_results_say_why_a_command_failed() {
    let cluster = with_failures().await;
    let listed = run(&cluster, &["list"]).await.stdout;
    let ends: Vec<&str> = listed.lines().map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(ends, ["REASON", "echo", "signal 9", "exit 3: no such file"], "{listed}");
    let failed = run(&cluster, &["results", "--group", "g", "--state", "failed"]).await.stdout;
    let ends: Vec<&str> = failed.lines().map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(ends, ["exit 3: no such file", "signal 9"], "{failed}");
    let done = run(&cluster, &["results", "--group", "g", "--state", "queued"]).await;
    assert!(
        done.code == 2 && done.stderr.contains("[possible values: succeeded, failed, cancelled]"),
        "{done:?}"
    );

    let done = run(&cluster, &["results", "--group", "g", "--csv"]).await;
    let mut reader = csv::Reader::from_reader(done.stdout.as_bytes());
    let names = ["error_code", "pool", "command", "labels"];
    let places = names.map(|name| reader.headers().unwrap().iter().position(|it| it == name).unwrap());
    let first = reader.records().next().unwrap().unwrap();
    let expected = ["failed", "default", "sh -c 'cat x'", "{\"run\":\"7\"}"];
    assert_eq!(places.map(|place| first[place].to_owned()), expected);
}

#[tokio::test]
async fn one_command_prints_what_all_that_failed_wrote() {
    let cluster = with_failures().await;
    let done = run(&cluster, &["logs", "--group", "g", "--state", "failed", "--stderr"]).await;
    let (quiet, loud) = (id(&cluster, 1), id(&cluster, 0));
    let expected = format!(
        "==> {quiet}  quiet  signal 9 <==\n\n==> {loud}  sh -c 'cat x'  exit 3: no such file <==\n\
         first\nno such file\n\n"
    );
    assert_eq!((done.code, done.stdout), (0, expected));
    let both = run(&cluster, &["logs", &id(&cluster, 2), &loud]).await.stdout;
    assert!(
        both.contains("succeeded <==\nfine\na warning\n\n==> ") && both.contains("half\nfirst"),
        "{both}"
    );
    let one = run(&cluster, &["logs", &id(&cluster, 2), "--stderr"]).await.stdout;
    assert_eq!(one, "a warning\n");
    assert_eq!(run(&cluster, &["logs"]).await.code, 2);
    let json = run(&cluster, &["logs", "--stdout", "--json", &loud]).await;
    assert!(json.code == 2 && json.stderr.contains("cannot be combined with --stdout"), "{json:?}");
    assert_eq!(run(&cluster, &["logs", "-f", &loud, &quiet]).await.code, 2);
    assert_eq!(run(&cluster, &["logs", "--group", "h"]).await.code, 5);
}

#[tokio::test]
async fn a_task_may_be_named_by_the_beginning_or_the_end_of_its_id() {
    let cluster = with_failures().await;
    let ids = [0, 1, 2].map(|place| id(&cluster, place));
    let end = &ids[0][ids[0].len() - 12..];
    let shown = run(&cluster, &["show", end]).await;
    assert!(shown.code == 0 && shown.stdout.contains(&ids[0]), "{shown:?}");
    let waited = run(&cluster, &["wait", end, &ids[2]]).await;
    assert_eq!((waited.code, waited.stdout.lines().count()), (1, 2));
    let none = run(&cluster, &["explain", "ffff-ffff"]).await;
    assert!(none.code == 5 && none.stderr.contains("begins or ends with ffffffff"), "{none:?}");

    for id in ["0197aaaa-0000-7000-8000-000000000001", "0197aaaa-0000-7000-8000-000000000002"] {
        assert_eq!(run(&cluster, &["submit", "--id", id, "--", "echo"]).await.code, 0);
    }
    let before = cluster.memory().tasks.len();
    let several = run(&cluster, &["retry", &ids[0], "0197aaaa"]).await;
    assert!(several.code == 2 && several.stderr.contains("-000000000002"), "{several:?}");
    assert_eq!(cluster.memory().tasks.len(), before, "nothing is done when one of them is not clear");
}
