//! Completion in shells: the script that a shell loads, and the answers to what that script asks at each press of Tab.
//!
//! Names of pools, groups and workers come from the cluster that the command would talk to. Where it does not answer at
//! once, or does not let this caller in, there are none: a person who types must not wait, nor see an error between
//! the words.

mod bash;

use std::ffi::OsStr;
use std::process::exit;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, ValueHint};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};
use clb_client::{Client, Error};

use super::{CommandLine, output};
use crate::connection::ClusterOptions;
use crate::failure::{Done, Failure, OK};
use bash::{Bash, Line};

/// Names the shell that asks.
const ASKED_BY: &str = "CLB_COMPLETE";
const SHELLS: [&dyn EnvCompleter; 5] = [&Bash, &Elvish, &Fish, &Powershell, &Zsh];
/// The script for zsh does not work before this has been done, and not everybody does it.
const ZSH_FIRST: &str = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }";
/// How long the cluster has for an answer.
const TIME: Duration = Duration::from_millis(400);
/// How many groups come at once.
const GROUPS: u32 = 1_000;
/// What words of a command, of which nobody knows what they are, may be.
pub(super) const WORD: ValueHint = ValueHint::AnyPath;

/// The options that say which cluster, without the rest of the line.
#[derive(Debug, Parser)]
struct Place {
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// Prints the script for a shell.
pub(super) fn print_script(shell: Shell) -> Done {
    let name = shell.to_string();
    let shells = Shells(&SHELLS);
    let known = shells.completer(&name);
    let known = known.ok_or_else(|| Failure::Usage(format!("there are no completions for {name}")))?;
    let mut script = Vec::new();
    known.write_registration(ASKED_BY, "clb", "clb", "clb", &mut script)?;
    if let (Shell::Zsh, Some(end)) = (shell, script.iter().position(|byte| *byte == b'\n')) {
        // The first line is for those who put it among their functions.
        script.splice(end..=end, format!("\n{ZSH_FIRST}\n").into_bytes());
    }
    output::write(&script)?;
    Ok(OK)
}

/// Answers and ends the process if it was started by the script of a shell.
pub(crate) fn answer_a_shell() {
    let folder = std::env::current_dir().ok();
    let completion = CompleteEnv::with_factory(CommandLine::command).var(ASKED_BY).shells(Shells(&SHELLS));
    match completion.try_complete(std::env::args_os(), folder.as_deref()) {
        Ok(false) => {}
        Ok(true) => exit(0),
        Err(_) => exit(1),
    }
}

/// Completes to a pool.
pub(super) fn pool() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        names(begun, async |client, _| {
            Ok(client.pools().await?.into_iter().map(|pool| pool.name.to_string()).collect())
        })
    })
}

/// Completes to a worker.
pub(super) fn worker() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        names(begun, async |client, _| {
            Ok(client.workers().await?.into_iter().map(|worker| worker.name).collect())
        })
    })
}

/// Completes to a group.
pub(super) fn group() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| names(begun, groups))
}

/// All of them: what is common to some is not what the shell may add.
async fn groups(client: Client, begun: &str) -> Result<Vec<String>, Error> {
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.groups(begun, cursor.as_deref(), GROUPS).await?;
        names.extend(page.groups.into_iter().map(|group| group.name));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(names);
        }
    }
}

/// The names that begin so, or none.
fn names<Q>(begun: &OsStr, question: Q) -> Vec<CompletionCandidate>
where
    Q: AsyncFnOnce(Client, &str) -> Result<Vec<String>, Error>,
{
    // Behind the program and the two dashes of the script.
    let words: Option<Vec<String>> =
        std::env::args_os().skip(2).map(|word| word.into_string().ok()).collect();
    let place = words.and_then(|words| Place::try_parse_from(place_of(&Line::of(words, 0).words)).ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Some(place), Ok(runtime), Some(begun)) = (place, runtime, begun.to_str()) else {
        return Vec::new();
    };
    let Ok(client) = place.cluster.client() else { return Vec::new() };
    let client = client.with_patience(TIME);
    let found = runtime.block_on(async { tokio::time::timeout(TIME, question(client, begun)).await });
    // A name that is still being looked up would hold it.
    runtime.shutdown_background();
    let found = found.ok().and_then(Result::ok).unwrap_or_default();
    found
        .into_iter()
        .filter(|name| name.starts_with(begun) && is_plain(name))
        .map(CompletionCandidate::new)
        .collect()
}

/// Whether the name means nothing else to any shell: it is put into the line as it is.
fn is_plain(name: &str) -> bool {
    !name.starts_with('-') && name.chars().all(|c| c.is_alphanumeric() || "-_./:@+,".contains(c))
}

/// What the line says of the place of the cluster.
fn place_of(words: &[String]) -> Vec<String> {
    let own = words.iter().take_while(|word| *word != "--").collect::<Vec<_>>();
    let mut said = vec!["clb".to_owned()];
    for (n, word) in own.iter().enumerate() {
        if word.starts_with("--url=") || word.starts_with("--token=") {
            said.push((*word).clone());
        } else if let ("--url" | "--token", Some(value)) = (word.as_str(), own.get(n + 1)) {
            said.push(format!("{word}={value}"));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Vec<String> {
        place_of(&Line::of(line.split(' ').map(str::to_owned).collect(), 0).words)
    }

    #[test]
    fn the_line_says_which_cluster_in_the_words_of_every_shell() {
        let place = ["clb", "--url=http://a:1,http://b:2", "--token=t"];
        assert_eq!(said("clb --url http://a:1,http://b:2 list --token t --pool "), place);
        assert_eq!(said("clb list --url=http://a:1,http://b:2 --token=t --pool "), place);
        assert_eq!(said("clb --url http : //a : 1,http : //b : 2 --token = t list"), place);
        assert_eq!(said("clb submit -- curl --url http://a"), ["clb"]);
        assert_eq!(said("clb list --url"), ["clb"]);
    }

    #[test]
    fn a_name_that_a_shell_would_take_for_something_else_is_no_candidate() {
        assert!(["nightly-2026.1", "tägliche", "a:b/c@d"].iter().all(|name| is_plain(name)));
        for name in ["$(reboot)", "a b", "a\nb", "a;b", "`a`", "-a", "a'b", "~a", "a*", "\u{1b}[2J"] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
