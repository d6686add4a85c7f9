use crate::program::{finish, interrupt, run, run_with_input, start_with_input};
use crate::stand_in::worker::shell;
use crate::stand_in::{Manner, Memory, StandIns};

fn open(memory: &Memory) -> usize {
    memory.tasks.len() - memory.outcomes.len()
}

fn numbers(count: usize) -> String {
    (0..count).fold(String::new(), |text, n| text + &format!("{n}\n"))
}

#[tokio::test]
async fn results_come_in_the_order_of_the_ends_or_of_the_lines() {
    for (order, expected) in [(None, "c\nb\na\n"), (Some("--keep-order"), "a\nb\nc\n")] {
        let cluster = StandIns::start([Manner::Serves]).await;
        let arguments: Vec<&str> = ["map"].into_iter().chain(order).chain(["--", "echo", "{}"]).collect();
        let child = start_with_input(&cluster, &arguments, "a\nb\nc").await;
        cluster.until(|memory| memory.tasks.len() == 3).await;
        cluster.run_all_backwards(shell);
        let done = finish(child).await;
        assert_eq!((done.code, done.stdout.as_str()), (0, expected), "{done:?}");
        assert!(done.stderr.contains("3 succeeded, 0 failed"), "{done:?}");
    }
}

#[tokio::test]
async fn places_are_filled_as_gnu_parallel_does() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let arguments = ["map", "-k", "--", "echo", "{/.}-{#}", "{//}"];
    let done = run_with_input(&cluster, &arguments, "a/b.c\nd\n\n/e.f\n").await;
    assert_eq!(done.stdout, "b-1 a\nd-2 .\ne-3 /\n");
    let done = run_with_input(&cluster, &["map", "-0", "--", "echo"], "a\nb\0").await;
    assert_eq!(done.stdout, "a\nb\n");
}

#[tokio::test]
async fn a_line_is_no_code_for_a_shell_and_another_text_may_stand_for_it() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(|words, _| (0, words.join("|"), String::new()));
    let done = run_with_input(&cluster, &["map", "--", "sh", "-c", "echo {}"], "; rm x\n").await;
    assert_eq!(done.stdout, "sh|-c|clb_line='; rm x'; echo \"${clb_line}\"");
    let done = run_with_input(&cluster, &["map", "-I", "@", "--", "echo", "{}", "@"], "a\n").await;
    assert_eq!(done.stdout, "echo|{}|a");
    let done = run_with_input(&cluster, &["map", "--", "fish", "-c", "echo {}"], "a\n").await;
    assert!(done.code == 2 && done.stderr.contains("cannot quote a line for fish"), "{done:?}");
}

#[tokio::test]
async fn no_more_than_so_many_lines_are_on_their_way() {
    for order in [None, Some("-k")] {
        let cluster = StandIns::start([Manner::Serves]).await;
        let input = numbers(50);
        let arguments: Vec<&str> =
            ["map", "-j", "4"].into_iter().chain(order).chain(["--", "echo"]).collect();
        let child = start_with_input(&cluster, &arguments, &input).await;
        while cluster.memory().outcomes.len() < 50 {
            cluster.until(|memory| open(memory) == 4.min(50 - memory.outcomes.len())).await;
            cluster.run_all_backwards(shell);
        }
        let done = finish(child).await;
        assert_eq!((done.code, done.stdout.lines().count()), (0, 50), "{done:?}");
        assert_eq!(cluster.memory().most_open, 4);
    }
}

#[tokio::test]
async fn some_that_fail_are_named_and_tell_by_the_exit_code_as_with_xargs() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let done = run_with_input(&cluster, &["map", "--", "exit"], "0\n5\n0\n").await;
    assert_eq!(done.code, 123);
    assert!(done.stderr.contains("line 2 (5): it ended with 5"), "{done:?}");
    assert!(done.stderr.contains("2 succeeded, 1 failed"), "{done:?}");
}

