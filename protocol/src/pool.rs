//! A pool of workers as somebody wants it: the spec as it is written in `clb.toml` and in the API, and
//! the checked one, in which every field has its value.
//!
//! Not here: where mounts may come from, which the operator of an orchestrator says.

mod bytes;

use serde::{Deserialize, Serialize};

pub use bytes::Bytes;

use crate::task::{Env, FieldError, MAX_PATH_BYTES, MAX_VARIABLES};

/// The most workers of one pool.
pub const MAX_WORKERS: u16 = 1_000;
/// The most tasks that one worker runs at once.
pub const MAX_WORKER_SLOTS: u16 = 1_024;
/// The most characters of a pool's name: a part of its containers' names.
pub const MAX_POOL_NAME: usize = 40;
/// The most folders that a pool may mount.
pub const MAX_MOUNTS: usize = 32;
/// The longest grace, in seconds.
pub const MAX_STOP_GRACE_SECONDS: f64 = 3_600.0;
/// `nobody`, who owns nothing.
pub const DEFAULT_USER: &str = "65534:65534";
/// The least memory that an engine takes for a container.
const LEAST_MEMORY_BYTES: u64 = 8 << 20;

/// How the best worker for a task is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// The least predicted load: measured CPU and memory, and a reservation for every task that the
    /// measurements cannot show yet.
    #[default]
    LeastLoaded,
    /// The formula of 2023: CPU % + memory % + 5 × running tasks.
    Seed,
    /// The one that was given a task the longest ago.
    RoundRobin,
    /// Any, drawn from the task's id.
    Random,
}

impl std::str::FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "least-loaded" => Ok(Self::LeastLoaded),
            "seed" => Ok(Self::Seed),
            "round-robin" => Ok(Self::RoundRobin),
            "random" => Ok(Self::Random),
            _ => Err("must be least-loaded, seed, round-robin or random".to_owned()),
        }
    }
}

/// A folder of the host inside of a pool's workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The absolute path on the host.
    pub source: String,
    /// The absolute path in the container.
    pub target: String,
    /// Whether programs may only read it.
    #[serde(default)]
    pub read_only: bool,
}

/// A pool as it is wanted. What may be left out has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolSpec {
    /// Of which image its workers are; the bundled one, with no programs in it, when left out.
    pub image: Option<String>,
    /// How many workers it has.
    pub workers: u16,
    /// How many tasks each runs at once.
    pub slots: u16,
    /// Each worker's memory limit.
    pub memory: Bytes,
    /// Each worker's CPU limit, in cores.
    pub cpus: f64,
    /// How many processes and threads a worker may have.
    pub pids: u32,
    /// What programs find in their environment.
    pub env: Env,
    /// Folders of the host.
    pub mounts: Vec<Mount>,
    /// As whom programs run: `user`, `uid` or either with `:group`.
    pub user: String,
    /// Whether its workers can reach anything but the orchestrators.
    pub network: bool,
    /// Whether the container's own files are read-only.
    pub read_only: bool,
    /// Who gets a task.
    pub placement: Placement,
    /// Seconds that a program has to end once it is asked to.
    pub stop_grace: f64,
    /// The port on 127.0.0.1 of the first worker; the others follow. Not published when left out.
    pub first_port: Option<u16>,
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            image: None,
            workers: 1,
            slots: 1,
            memory: Bytes(256 << 20),
            cpus: 1.0,
            pids: 256,
            env: Env::new(),
            mounts: Vec::new(),
            user: DEFAULT_USER.to_owned(),
            network: true,
            read_only: true,
            placement: Placement::default(),
            stop_grace: 5.0,
            first_port: None,
        }
    }
}

