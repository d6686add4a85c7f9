//! What a replay does otherwise than the task whose work it does again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::{escape, wrong_field};
use super::{Argv, FieldError, TaskRequest, TaskSpec, Work};
use crate::{PoolName, Timestamp};

/// The fields of a task that may be others; what is left out stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Changes {
    /// Whose workers run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// How many attempts may be lost or fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i64>,
    /// How long one attempt may take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// The program with its arguments; its environment, its input and all else of a command stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Argv>,
}

impl Changes {
    /// Whether all stays as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads and checks what a caller wrote, by the rules for a new task.
    pub fn read(value: &Value) -> Result<Self, Vec<FieldError>> {
        let Value::Object(fields) = value else {
            return Err(vec![FieldError::at("", "must be an object like {\"timeout\": 60}")]);
        };
        let wrong = fields.iter().filter_map(|(key, value)| match key.as_str() {
            "pool" | "max_attempts" | "timeout" | "command" => wrong_field(key, value),
            _ => Some(FieldError::at(format!("/{}", escape(key)), "cannot be changed by a replay")),
        });
        let mut errors: Vec<FieldError> = wrong.collect();
        if errors.is_empty() {
            match Self::deserialize(value) {
                Ok(changes) => {
                    errors = changes.broken_limits();
                    if errors.is_empty() {
                        return Ok(changes);
                    }
                }
                Err(error) => errors.push(FieldError::at("", error.to_string())),
            }
        }
        Err(errors)
    }

    fn broken_limits(&self) -> Vec<FieldError> {
        let argv = self.command.clone().unwrap_or_else(|| Argv::new::<&str>("true", []));
        let request = TaskRequest {
            pool: self.pool.clone(),
            max_attempts: self.max_attempts,
            timeout: self.timeout,
            ..TaskRequest::new(Work::Command(super::Command::new(argv)))
        };
        request.broken_limits(Timestamp(0))
    }

    /// Makes a task of that pool like this.
    pub fn apply(&self, pool: &mut PoolName, spec: &mut TaskSpec) -> Result<(), FieldError> {
        match (&self.command, &mut spec.work) {
            (Some(argv), Work::Command(command)) => command.argv = argv.clone(),
            (Some(_), work) => {
                let detail = format!("does not belong to a task of kind {}", work.kind().as_str());
                return Err(FieldError::at("/command", detail));
            }
            (None, _) => {}
        }
        if let Some(wanted) = &self.pool {
            *pool = PoolName::from(wanted.as_str());
        }
        if let Some(attempts) = self.max_attempts.and_then(|attempts| u32::try_from(attempts).ok()) {
            spec.max_attempts = attempts;
        }
        spec.timeout = self.timeout.unwrap_or(spec.timeout);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::Command;

    fn pointers(value: &Value) -> Vec<String> {
        Changes::read(value).unwrap_err().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn changes_are_checked_like_a_new_task() {
        let good = json!({ "pool": "gpu", "max_attempts": 5, "timeout": 7.5, "command": ["a", "b"] });
        assert!(Changes::read(&good).is_ok());
        assert!(Changes::read(&json!({})).unwrap().is_empty());
        assert!(Changes::read(&json!({ "pool": null })).unwrap().is_empty());
        for (bad, pointer) in [
            (json!(7), ""),
            (json!({ "timeout": 0 }), "/timeout"),
            (json!({ "timeout": "1" }), "/timeout"),
            (json!({ "max_attempts": 101 }), "/max_attempts"),
            (json!({ "pool": "" }), "/pool"),
            (json!({ "command": [] }), "/command"),
            (json!({ "command": ["a\0"] }), "/command/0"),
            (json!({ "group": "g" }), "/group"),
            (json!({ "a/b": 1 }), "/a~1b"),
        ] {
            assert_eq!(pointers(&bad), [pointer], "{bad}");
        }
    }

    #[test]
    fn what_is_left_out_stays_as_it_was() {
        let mut command = Command::new(Argv::new("python", ["x"]));
        command.env.insert("A".to_owned(), "b".to_owned());
        let mut spec = TaskSpec { work: Work::Command(command), max_attempts: 3, timeout: 60.0, retry: None };
        let mut pool = PoolName::from("default");
        let changes = Changes::read(&json!({ "timeout": 90, "command": ["ruby"] })).unwrap();
        changes.apply(&mut pool, &mut spec).unwrap();
        assert_eq!((pool.as_str(), spec.max_attempts, spec.timeout), ("default", 3, 90.0));
        let Work::Command(command) = &spec.work else { unreachable!("it was one") };
        assert_eq!((command.argv.to_string().as_str(), command.env.len()), ("ruby", 1));

        spec.work = Work::sleep(1.0, [crate::task::Number::Integer(0); 2]);
        assert_eq!(changes.apply(&mut pool, &mut spec).unwrap_err().pointer, "/command");
    }
}
