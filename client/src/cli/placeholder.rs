//! The words of a command with places for a line of input, as GNU parallel has them.

mod script;

use crate::failure::Failure;
use script::{Script, is_script, other_shell, unknown_rules};

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `{}`
    Line,
    /// `{.}`: without its extension.
    Stem,
    /// `{/}`: what is behind the last slash.
    Name,
    /// `{//}`: what is before the last slash.
    Folder,
    /// `{/.}`
    NameStem,
    /// `{#}`
    Number,
}

/// The place of the whole line, unless another is said.
pub(super) const LINE: &str = "{}";
const PLACES: [(&str, Part); 5] = [
    ("{.}", Part::Stem),
    ("{/}", Part::Name),
    ("{//}", Part::Folder),
    ("{/.}", Part::NameStem),
    ("{#}", Part::Number),
];

#[derive(Clone, Debug)]
enum Word {
    /// An argument as it is.
    Plain(Vec<Part>),
    /// What a shell runs.
    Script(Script),
}

/// A command with places for a line.
#[derive(Clone, Debug)]
pub(super) struct Template {
    words: Vec<Word>,
}

impl Template {
    /// Words without any place get one behind them; `line` is how that of the whole line is written.
    pub(super) fn new(words: &[String], line: &str) -> Result<Self, Failure> {
        let mut split: Vec<Vec<Part>> = words.iter().map(|word| parts(word, line)).collect();
        if split.iter().flatten().all(|part| matches!(part, Part::Text(_))) {
            split.push(vec![Part::Line]);
        }
        let words = split.into_iter().enumerate().map(|(place, parts)| {
            // A script that is nothing but the line is meant to be run.
            if parts == [Part::Line] || !has_place(&parts) {
                return Ok(Word::Plain(parts));
            }
            match other_shell(words, place) {
                Some(shell) => Err(unknown_rules(shell)),
                None if is_script(words, place) => Script::new(parts).map(Word::Script),
                None => Ok(Word::Plain(parts)),
            }
        });
        Ok(Self { words: words.collect::<Result<_, Failure>>()? })
    }

    /// The words for the line of this number.
    pub(super) fn fill(&self, line: &str, number: u64) -> Vec<String> {
        let fill = |word: &Word| match word {
            Word::Plain(parts) => parts.iter().map(|part| value(part, line, number)).collect(),
            Word::Script(script) => script.fill(line, number),
        };
        self.words.iter().map(fill).collect()
    }
}

fn has_place(parts: &[Part]) -> bool {
    parts.iter().any(|part| !matches!(part, Part::Text(_)))
}

fn parts(word: &str, line: &str) -> Vec<Part> {
    let mut found = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let places = std::iter::once((line, Part::Line)).chain(PLACES);
        if let Some((place, part)) = places.into_iter().find(|(place, _)| rest.starts_with(place)) {
            if !text.is_empty() {
                found.push(Part::Text(std::mem::take(&mut text)));
            }
            found.push(part);
            rest = &rest[place.len()..];
        } else {
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    if !text.is_empty() {
        found.push(Part::Text(text));
    }
    found
}

fn value(part: &Part, line: &str, number: u64) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Line => line.to_owned(),
        Part::Stem => stem(line).to_owned(),
        Part::Name => name(line).to_owned(),
        Part::Folder => folder(line).to_owned(),
        Part::NameStem => stem(name(line)).to_owned(),
        Part::Number => number.to_string(),
    }
}

fn stem(line: &str) -> &str {
    match line.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') => stem,
        _ => line,
    }
}

fn name(line: &str) -> &str {
    line.rsplit_once('/').map_or(line, |(_, name)| name)
}

fn folder(line: &str) -> &str {
    match line.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => ".",
    }
}

#[cfg(test)]
mod tests;
