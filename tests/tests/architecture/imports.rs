//! Which modules of the orchestrator may know which. `main.rs` and `app.rs` wire them and know all.

use crate::sources::{Source, all};

const PLACE: &str = "orchestrator/src/";
const WIRES: &[&str] = &["main", "app"];
/// Each module, and the others that it may name. The edges (leader, http, fleet) meet at the leader's handle.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("config", &["definitions", "http"]),
    ("definitions", &[]),
    ("fleet", &["clock", "leader", "node"]),
    ("follow", &["ndjson", "node"]),
    ("http", &["clock", "definitions", "leader", "ndjson", "node"]),
    ("journal", &[]),
    ("leader", &["clock", "journal", "roster"]),
    ("leave", &["fleet", "follow", "leader", "node"]),
    ("ndjson", &[]),
    ("node", &["config", "journal", "leader", "roster"]),
    ("roster", &["clock"]),
];

fn trespasses(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(place) = source.path.strip_prefix(PLACE) else { continue };
        let module = place.split(['/', '.']).next().unwrap();
        if WIRES.contains(&module) {
            continue;
        }
        let Some((_, may_know)) = MAY_KNOW.iter().find(|(known, _)| *known == module) else {
            found.push(format!("nothing is said of what {module} may know"));
            continue;
        };
        for (number, line) in source.code() {
            for (_, rest) in line.match_indices("crate::").map(|(at, words)| (at, &line[at + words.len()..]))
            {
                let other =
                    rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap();
                if other != module && !may_know.contains(&other) {
                    found.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    found
}

#[test]
fn modules_know_only_what_they_may() {
    assert_eq!(trespasses(&all()), Vec::<String>::new());
}

#[test]
fn a_module_that_knows_too_much_is_named() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let sources = [
        source("orchestrator/src/app.rs", "use crate::http::serve;\n"),
        source("orchestrator/src/leader/term.rs", "use crate::clock;\nuse crate::http::serve;\n"),
        source("orchestrator/src/leader/tests.rs", "use crate::http::serve;\n"),
        source("orchestrator/src/http/mod.rs", "use crate::{fleet, node};\nuse crate::leader::Handle;\n"),
        source("orchestrator/src/fleet/mod.rs", "//! crate::http\nlet a = crate::http::b();\n"),
        source("orchestrator/src/magic.rs", ""),
    ];
    let expected = [
        "orchestrator/src/leader/term.rs:2: use crate::http::serve;",
        "orchestrator/src/http/mod.rs:1: use crate::{fleet, node};",
        "orchestrator/src/fleet/mod.rs:2: let a = crate::http::b();",
        "nothing is said of what magic may know",
    ];
    assert_eq!(trespasses(&sources), expected);
}
