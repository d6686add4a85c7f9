//! What becomes of commands: a few programs that are only played.

use clb_client::protocol::Timestamp;
use serde_json::{Value, json};

use super::Memory;

/// From a command's words and its standard input to `(exit code or minus a signal, stdout, stderr)`.
pub(crate) type Worker = fn(words: &[&str], stdin: &str) -> (i64, String, String);

/// `echo`, `cat`, `warn`, `exit N` and `die N`.
pub(crate) fn shell(words: &[&str], stdin: &str) -> (i64, String, String) {
    match words {
        ["echo", words @ ..] => (0, format!("{}\n", words.join(" ")), String::new()),
        ["cat"] => (0, stdin.to_owned(), String::new()),
        ["warn", text] => (0, String::new(), format!("{text}\n")),
        ["exit", code] => (code.parse().unwrap(), String::new(), String::new()),
        ["die", signal] => (-signal.parse::<i64>().unwrap(), "half".to_owned(), String::new()),
        _ => (127, String::new(), "no such program\n".to_owned()),
    }
}

impl Memory {
    /// Runs a command from its beginning to its end.
    pub(crate) fn run(&mut self, id: &str, worker: Worker) {
        let task = self.tasks.iter_mut().find(|task| task["id"] == id).unwrap();
        let words: Vec<String> = serde_json::from_value(task["spec"]["command"].clone()).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, stdout, stderr) = worker(&words, task["spec"]["stdin"].as_str().unwrap_or_default());
        task["result"] = if code < 0 {
            json!({ "exit_code": null, "signal": -code, "stdout": stdout, "stderr": stderr, "duration": 0.5 })
        } else {
            json!({ "exit_code": code, "stdout": stdout, "stderr": stderr, "duration": 0.5 })
        };
        if code != 0 {
            task["error"] = json!({ "code": "failed", "message": format!("it ended with {code}") });
        }
        self.end(id, if code == 0 { "succeeded" } else { "failed" });
    }

    /// Ends a sleep with the sum of its numbers.
    pub(crate) fn add_up(&mut self, id: &str) -> Value {
        let task = self.tasks.iter_mut().find(|task| task["id"] == id).unwrap();
        let [a, b] = [0, 1].map(|place| task["spec"]["add"][place].as_i64().unwrap());
        task["result"] = json!({ "sum": a + b });
        self.end(id, "succeeded")
    }

    /// Records the outcome of a task that has its result.
    pub(crate) fn end(&mut self, id: &str, state: &str) -> Value {
        let task = self.tasks.iter_mut().find(|task| task["id"] == id).unwrap();
        task["state"] = state.into();
        task["worker"] = "worker-1".into();
        if task["attempt"].is_null() {
            task["attempt"] = 1.into();
        }
        task["started_at"] = task["submitted_at"].clone();
        task["finished_at"] = Timestamp::now().to_string().into();
        let mut outcome = task.clone();
        outcome["seq"] = (self.outcomes.len() + 1).into();
        self.outcomes.push(outcome.clone());
        outcome
    }
}
