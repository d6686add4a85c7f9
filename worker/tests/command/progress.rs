//! What programs tell of their progress.

use clb_protocol::task::OutputStream;
use clb_worker::run::Told;
use clb_worker::run::command::StopGives;

use crate::bench::{Bench, FOR_EVER, mark, sh};

#[tokio::test]
async fn a_line_moves_the_progress_and_stays_in_the_output() {
    let mut bench = Bench::new();
    let mark = mark();
    let lines = "::clb progress=x\\n::clb progress=0.25 note=a quarter\\n";
    let key = bench.start(sh(&format!("printf '{lines}'; exec sleep {mark}")));
    let Told::Progress(of, progress) = bench.told().await else { panic!("it ended") };
    assert_eq!((of, progress.fraction, progress.note.as_deref()), (key, 0.25, Some("a quarter")));
    let piece = bench.read(key, OutputStream::Stdout, 0).await.unwrap();
    assert_eq!(piece.bytes, b"::clb progress=x\n::clb progress=0.25 note=a quarter\n");
    bench.stop(key, StopGives::Cancelled, FOR_EVER);
    bench.ended().await;
}

#[tokio::test]
async fn many_lines_are_told_seldom_and_the_latest_wins() {
    let mut bench = Bench::new();
    let mark = mark();
    let script = format!(
        "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo ::clb progress=0.$i; done; \
         echo ::clb progress=1 note=done; exec sleep {mark}"
    );
    let key = bench.start(sh(&script));
    let mut told = 0;
    loop {
        let Told::Progress(_, progress) = bench.told().await else { panic!("it ended") };
        told += 1;
        if progress.note.as_deref() == Some("done") {
            break;
        }
    }
    assert!(told < 100, "{told} times");
    bench.stop(key, StopGives::Cancelled, FOR_EVER);
    bench.ended().await;
}

#[tokio::test]
async fn standard_error_tells_nothing() {
    let mut bench = Bench::new();
    bench.run(sh("echo ::clb progress=0.5 >&2; sleep 0.02; echo ' ::clb progress=0.5'")).await;
    assert!(bench.progress.is_empty());
}
