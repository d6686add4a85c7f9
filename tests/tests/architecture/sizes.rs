//! How long a file may be.

use crate::sources::{Source, all};

const MOST_LINES: usize = 400;
/// Files that are longer because what they say is one thing, and what they may have. Nothing is added here without a
/// reason, and nothing with more than 450 lines.
const LONGER: &[(&str, usize)] = &[
    ("core/src/cluster/tasks.rs", 450),
    ("core/src/cluster/tests/pools.rs", 452),
    ("core/src/cluster/tests/sentences.rs", 450),
];

fn too_long(sources: &[Source]) -> Vec<String> {
    let most =
        |path: &str| LONGER.iter().find(|(longer, _)| *longer == path).map_or(MOST_LINES, |(_, most)| *most);
    let lines = |source: &Source| source.text.lines().count();
    let longer = sources.iter().filter(|source| lines(source) > most(&source.path));
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