#[tokio::test]
async fn the_death_of_the_leader_loses_and_repeats_nothing() {
    let mut cluster = StandIns::start([Manner::Serves, Manner::Serves]).await;
    let input = numbers(20);
    let child = start_with_input(&cluster, &["map", "-k", "-j", "10", "--", "echo"], &input).await;
    cluster.until(|memory| memory.tasks.len() == 10).await;
    cluster.all[0].die().await;
    cluster.employ(shell);
    cluster.run_all_backwards(shell);
    let done = finish(child).await;
    assert_eq!((done.code, done.stdout), (0, input));
    assert_eq!(cluster.memory().tasks.len(), 20);
}

#[tokio::test]
async fn json_has_the_line_beside_the_task() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let done = run_with_input(&cluster, &["map", "--json", "--", "echo"], "x y\n").await;
    let mapped = done.json();
    assert_eq!((&mapped["line"], &mapped["input"]), (&1.into(), &"x y".into()));
    assert_eq!(mapped["task"]["result"]["stdout"], "x y\n");
}

#[tokio::test]
async fn a_full_queue_is_waited_for_and_ctrl_c_ends_the_waiting() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    cluster.memory().full_for = 2;
    let done = run_with_input(&cluster, &["map", "-k", "--", "echo"], "a\nb\n").await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "a\nb\n"), "{done:?}");

    cluster.all[0].behave(Manner::Answers(429));
    let child = start_with_input(&cluster, &["map", "--group", "g", "--", "echo"], "a\n").await;
    let asked = cluster.all[0].asked().len();
    cluster.until(|_| cluster.all[0].asked().len() > asked).await;
    interrupt(&child);
    let done = finish(child).await;
    assert_eq!(done.code, 130, "{done:?}");
    assert!(done.stderr.contains("--group 'g'"), "{done:?}");
}

#[tokio::test]
async fn a_line_that_is_none_or_is_refused_fails_and_the_others_go_on() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let mut input = b"a\nb\xff\nc\nforbidden\n".to_vec();
    input.resize(input.len() + (4 << 20) + 1, b'x');
    input.extend_from_slice(b"\nd\n");
    for order in [None, Some("-k")] {
        let arguments: Vec<&str> = ["map"].into_iter().chain(order).chain(["--", "echo"]).collect();
        let done = run_with_input(&cluster, &arguments, &input).await;
        assert_eq!(done.code, 123, "{done:?}");
        let mut lines: Vec<&str> = done.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["a", "c", "d"], "{done:?}");
        for why in ["line 2: it is not valid UTF-8", "line 4: ", "line 5: ", "3 succeeded, 3 failed"] {
            assert!(done.stderr.contains(why), "{why}: {done:?}");
        }
    }
}

#[tokio::test]
async fn a_repetition_of_the_same_group_runs_only_what_is_missing_and_prints_all() {
    for order in [None, Some("-k")] {
        let cluster = StandIns::start([Manner::Serves]).await;
        cluster.employ(shell);
        let arguments = ["map", "-j", "4", "--group", "g"].into_iter().chain(order).chain(["--", "echo"]);
        let arguments: Vec<&str> = arguments.collect();
        let first = run_with_input(&cluster, &arguments, &numbers(50)).await;
        assert_eq!((first.code, cluster.memory().tasks.len()), (0, 50), "{first:?}");
        let again = run_with_input(&cluster, &arguments, &numbers(60)).await;
        assert_eq!((again.code, cluster.memory().tasks.len()), (0, 60), "{again:?}");
        let mut printed: Vec<u32> = again.stdout.lines().map(|line| line.parse().unwrap()).collect();
        printed.sort_unstable();
        assert_eq!(printed, (0..60).collect::<Vec<u32>>());
        let said = "60 succeeded, 0 failed; 50 of them were already known and did not run again; group g";
        assert!(again.stderr.contains(said), "{again:?}");
    }
}

