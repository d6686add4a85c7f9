//! How programs end, and what is said of it.

use std::fs;
use std::time::Duration;

use clb_protocol::link::{Cause, Yield};
use clb_protocol::task::Exit;
use clb_worker::run::command::StopGives;

use crate::bench::{
    Bench, FOR_EVER, command, mark, processes_with, read, sh, until_there_are, write_program,
};

#[tokio::test]
async fn exit_codes_are_told_and_the_outputs_of_a_failure_are_kept() {
    let mut bench = Bench::new();
    let result = bench.succeed(sh("echo out; echo err >&2")).await;
    assert_eq!(result.exit, Exit::Code(0));
    assert_eq!((&result.stdout.bytes[..], &result.stderr.bytes[..]), (&b"out\n"[..], &b"err\n"[..]));

    let failure = bench.fail(sh("echo out; echo first >&2; echo the reason >&2; exit 3")).await;
    assert_eq!((failure.cause, failure.error.as_str()), (Cause::Exited(3), "exit code 3: the reason"));
    let result = read(&failure.result.unwrap());
    assert_eq!((result.exit, result.stdout.bytes), (Exit::Code(3), b"out\n".to_vec()));

    let mut widened = sh("exit 3");
    widened.success_codes.insert(3);
    assert_eq!(bench.succeed(widened).await.exit, Exit::Code(3));
    let mut narrowed = sh("exit 0");
    narrowed.success_codes = [7].into();
    assert_eq!(bench.fail(narrowed).await.cause, Cause::Exited(0));
}

#[tokio::test]
async fn a_death_by_signal_is_told_by_its_name() {
    let mut bench = Bench::new();
    for (signal, words) in [(11, "killed by signal 11 (SIGSEGV)"), (9, "killed by signal 9 (SIGKILL)")] {
        let failure = bench.fail(sh(&format!("kill -{signal} $$"))).await;
        assert_eq!((failure.cause, failure.error.as_str()), (Cause::Killed(signal), words));
        let result = read(&failure.result.unwrap());
        assert_eq!((result.exit, result.oom), (Exit::Signal(signal), None));
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_is_no_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: &str| {
        let path = folder.path().join(name);
        write_program(&path, text, mode);
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "#!/bin/sh\n", "644");
    let no_interpreter = file("no-interpreter", "#!/no/such/interpreter\n", "755");
    let no_program = file("no-program", "just words\n", "755");
    let cases = [
        ("/no/such/program", "there is no program /no/such/program there".to_owned()),
        ("no-such-program", "there is no program no-such-program in PATH (".to_owned()),
        (plain.as_str(), format!("{plain} is not executable")),
        ("/tmp", "/tmp is not executable".to_owned()),
        (no_interpreter.as_str(), format!("the interpreter named by {no_interpreter} does not exist")),
        (no_program.as_str(), format!("{no_program} is neither a binary for this machine nor a script")),
    ];
    let mut bench = Bench::new();
    for (program, words) in cases {
        let failure = bench.fail(command(&[program])).await;
        assert_eq!(failure.cause, Cause::CannotStart);
        assert!(failure.error.starts_with(&format!("cannot start: {words}")), "{}", failure.error);
        assert!(failure.result.is_none());
    }
    let mut nowhere = sh("true");
    nowhere.working_dir = Some("/no/such/folder".to_owned());
    let failure = bench.fail(nowhere).await;
    assert_eq!(failure.error, "cannot start: the working directory /no/such/folder does not exist");
    let mut elsewhere = command(&["plain"]);
    elsewhere.env.insert("PATH".to_owned(), folder.path().to_str().unwrap().to_owned());
    assert_eq!(bench.fail(elsewhere).await.error, format!("cannot start: {plain} is not executable"));
    let long = command(&["/bin/true", &"x".repeat(131_072)]);
    assert!(bench.fail(long).await.error.contains("too long"));
}

#[tokio::test]
async fn a_program_finds_its_task_its_environment_and_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    let text = "#!/bin/sh\npwd; echo \"$CLB_TASK_ID $CLB_ATTEMPT $CLB_GROUP $OWN $0\"\n";
    write_program(&script, text, "755");
    let mut bench = Bench::new();
    let mut program = command(&["./script"]);
    program.env.insert("OWN".to_owned(), "mine".to_owned());
    program.working_dir = Some(folder.path().to_str().unwrap().to_owned());
    let key = bench.start(program);
    let Yield::Succeeded(result) = bench.ended().await.gave else { panic!("it failed") };
    let result = read(&result);
    let stdout = String::from_utf8(result.stdout.bytes).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], fs::canonicalize(folder.path()).unwrap().to_str().unwrap());
    assert!(lines[1].starts_with(&format!("{} 2 nightly mine ", key.0)), "{stdout}");
}

