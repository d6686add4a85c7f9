//! Pools as the operator defines them, in the environment and in `clb.toml`, and what an operator lets
//! others ask for.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clb_core::config::Definition;
use clb_core::input::RestoredPool;
use clb_core::ports::{Reserved, overlap};
use clb_engine::{PROGRAM_FOLDER, is_image_name};
use clb_protocol::PoolName;
use clb_protocol::api::PoolSource;
use clb_protocol::pool::{PoolSpec, is_pool_name};
use clb_protocol::task::{DEFAULT_POOL, FieldError};
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

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

/// What the operator says outside of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// Folders of the host below which pools may mount, besides those of the file.
    pub(crate) mount_prefixes: Vec<String>,
    /// The default pool, unless the file has it.
    pub(crate) default_pool: PoolSpec,
    /// Ports of the host that no worker may be published on.
    pub(crate) reserved_ports: Reserved,
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
    /// Reads the file at `path`, or the one that need not be there, and checks it and the environment's pool.
    pub(crate) fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, DefinitionError> {
        let place = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match std::fs::read_to_string(place) {
            Ok(text) => text,
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(DefinitionError::Unreadable { path: place.to_owned(), source }),
        };
        let mut read = Self::read(&text, environment).map_err(|(line, detail)| DefinitionError::Wrong {
            path: place.to_owned(),
            line,
            detail,
        })?;
        read.mount_prefixes.extend(environment.mount_prefixes.iter().cloned());
        read.check_default(environment)?;
        Ok(read)
    }

    /// The error has its line.
    fn read(text: &str, environment: &Environment) -> Result<Self, (usize, String)> {
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
        let allowed = [read.mount_prefixes.as_slice(), &environment.mount_prefixes].concat();
        for (name, spec) in &read.pools {
            if let Some(error) = broken_name(name).into_iter().chain(broken_spec(name, spec, &allowed)).next()
            {
                let mut path = vec!["pools".to_owned(), name.clone()];
                let parts = error.pointer.split('/').skip(1);
                path.extend(parts.map(|part| part.replace("~1", "/").replace("~0", "~")));
                return Err(wrong(&path, &error.detail));
            }
        }
        if let Some((name, detail)) = read.clash(environment) {
            return Err(wrong(&["pools".to_owned(), name, "first_port".to_owned()], &detail));
        }
        Ok(read)
    }

    /// The first pool of the file whose ports are those of somebody else, and whose.
    fn clash(&self, environment: &Environment) -> Option<(String, String)> {
        let reserved = &environment.reserved_ports;
        let of_environment = reserved.span(&environment.default_pool).ok().flatten();
        let of_environment = of_environment.filter(|_| !self.pools.contains_key(DEFAULT_POOL));
        let mut taken: Vec<(&str, RangeInclusive<u16>)> =
            of_environment.map(|ports| (DEFAULT_POOL, ports)).into_iter().collect();
        for (name, spec) in &self.pools {
            let ports = match reserved.span(spec) {
                Ok(Some(ports)) => ports,
                Ok(None) => continue,
                Err(detail) => return Some((name.clone(), detail)),
            };
            if let Some((other, ports)) = taken.iter().find(|(_, other)| overlap(other, &ports)) {
                let (first, last) = (ports.start(), ports.end());
                let detail = format!("the workers of pool {other} have ports {first} to {last}");
                return Some((name.clone(), detail));
            }
            taken.push((name, ports));
        }
        None
    }

    /// The environment's pool; its ports only where it is used.
    fn check_default(&self, environment: &Environment) -> Result<(), DefinitionError> {
        let spec = &environment.default_pool;
        let broken = spec.broken_limits().into_iter().next();
        let broken =
            broken.map(|error| format!("{} {}", error.pointer.trim_start_matches('/'), error.detail));
        let clash = environment.reserved_ports.span(spec).err();
        let clash = clash.filter(|_| !self.pools.contains_key(DEFAULT_POOL));
        let clash = clash.map(|why| format!("first_port: {why}; choose another CLB_WORKER_PORT"));
        broken.or(clash).map_or(Ok(()), |detail| Err(DefinitionError::Environment(detail)))
    }

    /// The stored pools that may not have workers as they are, and why.
    pub(crate) fn refused(&self, stored: &[RestoredPool]) -> BTreeMap<PoolName, String> {
        let fault = |pool: &RestoredPool| {
            let spec = pool.spec.as_ref()?;
            let error = broken_spec(pool.name.as_str(), spec, &self.mount_prefixes).into_iter().next()?;
            let (field, detail) = (error.pointer.trim_start_matches('/').replace('/', "."), error.detail);
            let why = format!("{field}: {detail}; change the pool with PUT, or have its operator allow this");
            Some((pool.name.clone(), why))
        };
        stored.iter().filter_map(fault).collect()
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
        return Some(FieldError::at("", "is reserved for containers of the system; choose another"));
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
                format!("must be below a directory that the operator allows: {}", mount_prefixes.join(", "))
            };
            errors.push(FieldError::at(format!("/mounts/{place}/source"), detail));
        }
        let target = mount.target.trim_end_matches('/');
        let is_twice = spec.mounts[..place].iter().any(|other| other.target.trim_end_matches('/') == target);
        if target.is_empty() || is_twice || RESERVED_TARGETS.iter().any(|reserved| is_below(target, reserved))
        {
            let detail = "must be a directory of its own, and not one that the system needs";
            errors.push(FieldError::at(format!("/mounts/{place}/target"), detail));
        }
    }
    errors
}

fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
        complaint_in(&Environment::default(), text)
    }

    fn complaint_in(environment: &Environment, text: &str) -> (usize, String) {
        Definitions::read(text, environment).unwrap_err()
    }

    #[test]
    fn a_file_has_pools_and_folders() {
        let text = "mount_prefixes = [\"/srv\"]\n[pools.magick]\nimage = \"magick\"\nmemory = \"1g\"\n\
                    mounts = [{source = \"/srv/a\", target = \"/data\"}]\n";
        let read = Definitions::read(text, &Environment::default()).unwrap();
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
            (7, "pools.b.first_port: the workers of pool a have ports 4000 to 4001".to_owned())
        );
    }

    #[test]
    fn pools_of_the_file_leave_the_environment_and_the_system_their_ports() {
        let default_pool = PoolSpec { workers: 3, first_port: Some(3_004), ..PoolSpec::default() };
        let mut environment = Environment {
            default_pool,
            reserved_ports: [3_002, 3_012].into_iter().collect(),
            ..Environment::default()
        };
        let of_file = |name: &str, port| format!("[pools.{name}]\nimage = \"x\"\nfirst_port = {port}\n");
        for (port, whose) in [
            (3_006, "the workers of pool default have ports 3004 to 3006"),
            (3_012, "port 3012 belongs to the system itself"),
        ] {
            let found = complaint_in(&environment, &of_file("a", port));
            assert_eq!(found, (3, format!("pools.a.first_port: {whose}")));
        }
        let read = |text: &str| Definitions::read(text, &environment);
        assert!(read(&of_file("a", 3_007)).is_ok() && read(&of_file("default", 3_005)).is_ok());
        environment.default_pool.workers = 20;
        assert!(Definitions::default().check_default(&environment).is_ok());
        let found = complaint_in(&environment, &of_file("a", 3_024));
        assert_eq!(found.1, "pools.a.first_port: the workers of pool default have ports 3004 to 3024");
        environment.default_pool.first_port = Some(3_012);
        let told = Definitions::default().check_default(&environment).unwrap_err().to_string();
        assert!(told.contains("first_port: port 3012"), "{told}");
        let of_file = Definitions::read(&of_file("default", 4_000), &environment).unwrap();
        assert!(of_file.check_default(&environment).is_ok());
    }

    #[test]
    fn a_stored_pool_is_held_against_what_the_operator_allows_now() {
        let stored = |name: &str, source: &str| {
            let mount =
                clb_protocol::pool::Mount { source: source.into(), target: "/data".into(), read_only: true };
            let spec = PoolSpec { image: Some("x".into()), mounts: vec![mount], ..PoolSpec::default() };
            RestoredPool { name: name.into(), spec: Some(spec), is_paused: false }
        };
        let paused = RestoredPool { name: "default".into(), spec: None, is_paused: true };
        let definitions = Definitions { mount_prefixes: vec!["/srv/a".to_owned()], ..Definitions::default() };
        let refused = definitions.refused(&[stored("in", "/srv/a/b"), stored("out", "/srv/b"), paused]);
        assert_eq!(refused.keys().map(PoolName::as_str).collect::<Vec<_>>(), ["out"]);
        let why = &refused[&PoolName::from("out")];
        assert!(why.starts_with("mounts.0.source: must be below") && why.contains("/srv/a;"), "{why}");
    }

    #[test]
    fn a_folder_is_below_itself_and_not_below_one_that_begins_like_it() {
        assert!(is_below("/srv", "/srv/") && is_below("/srv/a", "/srv") && is_below("/a", "/"));
        assert!(!is_below("/srv2", "/srv"));
    }

    #[test]
    fn only_a_file_that_was_named_must_be_there() {
        assert!(Definitions::load(Some(Path::new("/nowhere/clb.toml")), &Environment::default()).is_err());
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
