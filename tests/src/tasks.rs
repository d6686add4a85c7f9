//! What tests submit: tasks that add 3 and 4 after a while, and commands.

use clb_protocol::TaskId;
use clb_protocol::task::{Argv, Command, Number, TaskRequest, Work};

const ADD: [Number; 2] = [Number::Integer(3), Number::Integer(4)];

/// A task that waits so many seconds.
pub fn sleep(seconds: f64) -> TaskRequest {
    named(Work::sleep(seconds, ADD))
}

/// A task that burns a core for so many seconds.
pub fn spin(seconds: f64) -> TaskRequest {
    named(Work::spin(seconds, ADD))
}

/// A command of one attempt.
pub fn command(words: &[&str]) -> TaskRequest {
    let argv = Argv::new(words[0], words[1..].iter().copied());
    let mut request = named(Work::Command(Command::new(argv)));
    request.max_attempts = Some(1);
    request
}

/// A command that takes these steps of the fixture.
pub fn steps(steps: &[&str]) -> TaskRequest {
    command(&[&["/fixture", "steps"], steps].concat())
}

/// With a name from the start, so that sending it again is no second task.
pub fn named(work: Work) -> TaskRequest {
    let mut request = TaskRequest::new(work);
    request.id = Some(TaskId::now());
    request
}
