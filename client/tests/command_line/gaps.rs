use serde_json::{Value, json};

use crate::program::{clb_of, finish, run, start_with_input, written};
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

fn id_of(task: &Value) -> String {
    task["id"].as_str().unwrap().to_owned()
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
        assert!(done.code == 125 && done.stdout == expected, "{}", done.stderr);
        assert!(done.stderr.contains("7 bytes of standard output are missing: "), "{}", done.stderr);
    }

    for arguments in [
        &["logs", "--stdout", &id][..],
        &["logs", "--group", "g"],
        &["logs", &id, &id],
        &["results", "--group", "g", "--json"],
    ] {
        let done = run(&cluster, arguments).await;
        assert_eq!(done.code, 125, "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains("of the commands wrote more output than is kept"), "{}", done.stderr);
    }
    for whole in [&["results", "--group", "g"][..], &["logs", "--stderr", &id]] {
        assert_eq!(run(&cluster, whole).await.code, 0, "{whole:?}");
    }

    let again = run(&cluster, &["submit", "--group", "again", "--", "slow"]).await.stdout.trim().to_owned();
    for (attempt, code) in [(Value::Null, 0), (json!(1), 125)] {
        cluster.memory().tasks[1]["attempt"] = attempt;
        for arguments in [&["logs", "--stderr", &again, &id][..], &["logs", "--stdout", "--group", "again"]] {
            let done = run(&cluster, arguments).await;
            assert_eq!(done.code, code, "{arguments:?}: {}", done.stderr);
            assert!(done.stdout.contains(&format!("==> {again}")), "{}", done.stdout);
        }
    }
    cluster.memory().end(&again, "succeeded");
    let done = run(&cluster, &["logs", "--group", "again"]).await;
    assert_eq!(done.code, 125, "its result cannot be read: {}", done.stderr);

    let done = run(&cluster, &["results", "--group", "g", "--csv"]).await;
    assert_eq!(done.code, 125, "{}", done.stderr);
    let mut reader = csv::Reader::from_reader(done.stdout.as_bytes());
    let column = reader.headers().unwrap().iter().position(|name| name == "stdout_dropped_bytes").unwrap();
    let record = reader.records().next().unwrap().unwrap();
    assert_eq!((&record[column], &record[column + 1]), ("7", "0"));
}

#[tokio::test]
async fn what_runs_and_has_a_gap_already_is_no_whole_log() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let id = run(&cluster, &["submit", "--", "slow"]).await.stdout.trim().to_owned();
    let with_gap = format!("{}\n[clb: 7 bytes are missing here]\nb", "a".repeat(HALF));
    cluster.play(0, 1, &with_gap);
    let done = run(&cluster, &["logs", &id]).await;
    assert!(done.code == 125 && done.stdout == with_gap, "{}", done.stderr);
}

#[tokio::test]
async fn lines_whose_output_is_incomplete_are_counted_and_are_no_success() {
    for json in [None, Some("--json")] {
        let cluster = StandIns::start([Manner::Serves]).await;
        let arguments: Vec<&str> = ["map", "-k"].into_iter().chain(json).chain(["--", "slow"]).collect();
        let child = start_with_input(&cluster, &arguments, "a\nb\nc\n").await;
        cluster.until(|memory| memory.tasks.len() == 3).await;
        let ids: Vec<String> = cluster.memory().tasks.iter().map(id_of).collect();
        end(&cluster, &ids[0]);
        cluster.memory().run(&ids[1], |_, _| (0, "whole\n".to_owned(), String::new()));
        end(&cluster, &ids[2]);
        let done = finish(child).await;
        assert_eq!(done.code, 125, "{}", done.stderr);
        assert!(
            done.stderr.contains("3 succeeded, 0 failed; the output of 2 of them is incomplete"),
            "{}",
            done.stderr
        );
        if json.is_none() {
            assert!(
                done.stderr.contains("line 3: 7 bytes of standard output are missing"),
                "{}",
                done.stderr
            );
        }
    }
}

#[tokio::test]
async fn a_line_that_fails_goes_before_one_whose_output_is_incomplete() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let child = start_with_input(&cluster, &["map", "--", "slow"], "a\nb\n").await;
    cluster.until(|memory| memory.tasks.len() == 2).await;
    let ids: Vec<String> = cluster.memory().tasks.iter().map(id_of).collect();
    end(&cluster, &ids[0]);
    cluster.memory().run(&ids[1], |_, _| (1, String::new(), String::new()));
    cluster.changed();
    let done = finish(child).await;
    assert_eq!(done.code, 123, "{}", done.stderr);
    assert!(done.stderr.contains("the output of 1 of them is incomplete"), "{}", done.stderr);
}

#[tokio::test]
async fn a_task_in_json_with_a_gap_is_no_success() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let child = clb_of(&cluster, &["submit", "--wait", "--json", "--", "slow"]).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    let id = id_of(&cluster.memory().tasks[0]);
    end(&cluster, &id);
    assert_eq!(finish(child).await.code, 125);
}

#[tokio::test]
async fn a_batch_that_is_waited_for_says_how_many_wrote_more_than_is_kept() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let line = r#"{"kind": "command", "command": ["slow"]}"#;
    let child =
        start_with_input(&cluster, &["batch", "-", "--wait", "--json"], format!("{line}\n{line}\n")).await;
    cluster.until(|memory| memory.tasks.len() == 2).await;
    let ids: Vec<String> = cluster.memory().tasks.iter().map(id_of).collect();
    end(&cluster, &ids[0]);
    cluster.memory().run(&ids[1], |_, _| (0, String::new(), String::new()));
    cluster.changed();
    let done = finish(child).await;
    assert_eq!((done.code, &done.json()["ended"]["incomplete"]), (0, &1.into()), "{}", done.stderr);
    assert!(done.stderr.contains("1 of them wrote more output than is kept"), "{}", done.stderr);
}

#[tokio::test]
async fn a_program_that_could_not_start_has_no_output_to_miss() {
    let cluster = StandIns::start([Manner::Serves]).await;
    for (verdict, may_be_missing) in [("failed", false), ("killed", true)] {
        let count = cluster.memory().tasks.len();
        let child = clb_of(&cluster, &["submit", "--wait", "--", "none"]).spawn().unwrap();
        cluster.until(|memory| memory.tasks.len() > count).await;
        let id = id_of(&cluster.memory().tasks[count]);
        cluster.memory().tasks[count]["attempts"] = json!([{
            "attempt": 1, "worker": "worker-1", "epoch": 1, "started_at": "2026-01-01T00:00:00Z",
            "ended_at": "2026-01-01T00:00:00Z", "verdict": { "kind": verdict, "detail": "cannot start" },
        }]);
        cluster.memory().tasks[count]["error"] = json!({ "code": "failed", "message": "cannot start" });
        cluster.memory().end(&id, "failed");
        cluster.changed();
        let done = finish(child).await;
        assert_eq!(done.code, 125, "{done:?}");
        assert_eq!(done.stderr.contains("may be missing"), may_be_missing, "{done:?}");
    }
}
