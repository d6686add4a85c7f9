//! Whether the files that the documents name are there.

use std::fs;

use crate::sources::{all, root};

const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "core/src/lease/README.md"];

/// The source files that a text names between backticks, each `{a,b}` taken apart.
fn named(text: &str) -> Vec<String> {
    let words = text.split('`').skip(1).step_by(2);
    let files =
        words.filter(|word| word.strip_suffix(".rs").is_some_and(|name| !name.contains(char::is_whitespace)));
    files.flat_map(apart).collect()
}

fn apart(word: &str) -> Vec<String> {
    match word.split(['{', '}']).collect::<Vec<_>>()[..] {
        [before, inner, after] => inner.split(',').map(|part| format!("{before}{part}{after}")).collect(),
        _ => vec![word.to_owned()],
    }
}

/// Those of `named` that no path ends with.
fn missing(named: Vec<String>, paths: &[&str]) -> Vec<String> {
    let is_there = |file: &String| paths.iter().any(|path| format!("/{path}").ends_with(&format!("/{file}")));
    named.into_iter().filter(|file| !is_there(file)).collect()
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let sources = all();
    let paths: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    for document in DOCUMENTS {
        let named = named(&fs::read_to_string(root().join(document)).unwrap());
        assert!(!named.is_empty(), "{document} names none");
        assert_eq!(missing(named, &paths), Vec::<String>::new(), "{document} names them");
    }
}

#[test]
fn a_file_that_is_gone_is_named() {
    let text = "`a/{b,c}.rs` (`d.rs`), and `cargo run`, `e/`, `x d.rs`";
    assert_eq!(named(text), ["a/b.rs", "a/c.rs", "d.rs"]);
    assert_eq!(missing(named(text), &["core/a/b.rs", "core/old-d.rs", "a/c.rs"]), ["d.rs"]);
}
