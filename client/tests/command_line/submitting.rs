use serde_json::json;

use crate::program::{
    clb, clb_of, ended, finish, interrupt, nobody, remarked, run, run_with_input, start_with_input, written,
};
use crate::stand_in::worker::shell;
use crate::stand_in::{Manner, StandIns};

#[tokio::test]
async fn a_submission_prints_the_id_and_says_all_that_was_asked_for() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let line = "submit --pool p --priority -7 --timeout 1h30m --max-attempts 5 --retry-on loss --retry-delay 2 \
                --retry-factor 1.5 --retry-max-delay 1m --retry-jitter 0.1 --success-code 0 --success-code 3 --group g --label a=b \
                --env C=d --working-dir /data --not-before 2030-01-01T00:00:00Z --stdin - -- echo -n x";
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let done = run_with_input(&cluster, &arguments, "input").await;
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));

    let memory = cluster.memory();
    let expected = json!({
        "id": done.stdout.trim(), "kind": "command", "command": ["echo", "-n", "x"], "env": { "C": "d" },
        "stdin": "input", "working_dir": "/data", "success_codes": [0, 3], "pool": "p", "priority": -7,
        "timeout": 5400.0, "max_attempts": 5, "retry": { "on": "loss", "delay": 2.0, "factor": 1.5, "max_delay": 60.0, "jitter": 0.1 }, "group": "g", "labels": { "a": "b" },
        "not_before": "2030-01-01T00:00:00.000000Z",
    });
    assert_eq!(memory.submissions, [expected]);
}

#[tokio::test]
async fn a_key_stands_in_for_the_id() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let done = run(&cluster, &["submit", "--key", "order-17", "--sleep", "2"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(cluster.memory().keys, [Some("order-17".to_owned())]);
    assert!(cluster.memory().submissions[0].get("id").is_none());
}

#[tokio::test]
async fn waiting_passes_on_the_outputs_and_the_exit_code_of_the_command() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    for (command, code, stdout, stderr) in [
        (vec!["echo", "a", "b"], 0, "a b\n", ""),
        (vec!["warn", "careful"], 0, "", "careful\n"),
        (vec!["exit", "7"], 7, "", ""),
        (vec!["exit", "3"], 3, "", ""),
    ] {
        let done = run(&cluster, &[vec!["submit", "--wait", "--"], command].concat()).await;
        assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (code, stdout, stderr));
    }
    let killed = run(&cluster, &["submit", "--wait", "--", "die", "9"]).await;
    assert_eq!((killed.code, killed.stdout.as_str()), (137, "half"));
    assert!(killed.stderr.contains("failed: it ended with -9"), "{killed:?}");
}

#[tokio::test]
async fn output_is_passed_on_while_the_command_runs_and_completed_from_its_result() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let mut child = clb_of(&cluster, &["submit", "--wait", "--", "slow"]).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    let id = cluster.play(0, 1, "first, ");
    assert_eq!(written(&mut child, 7).await, "first, ");
    cluster.memory().run(&id, |_, _| (0, "first, second\n".to_owned(), "done\n".to_owned()));
    cluster.changed();
    let done = finish(child).await;
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "second\n", "done\n"));
}

#[tokio::test]
async fn output_that_came_before_the_death_of_the_leader_is_not_repeated() {
    let mut cluster = StandIns::start([Manner::Serves, Manner::Serves]).await;
    let mut child = clb_of(&cluster, &["submit", "--wait", "--", "slow"]).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    let id = cluster.play(0, 1, "first, ");
    assert_eq!(written(&mut child, 7).await, "first, ");
    cluster.all[0].die().await;
    let output = format!("GET /api/v1/tasks/{id}/output");
    cluster.until(|_| cluster.all[1].asked().contains(&output)).await;
    cluster.play(0, 1, "first, second, ");
    cluster.memory().run(&id, |_, _| (0, "first, second, third\n".to_owned(), String::new()));
    cluster.changed();
    let done = finish(child).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "second, third\n"), "{done:?}");
}

#[tokio::test]
async fn the_output_of_a_further_attempt_follows_that_of_the_first() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let mut child = clb_of(&cluster, &["submit", "--wait", "--", "slow"]).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    cluster.play(0, 1, "one\n");
    assert_eq!(written(&mut child, 4).await, "one\n");
    let id = cluster.play(0, 2, "two\n");
    assert_eq!(written(&mut child, 4).await, "two\n");
    cluster.memory().run(&id, |_, _| (0, "two\nthree\n".to_owned(), String::new()));
    cluster.memory().tasks[0]["attempt"] = 2.into();
    cluster.changed();
    let done = finish(child).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "three\n"), "{done:?}");
    assert!(done.stderr.contains("attempt 2 is running on"), "{done:?}");
}

