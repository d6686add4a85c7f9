//! Names that nothing has, and lists of many pages.

use serde_json::json;

use crate::program::{clb_of, finish, interrupt, run, run_with_input};
use crate::stand_in::worker::shell;
use crate::stand_in::{Manner, StandIns};

async fn with_a_group() -> StandIns {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let done = run(&cluster, &["submit", "--group", "nightly", "--", "echo", "a"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    cluster
}

#[tokio::test]
async fn a_mistyped_group_is_told_and_the_nearest_one_named() {
    let cluster = with_a_group().await;
    cluster.memory().fits = 0;
    for command in ["list", "results", "wait", "cancel", "retry"] {
        let done = run(&cluster, &[command, "--group", "nigthly"]).await;
        assert_eq!((done.code, done.stdout.as_str()), (5, ""), "{command}: {done:?}");
        let expected = "there is no group \"nigthly\"; did you mean \"nightly\"?";
        assert!(done.stderr.contains(expected), "{command}: {done:?}");
        let json = run(&cluster, &[command, "--json", "--group", "nothing alike"]).await;
        assert!(json.code == 5 && json.stderr.contains("`clb list` shows the groups"), "{json:?}");
    }
    for command in ["list", "cancel", "retry"] {
        let done = run(&cluster, &[command, "--pool", "no-pool"]).await;
        assert!(
            done.code == 5 && done.stderr.contains("there is no pool \"no-pool\""),
            "{command}: {done:?}"
        );
    }
}

#[tokio::test]
async fn a_group_of_which_nothing_fits_is_no_mistake() {
    let cluster = with_a_group().await;
    cluster.memory().fits = 0;
    let listed = run(&cluster, &["list", "--group", "nightly", "--state", "failed"]).await;
    assert!(listed.code == 0 && listed.stdout.starts_with("ID "), "{listed:?}");
    let listed = run(&cluster, &["list", "--group", "nightly", "--state", "failed", "--json"]).await;
    assert_eq!((listed.code, listed.json()), (0, json!([])));
    for command in ["cancel", "retry"] {
        let done = run(&cluster, &[command, "--group", "nightly", "--label", "a=b"]).await;
        assert_eq!(done.code, 0, "{command}: {done:?}");
    }
}

#[tokio::test]
async fn the_results_of_a_group_to_come_can_be_followed() {
    let cluster = with_a_group().await;
    let mut child = clb_of(&cluster, &["results", "--group", "later", "-f", "--json"]).spawn().unwrap();
    cluster.until_asked("GET /api/v1/groups").await;
    run(&cluster, &["submit", "--group", "later", "--", "echo", "a"]).await;
    assert_eq!(crate::program::written(&mut child, 8).await, "{\"seq\":2");
    interrupt(&child);
    let done = finish(child).await;
    assert_eq!(done.code, 130, "{done:?}");
    let said: Vec<&str> = done.stderr.lines().take(2).collect();
    assert!(said[0].starts_with("clb: there is no group \"later\"; "), "{done:?}");
    assert_eq!(said[1], "clb: waiting for the first task");
}

#[tokio::test]
async fn a_list_of_many_pages_has_one_header_and_columns_that_stay() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let lines = "{\"kind\": \"sleep\", \"seconds\": 5}\n".repeat(1_200);
    assert_eq!(run_with_input(&cluster, &["batch", "-"], lines).await.code, 0);
    let listed = run(&cluster, &["list", "--all"]).await.stdout;
    assert_eq!((listed.matches("STATE").count(), listed.lines().count()), (1, 1_201));
    let header = listed.lines().next().unwrap();
    let place = header.find("WHAT").unwrap();
    assert!(listed.lines().skip(1).all(|line| line[place..].starts_with("sleep 5 s")), "{listed}");
}
