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
        for why in ["line 2: it is not UTF-8", "line 4: ", "line 5: ", "3 succeeded, 3 failed"] {
            assert!(done.stderr.contains(why), "{why}: {done:?}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_every_line_is_told_once() {
    let cluster = StandIns::start([Manner::Serves]).await;
    run(&cluster, &["pool", "set", "py", "--image", "python"]).await;
    let done = run_with_input(&cluster, &["map", "--pool", "nope", "--", "echo"], &numbers(300)).await;
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (4, "clb: refused: --pool: there is no pool \"nope\"; there are py\n")
    );
    let done = run_with_input(&cluster, &["map", "--priority", "101", "--", "echo"], "a\nb\n").await;
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (4, "clb: refused: --priority: must be from -100 to 100\n")
    );
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
