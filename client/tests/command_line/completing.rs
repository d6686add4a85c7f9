//! Completion, asked for as shells do.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::program::{Ended, clb, clb_of, ended, nobody, run, run_with_input};
use crate::stand_in::{Manner, StandIns};

/// Loads the script and presses Tab at the end of the words that it is given.
const BASH: &str = r#"
source <(clb completions bash) && complete -p clb >/dev/null || exit 9
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
_clap_complete_clb clb "${COMP_WORDS[COMP_CWORD]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;
/// Loads the script and gives what comes at a Tab behind the line.
const FISH: &str = "clb completions fish | source; complete --do-complete $argv[1]";
/// Starts a shell on a terminal, presses Tab behind the line, and gives the line as it is then.
const ZSH: &str = r#"
zmodload zsh/zpty && zpty shell zsh -d -i || exit 9
zpty -r shell seen '*READY*' || exit 8
zpty -w -n shell "$1"$'\t\C-t'
zpty -r shell seen $'*\x02*\x03*' || exit 7
seen=${seen##*$'\x02'}
print -r -- "${seen%%$'\x03'*}"
zpty -d shell
"#;
/// What that shell does at its start: the script needs nothing else to be done before.
const ZSHRC: &str = r"
source <(clb completions zsh)
show() { print -rn -- $'\x02'$BUFFER$'\x03' }
begun() { print -r -- READY }
zle -N show; zle -N zle-line-init begun; bindkey '^T' show
";
/// Nothing at all takes so long, but the patience of a command would.
const LONG: Duration = Duration::from_secs(20);

async fn with_names() -> StandIns {
    let cluster = StandIns::start([Manner::Serves]).await;
    for pool in ["python", "pytorch", "big"] {
        assert_eq!(run(&cluster, &["pool", "set", pool, "--image", "a"]).await.code, 0);
    }
    let groups = ["nightly-1", "nightly-2", "daily", "$(reboot)", "two words"];
    let lines = groups.map(|group| format!("{{\"kind\": \"sleep\", \"group\": \"{group}\"}}\n"));
    assert_eq!(run_with_input(&cluster, &["batch", "-"], lines.concat()).await.code, 0);
    cluster
}

/// A shell that finds `clb`, and the cluster here.
fn shell(name: &str, url: &str) -> Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_clb")).parent().unwrap();
    let mut shell = Command::new(name);
    shell.env("PATH", format!("{}:{}", folder.display(), env!("PATH"))).env("TERM", "xterm");
    shell.env("XDG_CONFIG_HOME", "/nowhere").env("CLB_URL", url).env_remove("CLB_TOKEN").stdin(Stdio::null());
    shell.kill_on_drop(true);
    shell
}

/// Whether this shell is installed; says so when it is not.
fn is_there(name: &str) -> bool {
    let is_there = std::process::Command::new(name).args(["-c", "exit"]).status().is_ok();
    if !is_there {
        eprintln!("skipped: {name} is not installed");
    }
    is_there
}

async fn in_bash(url: &str, words: &[&str]) -> Ended {
    let mut bash = shell("bash", url);
    bash.args(["--norc", "--noprofile", "-c", BASH, "bash", "clb"]).args(words);
    ended(bash.output().await.unwrap())
}

