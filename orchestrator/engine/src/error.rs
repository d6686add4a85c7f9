//! What can go wrong between CLB and the engine, told apart by the engine's status and words.

use std::error::Error as StdError;

use bollard::errors::Error as Bollard;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine's or its operator's: it is not running, or the socket is not mounted or not ours to
    /// open. Trying again helps once it is back.
    #[error("cannot reach the Docker engine: is it running, and may this user open its socket? ({source})")]
    Unreachable {
        /// What the connection said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The engine's: it hangs or is overloaded. Trying again may help; the call may have worked.
    #[error("the Docker engine did not answer in time")]
    TimedOut,
    /// Nobody's: another container has the name. Trying again helps after that one was removed.
    #[error("the container name {name} is in use: remove the container that has it")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Nobody's: the container is on its way out. Trying again in a moment helps.
    #[error("the container is being removed: wait until it is gone")]
    RemovalInProgress,
    /// The operator's. Trying again helps after the image was built or pulled.
    #[error("the image {image} is not on this machine: build or pull it")]
    ImageMissing {
        /// Its name.
        image: String,
    },
    /// The operator's: it was removed under a container. Trying again helps after it was made again,
    /// with a new container.
    #[error("the network {network} does not exist: create it, then the container again")]
    NetworkMissing {
        /// Its name.
        network: String,
    },
    /// Another container's or process's of the machine. The container stays created; starting it again
    /// helps once the port is free.
    #[error("the port {} is in use on this machine: free it or configure another", port_text(*.port))]
    PortTaken {
        /// The port of the host, when the engine says which.
        port: Option<u16>,
    },
    /// Nobody's: the container was not running (or not paused) any more. Trying again does not help.
    #[error("the container is not running")]
    NotRunning,
    /// Nobody's: there is no such thing any more. Trying again does not help.
    #[error("not found: {message}")]
    NotFound {
        /// The engine's words.
        message: String,
    },
    /// The configuration's: the engine will not do this. Trying again does not help.
    #[error("the Docker engine refuses this (status {status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The caller's: this cannot be a name. Trying again does not help.
    #[error("{name:?} cannot be a name: use letters, digits, '_', '.' and '-'")]
    BadName {
        /// What was given.
        name: String,
    },
    /// Nobody's: nothing is made any more. Trying again does not help.
    #[error("the cluster is being taken down")]
    TakenDown,
    /// The operator's: `DOCKER_HOST` has another scheme. Trying again does not help.
    #[error("cannot speak to an engine at {address}: DOCKER_HOST must begin with unix://, tcp:// or http://")]
    BadAddress {
        /// What was given.
        address: String,
    },
    /// The engine's: it failed inside, or said something that cannot be read. Trying again may help.
    #[error("the Docker engine failed: {source}")]
    Other {
        /// What it said.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl EngineError {
    /// Whether the engine is away or hangs, so that nothing is known of what was asked for.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut)
    }

    /// No error when the cluster is being taken down.
    pub fn unless_taken_down(self) -> Result<(), Self> {
        if matches!(self, Self::TakenDown) { Ok(()) } else { Err(self) }
    }

    /// Something that the engine answered and that cannot be understood.
    pub(crate) fn unreadable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Other { source: source.into() }
    }
}

impl From<Bollard> for EngineError {
    fn from(error: Bollard) -> Self {
        match error {
            Bollard::DockerResponseServerError { status_code, message } => classify(status_code, &message),
            Bollard::RequestTimeoutError => Self::TimedOut,
            Bollard::HyperLegacyError { err } => Self::Unreachable { source: innermost(err) },
            Bollard::HyperResponseError { err } => Self::Unreachable { source: innermost(err) },
            Bollard::IOError { .. } | Bollard::SocketNotFoundError(_) => {
                Self::Unreachable { source: error.into() }
            }
            other => Self::Other { source: other.into() },
        }
    }
}

/// hyper's own words ("client error (Connect)") leave out the reason, which is what helps.
fn innermost(error: impl StdError + Send + Sync + 'static) -> Box<dyn StdError + Send + Sync> {
    let mut cause: &dyn StdError = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string().into()
}

fn port_text(port: Option<u16>) -> String {
    port.map_or_else(|| "that the container publishes".to_owned(), |port| port.to_string())
}

