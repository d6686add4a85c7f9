//! Checks of names before they become parts of the engine's URLs: bollard does not escape them, and
//! `../images/x` would ask another endpoint.

use crate::EngineError;

/// Passes the name or id of a container, a network or a cluster.
pub(crate) fn container(name: &str) -> Result<&str, EngineError> {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric());
    if starts_well && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        Ok(name)
    } else {
        Err(EngineError::BadName { name: name.to_owned() })
    }
}

/// Passes the name of an image, as `registry:5000/folder/name:tag` or `name@sha256:digest`.
pub(crate) fn image(name: &str) -> Result<&str, EngineError> {
    let is_part = |part: &str| {
        let starts_well = part.starts_with(|first: char| first.is_ascii_alphanumeric());
        starts_well && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-:@".contains(&byte))
    };
    if name.split('/').all(is_part) { Ok(name) } else { Err(EngineError::BadName { name: name.to_owned() }) }
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
    fn names_of_images_pass_and_nothing_else_does() {
        for name in ["python:3.12-slim", "127.0.0.1:5000/a/b_c:d", "a@sha256:0f", "registry.example/a"] {
            assert_eq!(image(name).unwrap(), name);
        }
        for name in ["", "/a", "a/", "../containers/x", "a//b", "a/../b", "a?x", "a%2e", "-a", "a b"] {
            assert!(image(name).is_err(), "{name}");
        }
    }

    #[test]
    fn names_that_reach_another_endpoint_do_not_pass() {
        for name in ["", "..", "../info", "a/b", ".a", "-a", "a b", "a?x=1", "a%2fb", "ä"] {
            assert!(container(name).is_err(), "{name}");
        }
    }
}
