//! What tests submit: tasks that add 3 and 4 after a while.

use clb_protocol::TaskId;
use clb_protocol::task::{Number, TaskRequest, Work};

const ADD: [Number; 2] = [Number::Integer(3), Number::Integer(4)];

/// A task that waits so many seconds.
pub fn sleep(seconds: f64) -> TaskRequest {
    named(Work::sleep(seconds, ADD))
}

/// A task that burns a core for so many seconds.
pub fn spin(seconds: f64) -> TaskRequest {
    named(Work::spin(seconds, ADD))
}

/// With a name from the start, so that sending it again is no second task.
fn named(work: Work) -> TaskRequest {
    let mut request = TaskRequest::new(work);
    request.id = Some(TaskId::now());
    request
}
