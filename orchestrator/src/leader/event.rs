//! What the feed tells: changes as events, and events as text.

use bytes::{BufMut, BytesMut};
use clb_core::output::{Change, Ending};
use clb_protocol::api::{LogView, TaskEvent, TaskState};
use serde::Serialize;

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Task(TaskEvent),
    Log(LogView),
}

/// What a change tells of a task, but for its group and its progress; `None` where it tells nothing.
pub(super) fn task_event(change: &Change) -> Option<TaskEvent> {
    let event = |id, state, worker, attempt, at| TaskEvent {
        id,
        state,
        worker,
        attempt,
        group: None,
        progress: None,
        at,
    };
    Some(match change {
        Change::TaskAccepted { at, task, .. } => event(task.id, TaskState::Queued, None, None, *at),
        Change::AttemptStarted { task, attempt, worker, at, .. } => {
            event(*task, TaskState::Running, Some(worker.name()), Some(*attempt), *at)
        }
        Change::AttemptEnded { task, attempt, at, .. } => {
            event(*task, TaskState::Queued, None, Some(*attempt), *at)
        }
        Change::TaskEnded { task, at, ending, last, .. } => {
            let state = match ending {
                Ending::Succeeded(_) => TaskState::Succeeded,
                Ending::Failed(..) => TaskState::Failed,
                Ending::Cancelled => TaskState::Cancelled,
            };
            let worker = last.as_ref().map(|last| last.worker.name());
            event(*task, state, worker, last.as_ref().map(|last| last.attempt), *at)
        }
        Change::AttemptJudged { .. }
        | Change::CancelledOutputKept { .. }
        | Change::SlotFilled { .. }
        | Change::PoolSaved { .. }
        | Change::PoolForgotten(_)
        | Change::SlotOrdered { .. }
        | Change::Died(_) => return None,
    })
}

/// Writes one event as `text/event-stream`.
pub(crate) fn frame(text: &mut BytesMut, name: &str, id: Option<&str>, data: &impl Serialize) {
    if let Some(id) = id {
        text.extend_from_slice(b"id: ");
        text.extend_from_slice(id.as_bytes());
        text.put_u8(b'\n');
    }
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\ndata: ");
    // JSON has no line ends outside of strings, and escapes them inside.
    drop(serde_json::to_writer(text.writer(), data));
    text.extend_from_slice(b"\n\n");
}
