//! Names that nothing has: what was chosen by them is nothing by mistake.

use clb_client::{Client, Error};

use super::output::safe;
use crate::failure::Failure;

/// How many groups are looked at for one of a similar name.
const GROUPS: u32 = 1_000;
/// As `clap` has it for mistyped options.
const SIMILAR: f64 = 0.7;
const MOST: usize = 3;

/// Fails when no task was ever in this group.
pub(super) async fn check_group(name: &str, client: &Client) -> Result<(), Failure> {
    // The shortest name that begins so comes first.
    if client.groups(name, None, 1).await?.groups.iter().any(|group| group.name == name) {
        return Ok(());
    }
    let hint = or_else(&near_groups(name, client).await?, "`clb list` shows the groups of tasks");
    Err(Failure::NotFound(format!("there is no group {name:?}; {hint}")))
}

/// Fails when there is no pool of this name.
pub(super) async fn check_pool(name: &str, client: &Client) -> Result<(), Failure> {
    let names: Vec<String> = client.pools().await?.into_iter().map(|pool| pool.name.to_string()).collect();
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    let hint = or_else(&near(name, names), "`clb pool list` shows the pools");
    Err(Failure::NotFound(format!("there is no pool {name:?}; {hint}")))
}

/// The groups of similar names, among those that begin alike, or else among the first of all.
async fn near_groups(name: &str, client: &Client) -> Result<Vec<String>, Error> {
    let begins_alike: String = name.chars().take(1).collect();
    for prefix in [begins_alike.as_str(), ""] {
        let page = client.groups(prefix, None, GROUPS).await?;
        let found = near(name, page.groups.into_iter().map(|group| group.name));
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn near(name: &str, others: impl IntoIterator<Item = String>) -> Vec<String> {
    let rated = others.into_iter().map(|other| (strsim::jaro_winkler(name, &other), other));
    let mut near: Vec<(f64, String)> = rated.filter(|(likeness, _)| *likeness > SIMILAR).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(MOST).map(|(_, other)| other).collect()
}

fn or_else(near: &[String], otherwise: &str) -> String {
    if near.is_empty() {
        return otherwise.to_owned();
    }
    let quoted: Vec<String> = near.iter().map(|name| format!("\"{}\"", safe(name))).collect();
    format!("did you mean {}?", quoted.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_near_and_the_nearest_comes_first() {
        let names = ["nightly-2026", "nightly", "day", "nihgtly"].map(str::to_owned);
        assert_eq!(near("nightyl", names.clone()), ["nightly", "nihgtly", "nightly-2026"]);
        assert_eq!(near("xyz", names), [""; 0]);
    }
}
