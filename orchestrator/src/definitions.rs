//! Pools as the operator defines them, in the environment and in `clb.toml`, and what an operator lets
//! others ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clb_core::config::Definition;
use clb_protocol::PoolName;
use clb_protocol::api::PoolSource;
use clb_protocol::pool::{PoolSpec, is_pool_name};
use clb_protocol::task::{DEFAULT_POOL, FieldError};
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use crate::docker::{PROGRAM_FOLDER, is_image_name};

/// Where the file is when nobody says otherwise.
const DEFAULT_PATH: &str = "/etc/clb/clb.toml";
/// Containers of the system have names that begin with these, or workers of the default pool have.
const RESERVED_NAMES: [&str; 2] = ["worker", "orchestrator"];
/// Folders of a container that nothing may be put over.
const RESERVED_TARGETS: [&str; 5] = [PROGRAM_FOLDER, "/proc", "/sys", "/dev", "/tmp"];

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Definitions {
    /// Folders of the host below which pools may mount.
    pub(crate) mount_prefixes: Vec<String>,
    /// The pools.
    pub(crate) pools: BTreeMap<String, PoolSpec>,
}

/// Why the operator's definitions cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DefinitionError {
    /// The file is not there, or not to be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{}:{line}: {detail}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What; begins with the field where there is one.
        detail: String,
    },
    /// The environment asks for a pool that cannot be.
    #[error("the pool {DEFAULT_POOL} of the environment: {0}")]
    Environment(String),
}

impl Definitions {
    /// Reads the file at `path`, or the one that need not be there. `prefixes` are added to its own.
    pub(crate) fn load(path: Option<&Path>, prefixes: &[String]) -> Result<Self, DefinitionError> {
        let place = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match std::fs::read_to_string(place) {
            Ok(text) => text,
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(DefinitionError::Unreadable { path: place.to_owned(), source }),
        };
        let mut read = Self::read(&text, prefixes).map_err(|(line, detail)| DefinitionError::Wrong {
            path: place.to_owned(),
            line,
            detail,
        })?;
        read.mount_prefixes.extend(prefixes.iter().cloned());
        Ok(read)
    }

    /// The error has its line.
    fn read(text: &str, prefixes: &[String]) -> Result<Self, (usize, String)> {
        let by_span = |error: &toml::de::Error| {
            (error.span().map_or(1, |span| line_at(text, span.start)), error.message().to_owned())
        };
        let table = DeTable::parse(text).map_err(|error| by_span(&error))?;
        let wrong = |path: &[String], detail: &str| {
            (line_of(text, table.get_ref(), path), format!("{}: {detail}", path.join(".")))
        };
        let parser = toml::Deserializer::parse(text).map_err(|error| by_span(&error))?;
        let read: Self = serde_path_to_error::deserialize(parser).map_err(|error| {
            let path: Vec<String> = segments(error.path());
            if path.is_empty() { by_span(error.inner()) } else { wrong(&path, error.inner().message()) }
        })?;
        for (place, prefix) in read.mount_prefixes.iter().enumerate() {
            if !prefix.starts_with('/') {
                return Err(wrong(&["mount_prefixes".into(), place.to_string()], "must be an absolute path"));
            }
        }
        let allowed = [read.mount_prefixes.as_slice(), prefixes].concat();
        for (name, spec) in &read.pools {
            if let Some(error) = broken_name(name).into_iter().chain(broken_spec(name, spec, &allowed)).next()
            {
                let mut path = vec!["pools".to_owned(), name.clone()];
                let parts = error.pointer.split('/').skip(1);
                path.extend(parts.map(|part| part.replace("~1", "/").replace("~0", "~")));
                return Err(wrong(&path, &error.detail));
            }
        }
        if let Some((one, other)) = clash(&read.pools) {
            let path = ["pools".to_owned(), other, "first_port".to_owned()];
            return Err(wrong(&path, &format!("the workers of pool {one} have these ports")));
        }
        Ok(read)
    }

