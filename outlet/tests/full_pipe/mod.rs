//! A pipe into which not one byte fits any more: what a program writes to whose reader has stalled.

use std::io::{ErrorKind, PipeReader, PipeWriter, Write as _, pipe};

use rustix::io::ioctl_fionbio;

/// Its both ends. A program that writes to it waits until somebody reads.
pub(crate) fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    ioctl_fionbio(&writer, true).unwrap();
    for piece in [[0; 4096].as_slice(), &[0]] {
        let refused = loop {
            if let Err(error) = writer.write(piece) {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    }
    ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}
