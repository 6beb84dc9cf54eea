//! Completion in real shells, as somebody at their prompt would use it.

use std::path::Path;

use crate::support::{BOWLINE, Sandbox, Shared, Terminal, clean, has_program, run};

/// A shell that has read our script, with us on its PATH.
fn shell(sandbox: &Sandbox, name: &str, words: &[&str], script: &str) -> Terminal {
    let path = ["/bin/", "/usr/bin/", "/usr/local/bin/"].map(|folder| format!("{folder}{name}"));
    let path = path.iter().find(|path| Path::new(path).exists()).unwrap();
    let mut terminal = Terminal::start_sized(sandbox, path, words, (24, 100));
    let folder = Path::new(BOWLINE).parent().unwrap().display();
    // Neither needs a word that the other does not know.
    terminal.press(format!("export PATH=\"{folder}:$PATH\"; {script}; echo re''ady\r").as_bytes());
    terminal.until_line("ready", |line| line == "ready");
    terminal
}

/// What comes after a Tab behind this line.
#[track_caller]
fn completes(terminal: &mut Terminal, line: &str, to: &str) {
    terminal.press(line.as_bytes());
    terminal.until_shown(line);
    terminal.press(b"\t");
    terminal.until_shown(to);
    // Nothing of it is left for the next one.
    terminal.press(b"\x15\x0c");
}

#[test]
fn bash_completes_live_names() {
    let sandbox = Shared::get();
    let words = ["--norc", "--noprofile", "-i"];
    let mut terminal = shell(
        &sandbox,
        "bash",
        &words,
        "source <(bowline completion bash)",
    );
    completes(&mut terminal, "bowline logi", "bowline login");
    completes(&mut terminal, "bowline exec w", "bowline exec web");
    completes(&mut terminal, "bowline login service:w", "service:web");
    completes(&mut terminal, "bowline login demo/web/a", "demo/web/app");
    completes(&mut terminal, "bowline --cluster d", "--cluster demo");
    completes(&mut terminal, "bowline ls -C a", "-C app");
    completes(&mut terminal, "bowline --region eu-north", "eu-north-1");
    completes(&mut terminal, "bowline --reg", "bowline --region");
}

#[test]
fn zsh_completes_live_names() {
    if !has_program("zsh") {
        return;
    }
    let sandbox = Shared::get();
    let script = "autoload -Uz compinit; compinit -u -D; source <(bowline completion zsh)";
    let mut terminal = shell(&sandbox, "zsh", &["-f", "-i"], script);
    completes(&mut terminal, "bowline exec w", "bowline exec web");
    completes(&mut terminal, "bowline --cluster d", "--cluster demo");
}

#[test]
fn fish_completes_live_names() {
    if !has_program("fish") {
        return;
    }
    let sandbox = Shared::get();
    let script = "bowline completion fish | source";
    let mut terminal = shell(&sandbox, "fish", &["--no-config", "-i"], script);
    completes(&mut terminal, "bowline exec w", "bowline exec web");
}

/// Nobody answers, there is no region, the credentials are a program that fails: there is no word of it, and an answer.
#[test]
fn a_prompt_never_sees_an_error() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join(".aws");
    std::fs::create_dir(&config).unwrap();
    let profile = "[profile broken]\nregion = eu-west-1\ncredential_process = sh -c 'echo oh no >&2; exit 1'\n";
    std::fs::write(config.join("config"), profile).unwrap();
    for (line, answer) in [
        ("bowline login ", ""),
        ("bowline --profile broken login ", ""),
        ("bowline --profile b", "broken"),
        (
            "bowline --endpoint-url http://127.0.0.1:9 --region x login ",
            "",
        ),
        ("bowline --endpoint-url nonsense login ", ""),
    ] {
        let mut command = clean(BOWLINE, home.path());
        command
            .env("COMPLETE", "bash")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        let finished = run(command.args(["--", line])).code(0);
        assert_eq!(finished.stderr, "", "{line}");
        let words = String::from_utf8(finished.stdout).unwrap();
        let names: Vec<&str> = words
            .lines()
            .filter(|word| !word.starts_with('-'))
            .collect();
        assert_eq!(names.join(" "), answer, "{line}");
    }
}

#[test]
fn a_variable_of_that_name_that_means_something_else_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut command = clean(BOWLINE, home.path());
    let finished = run(command.env("COMPLETE", "yes").arg("version")).code(0);
    assert!(finished.stdout.starts_with(b"bowline "));
}
