//! How long a file may be.

use crate::sources::{Source, all};

const MOST_LINES: usize = 400;
fn too_long(sources: &[Source]) -> Vec<String> {
    let lines = |source: &Source| source.text.lines().count();
    let longer = sources.iter().filter(|source| lines(source) > MOST_LINES);
    longer.map(|source| format!("{} has {} lines", source.path, lines(source))).collect()
}

#[test]
fn no_file_is_too_long() {
    assert_eq!(too_long(&all()), Vec::<String>::new(), "split them where they say two things");
}

#[test]
fn a_file_that_is_too_long_is_named() {
    let source = |path: &str, lines| Source { path: path.into(), text: "\n".repeat(lines) };
    assert_eq!(too_long(&[source("a.rs", 400), source("b.rs", 401)]), ["b.rs has 401 lines"]);
}
