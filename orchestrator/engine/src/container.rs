//! One container: start, look at, stop, remove.

use bollard::container::LogOutput;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptionsBuilder,
};
use clb_protocol::{ContainerId, Timestamp};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::list::{Role, State};
use crate::{Docker, EngineError, PATIENT, QUICK, names, within};

/// The longest line that [`Docker::last_lines`] gives, in characters.
const LONGEST_LINE: usize = 2_000;

/// What the engine knows of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Its full id.
    pub id: ContainerId,
    /// What it is.
    pub role: Role,
    /// Where it stands.
    pub state: State,
    /// How its process ended, once it has.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed a process in it over its memory limit.
    pub oom_killed: bool,
    /// When its process last ended.
    pub finished_at: Option<Timestamp>,
    /// Its memory limit, where it has one.
    pub memory_limit_bytes: Option<u64>,
}

impl Docker {
    /// Starts a container; does nothing when it runs.
    pub async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        let name = names::container(id.as_str())?;
        let _turn = self.making.turn().await?;
        let start = self.patient.start_container(name, None::<StartContainerOptions>);
        within(PATIENT, start).await
    }

    /// Looks at a container.
    pub async fn inspect(&self, id: &ContainerId) -> Result<Inspection, EngineError> {
        self.inspect_by_name(id.as_str()).await
    }

    /// Looks at the container that has a name.
    pub async fn inspect_by_name(&self, name: &str) -> Result<Inspection, EngineError> {
        inspection(self.inspect_raw(name).await?)
            .ok_or_else(|| EngineError::unreadable("a container without id or state"))
    }

    pub(crate) async fn inspect_raw(&self, name: &str) -> Result<ContainerInspectResponse, EngineError> {
        let name = names::container(name)?;
        within(QUICK, self.quick.inspect_container(name, None::<InspectContainerOptions>)).await
    }

    /// The last `count` lines that a container wrote to its standard output and error.
    pub async fn last_lines(&self, id: &ContainerId, count: usize) -> Result<Vec<String>, EngineError> {
        let tail = count.to_string();
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&tail).build();
        let output = self.quick.logs(names::container(id.as_str())?, Some(options)).try_collect::<Vec<_>>();
        Ok(lines(within(QUICK, output).await?, count))
    }

    /// Sends a signal, by name (`SIGKILL`) or number.
    pub async fn kill(&self, id: &ContainerId, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        within(PATIENT, self.patient.kill_container(names::container(id.as_str())?, Some(options))).await
    }

    /// Kills and removes a container and returns when it is gone, also when it was gone before or
    /// somebody else is removing it.
    pub async fn remove_forced(&self, id: &ContainerId) -> Result<(), EngineError> {
        let name = names::container(id.as_str())?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match within(PATIENT, self.patient.remove_container(name, Some(options))).await {
            Ok(()) | Err(EngineError::NotFound { .. }) => Ok(()),
            Err(EngineError::RemovalInProgress) => self.await_removal(name).await,
            Err(error) => Err(error),
        }
    }

    async fn await_removal(&self, name: &str) -> Result<(), EngineError> {
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        let mut gone = self.quick.wait_container(name, Some(options));
        match tokio::time::timeout(QUICK, gone.next()).await {
            Err(_) => Err(EngineError::RemovalInProgress),
            // Its exit code is of no interest here.
            Ok(None | Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. }))) => Ok(()),
            Ok(Some(Err(error))) => match error.into() {
                EngineError::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }
}

fn inspection(container: ContainerInspectResponse) -> Option<Inspection> {
    let engine = container.state?;
    let config = container.config.unwrap_or_default();
    let state = State::from(engine.status);
    let has_ended = matches!(state, State::Exited | State::Dead | State::Removing | State::Restarting);
    let memory = container.host_config.and_then(|host| host.memory);
    Some(Inspection {
        id: container.id?.into(),
        role: Role::of(&config.labels.unwrap_or_default()),
        state,
        exit_code: engine.exit_code.filter(|_| has_ended),
        oom_killed: engine.oom_killed.unwrap_or(false),
        finished_at: engine.finished_at.as_deref().and_then(moment),
        memory_limit_bytes: memory.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0),
    })
}

/// The engine writes the year 1 for "never".
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let at = Timestamp::deserialize(StrDeserializer::<ValueError>::new(text)).ok()?;
    (at.0 > 0).then_some(at)
}

/// Each stream's lines in the order of their ends: the engine cuts long lines into pieces.
fn lines(output: Vec<LogOutput>, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: [Vec<u8>; 2] = Default::default();
    for piece in output {
        let stream = usize::from(matches!(piece, LogOutput::StdErr { .. }));
        for part in piece.as_ref().split_inclusive(|byte| *byte == b'\n') {
            open[stream].extend_from_slice(part);
            if part.ends_with(b"\n") {
                lines.push(line(&std::mem::take(&mut open[stream])));
            }
        }
    }
    lines.extend(open.iter().filter(|rest| !rest.is_empty()).map(|rest| line(rest)));
    lines.split_off(lines.len().saturating_sub(count))
}

fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches(['\n', '\r']).chars().take(LONGEST_LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_year_1_is_never() {
        assert_eq!(moment("0001-01-01T00:00:00Z"), None);
        assert_eq!(moment("nonsense"), None);
        assert_eq!(
            moment("2026-01-02T03:04:05.123456789Z").unwrap().to_string(),
            "2026-01-02T03:04:05.123456Z"
        );
    }

    #[test]
    fn a_dead_container_is_read_with_its_end() {
        let container = serde_json::from_str(
            r#"{"Id": "0f00", "Name": "/clb-worker-1", "RestartCount": 0, "Image": "sha256:1",
                "State": {"Status": "exited", "OOMKilled": true, "ExitCode": 137, "Error": "",
                          "StartedAt": "2026-01-02T03:04:05Z", "FinishedAt": "2026-01-02T03:04:06Z"},
                "HostConfig": {"Memory": 268435456}, "Config": {"Image": "clb-worker"},
                "NetworkSettings": {"Networks": {"clb": {"IPAddress": ""}}}}"#,
        )
        .unwrap();
        let seen = inspection(container).unwrap();
        assert_eq!((seen.state, seen.exit_code, seen.oom_killed), (State::Exited, Some(137), true));
        assert_eq!(seen.memory_limit_bytes, Some(268_435_456));
        assert_eq!(seen.id.as_str(), "0f00");
    }

    #[test]
    fn a_running_container_has_no_exit_code() {
        let container = serde_json::from_str(
            r#"{"Id": "0f00", "Name": "/a", "State": {"Status": "running", "ExitCode": 0,
                "FinishedAt": "0001-01-01T00:00:00Z"},
                "NetworkSettings": {"Networks": {"clb": {"IPAddress": "172.18.0.2"}}}}"#,
        )
        .unwrap();
        let seen = inspection(container).unwrap();
        assert_eq!((seen.state, seen.exit_code, seen.finished_at), (State::Running, None, None));
    }

    #[test]
    fn lines_are_put_together_from_pieces_of_two_streams() {
        let out = |text: &'static str| LogOutput::StdOut { message: text.as_bytes().into() };
        let err = |text: &'static [u8]| LogOutput::StdErr { message: text.into() };
        let output = vec![out("one\ntw"), err(b"bad \xff\r\n"), out("o\n"), out("rest")];
        assert_eq!(lines(output.clone(), 9), ["one", "bad \u{fffd}", "two", "rest"]);
        assert_eq!(lines(output, 2), ["two", "rest"]);
    }
}