    /// All of the operator's pools. The environment's is the default one, unless the file has it.
    pub(crate) fn pools(&self, of_environment: PoolSpec) -> Vec<Definition> {
        let name = PoolName::from(DEFAULT_POOL);
        let default = Definition { name, spec: of_environment, source: PoolSource::Environment };
        let is_in_file = self.pools.contains_key(DEFAULT_POOL);
        let of_file = self.pools.iter().map(|(name, spec)| Definition {
            name: name.as_str().into(),
            spec: spec.clone(),
            source: PoolSource::File,
        });
        (!is_in_file).then_some(default).into_iter().chain(of_file).collect()
    }
}

/// What is wrong with a pool's name.
pub(crate) fn broken_name(name: &str) -> Option<FieldError> {
    if RESERVED_NAMES.contains(&name) {
        return Some(FieldError::at("", "containers of the system have this name: choose another"));
    }
    let detail = "the pool's name must be up to 40 lower-case letters, digits and hyphens, without a hyphen at \
                  its ends";
    (!is_pool_name(name)).then(|| FieldError::at("", detail))
}

/// Everything in a spec that this pool may not have.
pub(crate) fn broken_spec(name: &str, spec: &PoolSpec, mount_prefixes: &[String]) -> Vec<FieldError> {
    let mut errors = spec.broken_limits();
    match &spec.image {
        None if name != DEFAULT_POOL => errors.push(FieldError::at("/image", "must be given")),
        Some(image) if !is_image_name(image) => {
            errors.push(FieldError::at("/image", "must be the name of an image"));
        }
        _ => {}
    }
    if !spec.network && spec.first_port.is_some() {
        let detail = "workers without a network cannot be published: leave it out or set `network`";
        errors.push(FieldError::at("/first_port", detail));
    }
    for (place, mount) in spec.mounts.iter().enumerate() {
        if !mount_prefixes.iter().any(|prefix| is_below(&mount.source, prefix)) {
            let detail = if mount_prefixes.is_empty() {
                "the operator allows no mounts (CLB_MOUNT_PREFIXES, or mount_prefixes in clb.toml)".to_owned()
            } else {
                format!("must be below a folder that the operator allows: {}", mount_prefixes.join(", "))
            };
            errors.push(FieldError::at(format!("/mounts/{place}/source"), detail));
        }
        let target = mount.target.trim_end_matches('/');
        let is_twice = spec.mounts[..place].iter().any(|other| other.target.trim_end_matches('/') == target);
        if target.is_empty() || is_twice || RESERVED_TARGETS.iter().any(|reserved| is_below(target, reserved))
        {
            let detail = "must be a folder of its own, and none that the system needs";
            errors.push(FieldError::at(format!("/mounts/{place}/target"), detail));
        }
    }
    errors
}

