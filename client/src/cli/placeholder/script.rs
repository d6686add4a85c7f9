//! Lines in the script of a shell. No text of a line ever stands where the shell reads code: the script begins with
//! variables that hold it in single quotes, and each place becomes a use of its variable that fits the quotes around
//! it. Where those are misjudged a line is split or printed wrongly. It is run only where the script itself takes the
//! value of a variable for code: places in arithmetic, `let` and `trap` are refused, and `eval` and what becomes of
//! variables later are the script's own affair.

use super::{Part, value};
use crate::failure::Failure;

/// Shells that quote as `sh` does.
const SHELLS: [&str; 14] = [
    "sh", "ash", "bash", "dash", "hush", "ksh", "lksh", "mksh", "oksh", "osh", "posh", "rbash", "yash", "zsh",
];
/// Shells with rules of their own.
const OTHER_SHELLS: [&str; 10] =
    ["csh", "elvish", "fish", "nu", "powershell", "pwsh", "rc", "tcsh", "xonsh", "ysh"];
/// Long options of shells that take the next word.
const LONG_WITH_VALUE: [&str; 2] = ["--init-file", "--rcfile"];
/// What runs its arguments as code that nobody expects to be run.
const TAKERS: [&str; 2] = ["let", "trap"];
const BEFORE_COMMANDS: [&str; 12] =
    ["!", "{", "builtin", "command", "do", "elif", "else", "if", "then", "time", "until", "while"];
const SEPARATORS: [char; 7] = [';', '&', '|', '\n', '(', ')', '`'];
/// Tests of `[[ ]]` that take arithmetic or a name.
const TESTS: [&str; 7] = ["-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v"];
const ADVICE: &str = "pass the line as an argument: sh -c 'echo \"$1\"' sh {}";

/// A script with places for a line.
#[derive(Clone, Debug)]
pub(super) struct Script {
    parts: Vec<Part>,
    /// Those of which the script uses the variables.
    used: Vec<Part>,
}

/// Whether this word is the script of a shell before it (`sh -c`, also behind other programs).
pub(super) fn is_script(words: &[String], place: usize) -> bool {
    shells_before(words, place, &SHELLS).any(|(at, _)| behind_options(words, at + 1) == Some(place))
}

/// A shell with rules of its own that may read this word as code.
pub(super) fn other_shell(words: &[String], place: usize) -> Option<&str> {
    // `-c`, `--command` and the like, also with the script in the same word.
    let is_option = |word: &String| word.starts_with('-') && word.contains(['c', 'C']);
    let mut shells = shells_before(words, place, &OTHER_SHELLS);
    shells.find(|(at, _)| words[at + 1..=place].iter().any(is_option)).map(|(_, shell)| shell)
}

fn shells_before<'a>(
    words: &'a [String],
    place: usize,
    shells: &'static [&'static str],
) -> impl Iterator<Item = (usize, &'a str)> {
    words[..place].iter().enumerate().filter_map(|(at, word)| {
        let name = word.rsplit_once('/').map_or(word.as_str(), |(_, name)| name);
        // `bash-5.2`, `ksh93`
        let kind = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        shells.contains(&kind).then_some((at, name))
    })
}

