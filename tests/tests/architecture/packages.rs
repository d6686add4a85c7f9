//! Which packages may know which, as Cargo reads the manifests.

use std::process::Command;

use serde::Deserialize;

use crate::sources::root;

/// Each package, and those of the project that it may depend on. The orchestrator alone knows nearly all.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("clb-protocol", &[]),
    ("clb-outlet", &[]),
    ("clb-core", &["clb-protocol"]),
    ("clb-door", &["clb-protocol"]),
    ("clb-store", &["clb-core", "clb-protocol"]),
    ("clb-engine", &["clb-protocol"]),
    ("clb-database", &["clb-core", "clb-door", "clb-outlet", "clb-protocol", "clb-store"]),
    (
        "clb-orchestrator",
        &["clb-core", "clb-database", "clb-door", "clb-engine", "clb-outlet", "clb-protocol", "clb-store"],
    ),
    ("clb-worker", &["clb-door", "clb-outlet", "clb-protocol"]),
    ("clb-client", &["clb-door", "clb-outlet", "clb-protocol"]),
    ("clb-tests", &["clb-protocol"]),
];
/// What comes from elsewhere and has one package that may know it.
const OWNERS: &[(&str, &str)] = &[("bollard", "clb-engine"), ("rusqlite", "clb-store")];
/// All that the core is built with: nothing that could do, wait or roll dice.
const CORE_IS_BUILT_WITH: &[&str] = &["clb-protocol", "indexmap", "rustc-hash", "serde_json"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` for what the package itself is built with.
    kind: Option<String>,
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut ask = Command::new(cargo);
    ask.args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"]);
    let answer = ask.arg(root().join("Cargo.toml")).output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    serde_json::from_slice::<Metadata>(&answer.stdout).unwrap().packages
}

fn trespasses(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for Package { name, dependencies } in packages {
        let Some((_, may_know)) = MAY_KNOW.iter().find(|(package, _)| package == name) else {
            found.push(format!("nothing is said of what {name} may know"));
            continue;
        };
        for Dependency { name: other, kind } in dependencies {
            let is_forbidden = if other.starts_with("clb-") {
                !may_know.contains(&other.as_str())
            } else {
                OWNERS.iter().any(|(owned, owner)| owned == other && owner != name)
            };
            let is_too_much =
                name == "clb-core" && kind.is_none() && !CORE_IS_BUILT_WITH.contains(&other.as_str());
            if is_forbidden || is_too_much {
                found.push(format!("{name} depends on {other}"));
            }
        }
    }
    found
}

#[test]
fn packages_know_only_what_they_may() {
    let packages = packages();
    assert_eq!(packages.len(), MAY_KNOW.len());
    assert_eq!(trespasses(&packages), Vec::<String>::new());
}

#[test]
fn a_package_that_knows_too_much_is_named() {
    let package = |name: &str, dependencies: &[(&str, Option<&str>)]| Package {
        name: name.into(),
        dependencies: dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).into(), kind: kind.map(str::to_owned) })
            .collect(),
    };
    let packages = [
        package("clb-core", &[("clb-protocol", None), ("tokio", None), ("proptest", Some("dev"))]),
        package("clb-engine", &[("bollard", None), ("clb-store", None)]),
        package("clb-database", &[("clb-store", None), ("rusqlite", Some("dev"))]),
        package("clb-new", &[]),
    ];
    let expected = [
        "clb-core depends on tokio",
        "clb-engine depends on clb-store",
        "clb-database depends on rusqlite",
        "nothing is said of what clb-new may know",
    ];
    assert_eq!(trespasses(&packages), expected);
}