#[tokio::test]
async fn a_replay_stands_for_the_line_that_had_failed() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let arguments = ["map", "--group", "g", "-k", "--", "exit"];
    assert_eq!(run_with_input(&cluster, &arguments, "0\n5\n").await.code, 123);
    let failed = cluster.memory().tasks[1]["id"].as_str().unwrap().to_owned();
    cluster.memory().worker = None;
    assert_eq!(run(&cluster, &["retry", &failed]).await.code, 0);
    let replay = cluster.memory().tasks[2]["id"].as_str().unwrap().to_owned();
    let child = start_with_input(&cluster, &arguments, "0\n5\n").await;
    cluster.until_asked(&format!("GET /api/v1/tasks/{replay}")).await;
    cluster.run_all_backwards(|_, _| (0, "mended\n".to_owned(), String::new()));
    let done = finish(child).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "mended\n"), "{done:?}");
}

#[tokio::test]
async fn an_interrupted_one_says_how_far_it_was_and_is_gone_on_with() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let child = start_with_input(&cluster, &["map", "-j", "3", "--", "echo"], "a\nb\nc\nd\n").await;
    cluster.until(|memory| memory.tasks.len() == 3).await;
    let first = cluster.memory().tasks[0]["id"].as_str().unwrap().to_owned();
    cluster.memory().run(&first, shell);
    cluster.changed();
    cluster.until(|memory| memory.tasks.len() == 4).await;
    interrupt(&child);
    let done = finish(child).await;
    assert_eq!((done.code, done.stdout.as_str()), (130, "a\n"), "{done:?}");
    let counts = ["3", "4"].map(|count| format!("at least {count} lines of group map-"));
    assert!(counts.iter().any(|count| done.stderr.contains(count)), "{done:?}");
    assert!(done.stderr.contains("were submitted and 1 ended"), "{done:?}");

    let group = done.stderr.split('\'').nth(1).unwrap();
    let child =
        start_with_input(&cluster, &["map", "-k", "--group", group, "--", "echo"], "a\nb\nc\nd\n").await;
    cluster.until_asked(&format!("GET /api/v1/tasks/{first}")).await;
    cluster.run_all_backwards(shell);
    let done = finish(child).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "a\nb\nc\nd\n"), "{done:?}");
    assert_eq!(cluster.memory().tasks.len(), 4);
}

#[tokio::test]
async fn a_joblog_notes_what_was_printed_and_another_run_goes_on_behind_it() {
    for order in [None, Some("-k")] {
        let cluster = StandIns::start([Manner::Serves]).await;
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let options = ["map", "--group", "g", "--joblog", log.to_str().unwrap()].into_iter().chain(order);
        let with = |more: &[&'static str]| options.clone().chain(more.iter().copied()).collect::<Vec<&str>>();
        let child = start_with_input(&cluster, &with(&["--", "echo"]), "a\n\nb\nc\n").await;
        cluster.until(|memory| memory.tasks.len() == 3).await;
        let first = cluster.memory().tasks[0]["id"].as_str().unwrap().to_owned();
        cluster.memory().run(&first, shell);
        cluster.changed();
        while std::fs::read_to_string(&log).unwrap().lines().count() < 2 {
            tokio::task::yield_now().await;
        }
        interrupt(&child);
        let done = finish(child).await;
        assert_eq!((done.code, done.stdout.as_str()), (130, "a\n"), "{done:?}");

        // As when the machine went down while a row was written.
        let noted = std::fs::read_to_string(&log).unwrap();
        assert!(noted.lines().nth(1).unwrap().starts_with("1\tworker-1\t"), "{noted}");
        assert!(noted.ends_with("\t0.500\t0\t2\t0\t0\techo a\n"), "{noted}");
        std::fs::write(&log, format!("{noted}2\twork")).unwrap();
        cluster.run_all_backwards(shell);
        cluster.employ(shell);
        let done = run_with_input(&cluster, &with(&["--resume", "--", "echo"]), "a\n\nb\nc\nd\n").await;
        let mut printed: Vec<&str> = done.stdout.lines().collect();
        printed.sort_unstable();
        assert_eq!((done.code, printed), (0, vec!["b", "c", "d"]), "{done:?}");
        assert!(done.stderr.contains("3 succeeded, 0 failed; 1 skipped"), "{done:?}");
        assert_eq!(cluster.memory().tasks.len(), 4);
        let done = run_with_input(&cluster, &with(&["--resume", "--", "echo"]), "a\n\nb\nc\nd\n").await;
        assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{done:?}");
        let noted = std::fs::read_to_string(&log).unwrap();
        let done = run_with_input(&cluster, &with(&["--", "fish", "-c", "echo {}"]), "a\n").await;
        assert_eq!((done.code, std::fs::read_to_string(&log).unwrap()), (2, noted), "{done:?}");
    }
}

#[tokio::test]
async fn lines_that_are_passed_over_take_no_room_from_those_before_them() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let printed = (2..=599).map(|place| format!("{place}\tworker-1\t0\t0\t0\t0\t0\t0\techo\n"));
    std::fs::write(&log, printed.collect::<String>()).unwrap();
    let arguments = ["map", "-k", "-j", "4", "--group", "g", "--joblog", log.to_str().unwrap(), "--resume"];
    let arguments = [&arguments[..], &["--", "echo"]].concat();
    let done = run_with_input(&cluster, &arguments, &numbers(601)).await;
    assert_eq!((done.code, done.stdout.as_str()), (0, "0\n599\n600\n"), "{done:?}");
    assert!(done.stderr.contains("3 succeeded, 0 failed; 598 skipped"), "{done:?}");
}

