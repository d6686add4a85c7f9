//! What goes into programs and comes out of them.

use std::fs;

use clb_protocol::task::{MAX_OUTPUT_BYTES, Stdin};
use clb_worker::run::command::StopGives;

use crate::bench::{Bench, FOR_EVER, command, mark, sh, until_there_are};

#[tokio::test]
async fn a_flood_keeps_its_beginning_and_its_end_and_takes_no_more_memory() {
    const FLOOD: u64 = 100_000_000;
    const MOST_KIB: u64 = 24 * 1024;
    let mut bench = Bench::new();
    let shepherd = bench.shepherd().await;
    let flood = format!("echo first; head -c {FLOOD} /dev/zero | tr '\\0' x; echo last");
    let result = bench.succeed(sh(&format!("({flood}) >&2; {flood}"))).await;
    for output in [result.stdout, result.stderr] {
        assert!(output.bytes.starts_with(b"first\nxxx") && output.bytes.ends_with(b"xxxlast\n"));
        assert_eq!(output.bytes.len(), MAX_OUTPUT_BYTES);
        let truncated = output.truncated.unwrap();
        assert_eq!(truncated.at, MAX_OUTPUT_BYTES as u64 / 2);
        assert_eq!(truncated.dropped_bytes + MAX_OUTPUT_BYTES as u64, FLOOD + 11);
    }
    assert_eq!(bench.shepherd().await, shepherd);
    let status = fs::read_to_string(format!("/proc/{shepherd}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MOST_KIB, "{peak} KiB");
}

#[tokio::test]
async fn binary_output_comes_byte_by_byte() {
    let mut bench = Bench::new();
    let result = bench.succeed(sh(r"printf '\377\000\376a'; printf '\200' >&2")).await;
    assert_eq!((result.stdout.bytes, result.stderr.bytes), (vec![255, 0, 254, b'a'], vec![128]));
}

#[tokio::test]
async fn a_program_that_closes_its_pipes_is_waited_for() {
    let mut bench = Bench::new();
    let mark = mark();
    let script = format!("echo before; exec >&- 2>&- <&-; sleep {mark}");
    let key = bench.start(sh(&script));
    until_there_are(&mark, 1).await;
    bench.stop(key, StopGives::TimedOut, FOR_EVER);
    let clb_protocol::link::Yield::TimedOut(Some(result)) = bench.ended().await.gave else {
        panic!("it ended before it was stopped")
    };
    assert_eq!(crate::bench::read(&result).stdout.bytes, b"before\n");
}

#[tokio::test]
async fn large_input_flows_through_while_output_flows_back() {
    let mut bench = Bench::new();
    let input: Vec<u8> = (0..MAX_OUTPUT_BYTES).map(|n| (n % 251) as u8).collect();
    let mut cat = command(&["cat"]);
    cat.stdin = Some(Stdin(input.clone()));
    let result = bench.succeed(cat).await;
    assert!(result.stdout.bytes == input && result.stdout.truncated.is_none());
}

#[tokio::test]
async fn input_that_nobody_reads_holds_nothing_up() {
    let mut bench = Bench::new();
    let mark = mark();
    for script in ["true", "exec <&-; true", "head -c 1 >/dev/null", &format!("sleep {mark} & true")] {
        let mut program = sh(script);
        program.stdin = Some(Stdin(vec![b'x'; MAX_OUTPUT_BYTES]));
        bench.succeed(program).await;
    }
}

#[tokio::test]
async fn without_input_there_is_nothing_to_read() {
    let mut bench = Bench::new();
    assert_eq!(bench.stdout_of("cat; echo end").await, "end\n");
    let mut empty = sh("cat; echo end");
    empty.stdin = Some(Stdin(Vec::new()));
    assert_eq!(bench.succeed(empty).await.stdout.bytes, b"end\n");
}

#[tokio::test]
async fn a_pipeline_that_is_cut_short_ends_as_in_a_shell() {
    let mut bench = Bench::new();
    assert_eq!(bench.stdout_of("yes | head -n 1").await, "y\n");
}