impl PoolSpec {
    /// Everything in it that no pool may have, by JSON pointer.
    #[must_use]
    pub fn broken_limits(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut require = |holds: bool, pointer: &str, detail: String| {
            if !holds {
                errors.push(FieldError::at(pointer, detail));
            }
        };
        let is_image = |name: &str| is_word(name) && name.len() <= 512;
        require(self.image.as_deref().is_none_or(is_image), "/image", "must be the name of an image".into());
        require(self.workers <= MAX_WORKERS, "/workers", format!("must be from 0 to {MAX_WORKERS}"));
        let has_slots = (1..=MAX_WORKER_SLOTS).contains(&self.slots);
        require(has_slots, "/slots", format!("must be from 1 to {MAX_WORKER_SLOTS}"));
        let least = LEAST_MEMORY_BYTES;
        require(
            (least..=1 << 50).contains(&self.memory.0),
            "/memory",
            format!("must be at least {least} bytes"),
        );
        require((0.01..=1_024.0).contains(&self.cpus), "/cpus", "must be from 0.01 to 1024".into());
        require((16..=1 << 22).contains(&self.pids), "/pids", "must be from 16 to 4194304".into());
        require(self.env.len() <= MAX_VARIABLES, "/env", format!("must have at most {MAX_VARIABLES} items"));
        for (name, value) in &self.env {
            let is_variable = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
            let pointer = format!("/env/{}", crate::task::escape(name));
            require(is_variable, &pointer, "must not contain NUL; the name must not contain `=`".into());
            let is_free = !name.starts_with("CLB_");
            require(is_free, &pointer, "names that begin with CLB_ are set by the orchestrator".into());
        }
        require(self.mounts.len() <= MAX_MOUNTS, "/mounts", format!("must have at most {MAX_MOUNTS} items"));
        for (place, mount) in self.mounts.iter().enumerate() {
            for (field, path) in [("source", &mount.source), ("target", &mount.target)] {
                let pointer = format!("/mounts/{place}/{field}");
                require(is_plain_path(path), &pointer, "must be an absolute path without `..`".into());
            }
        }
        require(
            is_user(&self.user),
            "/user",
            "must be a user or uid, with :group if you like, and not root".into(),
        );
        let has_grace = (0.0..=MAX_STOP_GRACE_SECONDS).contains(&self.stop_grace);
        require(has_grace, "/stop_grace", format!("must be from 0 to {MAX_STOP_GRACE_SECONDS} seconds"));
        let fits = |port: u16| port >= 1_024 && u32::from(port) + u32::from(self.workers) <= 65_536;
        require(
            self.first_port.is_none_or(fits),
            "/first_port",
            "must leave every worker a port up to 65535".into(),
        );
        errors
    }
}

/// Whether a text can be a pool's name: a part of the names of its containers.
#[must_use]
pub fn is_pool_name(text: &str) -> bool {
    let is_in = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends_well = !text.starts_with('-') && !text.ends_with('-');
    !text.is_empty() && text.len() <= MAX_POOL_NAME && text.chars().all(is_in) && ends_well
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
}

fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_PATH_BYTES
        && !path.contains(['\0', ':'])
        && !path.trim_end_matches('/').split('/').skip(1).any(|part| matches!(part, "" | "." | ".."))
}

fn is_user(text: &str) -> bool {
    let mut parts = text.splitn(2, ':');
    let is_somebody = |part: &str| match part.bytes().next() {
        Some(b'0'..=b'9') => part.parse::<u32>().is_ok_and(|id| id > 0),
        Some(b'a'..=b'z' | b'_') => part != "root" && part.bytes().all(is_in_name),
        _ => false,
    };
    parts.all(is_somebody) && text.len() <= 255
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(spec: &str) -> Vec<String> {
        let spec: PoolSpec = serde_json::from_str(spec).unwrap();
        spec.broken_limits().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(serde_json::from_str::<PoolSpec>("{}").unwrap(), PoolSpec::default());
        assert_eq!(pointers(r#"{"image": "python:3.12", "memory": "1g"}"#), Vec::<String>::new());
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        let spec = r#"{"image": "a b", "workers": 1001, "slots": 0, "memory": "1k", "cpus": 0, "pids": 1,
            "env": {"CLB_X": "", "a=b": ""}, "mounts": [{"source": "/a/../b", "target": "c"}], "user": "0:5",
            "stop_grace": -1, "first_port": 80}"#;
        let expected = [
            "/image",
            "/workers",
            "/slots",
            "/memory",
            "/cpus",
            "/pids",
            "/env/CLB_X",
            "/env/a=b",
            "/mounts/0/source",
            "/mounts/0/target",
            "/user",
            "/stop_grace",
            "/first_port",
        ];
        assert_eq!(pointers(spec), expected);
    }

    #[test]
    fn nobody_is_root_by_another_spelling() {
        for user in ["nobody", "1000", "65534:65534", "_apt:nogroup", "www-data"] {
            assert!(is_user(user), "{user}");
        }
        for root in ["0", "00", "-0", "+0", "root", "", ":5", "5:0", "5:root", "5:", "4294967296", "a b", "A"]
        {
            assert!(!is_user(root), "{root}");
        }
    }

    #[test]
    fn a_path_is_written_in_one_way() {
        assert!(is_plain_path("/srv/pictures") && is_plain_path("/srv/"));
        for path in ["srv", "//srv", "/./srv", "/srv/../etc", "/srv//a", "/a:b"] {
            assert!(!is_plain_path(path), "{path}");
        }
    }

    #[test]
    fn a_typo_is_not_silent() {
        assert!(serde_json::from_str::<PoolSpec>(r#"{"imgae": "a"}"#).is_err());
    }

    #[test]
    fn a_pool_is_named_like_a_container() {
        assert!(is_pool_name("default") && is_pool_name("image-magick7"));
        for bad in ["", "-a", "a-", "A", "a_b", "ä", &"a".repeat(41)] {
            assert!(!is_pool_name(bad), "{bad}");
        }
    }
}