/// What comes at a Tab behind the words, without a sound.
async fn tab(cluster: &StandIns, words: &[&str]) -> Vec<String> {
    let done = in_bash(&cluster.urls().join(","), words).await;
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    done.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn names_of_the_running_cluster_are_completed_in_bash() {
    let cluster = with_names().await;
    for line in [
        &["list", "--pool", "py"][..],
        &["submit", "--pool", "py"],
        &["batch", "--pool", "py"],
        &["retry", "--to-pool", "py"],
        &["pool", "show", "py"],
        &["pool", "set", "py"],
    ] {
        assert_eq!(tab(&cluster, line).await, ["python", "pytorch"], "{line:?}");
    }
    for command in ["list", "submit", "map", "batch", "wait", "results", "cancel", "retry", "logs"] {
        let found = tab(&cluster, &[command, "--group", "night"]).await;
        assert_eq!(found, ["nightly-1", "nightly-2"], "{command}");
    }
    for command in ["drain", "restart", "resume"] {
        assert_eq!(tab(&cluster, &[command, "worker-2"]).await, ["worker-2"], "{command}");
    }
}

#[tokio::test]
async fn the_parts_of_a_word_are_completed_as_one_in_bash() {
    let cluster = with_names().await;
    assert_eq!(tab(&cluster, &["list", "--pool", "=", "py"]).await, ["python", "pytorch"]);
    assert_eq!(run(&cluster, &["submit", "--group", "a:bc", "--sleep", "1"]).await.code, 0);
    assert_eq!(tab(&cluster, &["list", "--group", "a", ":", "b"]).await, ["bc"]);
    assert_eq!(tab(&cluster, &["list", "--group", "=", "a", ":", "b"]).await, ["bc"]);
}

#[tokio::test]
async fn options_and_names_are_completed_in_fish() {
    if !is_there("fish") {
        return;
    }
    let cluster = with_names().await;
    for (line, found) in [
        ("clb submit --po", &["--pool"][..]),
        ("clb submit --pool py", &["python", "pytorch"]),
        ("clb list --pool=b", &["--pool=big"]),
        ("clb cancel --state q", &["queued"]),
    ] {
        let mut fish = shell("fish", &cluster.urls().join(","));
        fish.args(["--no-config", "-c", FISH, line]).env("HOME", "/nowhere");
        let done = ended(fish.output().await.unwrap());
        let words: Vec<&str> = done.stdout.lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(words, found, "{line}: {done:?}");
    }
}

#[tokio::test]
async fn options_and_names_are_completed_in_zsh() {
    if !is_there("zsh") {
        return;
    }
    let cluster = with_names().await;
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".zshrc"), ZSHRC).unwrap();
    for (line, found) in [
        ("clb submit --po", "clb submit --pool "),
        ("clb submit --pool py", "clb submit --pool pyt"),
        ("clb list --pool=b", "clb list --pool=big "),
        ("clb cancel --state q", "clb cancel --state queued "),
    ] {
        let mut zsh = shell("zsh", &cluster.urls().join(","));
        zsh.args(["-f", "-c", ZSH, "zsh", line]).env("HOME", home.path()).env("ZDOTDIR", home.path());
        let done = tokio::time::timeout(LONG, zsh.output()).await.expect("nothing comes").unwrap();
        let done = ended(done);
        assert_eq!(done.stdout.trim_end_matches('\n'), found, "{done:?}");
    }
}

#[tokio::test]
async fn a_name_that_the_shell_would_run_or_part_is_not_completed() {
    let cluster = with_names().await;
    let found = tab(&cluster, &["list", "--group", ""]).await;
    assert_eq!(found, ["daily", "nightly-1", "nightly-2"]);
}

#[tokio::test]
async fn the_cluster_is_the_one_that_the_line_names() {
    let cluster = with_names().await;
    let (host, port) = cluster.all[0].url.rsplit_once(':').unwrap();
    let host = host.trim_start_matches("http:");
    // Bash parts words at colons.
    let words = ["--url", "http", ":", host, ":", port, "--token", "t", "list", "--pool", "b"];
    let done = in_bash(&nobody(), &words).await;
    assert_eq!(done.stdout, "big\n", "{done:?}");
    assert_eq!(cluster.memory().tokens.last(), Some(&Some("Bearer t".to_owned())));
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_completes_nothing_and_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let refusing = StandIns::start([Manner::Answers(401)]).await;
    for url in [nobody(), silent, refusing.all[0].url.clone(), "no address".to_owned()] {
        let since = Instant::now();
        let done = in_bash(&url, &["list", "--group", ""]).await;
        assert_eq!((done.code, done.stdout.trim(), done.stderr.as_str()), (0, "", ""), "{url}");
        assert!(since.elapsed() < LONG, "{url}");
        let done = in_bash(&url, &["list", "--state", "f"]).await;
        assert_eq!(done.stdout, "failed\n", "what needs no cluster is completed: {url}");
    }
}

#[tokio::test]
async fn every_shell_has_a_script_and_its_questions_are_answered() {
    let cluster = with_names().await;
    for shell in ["bash", "zsh", "fish"] {
        let done = ended(clb(&["completions", shell]).output().await.unwrap());
        assert!(done.code == 0 && done.stdout.contains("CLB_COMPLETE="), "{shell}: {done:?}");
        let asked = async |words: &[&str]| {
            let words = [&["--", "clb"], words].concat();
            let mut question = clb_of(&cluster, &words);
            question.env("CLB_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", (words.len() - 2).to_string());
            let done = ended(question.output().await.unwrap());
            assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{shell}: {done:?}");
            done.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(asked(&["list", "--pool", "py"]).await, ["python", "pytorch"], "{shell}");
        let groups = asked(&["list", "--group=d"]).await;
        assert_eq!(groups, ["--group=daily"], "{shell}");
        let commands = asked(&["exp"]).await;
        assert!(commands.len() == 1 && commands[0].starts_with("explain"), "{shell}: {commands:?}");
    }
}
