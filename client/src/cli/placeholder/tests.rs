use super::*;

fn filled(words: &[&str], line: &str) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Template::new(&words, LINE).unwrap().fill(line, 7)
}

#[test]
fn every_place_is_filled_in_every_word() {
    let words = ["convert", "{}", "{.}.png", "{/}", "{//}", "{/.}-{#}"];
    let expected = ["convert", "a/b.c/d.jpg", "a/b.c/d.png", "d.jpg", "a/b.c", "d-7"];
    assert_eq!(filled(&words, "a/b.c/d.jpg"), expected);
}

#[test]
fn the_line_is_appended_when_no_word_has_a_place_for_it() {
    assert_eq!(filled(&["echo", "{a}", "{ }"], "x y"), ["echo", "{a}", "{ }", "x y"]);
    assert_eq!(filled(&["echo", "{#}"], "x"), ["echo", "7"]);
}

#[test]
fn paths_without_slash_or_dot_are_taken_as_they_are() {
    assert_eq!(filled(&["{.}", "{/}", "{//}", "{/.}"], "name"), ["name", "name", ".", "name"]);
    assert_eq!(filled(&["{.}", "{//}"], "/a.b/c"), ["/a.b/c", "/a.b"]);
    assert_eq!(filled(&["{//}"], "/c"), ["/"]);
}

#[test]
fn a_line_is_not_filled_in_twice() {
    assert_eq!(filled(&["{}"], "{/}{#}"), ["{/}{#}"]);
}

