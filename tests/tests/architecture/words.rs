//! Words that belong to one place, and words that have no place in what is pure.

use crate::sources::{Source, all, has_word};

/// Words, and where alone they may stand. Tests may do more.
const OWNED: &[(&[&str], &[&str])] = &[
    (&["bollard"], &["orchestrator/engine/"]),
    (&["rusqlite"], &["orchestrator/store/src/sqlite/"]),
    (
        &["SELECT", "INSERT INTO", "INSERT OR", "DELETE FROM", "CREATE TABLE", "PRAGMA", "VACUUM"],
        &["orchestrator/store/src/sqlite/"],
    ),
    // Whoever needs a store is given one.
    (&["SqliteStore"], &["orchestrator/store/src/sqlite/", "orchestrator/src/app.rs"]),
    (&["SqliteReader"], &["orchestrator/store/src/sqlite/", "orchestrator/database/src/source.rs"]),
    (
        &["clb_engine"],
        &[
            "orchestrator/src/app.rs",
            "orchestrator/src/definitions.rs",
            "orchestrator/src/fleet/",
            "orchestrator/src/follow.rs",
            "orchestrator/src/leave.rs",
        ],
    ),
    (&["clb_database"], &["orchestrator/src/config.rs", "orchestrator/src/main.rs"]),
];

/// Places, and the words that must not stand there.
const BANNED: &[(&[&str], &[&str])] = &[
    // They do nothing but decide.
    (
        &["core/src/", "worker/src/agent/"],
        &[
            "tokio",
            "async",
            "await",
            "std::env",
            "std::fs",
            "std::io",
            "std::net",
            "std::process",
            "std::thread",
        ],
    ),
    // The core is told what time it is, too.
    (
        &["core/src/"],
        &[
            "Instant",
            "SystemTime",
            "Timestamp::now",
            "TaskId::now",
            "Mutex",
            "RwLock",
            "LazyLock",
            "OnceLock",
            "HashMap",
            "HashSet",
        ],
    ),
    // The database reads what others store.
    (&["orchestrator/database/src/"], &["dyn Store", "impl Store", "Batch", "Claim", "Committer"]),
];

fn trespasses(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let is_in = |places: &[&str]| places.iter().any(|place| source.path.starts_with(place));
        let owned = OWNED.iter().filter(|(_, places)| !is_in(places)).flat_map(|(words, _)| *words);
        let banned = BANNED.iter().filter(|(places, _)| is_in(places)).flat_map(|(_, words)| *words);
        let words: Vec<&str> = owned.chain(banned).copied().collect();
        for (number, line) in source.code() {
            let misplaced = words.iter().filter(|word| has_word(line, word));
            found.extend(misplaced.map(|word| format!("{}:{number} names {word}", source.path)));
        }
    }
    found
}

#[test]
fn words_stand_where_they_belong() {
    assert_eq!(trespasses(&all()), Vec::<String>::new());
}

#[test]
fn a_word_that_is_out_of_place_is_named() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let sources = [
        source("core/src/task.rs", "//! Instant\nuse std::time::{Duration, Instant};\n"),
        source("core/src/tests.rs", "use std::time::Instant;\n"),
        source("orchestrator/src/leader/term.rs", "let sql = \"SELECT 1\";\nuse clb_engine::Docker;\n"),
        source("orchestrator/src/fleet/mod.rs", "use clb_engine::Docker;\nuse bollard::Docker;\n"),
        source("orchestrator/store/src/sqlite/list.rs", "use rusqlite::Row;\n"),
        source(
            "orchestrator/database/src/pages.rs",
            "fn a(store: &dyn Store, of: &dyn Stored);\nError::Store;\n",
        ),
    ];
    let expected = [
        "core/src/task.rs:2 names Instant",
        "orchestrator/src/leader/term.rs:1 names SELECT",
        "orchestrator/src/leader/term.rs:2 names clb_engine",
        "orchestrator/src/fleet/mod.rs:2 names bollard",
        "orchestrator/database/src/pages.rs:1 names dyn Store",
    ];
    assert_eq!(trespasses(&sources), expected);
}
