//! A command for each line, in a real shell on a real worker.

use clb_tests::images::debian;
use clb_tests::{Cluster, Setup};
use serde_json::json;

async fn with_shell() -> Cluster {
    let image = debian().await;
    let cluster = Setup::new().workers(1).start().await;
    cluster.has_pool("sh", &json!({"image": image, "workers": 1, "slots": 8})).await;
    cluster
}

#[tokio::test]
async fn a_line_is_one_word_of_a_script_and_what_is_missing_is_no_success() {
    let cluster = with_shell().await;
    let lines =
        ["; touch /tmp/pasted", "$(touch /tmp/pasted)", "`touch /tmp/pasted`", "it's \"x\" \\", "-n  é"];
    let script = "printf '<%s><%s>\\n' {} \"{}\"; test ! -e /tmp/pasted";
    let map = ["map", "--pool", "sh", "-k", "--max-attempts", "1", "--", "sh", "-c", script];
    let ran = cluster.clb(&map, &lines.join("\n")).await;
    let expected: Vec<String> = lines.iter().map(|line| format!("<{line}><{line}>\n")).collect();
    let expected = expected.concat();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), expected.as_str()), "{ran:?}");

    let map = ["map", "--pool", "sh", "--", "sh", "-c", "yes | head -c {}"];
    let ran = cluster.clb(&map, "3000000\n10\n").await;
    assert_eq!(ran.code, Some(125), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("2 succeeded, 0 failed; the output of 1 of them is incomplete"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_repetition_runs_nothing_twice_and_another_pool_is_a_conflict() {
    let cluster = with_shell().await;
    let map = async |pool: &str, input: &str| {
        let command = ["map", "--pool", pool, "--group", "once", "-k", "--", "sh", "-c"];
        let ran = [&command[..], &["echo {} $(date +%N)"]].concat();
        cluster.clb(&ran, input).await
    };
    let first = map("sh", "a\nb\n").await;
    assert_eq!(first.code, Some(0), "{first:?}");
    let again = map("sh", "a\nb\nc\n").await;
    assert!(again.stdout.starts_with(&first.stdout) && again.stdout.lines().count() == 3, "{again:?}");
    assert!(again.stderr.contains("2 of them were already known"), "{again:?}");
    let other = map("default", "a\nb\n").await;
    assert_eq!(other.code, Some(4), "{other:?}");
    assert!(
        other.stderr.contains("line 1: ") && other.stderr.contains("which differs in: pool;"),
        "{other:?}"
    );
    let unknown = map("nope", "d\ne\n").await;
    assert_eq!(
        unknown.stderr,
        "clb: refused: --pool: there is no pool \"nope\"; the pools are default, sh\n"
    );
}

#[tokio::test]
async fn what_did_not_start_has_no_output_that_may_be_missing() {
    let cluster = with_shell().await;
    let ran = cluster.clb(&["submit", "--pool", "sh", "--wait", "--", "no-such-program"], "").await;
    assert_eq!(ran.code, Some(125), "{ran:?}");
    assert!(ran.stderr.contains("there is no program no-such-program"), "{ran:?}");
    assert!(!ran.stderr.contains("may be missing"), "{ran:?}");
}