#[tokio::test]
async fn another_command_is_another_task_and_another_option_a_conflict_that_is_told_once() {
    let cluster = StandIns::start([Manner::Serves]).await;
    cluster.employ(shell);
    let map = async |rest: &[&str]| {
        run_with_input(&cluster, &[&["map", "--group", "g"], rest].concat(), "a\nb\n").await
    };
    assert_eq!(map(&["--", "echo"]).await.code, 0);
    assert_eq!(map(&["--", "echo", "{#}"]).await.code, 0);
    assert_eq!(cluster.memory().tasks.len(), 4);
    let done = map(&["--pool", "py", "--", "echo"]).await;
    assert_eq!(done.code, 4, "{done:?}");
    let id = cluster.memory().tasks[0]["id"].as_str().unwrap().to_owned();
    let said = format!("line 1: This id already belongs to task {id}, which differs in: pool; continue with");
    assert!(done.stderr.contains(&said) && !done.stderr.contains("line 2"), "{done:?}");
}

#[tokio::test]
async fn what_is_wrong_with_every_line_is_told_once() {
    let cluster = StandIns::start([Manner::Serves]).await;
    run(&cluster, &["pool", "set", "py", "--image", "python"]).await;
    let done = run_with_input(&cluster, &["map", "--pool", "nope", "--", "echo"], &numbers(300)).await;
    let said = "clb: refused: --pool: there is no pool \"nope\"; the pools are py\n";
    assert!(done.code == 4 && done.stderr.contains(said), "{done:?}");
    assert_eq!(done.stderr.matches("there is no pool").count(), 1, "{done:?}");
    let done = run_with_input(&cluster, &["map", "--priority", "101", "--", "echo"], "a\nb\n").await;
    assert!(
        done.code == 4 && done.stderr.contains("clb: refused: --priority: must be from -100 to 100\n"),
        "{done:?}"
    );
    assert_eq!(done.stderr.matches("--priority").count(), 1, "{done:?}");
}

#[tokio::test]
async fn an_error_says_in_which_group_the_lines_are() {
    let cluster = StandIns::start([Manner::Answers(503)]).await;
    let arguments = ["map", "--patience", "0", "--group", "g", "--", "echo"];
    let done = run_with_input(&cluster, &arguments, "a\n").await;
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.stderr.contains("clb results --follow --group 'g'"), "{done:?}");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_quietly() {
    let cluster = StandIns::start([Manner::Serves]).await;
    let mut child = start_with_input(&cluster, &["map", "--", "echo"], "a\n").await;
    drop(child.stdout.take());
    cluster.until(|memory| memory.tasks.len() == 1).await;
    cluster.run_all_backwards(shell);
    let done = finish(child).await;
    assert_eq!((done.code, done.stderr.as_str()), (141, ""));
}