#[tokio::test]
async fn waiting_survives_the_death_of_the_leader() {
    let mut cluster = StandIns::start([Manner::Serves, Manner::Serves]).await;
    let child = clb_of(&cluster, &["submit", "--wait", "--", "echo", "a"]).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    cluster.all[0].die().await;
    cluster.run_all_backwards(shell);
    let done = finish(child).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "a\n"), "{done:?}");
}

/// Waits for a task that is held up: the one that is submitted, or one that was before.
async fn is_told_why_it_waits(arguments: &[&str]) {
    let cluster = StandIns::start([Manner::Serves]).await;
    let before = run(&cluster, &["submit", "--group", "g", "--sleep", "1"]).await;
    let arguments: Vec<&str> =
        arguments.iter().map(|it| if *it == "ID" { before.stdout.trim() } else { it }).collect();
    cluster.memory().waits_for =
        Some(("pool_paused", "It waits for the pool p: it is paused. Resume the pool."));
    let line = r#"{"kind": "command", "command": ["echo"]}"#;
    let mut child = start_with_input(&cluster, &arguments, line).await;
    let said = remarked(&mut child, "Resume the pool.\n").await;
    assert!(said.contains(": It waits for the pool p: it is paused."), "{said}");
    // Asked again it is the same.
    let questions = |asked: Vec<String>| asked.iter().filter(|asked| asked.ends_with("/explain")).count();
    cluster.until(|_| questions(cluster.all[0].asked()) > 1).await;
    interrupt(&child);
    let done = finish(child).await;
    assert_eq!((done.code, done.stderr.contains("it is paused")), (130, false), "{done:?}");
}

#[tokio::test]
async fn what_holds_a_task_up_is_told_once_to_whoever_waits_for_it() {
    tokio::join!(
        is_told_why_it_waits(&["submit", "--wait", "--", "echo"]),
        is_told_why_it_waits(&["submit", "--wait", "--json", "--sleep", "1"]),
        is_told_why_it_waits(&["map", "--", "echo"]),
        is_told_why_it_waits(&["batch", "-", "--wait"]),
        is_told_why_it_waits(&["wait", "ID"]),
        is_told_why_it_waits(&["wait", "ID", "--any"]),
        is_told_why_it_waits(&["wait", "--group", "g"]),
        is_told_why_it_waits(&["wait", "--group", "g", "--any", "--json"]),
    );
}

#[tokio::test]
async fn ctrl_c_leaves_the_task_running_and_says_how_to_come_back() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let child = clb_of(&cluster, &["submit", "--wait", "--sleep", "60"]).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    let id = cluster.memory().tasks[0]["id"].as_str().unwrap().to_owned();
    cluster.until_asked(&format!("GET /api/v1/tasks/{id}")).await;
    interrupt(&child);
    let done = finish(child).await;
    assert_eq!(done.code, 130);
    assert!(done.stderr.contains(&format!("clb wait {id}")), "{done:?}");
    assert_eq!(cluster.memory().tasks[0]["state"], "queued");
}

#[tokio::test]
async fn a_cancelled_and_a_late_command_have_codes_of_their_own() {
    let cluster = StandIns::start([Manner::Serves]).await;
    for (state, error, code) in
        [("cancelled", "", 130), ("failed", "timed_out", 124), ("failed", "attempts_exhausted", 125)]
    {
        let count = cluster.memory().tasks.len();
        let child = clb_of(&cluster, &["submit", "--wait", "--", "slow"]).spawn().unwrap();
        cluster.until(|memory| memory.tasks.len() > count).await;
        let id = cluster.memory().tasks[count]["id"].as_str().unwrap().to_owned();
        if !error.is_empty() {
            cluster.memory().tasks[count]["error"] = json!({ "code": error, "message": "no luck" });
        }
        cluster.memory().end(&id, state);
        cluster.changed();
        let done = finish(child).await;
        assert_eq!(done.code, code, "{done:?}");
        assert!(done.stderr.contains(&id), "{done:?}");
    }
}

#[tokio::test]
async fn whose_fault_it_was_is_in_the_exit_code() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let refused = run(&cluster, &["submit", "--spin", "1"]).await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("must be \"sleep\""), "{refused:?}");
    assert_eq!(run(&cluster, &["submit", "--wait", "--spin", "1"]).await.code, 125);
    assert_eq!(run(&cluster, &["submit", "--stdin", "/nowhere/x", "--", "cat"]).await.code, 2);
    let large = vec![255_u8; 900 << 10];
    let done = run_with_input(&cluster, &["submit", "--stdin", "-", "--", "cat"], large).await;
    assert!(done.code == 2 && done.stderr.contains("a mount of their pool"), "{done:?}");
    assert_eq!(run(&cluster, &["submit"]).await.code, 2);
    assert_eq!(run(&cluster, &["--url", "nonsense", "list"]).await.code, 2);
}

