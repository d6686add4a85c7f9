//! Bash parts the words of a line at each `:` and `=`, and puts what is answered in place of the last part: the parts
//! are put together before they are completed, and what stands before the last part is left out of the answers.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::engine::complete;
use clap_complete::env::{Bash as Plain, EnvCompleter};

/// See the module.
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        Plain.name()
    }

    fn is(&self, name: &str) -> bool {
        Plain.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        Plain.write_registration(var, name, bin, completer, buf)
    }

    fn write_complete(
        &self,
        cmd: &mut Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
        let parts: Option<Vec<String>> = args.iter().map(|word| word.to_str().map(str::to_owned)).collect();
        let (Some(index), Some(parts)) = (index, parts) else {
            return Plain.write_complete(cmd, args, current_dir, buf);
        };
        let line = Line::of(parts, index);
        let words = line.words.into_iter().map(OsString::from).collect();
        let found = complete(cmd, words, line.index, current_dir)?;
        let separator = std::env::var("_CLAP_IFS").unwrap_or_else(|_| "\n".to_owned());
        let values = found.iter().map(|candidate| candidate.get_value().to_string_lossy());
        let values: Vec<_> =
            values.filter_map(|it| Some(it.strip_prefix(&line.before)?.to_owned())).collect();
        write!(buf, "{}", values.join(&separator))
    }
}

/// A line whose words are whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) words: Vec<String>,
    /// Which word is completed, and what of it stands before its last part.
    index: usize,
    before: String,
}

impl Line {
    /// From its parts, of which the one at `index` is completed.
    pub(super) fn of(parts: Vec<String>, index: usize) -> Self {
        let mut line = Self { words: Vec::new(), index, before: String::new() };
        let mut goes_on = false;
        for (place, part) in parts.into_iter().enumerate() {
            let is_joint = !part.is_empty() && part.chars().all(|c| c == ':' || c == '=');
            let before = match line.words.last_mut() {
                Some(last) if is_joint || goes_on => {
                    let before = last.clone();
                    last.push_str(&part);
                    before
                }
                _ => {
                    line.words.push(part);
                    String::new()
                }
            };
            if place == index {
                line.index = line.words.len() - 1;
                line.before = before;
            }
            goes_on = is_joint;
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_word_are_completed_together() {
        let line = |text: &str, index| Line::of(text.split(' ').map(str::to_owned).collect(), index);
        let is = |words: &str, index, before: &str| Line {
            words: words.split(' ').map(str::to_owned).collect(),
            index,
            before: before.to_owned(),
        };
        assert_eq!(
            line("clb --url = http : //a list --pool = b", 9),
            is("clb --url=http://a list --pool=b", 3, "--pool=")
        );
        assert_eq!(line("clb list --group a : b", 5), is("clb list --group a:b", 3, "a:"));
        assert_eq!(line("clb list --pool py", 3), is("clb list --pool py", 3, ""));
        assert_eq!(line("clb list --pool = b -n 3", 1), is("clb list --pool=b -n 3", 1, ""));
    }
}
