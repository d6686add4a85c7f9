//! The newest replay stands for the task whose work it does again.

use serde_json::Value;

use crate::program::{Ended, clb_of, finish, run, run_with_input, start_with_input};
use crate::stand_in::worker::shell;
use crate::stand_in::{Manner, StandIns};

const LINES: &str = r#"{"kind": "command", "command": ["echo", "a"]}
{"kind": "command", "command": ["exit", "1"]}
"#;

/// As `shell`, but nothing fails any more.
fn mended(words: &[&str], stdin: &str) -> (i64, String, String) {
    match words {
        ["exit", _] => (0, "mended\n".to_owned(), String::new()),
        others => shell(others, stdin),
    }
}

fn states(listed: &Ended) -> Vec<Value> {
    listed.json().as_array().unwrap().iter().map(|task| task["state"].clone()).collect()
}

async fn ask<const N: usize>(cluster: &StandIns, arguments: [&str; N]) -> Ended {
    run(cluster, &arguments).await
}

#[tokio::test]
async fn a_group_has_succeeded_once_the_replays_of_what_failed_did() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let batch = ["batch", "-", "--wait", "--group", "g"];
    assert_eq!(run_with_input(&cluster, &batch, LINES).await.code, 1);
    let failed = cluster.memory().tasks[1]["id"].as_str().unwrap().to_owned();

    let again = ask(&cluster, ["retry", &failed]).await;
    assert_eq!(again.code, 0, "{again:?}");
    let second = again.stdout.split(' ').next().unwrap();
    assert_eq!(ask(&cluster, ["wait", "--group", "g"]).await.code, 1, "the replay failed too");
    assert_eq!(run_with_input(&cluster, &batch, LINES).await.code, 1);

    cluster.employ(mended);
    assert_eq!(ask(&cluster, ["retry", second]).await.code, 0);
    let waited = ask(&cluster, ["wait", "--group", "g"]).await;
    assert_eq!((waited.code, waited.stdout.as_str()), (0, "all tasks of g succeeded\n"), "{waited:?}");
    let done = run_with_input(&cluster, &batch, LINES).await;
    assert!(done.code == 0 && done.stderr.contains("2 succeeded, 0 failed, 0 cancelled"), "{done:?}");
}

#[tokio::test]
async fn a_batch_that_waits_takes_in_the_replays_that_are_made_meanwhile() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let batch = start_with_input(&cluster, &["batch", "-", "--wait", "--group", "g"], LINES).await;
    cluster.until_asked("GET /api/v1/outcomes").await;
    let [good, bad] = [0, 1].map(|place| cluster.memory().tasks[place]["id"].as_str().unwrap().to_owned());
    cluster.memory().run(&bad, shell);
    cluster.changed();
    // The replay waits when all that the batch submitted has ended.
    assert_eq!(ask(&cluster, ["retry", &bad]).await.code, 0);
    let replay = cluster.memory().tasks[2]["id"].as_str().unwrap().to_owned();
    cluster.memory().run(&good, shell);
    cluster.changed();
    let mend = async {
        cluster.until_asked("GET /api/v1/tasks").await;
        cluster.memory().run(&replay, mended);
        cluster.changed();
        std::future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = finish(batch) => done,
        () = mend => unreachable!("it never ends"),
    };
    assert!(done.code == 0 && done.stderr.contains("2 succeeded, 0 failed"), "{done:?}");
}

#[tokio::test]
async fn a_group_is_not_done_while_a_replay_runs() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    run_with_input(&cluster, &["batch", "-", "--group", "g"], LINES).await;
    cluster.memory().worker = None;
    let failed = cluster.memory().tasks[1]["id"].as_str().unwrap().to_owned();
    assert_eq!(ask(&cluster, ["retry", &failed]).await.code, 0);
    let waiting = clb_of(&cluster, &["wait", "--group", "g"]).spawn().unwrap();
    let replay = cluster.memory().tasks[2]["id"].as_str().unwrap().to_owned();
    cluster.until_asked(&format!("GET /api/v1/tasks/{replay}")).await;
    cluster.run_all_backwards(mended);
    assert_eq!(finish(waiting).await.code, 0);
}

#[tokio::test]
async fn lists_and_results_have_a_replay_in_the_place_of_what_it_replays() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    run_with_input(&cluster, &["batch", "-", "--group", "g"], LINES).await;
    cluster.employ(mended);
    let failed = cluster.memory().tasks[1]["id"].as_str().unwrap().to_owned();
    assert_eq!(ask(&cluster, ["retry", &failed]).await.code, 0);
    let listed = ask(&cluster, ["list", "--group", "g", "--json"]).await;
    assert_eq!(states(&listed), ["succeeded", "succeeded"]);
    let all = ask(&cluster, ["list", "--group", "g", "--json", "--replayed"]).await;
    assert_eq!(states(&all), ["succeeded", "failed", "succeeded"]);
    let failures = ["list", "--state", "failed", "--json"];
    assert_eq!(states(&run(&cluster, &failures).await), [Value::Null; 0]);

    let results = ask(&cluster, ["results", "--group", "g"]).await;
    assert!(results.stdout.lines().count() == 2 && !results.stdout.contains("failed"), "{results:?}");
    let results = ask(&cluster, ["results", "--group", "g", "--replayed"]).await;
    assert_eq!(results.stdout.lines().count(), 3, "{results:?}");
    let shown = ask(&cluster, ["show", &failed]).await;
    assert!(shown.stdout.contains("\nreplayed by  "), "{shown:?}");
}