/// The pool of the environment, checked.
pub(crate) fn checked_default(spec: PoolSpec) -> Result<PoolSpec, DefinitionError> {
    match spec.broken_limits().into_iter().next() {
        Some(error) => Err(DefinitionError::Environment(format!(
            "{} {}",
            error.pointer.trim_start_matches('/'),
            error.detail
        ))),
        None => Ok(spec),
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Two pools that want the same ports.
fn clash(pools: &BTreeMap<String, PoolSpec>) -> Option<(String, String)> {
    let mut taken: Vec<(&String, std::ops::Range<u32>)> = Vec::new();
    for (name, spec) in pools {
        let Some(first) = spec.first_port.map(u32::from) else { continue };
        let range = first..first + u32::from(spec.workers);
        let other = taken.iter().find(|(_, other)| other.start < range.end && range.start < other.end);
        if let Some((other, _)) = other {
            return Some(((*other).clone(), name.clone()));
        }
        taken.push((name, range));
    }
    None
}

/// The parts of the path to a field.
pub(crate) fn segments(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    let name = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    };
    path.iter().filter_map(name).collect()
}

/// Where a field stands, or the deepest part of the path to it that stands anywhere.
fn line_of(text: &str, table: &DeTable<'_>, path: &[String]) -> usize {
    let Some((first, rest)) = path.split_first() else { return 1 };
    let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref().as_ref() == first.as_str()) else {
        return 1;
    };
    let here = line_at(text, key.span().start);
    let inner = match value.get_ref() {
        DeValue::Table(table) => line_of(text, table, rest),
        DeValue::Array(items) => {
            let item = rest.first().and_then(|index| items.get(index.parse::<usize>().ok()?));
            item.map_or(1, |item| line_at(text, item.span().start))
        }
        _ => 1,
    };
    inner.max(here)
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> (usize, String) {
        Definitions::read(text, &[]).unwrap_err()
    }

    #[test]
    fn a_file_has_pools_and_folders() {
        let text = "mount_prefixes = [\"/srv\"]\n[pools.magick]\nimage = \"magick\"\nmemory = \"1g\"\n\
                    mounts = [{source = \"/srv/a\", target = \"/data\"}]\n";
        let read = Definitions::read(text, &[]).unwrap();
        assert_eq!(read.pools["magick"].memory.0, 1 << 30);
        let pools = read.pools(PoolSpec::default());
        let sources: Vec<_> = pools.iter().map(|pool| (pool.name.as_str(), pool.source)).collect();
        assert_eq!(sources, [("default", PoolSource::Environment), ("magick", PoolSource::File)]);
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_field() {
        let cases = [
            ("[pools.a]\nimage = \"x\"\nmemory = \"lots\"\n", 3, "pools.a.memory: "),
            ("[pools.a]\nimage = \"x\"\nmemmory = \"1g\"\n", 3, "pools.a.memmory: "),
            ("[pools.a]\n\nslots = 0\nimage = \"x\"\n", 3, "pools.a.slots: "),
            ("[pools.a]\nworkers = 2\n", 1, "pools.a.image: must be given"),
            (
                "[pools.a]\nimage = \"x\"\nmounts = [{source = \"/etc\", target = \"/x\"}]\n",
                3,
                "pools.a.mounts.0.source: ",
            ),
            ("[pools.worker]\nimage = \"x\"\n", 1, "pools.worker: "),
            ("pool = 1\n", 1, "pool: "),
            ("mount_prefixes = [\"srv\"]\n", 1, "mount_prefixes.0: "),
        ];
        for (text, line, detail) in cases {
            let found = complaint(text);
            assert!(found.0 == line && found.1.starts_with(detail), "{text}\n{found:?}");
        }
        assert_eq!(complaint("a = \n").0, 1);
    }

    #[test]
    fn pools_of_the_file_do_not_share_ports() {
        let text = "[pools.a]\nimage = \"x\"\nworkers = 2\nfirst_port = 4000\n[pools.b]\nimage = \"x\"\nfirst_port = 4001\n";
        assert_eq!(
            complaint(text),
            (7, "pools.b.first_port: the workers of pool a have these ports".to_owned())
        );
    }

    #[test]
    fn a_folder_is_below_itself_and_not_below_one_that_begins_like_it() {
        assert!(is_below("/srv", "/srv/") && is_below("/srv/a", "/srv") && is_below("/a", "/"));
        assert!(!is_below("/srv2", "/srv"));
    }

    #[test]
    fn only_a_file_that_was_named_must_be_there() {
        assert!(Definitions::load(Some(Path::new("/nowhere/clb.toml")), &[]).is_err());
    }

    #[test]
    fn mounts_do_not_cover_what_the_system_needs() {
        let mount = |target: &str| clb_protocol::pool::Mount {
            source: "/srv".into(),
            target: target.into(),
            read_only: false,
        };
        for target in ["/", "/.clb", "/.clb/x", "/proc/self"] {
            let spec =
                PoolSpec { image: Some("x".into()), mounts: vec![mount(target)], ..PoolSpec::default() };
            let errors = broken_spec("a", &spec, &["/srv".to_owned()]);
            assert_eq!(errors[0].pointer, "/mounts/0/target", "{target}");
        }
    }
}
