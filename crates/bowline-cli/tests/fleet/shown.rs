//! What people see: lines, groups, files, and a table on a terminal. With real containers where their output matters.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::sandbox;
use crate::support::{Sandbox, Terminal, run};

#[test]
fn equal_outputs_are_shown_once_and_others_as_they_differ() {
    let sandbox = sandbox("6:1", &[]);
    let words = ["exec", "--all", "--group", "fleet", "--", "echo", "hi"];
    let finished = run(&mut sandbox.bowline(&words)).code(5);
    let text = String::from_utf8(finished.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("== 5 targets, ok: demo/fleet/"),
        "{text}"
    );
    assert!(lines[0].ends_with(" and 1 more"), "{text}");
    assert_eq!(lines[1], "hi");
    assert!(
        lines[2].starts_with("== 1 target, exit code 1: demo/fleet/"),
        "{text}"
    );
    assert_eq!(
        lines[3..],
        ["   (the same output)", "this task fails on purpose"]
    );

    let web = Sandbox::start(&[]);
    let script = "echo same; echo same; echo $HOSTNAME; echo same";
    let words = ["exec", "--all", "--group", "web", "--", "sh", "-c", script];
    let finished = run(&mut web.bowline(&words)).code(0);
    let text = String::from_utf8(finished.stdout).unwrap();
    assert!(
        text.contains("\n-ip-") && text.contains("\n+ip-"),
        "a difference: {text}"
    );
}

#[test]
fn outputs_that_have_nothing_in_common_are_compared_within_a_limit() {
    let web = Sandbox::start(&[]);
    let script = "r=$(od -An -N2 -tx1 /dev/urandom | tr -d ' \\n'); seq 1 25000 | sed \"s/^/$r/\"";
    let words = ["exec", "--all", "--group", "web", "--", "sh", "-c", script];
    let finished = run(&mut web.bowline(&words)).code(0);
    let text = String::from_utf8(finished.stdout).unwrap();
    assert_eq!(text.matches("\n== 1 target, ok").count(), 1, "two groups");
    let changed = text.lines().filter(|line| line.starts_with('+')).count();
    assert!(changed >= 25_000, "{changed}");
}

#[test]
fn each_stream_of_each_target_gets_a_file() {
    let sandbox = Sandbox::start(&[]);
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let script = folder.path().join("both.sh");
    fs::write(&script, "printf 'no newline'; echo oops >&2; exit 4\n").unwrap();
    let words = [
        "script",
        "--all",
        "--out-dir",
        out.to_str().unwrap(),
        "web",
        script.to_str().unwrap(),
    ];
    run(&mut sandbox.bowline(&words))
        .code(5)
        .stdout("")
        .stderr_has("2 targets: 2 failed");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&out), 0o700);
    let mut files: Vec<(String, String)> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    let of = |end: &str| {
        let matching = files.iter().filter(|(name, _)| name.ends_with(end));
        matching.map(|(_, text)| text.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(".stdout"), ["no newline"; 2]);
    assert_eq!(of(".stderr"), ["oops\n"; 2]);
    assert_eq!(of("ended.ndjson")[0].lines().count(), 2);
    assert_eq!(of("failed.ndjson")[0].lines().count(), 2);
}

#[test]
fn lines_carry_their_target_and_operations_fan_out() {
    let sandbox = Sandbox::start(&[]);
    let folder = TempDir::new().unwrap();
    let text =
        "[op.greet]\ncommand = [\"echo\", \"{word}\"]\n[op.greet.param.word]\ntype = \"string\"\n";
    fs::write(folder.path().join(".bowline.toml"), text).unwrap();
    let words = ["op", "greet", "word=it's; $(id)", "--on", "web", "--all"];
    let mut command = sandbox.bowline(&words);
    let finished = run(command.current_dir(folder.path())).code(0);
    let text = String::from_utf8(finished.stdout).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    for line in text.lines() {
        let (label, rest) = line.split_once(" | ").unwrap();
        assert!(label.starts_with("demo/web/"), "{line}");
        assert_eq!(rest, "it's; $(id)");
    }
}

#[test]
fn a_terminal_shows_what_runs_and_asks_before_many() {
    let sandbox = sandbox("12", &[]);
    let words = ["exec", "--all", "fleet", "--", "sleep", "2"];
    let mut terminal = Terminal::bowline(&sandbox, &words);
    terminal.until_shown("run it? [y/N]");
    terminal.press(b"y\r");
    terminal.until_line("a running target", |line| {
        line.trim_start().starts_with("running") && line.contains("demo/fleet/")
    });
    terminal.until_line("counts", |line| {
        line.contains("12 running") && line.contains("0 waiting")
    });
    let picture = terminal.until_shown("12 targets: 12 ok");
    assert!(
        !picture.iter().any(|line| line.contains("waiting")),
        "the table is gone: {picture:?}"
    );
}
