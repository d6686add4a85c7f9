//! Lines in the script of a shell. No text of a line ever stands where the shell reads code: the script begins with
//! variables that hold it in single quotes, and each place becomes a use of its variable that fits the quotes around
//! it. Where those are misjudged a line is split or printed wrongly, but never run.

use super::{Part, value};
use crate::failure::Failure;

/// Shells that quote as `sh` does.
const SHELLS: [&str; 13] =
    ["sh", "ash", "bash", "dash", "hush", "ksh", "ksh93", "lksh", "mksh", "oksh", "posh", "yash", "zsh"];
/// Shells with rules of their own.
const OTHER_SHELLS: [&str; 7] = ["csh", "elvish", "fish", "nu", "pwsh", "tcsh", "xonsh"];
/// Long options of shells that take the next word.
const LONG_WITH_VALUE: [&str; 2] = ["--init-file", "--rcfile"];
const ADVICE: &str = "give the line as an argument: sh -c 'echo \"$1\"' sh {}";

/// A script with places for a line.
#[derive(Clone, Debug)]
pub(super) struct Script {
    parts: Vec<Part>,
    /// Those of which the script uses the variables.
    used: Vec<Part>,
}

/// Which of these words is the script of a shell (`sh -c`, also behind other programs), and of which shell.
pub(super) fn place_of_script(words: &[String]) -> Option<(usize, &str)> {
    words.iter().enumerate().find_map(|(place, word)| {
        let name = word.rsplit_once('/').map_or(word.as_str(), |(_, name)| name);
        let is_shell = SHELLS.contains(&name) || OTHER_SHELLS.contains(&name);
        is_shell.then(|| behind_options(words, place + 1)).flatten().map(|script| (script, name))
    })
}

/// The first word from there that is no option, where `-c` is one of the options.
fn behind_options(words: &[String], from: usize) -> Option<usize> {
    let mut has_c = false;
    let mut next = from;
    while let Some(word) = words.get(next) {
        next += 1;
        if word == "--" || word == "-" {
            return (has_c && next < words.len()).then_some(next);
        }
        if word.starts_with("--") {
            next += usize::from(LONG_WITH_VALUE.contains(&word.as_str()));
        } else if let Some(letters) = word.strip_prefix(['-', '+']) {
            has_c |= word.starts_with('-') && letters.contains('c');
            // `-o NAME` and bash's `-O NAME`.
            next += letters.matches(['o', 'O']).count();
        } else {
            return has_c.then_some(next - 1);
        }
    }
    None
}

impl Script {
    /// A script of this shell from its text and places.
    pub(super) fn new(parts: Vec<Part>, shell: &str) -> Result<Self, Failure> {
        if OTHER_SHELLS.contains(&shell) {
            return Err(Failure::Usage(format!("clb cannot quote a line for {shell}; {ADVICE}")));
        }
        let mut quotes = Quotes::default();
        let mut used: Vec<Part> = Vec::new();
        let mut written = Vec::new();
        for part in parts {
            let Some(name) = variable(&part) else {
                if let Part::Text(text) = &part {
                    quotes.read(text);
                }
                written.push(part);
                continue;
            };
            written.push(Part::Text(quotes.use_of(name)?));
            if !used.contains(&part) {
                used.push(part);
            }
        }
        Ok(Self { parts: written, used })
    }

    /// The script for a line.
    pub(super) fn fill(&self, line: &str, number: u64) -> String {
        let variables = self.used.iter().map(|part| {
            let quoted = value(part, line, number).replace('\'', r"'\''");
            format!("{}='{quoted}'; ", variable(part).unwrap_or_default())
        });
        variables.chain(self.parts.iter().map(|part| value(part, line, number))).collect()
    }
}

/// The variable for a place; a number needs none.
fn variable(part: &Part) -> Option<&'static str> {
    match part {
        Part::Text(_) | Part::Number => None,
        Part::Line => Some("clb_line"),
        Part::Stem => Some("clb_stem"),
        Part::Name => Some("clb_name"),
        Part::Folder => Some("clb_folder"),
        Part::NameStem => Some("clb_name_stem"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quote {
    Single,
    /// `$'...'`
    Ansi,
    Double,
    /// `(...)` and `$(...)`
    Parentheses,
    Backticks,
}

/// In which quotes the text goes on.
#[derive(Debug, Default)]
struct Quotes {
    open: Vec<Quote>,
    is_escaped: bool,
    is_comment: bool,
    /// The character before, and how many times in a row.
    before: Option<(char, usize)>,
    has_here_document: bool,
}

impl Quotes {
    /// The use of a variable that is one word, or a part of one, here.
    fn use_of(&mut self, name: &str) -> Result<String, Failure> {
        self.end_run(' ');
        if self.has_here_document {
            return Err(Failure::Usage(format!(
                "clb cannot quote a line behind a here-document (<<); {ADVICE}"
            )));
        }
        if std::mem::take(&mut self.is_escaped) {
            return Err(Failure::Usage(format!("clb cannot quote a line behind a backslash; {ADVICE}")));
        }
        self.before = Some(('x', 1));
        Ok(match self.open.last() {
            Some(Quote::Single) => format!("'\"${{{name}}}\"'"),
            Some(Quote::Ansi) => format!("'\"${{{name}}}\"$'"),
            Some(Quote::Double) => format!("${{{name}}}"),
            Some(Quote::Parentheses | Quote::Backticks) | None => format!("\"${{{name}}}\""),
        })
    }

    fn read(&mut self, text: &str) {
        for c in text.chars() {
            self.take(c);
        }
    }

    fn take(&mut self, c: char) {
        self.end_run(c);
        let before = self.before.map(|(before, _)| before);
        self.before = match self.before {
            Some((same, times)) if same == c => Some((c, times + 1)),
            _ => Some((c, 1)),
        };
        let quote = self.open.last().copied();
        if std::mem::take(&mut self.is_escaped) {
            self.before = Some(('x', 1));
        } else if self.is_comment {
            self.is_comment = c != '\n';
        } else if c == '\\' && quote != Some(Quote::Single) {
            self.is_escaped = true;
        } else {
            self.open_or_close(c, quote, before);
        }
    }

    fn open_or_close(&mut self, c: char, quote: Option<Quote>, before: Option<char>) {
        use Quote::{Ansi, Backticks, Double, Parentheses, Single};
        match (quote, c) {
            (Some(Single | Ansi), '\'')
            | (Some(Double), '"')
            | (Some(Parentheses), ')')
            | (Some(Backticks), '`') => {
                self.open.pop();
            }
            (Some(Single | Ansi), _) => {}
            (_, '`') => self.open.push(Backticks),
            (Some(Double), '(') if before == Some('$') => self.open.push(Parentheses),
            (Some(Double), _) => {}
            (_, '\'') => self.open.push(if before == Some('$') { Ansi } else { Single }),
            (_, '"') => self.open.push(Double),
            (_, '(') => self.open.push(Parentheses),
            (_, '#') => self.is_comment = before.is_none_or(|c| c.is_whitespace() || ";&|()`".contains(c)),
            _ => {}
        }
    }

    /// `<<` begins a here-document, `<<<` does not.
    fn end_run(&mut self, next: char) {
        let is_code = !matches!(self.open.last(), Some(Quote::Single | Quote::Ansi | Quote::Double));
        if next != '<' && self.before == Some(('<', 2)) && is_code && !self.is_comment {
            self.has_here_document = true;
        }
    }
}
