//! Every relative link of the documents leads to a file, and its anchor to a heading there. Needs no Docker Engine.

#![allow(clippy::unwrap_used, reason = "everything here is a test or serves one")]

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// A link as it stands in a document.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    line: usize,
    target: String,
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let documents = documents(root);
    assert!(documents.contains(&root.join("README.md")), "{documents:?}");
    let links: usize = documents.iter().map(|path| links(&fs::read_to_string(path).unwrap()).len()).sum();
    assert!(links > 0, "no links are found at all");
    let dead = dead_links(root);
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn dead_links_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("docs")).unwrap();
    fs::write(root.join("docs/a.md"), "# One `two`, three\n\n## Again\n\n## Again\n").unwrap();
    let good = "[a](docs/a.md) [b](docs/a.md#one-two-three) [c](#here) [d](docs/a.md#again-1)\n\
                [e](docs) [f](https://example.org/nowhere) `[g](nowhere)`\n\n    [h](nowhere)\n\n```\n[i](nowhere)\n```\n";
    let bad =
        "[a](docs/b.md) [`b`](docs/a.md#two) [c](#there)\n[d\ne](docs/a.md#again-2)\n![f](docs/f.png)\n";
    fs::write(root.join("README.md"), format!("# Here\n\n{good}")).unwrap();
    assert_eq!(dead_links(root), Vec::<String>::new());

    fs::write(root.join("README.md"), format!("# Here\n\n{good}\n{bad}")).unwrap();
    let dead: BTreeSet<String> =
        dead_links(root).iter().map(|dead| dead.rsplit(' ').next().unwrap().to_owned()).collect();
    let expected = ["docs/b.md", "docs/a.md#two", "#there", "docs/a.md#again-2", "docs/f.png"];
    assert_eq!(dead, expected.map(str::to_owned).into());
}

/// Each as `FILE:LINE TARGET`.
fn dead_links(root: &Path) -> Vec<String> {
    let mut dead = Vec::new();
    for document in documents(root) {
        for Link { line, target } in links(&fs::read_to_string(&document).unwrap()) {
            if !target.contains("://") && !target.starts_with("mailto:") && !is_alive(&document, &target) {
                dead.push(format!("{}:{line} {target}", document.strip_prefix(root).unwrap().display()));
            }
        }
    }
    dead
}

fn is_alive(document: &Path, target: &str) -> bool {
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let file = if path.is_empty() { document.to_owned() } else { document.parent().unwrap().join(path) };
    match anchor {
        None => file.exists(),
        Some(anchor) => fs::read_to_string(file).is_ok_and(|text| anchors(&text).contains(anchor)),
    }
}

/// All documents below a folder, except in what is built or hidden.
fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(documents(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The links outside of code.
fn links(text: &str) -> Vec<Link> {
    let text = without_code(text);
    let mut links = Vec::new();
    for (at, opening) in text.match_indices("](") {
        let rest = &text[at + opening.len()..];
        if let Some(end) = rest.find(')') {
            let target = rest[..end].split_whitespace().next().unwrap_or_default().to_owned();
            links.push(Link { line: text[..at].matches('\n').count() + 1, target });
        }
    }
    links
}

/// The text with as many lines, in which blocks and spans of code are empty.
fn without_code(text: &str) -> String {
    let (mut is_fenced, mut is_after_gap) = (false, true);
    let mut kept = String::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        let is_indented = is_after_gap && line.starts_with("    ");
        if !is_fence && !is_fenced && !is_indented {
            // What is between an even and the next backtick is no code.
            kept.extend(line.split('`').step_by(2));
            is_after_gap = line.trim().is_empty();
        }
        is_fenced ^= is_fence;
        kept.push('\n');
    }
    kept
}

/// The anchors that GitHub gives the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut uses: HashMap<String, usize> = HashMap::new();
    let mut is_fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        is_fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if is_fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let slug: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let before = uses.entry(slug.clone()).or_default();
        anchors.insert(if *before == 0 { slug } else { format!("{slug}-{before}") });
        *before += 1;
    }
    anchors
}