/// Tells the engine's refusals apart. Its statuses are shared by several causes and some causes have
/// different ones on different versions, so the words decide first.
fn classify(status: u16, message: &str) -> EngineError {
    let says = |words: &str| message.contains(words);
    if says("port is already allocated") || says("address already in use") {
        return EngineError::PortTaken { port: host_port(message) };
    }
    if says("is already in use by container") || says("Conflict. The container name") {
        let name = between(message, "\"", "\"").unwrap_or_default().trim_start_matches('/').to_owned();
        return EngineError::NameTaken { name };
    }
    if says("is already in progress") || says("is marked for removal") {
        return EngineError::RemovalInProgress;
    }
    if says("is not running") || says("is not paused") {
        return EngineError::NotRunning;
    }
    if let Some((_, image)) = message.split_once("No such image: ") {
        return EngineError::ImageMissing { image: image.trim().to_owned() };
    }
    match status {
        404 => match missing_network(message) {
            Some(network) => EngineError::NetworkMissing { network },
            None => EngineError::NotFound { message: message.to_owned() },
        },
        400..=499 => EngineError::Refused { status, message: message.to_owned() },
        _ if says("OCI runtime create failed") => {
            EngineError::Refused { status, message: message.to_owned() }
        }
        _ => EngineError::Other { source: format!("status {status}: {message}").into() },
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}

/// From `network NAME not found`.
fn missing_network(message: &str) -> Option<String> {
    let (before, _) = message.rsplit_once(" not found")?;
    let (_, name) = before.rsplit_once("network ")?;
    Some(name.trim_matches('"').to_owned())
}

/// From `Bind for 127.0.0.1:3004 failed` or `listen tcp4 127.0.0.1:3004: bind`: the first number after
/// an address.
fn host_port(message: &str) -> Option<u16> {
    message.split(|c: char| c.is_whitespace() || c == '/').find_map(|word| {
        let (address, rest) = word.split_once(':')?;
        address.parse::<std::net::Ipv4Addr>().ok()?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_use_is_told_with_the_name() {
        let message = "Conflict. The container name \"/clb-worker-1\" is already in use by container \"0f00\". \
                       You have to remove (or rename) that container to be able to reuse that name.";
        let EngineError::NameTaken { name } = classify(409, message) else { panic!() };
        assert_eq!(name, "clb-worker-1");
    }

    #[test]
    fn a_container_on_its_way_out_is_told() {
        for message in [
            "removal of container clb-worker-1 is already in progress",
            "container is marked for removal and cannot be started",
        ] {
            assert!(matches!(classify(409, message), EngineError::RemovalInProgress));
        }
    }

    #[test]
    fn a_missing_image_is_told_with_its_name() {
        let EngineError::ImageMissing { image } = classify(404, "No such image: clb-worker:latest") else {
            panic!()
        };
        assert_eq!(image, "clb-worker:latest");
    }

    #[test]
    fn a_missing_network_is_told_with_its_name() {
        for message in
            ["network clb not found", "could not find a network matching mode: network clb not found"]
        {
            let EngineError::NetworkMissing { network } = classify(404, message) else { panic!() };
            assert_eq!(network, "clb");
        }
    }

    #[test]
    fn a_port_in_use_is_told_with_its_number() {
        for message in [
            "driver failed programming external connectivity on endpoint clb-worker-1 (ab12): \
             Bind for 127.0.0.1:3004 failed: port is already allocated",
            "driver failed programming external connectivity on endpoint clb-worker-1 (ab12): Error starting \
             userland proxy: listen tcp4 127.0.0.1:3004: bind: address already in use",
            "failed to bind host port for 127.0.0.1:3004:172.18.0.2:3004/tcp: address already in use",
            "failed to bind host port 127.0.0.1:3004/tcp: address already in use",
        ] {
            let EngineError::PortTaken { port } = classify(500, message) else { panic!("{message}") };
            assert_eq!(port, Some(3004), "{message}");
        }
    }

    #[test]
    fn a_container_that_does_not_run_is_told_with_any_status() {
        assert!(matches!(classify(409, "Container 0f00 is not running"), EngineError::NotRunning));
        assert!(matches!(classify(500, "Container 0f00 is not paused"), EngineError::NotRunning));
    }

    #[test]
    fn a_bad_configuration_is_not_worth_a_retry() {
        for (status, message) in [
            (400, "Minimum memory limit allowed is 6MB"),
            (400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
            (400, "OCI runtime create failed: exec: \"/nope\": stat /nope: no such file or directory"),
            (500, "failed to create task: OCI runtime create failed: no such file or directory"),
        ] {
            let error = classify(status, message);
            assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
            assert!(!error.is_absence());
        }
    }

    #[test]
    fn what_is_gone_is_not_found() {
        assert!(matches!(classify(404, "No such container: 0f00"), EngineError::NotFound { .. }));
    }

    #[test]
    fn trouble_inside_the_engine_may_pass() {
        let error = classify(500, "layer does not exist");
        assert!(matches!(error, EngineError::Other { .. }));
        assert!(!error.is_absence());
    }
}