/// The refusal of a place that is in the script of such a shell.
pub(super) fn unknown_rules(shell: &str) -> Failure {
    Failure::Usage(format!("clb cannot quote a line for {shell}; {ADVICE}"))
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
    /// A script from its text and places.
    pub(super) fn new(parts: Vec<Part>) -> Result<Self, Failure> {
        if has_arithmetic_test(&parts) {
            return Err(Failure::Usage(format!(
                "clb cannot quote a line in an arithmetic test ([[); {ADVICE}"
            )));
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

/// Whether a place is in a `[[ ]]` that takes numbers or the name of a variable: both may have commands in them.
fn has_arithmetic_test(parts: &[Part]) -> bool {
    let mark = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Number => "0".to_owned(),
        _ => "\0".to_owned(),
    };
    let script: String = parts.iter().map(mark).collect();
    script.split("[[").skip(1).any(|rest| {
        let test = rest.split("]]").next().unwrap_or_default();
        let words = test.split(|c: char| c.is_whitespace() || c == '(');
        test.contains('\0') && words.into_iter().any(|word| TESTS.contains(&word))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quote {
    Single,
    /// `$'...'`
    Ansi,
    Double,
    /// `(...)` and `$(...)`
    Parentheses,
    /// `((...))` and `$((...))`: the outer ones, parentheses are in them.
    Arithmetic,
    /// `$[...]`
    Brackets,
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
    command: Command,
}

/// How far a command is read.
#[derive(Debug, Default)]
struct Command {
    word: String,
    /// Behind its name.
    is_named: bool,
    /// One that runs its arguments, and in how many quotes it is.
    taker: Option<(&'static str, usize)>,
}

impl Command {
    /// Reads on where no quotes are around.
    fn take(&mut self, c: char, depth: usize) {
        if !c.is_whitespace() && !SEPARATORS.contains(&c) {
            self.word.push(c);
            return;
        }
        let word = std::mem::take(&mut self.word);
        if !self.is_named && !word.is_empty() {
            let taker = TAKERS.into_iter().find(|taker| *taker == word);
            self.taker = self.taker.or(taker.map(|taker| (taker, depth)));
            self.is_named = !BEFORE_COMMANDS.contains(&word.as_str()) && !word.contains('=');
        }
        if SEPARATORS.contains(&c) {
            self.is_named = false;
            self.taker = self.taker.filter(|(_, own)| *own < depth);
        }
    }
}

impl Quotes {
    /// The use of a variable that is one word, or a part of one, here.
    fn use_of(&mut self, name: &str) -> Result<String, Failure> {
        self.end_run(' ');
        let obstacle = if self.has_here_document {
            Some("after a here-document (<<)".to_owned())
        } else if self.is_escaped {
            Some("after a backslash".to_owned())
        } else if self.is_in_arithmetic() {
            Some("in arithmetic, which could run it".to_owned())
        } else {
            self.command.taker.map(|(taker, _)| format!("in the arguments of {taker}"))
        };
        if let Some(obstacle) = obstacle {
            return Err(Failure::Usage(format!("clb cannot quote a line {obstacle}; {ADVICE}")));
        }
        self.command.word.push('x');
        self.before = Some(('x', 1));
        Ok(match self.open.last() {
            Some(Quote::Single) => format!("'\"${{{name}}}\"'"),
            Some(Quote::Ansi) => format!("'\"${{{name}}}\"$'"),
            Some(Quote::Double) => format!("${{{name}}}"),
            Some(Quote::Parentheses | Quote::Arithmetic | Quote::Brackets | Quote::Backticks) | None => {
                format!("\"${{{name}}}\"")
            }
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
            if !matches!(quote, Some(Quote::Single | Quote::Ansi | Quote::Double)) {
                self.command.take(c, self.open.len());
            }
            self.open_or_close(c, quote, before);
        }
    }

    fn open_or_close(&mut self, c: char, quote: Option<Quote>, before: Option<char>) {
        use Quote::{Ansi, Arithmetic, Backticks, Brackets, Double, Parentheses, Single};
        match (quote, c) {
            (Some(Single | Ansi), '\'')
            | (Some(Double), '"')
            | (Some(Parentheses | Arithmetic), ')')
            | (Some(Brackets), ']')
            | (Some(Backticks), '`') => {
                self.open.pop();
            }
            (Some(Single | Ansi), _) => {}
            (_, '`') => self.open.push(Backticks),
            (_, '[') if before == Some('$') => self.open.push(Brackets),
            (Some(Parentheses), '(') if before == Some('(') => {
                self.open.pop();
                self.open.extend([Arithmetic, Parentheses]);
            }
            (Some(Double), '(') if before == Some('$') => self.open.push(Parentheses),
            (Some(Double), _) => {}
            (_, '\'') => self.open.push(if before == Some('$') { Ansi } else { Single }),
            (_, '"') => self.open.push(Double),
            (_, '(') => self.open.push(Parentheses),
            (_, '#') => self.is_comment = before.is_none_or(|c| c.is_whitespace() || ";&|()`".contains(c)),
            _ => {}
        }
    }

    fn is_in_arithmetic(&self) -> bool {
        self.open.iter().any(|quote| matches!(quote, Quote::Arithmetic | Quote::Brackets))
    }

    /// `<<` begins a here-document, `<<<` does not.
    fn end_run(&mut self, next: char) {
        let is_code = !matches!(self.open.last(), Some(Quote::Single | Quote::Ansi | Quote::Double))
            && !self.is_in_arithmetic();
        if next != '<' && self.before == Some(('<', 2)) && is_code && !self.is_comment {
            self.has_here_document = true;
        }
    }
}