/// Runs the command for a line and gives what it prints; one that is taken for code writes to standard error.
fn printed(words: &[&str], line: &str) -> String {
    let filled = filled(words, line);
    let output = std::process::Command::new(&filled[0]).args(&filled[1..]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{filled:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const NASTY: [&str; 22] = [
    "plain",
    "two  words",
    " ",
    "; echo pasted >&2; :",
    "$(echo pasted >&2)",
    "`echo pasted >&2`",
    "'; echo pasted >&2; '",
    "\"; echo pasted >&2; \"",
    "'\"$(echo pasted >&2)\"'",
    "it's \"quoted\"",
    "'",
    "''",
    "\\",
    "\\'",
    "a\\nb\\\\c",
    "${HOME} $HOME $1 $$ $(",
    "-n",
    "--help",
    "* ? [a-z] ~ !x {a,b}",
    "# no comment",
    "Übung 日本語 \u{1f980}.txt",
    "two\nlines\n\t; echo pasted >&2",
];

#[test]
fn in_the_script_of_a_shell_a_line_is_one_word_whatever_is_in_it_and_around_it() {
    let scripts = [
        "printf '<%s>\\n' {}",
        "printf '<%s>\\n' \"{}\"",
        "printf '<%s>\\n' '{}'",
        "printf '<%s>\\n' \"$(printf '%s.' {})\" | sed '$s/[.]>$/>/'",
        "printf '<%s>\\n' \"$(printf '%s.' \"{}\")\" | sed '$s/[.]>$/>/'",
        "printf '<%s>\\n' `true {}` {}",
        "it() { printf '<%s>\\n' {}; }; it a b",
        "# don't mind \"this\nprintf '<%s>\\n' {}",
        "x={}; printf '<%s>\\n' \"$x\"",
        "case {} in {}) printf '<%s>\\n' \"{}\";; esac",
        "printf '<%s>\\n' \"${none:-{}}\"",
        "printf '<%s>\\n' '<''>' {} | tail -n +2",
    ];
    for script in scripts {
        for line in NASTY {
            assert_eq!(
                printed(&["/bin/sh", "-c", script], line),
                format!("<{line}>\n"),
                "{script}: {line:?}"
            );
        }
    }
}

#[test]
fn every_place_is_a_word_of_its_own_in_a_script() {
    let script = "printf '<%s>' {} {.} \"{/}\" '{//}' {/.}-{#}";
    assert_eq!(
        printed(&["sh", "-ec", script], "/a b/$(x)/d'e.f g"),
        "</a b/$(x)/d'e.f g></a b/$(x)/d'e><d'e.f g></a b/$(x)><d'e-7>"
    );
}

#[test]
fn a_script_is_found_behind_the_options_of_a_shell_and_behind_other_programs() {
    let quoted = |words: &[&str]| filled(words, ";").iter().any(|word| word.starts_with("clb_line=';'; "));
    for words in [
        &["sh", "-c", "x {}"][..],
        &["/bin/sh", "-ec", "x {}", "name", "{}"],
        &["bash", "-c", "-e", "x {}"],
        &["bash", "-euo", "pipefail", "-c", "x {}"],
        &["bash", "--norc", "--rcfile", "f", "+O", "extglob", "-c", "--", "x {}"],
        &["env", "A=b", "timeout", "5", "/usr/bin/dash", "-c", "x {}"],
        &["busybox", "sh", "-c", "x {}"],
        &["bash-5.2", "-c", "x {}"],
        &["ksh93", "-c", "x {}"],
        &["rbash", "-c", "x {}"],
        &["sh", "-c", "cd /srv; exec \"$@\"", "sh", "bash", "-c", "x {}"],
    ] {
        assert!(quoted(words), "{words:?}");
    }
    for words in [
        &["sh", "script.sh", "-c", "x {}"][..],
        &["sh", "-c", "x \"$1\"", "sh", "a {}"],
        &["python3", "-c", "x {}"],
        &["echo", "sh", "x {}"],
        &["sh", "-c", "{}"],
        &["sh", "-c"],
    ] {
        assert!(!quoted(words), "{words:?}");
    }
}

#[test]
fn a_line_that_is_the_whole_script_is_run() {
    assert_eq!(printed(&["sh", "-c"], "echo a; echo b"), "a\nb\n");
    assert_eq!(printed(&["sh", "-c", "{}"], "echo a; echo b"), "a\nb\n");
}

#[test]
fn where_a_line_cannot_be_quoted_it_is_refused() {
    for words in [
        ["fish", "-c", "echo {}"],
        ["fish", "--command", "echo {}"],
        ["nu", "--no-newline", "--commands=echo {}"],
        ["pwsh", "-Command", "echo {}"],
        ["powershell", "-Command", "echo {}"],
        ["rc", "-c", "echo {}"],
        ["bash", "-c", "echo $(( {} * 2 ))"],
        ["bash", "-c", "echo \"$(( {} * 2 ))\""],
        ["bash", "-c", "(( {} )) && echo"],
        ["bash", "-c", "echo $((1)+{}+(2))"],
        ["bash", "-c", "echo $(( $(echo '{}') ))"],
        ["bash", "-c", "echo $[ {} ]"],
        ["bash", "-c", "[[ {} -gt 3 ]]"],
        ["bash", "-c", "if [[ -n x && 3 -lt {} ]]; then echo; fi"],
        ["bash", "-c", "let x={}"],
        ["sh", "-c", "trap \"rm -f {}.tmp\" EXIT; sleep 1"],
        ["sh", "-c", "if true; then trap 'cd /; rm \"{}\"' EXIT; fi"],
        ["sh", "-c", "trap \"$(echo a; echo {})\" EXIT"],
        ["sh", "-c", "cat <<E\n{}\nE"],
        ["sh", "-c", "echo \\{}"],
        ["sh", "-c", "echo \"\\{}\""],
    ] {
        let refused = Template::new(&words.map(str::to_owned), LINE).unwrap_err().to_string();
        assert!(refused.contains("pass the line as an argument"), "{refused}");
    }
    for script in [
        "cat <<< {}",
        "echo $'it\\'s {}'",
        "echo '<<' {}",
        "echo \\\\{}",
        "echo $((1<<3)) {}",
        "echo $(( {#} * 2 )) {}",
        "(cd /; (echo {}))",
        "[[ -f {} && a == {} ]] && [ 1 -lt 3 ]",
        "[[ $# -gt 3 ]] || echo {}",
        "trap 'echo over' EXIT; echo {}",
        "echo trap {}",
    ] {
        Template::new(&["bash", "-c", script].map(str::to_owned), LINE).unwrap();
    }
}

#[test]
fn another_text_stands_for_the_line_where_braces_mean_something_else() {
    let words = ["find", "@@", "-exec", "sh", "-c", "echo {} @@", "{/}"].map(str::to_owned);
    let filled = Template::new(&words, "@@").unwrap().fill("a/b", 1);
    assert_eq!(filled[..5], ["find", "a/b", "-exec", "sh", "-c"]);
    assert_eq!(filled[5..], ["clb_line='a/b'; echo {} \"${clb_line}\"", "b"]);
}
