//! The file in which a person notes where the cluster is: `~/.config/clb/config.toml`.

use std::env;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What may stand in the file.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Base URLs of the orchestrators.
    #[serde(default)]
    pub(crate) url: Vec<String>,
    /// The cluster's token.
    pub(crate) token: Option<String>,
}

/// Why the file is of no use. The caller's fault; do not retry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{} cannot be read; correct its rights, or name the cluster with --url", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{}, line {line}: {}; it may have url = [\"http://HOST:PORT\"] and token = \"TEXT\"",
        path.display(),
        source.message()
    )]
    Content {
        path: PathBuf,
        line: usize,
        #[source]
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Reads the file; one that is not there says nothing.
    pub(crate) fn load() -> Result<Self, ConfigError> {
        place(env::var_os("XDG_CONFIG_HOME").map(PathBuf::from), env::var_os("HOME").map(PathBuf::from))
            .map_or_else(|| Ok(Self::default()), |path| Self::read(&path))
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|source| {
            let before = source.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ConfigError::Content { path: path.to_owned(), line, source: Box::new(source) }
        })
    }
}

/// The XDG base directory specification ignores a relative path.
fn place(xdg_config_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let folder = xdg_config_home
        .filter(|folder| folder.is_absolute())
        .or_else(|| home.map(|home| home.join(".config")))?;
    Some(folder.join("clb/config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_named_with_its_file_and_line() {
        let text = "url = [\"http://127.0.0.1:3002\"]\ntokne = \"a\"\n";
        let error = Config::parse(Path::new("/etc/c.toml"), text).unwrap_err().to_string();
        assert!(error.starts_with("/etc/c.toml, line 2: unknown field `tokne`"), "{error}");
    }

    #[test]
    fn the_file_is_where_the_desktop_standard_has_it() {
        let found = |xdg: Option<&str>, home: Option<&str>| place(xdg.map(Into::into), home.map(Into::into));
        assert_eq!(found(Some("/x"), Some("/h")), Some("/x/clb/config.toml".into()));
        assert_eq!(found(Some("x"), Some("/h")), Some("/h/.config/clb/config.toml".into()));
        assert_eq!(found(None, None), None);
    }
}
