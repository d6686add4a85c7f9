//! Many small tasks from one file.

use std::collections::BTreeSet;

use clb_tests::Cluster;

const TASKS: usize = 100_000;

#[tokio::test]
async fn a_hundred_thousand_tasks_are_submitted_run_and_collected() {
    let cluster = Cluster::start().await;
    let lines = "{\"kind\":\"sleep\",\"seconds\":0,\"add\":[3,4]}\n".repeat(TASKS);
    let ran = cluster.clb(&["batch", "-", "--group", "many", "--wait"], &lines).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let results = cluster.clb(&["results", "--group", "many", "--json"], "").await;
    assert_eq!(results.code, Some(0), "{}", results.stderr);
    let mut ids = BTreeSet::new();
    for line in results.stdout.lines() {
        let outcome: serde_json::Value = serde_json::from_str(line).expect("a result a line");
        assert_eq!(outcome["result"]["sum"], 7, "{outcome}");
        assert!(ids.insert(outcome["id"].to_string()), "twice: {outcome}");
    }
    assert_eq!(ids.len(), TASKS);
}
