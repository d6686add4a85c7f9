//! Ctrl-C: the command ends, the tasks go on.

use std::future::Future;

use crate::failure::Failure;

/// Does `work` until it is done or somebody presses Ctrl-C; `hint` says how to come back.
pub(super) async fn interruptible<T>(
    work: impl Future<Output = Result<T, Failure>>,
    hint: impl FnOnce() -> String,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted(hint())),
    }
}