#[tokio::test]
async fn a_timeout_gives_what_was_written_until_then() {
    let mut bench = Bench::new();
    let mark = mark();
    let key = bench.start(sh(&format!("echo before; exec sleep {mark}")));
    until_there_are(&mark, 1).await;
    bench.stop(key, StopGives::TimedOut, FOR_EVER);
    let Yield::TimedOut(Some(result)) = bench.ended().await.gave else { panic!("it did not time out") };
    let result = read(&result);
    assert_eq!((result.exit, result.stdout.bytes), (Exit::Signal(15), b"before\n".to_vec()));
}

#[tokio::test]
async fn a_cancelled_program_is_asked_first_and_may_end_as_it_likes() {
    let folder = tempfile::tempdir().unwrap();
    let (mark, trace) = (mark(), folder.path().join("asked"));
    let mut bench = Bench::new();
    let script = format!("trap 'touch {}; exit 0' TERM; sleep {mark} & wait", trace.display());
    let key = bench.start(sh(&script));
    until_there_are(&mark, 1).await;
    bench.stop(key, StopGives::Cancelled, FOR_EVER);
    assert!(matches!(bench.ended().await.gave, Yield::Cancelled(_)));
    assert!(trace.exists());
    assert!(processes_with(&mark).is_empty());
}

#[tokio::test]
async fn a_program_that_ignores_the_request_is_killed() {
    let mut bench = Bench::new();
    let mark = mark();
    let key = bench.start(sh(&format!("trap '' TERM; sleep {mark}; sleep {mark}; true")));
    until_there_are(&mark, 1).await;
    bench.stop(key, StopGives::TimedOut, Duration::from_millis(20));
    let Yield::TimedOut(Some(result)) = bench.ended().await.gave else { panic!("it did not time out") };
    assert_eq!(read(&result).exit, Exit::Signal(9));
    assert!(processes_with(&mark).is_empty());
}

#[tokio::test]
async fn a_second_request_may_shorten_the_grace_and_the_first_reason_counts() {
    let mut bench = Bench::new();
    let mark = mark();
    let key = bench.start(sh(&format!("trap '' TERM; sleep {mark}")));
    until_there_are(&mark, 1).await;
    bench.stop(key, StopGives::TimedOut, FOR_EVER);
    bench.stop(key, StopGives::Cancelled, Duration::from_millis(20));
    assert!(matches!(bench.ended().await.gave, Yield::TimedOut(Some(_))));
}

#[tokio::test]
async fn a_halted_program_is_stopped_like_any_other() {
    let mut bench = Bench::new();
    let mark = mark();
    let key = bench.start(sh(&format!("sleep {mark}; true")));
    until_there_are(&mark, 1).await;
    let sleeper = processes_with(&mark)[0];
    let halt = format!("kill -STOP {sleeper} $(ps -o ppid= -p {sleeper})");
    bench.succeed(sh(&halt)).await;
    bench.stop(key, StopGives::Cancelled, FOR_EVER);
    assert!(matches!(bench.ended().await.gave, Yield::Cancelled(_)));
    assert!(processes_with(&mark).is_empty());
}

#[tokio::test]
async fn hundreds_of_quick_programs_each_end_once_on_as_many_shepherds_as_run_at_once() {
    const AT_ONCE: usize = 16;
    const ALL: usize = 200;
    let mut bench = Bench::new();
    let mut open = std::collections::HashSet::new();
    let mut shepherds = std::collections::HashSet::new();
    for started in 0..ALL + AT_ONCE {
        if started >= AT_ONCE {
            let ended = bench.ended().await;
            assert!(open.remove(&ended.key));
            let Yield::Succeeded(result) = ended.gave else { panic!("{:?}", ended.gave) };
            shepherds.insert(read(&result).stdout.bytes);
        }
        if started < ALL {
            open.insert(bench.start(sh("echo $PPID")));
        }
    }
    assert!(open.is_empty());
    assert!(shepherds.len() <= AT_ONCE, "{} shepherds", shepherds.len());
}
