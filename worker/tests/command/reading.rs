//! Reading what a program writes while it runs.

use std::fs;
use std::time::Duration;

use clb_protocol::link::Yield;
use clb_protocol::task::{MAX_OUTPUT_BYTES, OutputStream};
use clb_worker::run::AttemptKey;
use clb_worker::run::command::StopGives;

use crate::bench::{Bench, FOR_EVER, mark, read, sh, until_there_are};

const OUT: OutputStream = OutputStream::Stdout;

/// Reads until there are so many bytes.
async fn read_bytes(bench: &Bench, key: AttemptKey, stream: OutputStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let piece = bench.read(key, stream, bytes.len() as u64).await.expect("it has ended");
        assert_eq!(piece.at, bytes.len() as u64);
        bytes.extend(piece.bytes);
    }
    bytes
}

#[tokio::test]
async fn a_line_is_read_while_its_program_still_runs() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let script =
        format!("mkfifo {go}; echo first; echo error >&2; read word <{go}; echo $word", go = go.display());
    let key = bench.start(sh(&script));
    assert_eq!(read_bytes(&bench, key, OUT, 6).await, b"first\n");
    assert_eq!(read_bytes(&bench, key, OutputStream::Stderr, 6).await, b"error\n");
    let (next, ()) = tokio::join!(bench.read(key, OUT, 6), async {
        tokio::task::spawn_blocking(move || fs::write(go, "second\n")).await.unwrap().unwrap();
    });
    // Both are right: the program may be gone before the answer is.
    assert!(next.is_none_or(|piece| piece.bytes == b"second\n"));
    let Yield::Succeeded(result) = bench.ended().await.gave else { panic!("it failed") };
    assert_eq!(read(&result).stdout.bytes, b"first\nsecond\n");
}

#[tokio::test]
async fn who_waits_for_more_is_let_go_when_the_program_ends() {
    let mut bench = Bench::new();
    let mark = mark();
    let key = bench.start(sh(&format!("sleep {mark}")));
    until_there_are(&mark, 1).await;
    bench.stop(key, StopGives::TimedOut, FOR_EVER);
    // Well before its shepherd, which has nothing to do then, is let go.
    let let_go = tokio::time::timeout(Duration::from_secs(5), bench.read(key, OUT, 0)).await;
    assert!(let_go.expect("it waits for nothing").is_none());
    bench.ended().await;
}

#[tokio::test]
async fn two_readers_get_the_same_bytes_whatever_they_are() {
    let mut bench = Bench::new();
    let mark = mark();
    let key = bench.start(sh(&format!(r"printf '\377\000\376a'; exec sleep {mark}")));
    let both = tokio::join!(read_bytes(&bench, key, OUT, 4), read_bytes(&bench, key, OUT, 4));
    assert_eq!(both, (vec![255, 0, 254, b'a'], vec![255, 0, 254, b'a']));
    bench.stop(key, StopGives::Cancelled, FOR_EVER);
    let Yield::Cancelled(Some(result)) = bench.ended().await.gave else { panic!("it was not cancelled") };
    assert_eq!(read(&result).stdout.bytes, [255, 0, 254, b'a']);
}

#[tokio::test]
async fn a_late_reader_of_a_flood_gets_its_beginning_and_its_end() {
    const FLOOD: u64 = 100_000_000;
    const MOST_KIB: u64 = 24 * 1024;
    let mut bench = Bench::new();
    let mark = mark();
    let key = bench.start(sh(&format!("head -c {FLOOD} /dev/zero; echo end; exec sleep {mark}")));
    // Somebody reads once and never again.
    bench.read(key, OUT, 0).await.unwrap();
    until_there_are(&mark, 1).await;
    let (mut next, mut bytes, mut missing) = (0, Vec::new(), 0);
    while !bytes.ends_with(b"end\n") {
        let piece = bench.read(key, OUT, next).await.unwrap();
        missing += piece.at - next;
        next = piece.next();
        bytes.extend(piece.bytes);
    }
    assert_eq!((bytes.len(), next), (MAX_OUTPUT_BYTES, FLOOD + 4));
    assert_eq!(missing + MAX_OUTPUT_BYTES as u64, FLOOD + 4);
    let shepherd =
        fs::read_to_string(format!("/proc/{}/stat", crate::bench::processes_with(&mark)[0])).unwrap();
    let shepherd = shepherd.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
    let status = fs::read_to_string(format!("/proc/{shepherd}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MOST_KIB, "{peak} KiB");
    bench.stop(key, StopGives::Cancelled, Duration::ZERO);
    bench.ended().await;
}
