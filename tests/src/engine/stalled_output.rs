//! A container whose output nobody reads.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
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
        let reader = reader_of(pid).expect("its process lives, and its parent is known here");
        let name = fs::read_to_string(format!("/proc/{}/comm", reader.as_raw_nonzero()));
        let name = name.expect("its parent lives");
        assert!(name.contains("shim"), "the parent of process {pid} is no shim but {name}");
        kill_process(reader, Signal::STOP)
            .expect("this test needs the right to stop processes of the engine");
        let stalled = Self { reader };
        fill_outputs(pid).expect("its outputs are pipes that this test may write to");
        stalled
    }
}

impl Drop for StalledOutput {
    fn drop(&mut self) {
        // Without it the container could not be removed either; both may have gone by themselves.
        let _ = kill_process(self.reader, Signal::CONT);
    }
}

/// The process that reads what this one writes.
pub(super) fn reader_of(pid: u32) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok().and_then(Pid::from_raw)
}

/// Fills both output pipes of a process up to the last byte.
pub(super) fn fill_outputs(pid: u32) -> io::Result<()> {
    [1, 2].into_iter().try_for_each(|output| fill_up(&format!("/proc/{pid}/fd/{output}")))
}

fn fill_up(path: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut pipe = options.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let page = [[b'.'; 4095].as_slice(), b"\n"].concat();
    for piece in [page.as_slice(), b"\n"] {
        let refused = loop {
            if let Err(error) = pipe.write(piece) {
                break error;
            }
        };
        if refused.kind() != ErrorKind::WouldBlock {
            return Err(refused);
        }
    }
    Ok(())
}