#[tokio::test]
async fn what_is_refused_is_called_as_it_was_typed_and_said_once() {
    let cluster = StandIns::start([Manner::Serves]).await;
    run(&cluster, &["pool", "set", "py", "--image", "python"]).await;
    let done = run(&cluster, &["submit", "--pool", "nope", "--", "date"]).await;
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (4, "clb: refused: --pool: there is no pool \"nope\"; the pools are py\n")
    );
    let done = run(&cluster, &["submit", "--wait", "--priority", "101", "--", "date"]).await;
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (125, "clb: refused: --priority: must be from -100 to 100\n")
    );
}

#[tokio::test]
async fn a_conflict_names_the_task_and_the_field_once() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let id = run(&cluster, &["submit", "--", "date"]).await.stdout.trim().to_owned();
    let done = run(&cluster, &["submit", "--id", &id, "--", "uptime"]).await;
    let said =
        format!("clb: refused with 409: This id already belongs to task {id}, which differs in: command.\n");
    assert_eq!((done.code, done.stderr), (4, said));
}

#[tokio::test]
async fn an_outage_is_told_after_a_second_and_given_up_when_the_patience_is_over() {
    let url = nobody();
    let done =
        ended(clb(&["--url", &url, "--patience", "1.3", "submit", "--sleep", "1"]).output().await.unwrap());
    assert_eq!(done.code, 3);
    assert!(done.stderr.contains("retrying for another"), "{done:?}");
    assert!(done.stderr.contains(&format!("no orchestrator at {url} served the request within")), "{done:?}");
}

#[tokio::test]
async fn the_patience_begins_with_the_outage_and_not_with_the_waiting() {
    let mut cluster = StandIns::start([Manner::Serves]).await;
    let arguments = ["--patience", "2", "submit", "--wait", "--sleep", "60"];
    let mut child = clb_of(&cluster, &arguments).spawn().unwrap();
    cluster.until(|memory| memory.tasks.len() == 1).await;
    let id = cluster.memory().tasks[0]["id"].as_str().unwrap().to_owned();
    cluster.until_asked(&format!("GET /api/v1/tasks/{id}")).await;
    cluster.all[0].die().await;
    // The answer that was held breaks off.
    cluster.memory().end(&id, "succeeded");
    cluster.changed();
    let said = remarked(&mut child, " s\n").await;
    let url = &cluster.all[0].url;
    assert!(said.starts_with(&format!("clb: {url} cannot be reached")), "{said}");
    let left = said.split("), retrying for another ").nth(1).unwrap();
    let left: f64 = left.trim_end_matches(" s\n").parse().unwrap();
    assert!(left <= 2.0, "{said}");
    let done = finish(child).await;
    assert_eq!(done.code, 125, "{done:?}");
    let waited = done.stderr.split("served the request within ").nth(1).unwrap();
    let waited: f64 = waited.split(' ').next().unwrap().parse().unwrap();
    assert!((1.0..10.0).contains(&waited), "{done:?}");
}

#[tokio::test]
async fn the_configuration_file_says_where_the_cluster_is() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("clb")).unwrap();
    let file = folder.path().join("clb/config.toml");
    let with_file = || {
        let mut command = clb(&["submit", "--sleep", "1"]);
        command.env("XDG_CONFIG_HOME", folder.path());
        command
    };
    std::fs::write(&file, format!("url = {:?}\ntoken = \"secret\"\n", cluster.urls())).unwrap();
    assert_eq!(ended(with_file().output().await.unwrap()).code, 0);
    assert_eq!(cluster.memory().tokens, [Some("Bearer secret".to_owned())]);

    let done = ended(with_file().env("CLB_URL", cluster.urls().join(",")).output().await.unwrap());
    assert_eq!((done.code, &cluster.memory().tokens[1]), (0, &None), "the token is for the file's addresses");

    std::fs::write(&file, "url = []\ntoken = \"secret\n").unwrap();
    let done = ended(with_file().output().await.unwrap());
    assert!(done.code == 2 && !done.stderr.contains("secret"), "{done:?}");

    std::fs::write(&file, "url = []\ntokne = 1\n").unwrap();
    let done = ended(with_file().output().await.unwrap());
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("clb/config.toml, line 2"), "{done:?}");
}

#[tokio::test]
async fn what_was_not_answered_can_be_repeated_with_its_id() {
    let cluster = StandIns::start([Manner::BreaksOff]).await;
    let done = run(&cluster, &["submit", "--patience", "0.2", "--sleep", "1"]).await;
    assert_eq!(done.code, 3, "{done:?}");
    let id = cluster.memory().tasks[0]["id"].as_str().unwrap().to_owned();
    assert!(done.stderr.contains(&format!("it is safe to repeat `clb submit --id {id} ...`")), "{done:?}");

    cluster.all[0].behave(Manner::Serves);
    assert_eq!(run(&cluster, &["submit", "--id", &id, "--sleep", "1"]).await.code, 0);
    assert_eq!(cluster.memory().tasks.len(), 1);
}
