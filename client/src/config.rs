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
    #[error("{} cannot be read; fix its permissions, or give the address with --url", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Without the text itself, which may be the token.
    #[error(
        "{}, line {line}, column {column}: {reason}; it may have url = [\"http://HOST:PORT\"] and token = \"TEXT\"",
        path.display()
    )]
    Content { path: PathBuf, line: usize, column: usize, reason: String },
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
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            ConfigError::Content { path: path.to_owned(), line, column, reason: reason(source.message()) }
        })
    }
}

/// What is wrong, without what is quoted of the file.
fn reason(message: &str) -> String {
    let (wrong, expected) = match message.rsplit_once(", expected ") {
        Some((wrong, expected)) => (wrong, format!(", expected {expected}")),
        None => (message, String::new()),
    };
    let wrong = wrong.split(['`', '"', '\n']).next().unwrap_or_default().trim_end();
    format!("{wrong}{expected}")
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
    fn a_mistake_is_named_with_its_place_and_without_the_text() {
        for (line, wrong) in [
            ("tokne = \"secret\"", "column 1: unknown field, expected `url` or `token`; it may"),
            ("url = \"secret, expected x\"", "column 7: invalid type: string, expected a sequence; it may"),
            ("token = secret", "column 9: "),
            ("token = \"secret", "column "),
            ("secret", "column "),
        ] {
            let error = Config::parse(Path::new("/c.toml"), &format!("\n{line}\n")).unwrap_err();
            let error = crate::failure::Failure::from(error).to_string();
            assert!(error.starts_with(&format!("/c.toml, line 2, {wrong}")), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_file_is_where_the_desktop_standard_has_it() {
        let found = |xdg: Option<&str>, home: Option<&str>| place(xdg.map(Into::into), home.map(Into::into));
        assert_eq!(found(Some("/x"), Some("/h")), Some("/x/clb/config.toml".into()));
        assert_eq!(found(Some("x"), Some("/h")), Some("/h/.config/clb/config.toml".into()));
        assert_eq!(found(None, None), None);
    }
}
