//! A container whose output nobody reads.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};

/// Nobody reads until this is dropped.
#[derive(Debug)]
pub struct StalledOutput {
    reader: Pid,
}

impl StalledOutput {
    /// The output of the container with this process.
    pub(super) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its process lives");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has a parent");
        let reader = parent.trim().parse().ok().and_then(Pid::from_raw).expect("its parent is known here");
        let name = fs::read_to_string(format!("/proc/{}/comm", reader.as_raw_nonzero()));
        let name = name.expect("its parent lives");
        assert!(name.contains("shim"), "the parent of process {pid} is no shim but {name}");
        kill_process(reader, Signal::STOP)
            .expect("this test needs the right to stop processes of the engine");
        let stalled = Self { reader };
        for output in [1, 2] {
            fill_up(&format!("/proc/{pid}/fd/{output}"));
        }
        stalled
    }
}

impl Drop for StalledOutput {
    fn drop(&mut self) {
        // Without it the container could not be removed either; both may have gone by themselves.
        let _ = kill_process(self.reader, Signal::CONT);
    }
}

/// Fills a pipe up to the last byte.
fn fill_up(path: &str) {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let mut pipe = options.open(path).unwrap_or_else(|error| panic!("{path} cannot be opened: {error}"));
    let page = [[b'.'; 4095].as_slice(), b"\n"].concat();
    for piece in [page.as_slice(), b"\n"] {
        let refused = loop {
            if let Err(error) = pipe.write(piece) {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock, "{path}: {refused}");
    }
}
