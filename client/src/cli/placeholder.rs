//! The words of a command with places for a line of input, as GNU parallel has them.

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

const PLACES: [(&str, Part); 6] = [
    ("{}", Part::Line),
    ("{.}", Part::Stem),
    ("{/}", Part::Name),
    ("{//}", Part::Folder),
    ("{/.}", Part::NameStem),
    ("{#}", Part::Number),
];

/// A command with places for a line.
#[derive(Clone, Debug)]
pub(super) struct Template {
    words: Vec<Vec<Part>>,
}

impl Template {
    /// Words without any place get one behind them.
    pub(super) fn new(words: &[String]) -> Self {
        let mut words: Vec<Vec<Part>> = words.iter().map(|word| parts(word)).collect();
        if words.iter().flatten().all(|part| matches!(part, Part::Text(_))) {
            words.push(vec![Part::Line]);
        }
        Self { words }
    }

    /// The words for the line of this number.
    pub(super) fn fill(&self, line: &str, number: u64) -> Vec<String> {
        self.words.iter().map(|word| word.iter().map(|part| value(part, line, number)).collect()).collect()
    }
}

fn parts(word: &str) -> Vec<Part> {
    let mut found = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        if let Some((place, part)) = PLACES.iter().find(|(place, _)| rest.starts_with(place)) {
            if !text.is_empty() {
                found.push(Part::Text(std::mem::take(&mut text)));
            }
            found.push(part.clone());
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
mod tests {
    use super::*;

    fn filled(words: &[&str], line: &str) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Template::new(&words).fill(line, 7)
    }

    #[test]
    fn every_place_is_filled_in_every_word() {
        let words = ["convert", "{}", "{.}.png", "{/}", "{//}", "{/.}-{#}"];
        let expected = ["convert", "a/b.c/d.jpg", "a/b.c/d.png", "d.jpg", "a/b.c", "d-7"];
        assert_eq!(filled(&words, "a/b.c/d.jpg"), expected);
    }

    #[test]
    fn the_line_is_appended_when_no_word_has_a_place_for_it() {
        assert_eq!(filled(&["echo", "{a}", "{ }"], "x y"), ["echo", "{a}", "{ }", "x y"]);
        assert_eq!(filled(&["echo", "{#}"], "x"), ["echo", "7"]);
    }

    #[test]
    fn paths_without_slash_or_dot_are_taken_as_they_are() {
        assert_eq!(filled(&["{.}", "{/}", "{//}", "{/.}"], "name"), ["name", "name", ".", "name"]);
        assert_eq!(filled(&["{.}", "{//}"], "/a.b/c"), ["/a.b/c", "/a.b"]);
        assert_eq!(filled(&["{//}"], "/c"), ["/"]);
    }

    #[test]
    fn a_line_is_not_filled_in_twice() {
        assert_eq!(filled(&["{}"], "{/}{#}"), ["{/}{#}"]);
    }
}
