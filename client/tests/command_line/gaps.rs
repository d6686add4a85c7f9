use serde_json::{Value, json};

use crate::program::{clb_of, finish, run, written};
use crate::stand_in::{Manner, StandIns};

const HALF: usize = 512 << 10;

/// A result of which 7 bytes are not kept.
fn truncated() -> Value {
    let kept = "a".repeat(HALF) + &"b".repeat(HALF);
    json!({
        "exit_code": 0, "stdout": kept, "stdout_truncated": { "at": HALF, "dropped_bytes": 7 }, "stderr": "",
        "duration": 0.5,
    })
}

fn end(cluster: &StandIns, id: &str) {
    let place = cluster.memory().tasks.iter().position(|task| task["id"] == *id).unwrap();
    cluster.memory().tasks[place]["result"] = truncated();
    cluster.memory().end(id, "succeeded");
    cluster.changed();
}

#[tokio::test]
async fn what_cannot_be_passed_on_is_told_and_is_no_success() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let begun = "a".repeat(HALF - 9);
    let mut child = clb_of(&cluster, &["submit", "--wait", "--", "slow"]).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    let id = cluster.play(0, 1, &begun);
    written(&mut child, begun.len()).await;
    end(&cluster, &id);
    let done = finish(child).await;
    assert_eq!(done.code, 125, "{}", done.stderr);
    assert!(done.stderr.contains("7 bytes of standard output are missing: "), "{}", done.stderr);
    assert!(
        done.stdout == "a".repeat(9) + &"b".repeat(HALF),
        "what came and what is kept of the rest, no more"
    );
}

#[tokio::test]
async fn a_gap_in_what_is_followed_is_told_beside_the_output_and_not_in_it() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let with_gap = format!("{}\n[clb: 7 bytes are missing here]\nb", "a".repeat(HALF));
    let child = clb_of(&cluster, &["submit", "--wait", "--", "slow"]).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    let id = cluster.play(0, 1, &with_gap);
    cluster.until_asked(&format!("GET /api/v1/tasks/{id}/output")).await;
    end(&cluster, &id);
    let done = finish(child).await;
    assert_eq!(done.code, 125, "{}", done.stderr);
    assert!(done.stderr.contains("7 bytes of standard output are missing: "), "{}", done.stderr);
    assert!(done.stdout == "a".repeat(HALF) + &"b".repeat(HALF));
}

#[tokio::test]
async fn the_end_of_a_line_is_passed_on_though_a_gap_could_follow() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let line = format!("{}\n", "a".repeat(HALF));
    let mut child = clb_of(&cluster, &["submit", "--wait", "--", "slow"]).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    cluster.play(0, 1, &line);
    assert!(written(&mut child, line.len()).await == line);
}

#[tokio::test]
async fn logs_show_where_the_gap_is_and_a_table_how_large() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let id = run(&cluster, &["submit", "--group", "g", "--", "slow"]).await.stdout.trim().to_owned();
    end(&cluster, &id);
    let expected = format!("{}\n[clb: 7 bytes are missing here]\n{}", "a".repeat(HALF), "b".repeat(HALF));
    for arguments in [vec!["logs", &id], vec!["logs", "-f", &id]] {
        let done = run(&cluster, &arguments).await;
        assert!(done.code == 0 && done.stdout == expected, "{}", done.stderr);
        assert!(done.stderr.contains("7 bytes of standard output are missing: "), "{}", done.stderr);
    }

    let done = run(&cluster, &["results", "--group", "g", "--csv"]).await;
    let mut reader = csv::Reader::from_reader(done.stdout.as_bytes());
    let column = reader.headers().unwrap().iter().position(|name| name == "stdout_dropped_bytes").unwrap();
    let record = reader.records().next().unwrap().unwrap();
    assert_eq!((&record[column], &record[column + 1]), ("7", "0"));
}
