//! What a person typed, for the fields that the cluster speaks of.

use clb_client::Client;
use clb_client::protocol::api::BatchEntry;
use clb_client::protocol::task::FieldError;

/// More pools than these are not named.
const MOST_POOLS: usize = 12;
const INVALID: u16 = 422;
/// The pool of a replay.
pub(crate) const CHANGED_POOL: &str = "/changes/pool";

/// The option for a field, by its JSON pointer or the name of a query parameter.
pub(crate) fn option(pointer: &str) -> String {
    let pointer = match pointer.strip_prefix("/changes") {
        Some("/pool") => return "--to-pool".to_owned(),
        changed => changed.unwrap_or(pointer),
    };
    let mut parts = pointer.trim_start_matches(['/', '?']).split('/');
    let (field, rest) = (parts.next().unwrap_or_default(), parts.next());
    let rest = rest.map(|key| key.replace("~1", "/").replace("~0", "~"));
    match (field, rest) {
        ("", _) => "the task".to_owned(),
        ("seconds", _) => "--sleep or --spin".to_owned(),
        ("command", None) => "the command".to_owned(),
        ("command", Some(place)) if place == "0" => "the program".to_owned(),
        ("command", Some(place)) => format!("argument {place} of the command"),
        ("labels", Some(key)) => format!("--label {key}"),
        ("env", Some(name)) => format!("--env {name}"),
        ("labels", None) => "--label".to_owned(),
        ("mounts", _) => "--mount".to_owned(),
        ("success_codes", _) => "--success-code".to_owned(),
        ("retry", Some(part)) if part == "max_attempts" => "--max-attempts".to_owned(),
        ("retry", Some(part)) => format!("--retry-{}", part.replace('_', "-")),
        ("retry", None) => "the --retry options".to_owned(),
        (field, _) => match field.strip_prefix("label.") {
            Some(key) => format!("--label {key}"),
            None => format!("--{}", field.replace('_', "-")),
        },
    }
}

/// What is wrong with what was typed, in one line.
pub(crate) fn sentence(errors: &[FieldError]) -> String {
    let all: Vec<String> =
        errors.iter().map(|error| format!("{}: {}", option(&error.pointer), error.detail)).collect();
    all.join("; ")
}

/// What is wrong with the task of a batch, unless it is what the command itself says.
pub(crate) fn of_every_task(entry: &BatchEntry) -> Option<&[FieldError]> {
    let errors = &entry.error.as_ref().filter(|_| entry.status == INVALID)?.errors;
    let is_of_all = !errors.is_empty() && !errors.iter().any(|error| error.pointer.starts_with("/command"));
    is_of_all.then_some(errors)
}

/// Names the pools that there are where the one that was asked for is not among them.
pub(crate) async fn name_pools(client: &Client, pool: &str, errors: &mut [FieldError]) {
    let Some(error) =
        errors.iter_mut().find(|error| ["/pool", CHANGED_POOL].contains(&error.pointer.as_str()))
    else {
        return;
    };
    // Without them the error still says what is wrong.
    let Ok(pools) = client.pools().await else { return };
    let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
    if names.is_empty() || names.contains(&pool) {
        return;
    }
    let more = if names.len() > MOST_POOLS { " and others: see `clb pool list`" } else { "" };
    let known = names[..names.len().min(MOST_POOLS)].join(", ");
    error.detail = format!("there is no pool {pool:?}; the pools are {known}{more}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_called_as_they_were_typed() {
        for (pointer, typed) in [
            ("/pool", "--pool"),
            ("/changes/pool", "--to-pool"),
            ("/changes/max_attempts", "--max-attempts"),
            ("/changes/command/0", "the program"),
            ("/max_attempts", "--max-attempts"),
            ("/retry/max_delay", "--retry-max-delay"),
            ("/retry/max_attempts", "--max-attempts"),
            ("/labels/a~1b~0", "--label a/b~"),
            ("/env/A", "--env A"),
            ("/success_codes/0", "--success-code"),
            ("/command/0", "the program"),
            ("/command/2", "argument 2 of the command"),
            ("/mounts/1/source", "--mount"),
            ("?state", "--state"),
            ("?label.a", "--label a"),
        ] {
            assert_eq!(option(pointer), typed);
        }
    }
}
