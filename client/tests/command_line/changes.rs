//! Replaying otherwise, and looking at what would be cancelled or replayed.

use serde_json::{Value, json};

use crate::program::run;
use crate::stand_in::worker::shell;
use crate::stand_in::{Manner, StandIns};

async fn with_one_that_failed() -> (StandIns, String) {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let failed = run(&cluster, &["submit", "--group", "g", "--env", "A=b", "--", "exit", "1"]).await.stdout;
    (cluster, failed.trim().to_owned())
}

fn states(cluster: &StandIns) -> Vec<Value> {
    cluster.memory().tasks.iter().map(|task| task["state"].clone()).collect()
}

#[tokio::test]
async fn a_retry_may_change_the_pool_the_timeout_the_attempts_and_the_command() {
    let (cluster, failed) = with_one_that_failed().await;
    let changes = ["--to-pool", "gpu", "--timeout", "2m", "--max-attempts", "5"];
    let retry = [&["retry", "--json", &failed][..], &changes, &["--", "echo", "mended"]].concat();
    let replay = run(&cluster, &retry).await.json();
    assert_eq!((&replay["pool"], &replay["state"]), (&json!("gpu"), &json!("succeeded")));
    assert_eq!(
        (&replay["spec"]["command"], &replay["spec"]["env"]),
        (&json!(["echo", "mended"]), &json!({ "A": "b" }))
    );

    let many = [&["retry", "--pool", "default", "--state", "cancelled"][..], &changes].concat();
    run(&cluster, &many).await;
    let changes = json!({ "pool": "gpu", "timeout": 120.0, "max_attempts": 5 });
    assert_eq!(
        cluster.memory().orders,
        [json!({ "pool": "default", "state": "cancelled", "changes": changes })],
        "the pool that chooses is not the pool that runs"
    );
}

#[tokio::test]
async fn a_dry_run_lists_what_would_be_done_and_does_nothing() {
    let (cluster, failed) = with_one_that_failed().await;
    cluster.memory().worker = None;
    let open = run(&cluster, &["submit", "--group", "g", "--", "echo", "a"]).await.stdout.trim().to_owned();
    for command in ["cancel", "retry"] {
        let (meant, spared) = if command == "cancel" { (&open, &failed) } else { (&failed, &open) };
        for choice in [&["--group", "g"][..], &[meant, spared]] {
            let done = run(&cluster, &[&[command, "--dry-run"], choice].concat()).await;
            assert_eq!((done.code, done.stdout.lines().count()), (0, 2), "{command}: {done:?}");
            assert!(done.stdout.contains(meant.as_str()), "{command}: {done:?}");
            assert!(done.stderr.contains("1 task would be"), "{command}: {done:?}");
        }
        let json = run(&cluster, &[command, "--dry-run", "--json", "--group", "g"]).await.json();
        assert_eq!(json.as_array().map(Vec::len), Some(1), "{json}");
        assert_eq!(run(&cluster, &[command, "--dry-run", "--group", "h"]).await.code, 5);
    }
    assert_eq!(states(&cluster), ["failed", "queued"]);
    assert_eq!(cluster.memory().orders, [Value::Null; 0]);
    for arguments in
        [["cancel", "--dry-run", "--state", "failed"], ["retry", "--dry-run", "--state", "queued"]]
    {
        let done = run(&cluster, &arguments).await;
        assert!(done.code == 2 && done.stderr.contains("[possible values: "), "{done:?}");
    }

    run(&cluster, &["retry", &failed]).await;
    let done = run(&cluster, &["retry", "--dry-run", &failed]).await;
    assert!(done.stderr.contains("was already replayed"), "{done:?}");
}

#[tokio::test]
async fn a_dry_run_minds_the_changes() {
    let (cluster, failed) = with_one_that_failed().await;
    run(&cluster, &["pool", "set", "big", "--image", "python"]).await;
    let sleep = run(&cluster, &["submit", "--group", "g", "--sleep", "1"]).await.stdout.trim().to_owned();
    cluster.memory().end(&sleep, "failed");
    for choice in [&["--group", "g"][..], &[&failed, &sleep]] {
        let would = async |changes: &[&str]| {
            run(&cluster, &[&["retry", "--dry-run"], choice, changes].concat()).await
        };
        let done = would(&["--to-pool", "big"]).await;
        assert!(done.code == 0 && done.stderr.contains("2 tasks would be replayed"), "{done:?}");
        let done = would(&["--", "echo", "other"]).await;
        assert!(done.stderr.contains("1 task would be") && !done.stdout.contains(&sleep), "{done:?}");
        let done = would(&["--to-pool", "nope"]).await;
        assert!(done.code == 4 && done.stderr.contains("--to-pool: there is no pool \"nope\""), "{done:?}");
    }
}

#[tokio::test]
async fn a_refused_change_is_called_as_it_was_typed() {
    let (cluster, failed) = with_one_that_failed().await;
    let done = run(&cluster, &["retry", "--to-pool", "nope", &failed]).await;
    assert!(done.code == 4 && done.stderr.contains("--to-pool: there is no such pool"), "{done:?}");
}
