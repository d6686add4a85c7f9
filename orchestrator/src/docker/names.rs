//! Checks of names before they become parts of the engine's URLs: bollard does not escape them, and
//! `../images/x` would ask another endpoint.

use super::EngineError;

/// Passes the name or id of a container, a network or a cluster.
pub(super) fn container(name: &str) -> Result<&str, EngineError> {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric());
    if starts_well && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        Ok(name)
    } else {
        Err(EngineError::BadName { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_containers_pass() {
        for name in ["clb-worker-1", "a", "0123456789ab", "A_b.c-d"] {
            assert_eq!(container(name).unwrap(), name);
        }
    }

    #[test]
    fn names_that_reach_another_endpoint_do_not_pass() {
        for name in ["", "..", "../info", "a/b", ".a", "-a", "a b", "a?x=1", "a%2fb", "ä"] {
            assert!(container(name).is_err(), "{name}");
        }
    }
}
