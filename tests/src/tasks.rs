//! What tests submit: tasks that add 3 and 4 after a while.

use clb_protocol::TaskId;
use clb_protocol::task::{Kind, Number, TaskRequest};

/// A task that waits so many seconds.
pub fn sleep(seconds: f64) -> TaskRequest {
    named(Kind::Sleep, seconds)
}

/// A task that burns a core for so many seconds.
pub fn spin(seconds: f64) -> TaskRequest {
    named(Kind::Spin, seconds)
}

/// With a name from the start, so that sending it again is no second task.
fn named(kind: Kind, seconds: f64) -> TaskRequest {
    let mut request = TaskRequest::new(kind, seconds, [Number::Integer(3), Number::Integer(4)]);
    request.id = Some(TaskId::now());
    request
}
