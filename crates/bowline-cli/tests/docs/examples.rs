//! The examples of `--help`: every verb has one that works as it stands.
//!
//! Names that depend on a run (a task's id, a job's, a recording's) and on an account (`prod`, `orders`) are replaced by those of the
//! sandbox; nothing else is.

use std::fs;
use std::time::Duration;

use bowline_cli::cli::Cli;
use clap::{Command, CommandFactory as _};
use tempfile::TempDir;

use crate::root;
use crate::support::{BOWLINE, LATER, Sandbox, has_program, run_with};

/// Longer than any example that ends by itself.
const ONE: Duration = Duration::from_secs(90);
/// These go on until somebody ends them.
const ENDLESS: &[&str] = &[
    " -f",
    "--follow",
    "-- top",
    "forward web 8080",
    "forward web 5432",
    "forward web unix",
    "forward web '",
    "--socks",
    "bowline sandbox --",
];

/// Verbs that are for a terminal, and what is typed there.
const ON_A_TERMINAL: &[(&str, &str)] = &[("login", "exit\n"), ("stop", "y\n"), ("service", "y\n")];
/// What has no example: it says one line.
const WITHOUT: &[&str] = &["version"];
/// An execution of the service, as the examples name it.
const EXECUTION: &str = "0d5f3c1e-1111-4222-8333-123456789012";

const PREPARE: &str = r##"
set -e
printf 'uname -s\n' >check.sh
cat >deploy.yaml <<'END'
schemaVersion: '0.3'
parameters:
  Cluster: { type: String, default: demo }
mainSteps:
  - { name: rest, action: 'aws:sleep', inputs: { Duration: PT1S } }
END
cat >ask.yaml <<'END'
schemaVersion: '0.3'
mainSteps:
  - { name: ask, action: 'aws:approve', inputs: { Approvers: ['arn:aws:iam::123456789012:user/sandbox'] } }
END
bowline runbook submit ask.yaml --name Ask --detach >stop
bowline runbook submit ask.yaml --name Ask --detach >signal
bowline runbook submit deploy.yaml --name Deploy --detach >follow
mkdir -p "$HOME/.config/bowline" bin
cat >"$HOME/.config/bowline/config.toml" <<'END'
[op.backup]
target = "web"
command = ["echo", "{comment}"]
param.comment = {}
[forward.dev]
target = "web"
ports = ["0:db.demo.internal:5432"]
END
printf '#!/bin/sh\nexit 0\n' >bin/psql
chmod +x bin/psql
bowline exec web -- sh -c 'mkdir -p log; echo line >log/app.log'
bowline exec --record web -- true
bowline exec -d web -- true >job
bowline run family:job -d >task
bowline ls tasks web -o json >tasks.json
"##;

/// The examples of a command's help, without what is said about them.
fn examples(command: &mut Command, path: &str) -> Vec<String> {
    let help = command.render_long_help().to_string();
    let (_, after) = help.split_once("Example").unwrap_or_default();
    let (after, _) = after.split_once("\nUsage:").unwrap_or((after, ""));
    let starts = ["source <(bowline", "bowline "];
    let start = |line: &str| starts.iter().find_map(|start| line.find(start));
    let lines = after.lines().filter_map(|line| line.get(start(line)?..));
    let own = lines.filter(|line| path.split(' ').all(|word| line.contains(word)));
    let bare = own.map(|line| line.split("   ").next().unwrap_or_default().trim());
    bare.map(|line| line.split("  (").next().unwrap_or_default().to_owned())
        .collect()
}

/// Every verb, and its examples.
fn verbs(command: &mut Command, path: &str, found: &mut Vec<(String, Vec<String>)>) {
    let names = command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set());
    let names: Vec<String> = names.map(|inner| inner.get_name().to_owned()).collect();
    for name in names {
        let path = format!("{path} {name}").trim().to_owned();
        let Some(inner) = command.find_subcommand_mut(&name) else {
            continue;
        };
        if name == "help" && path != "help" {
            continue;
        }
        found.push((path.clone(), examples(inner, &path)));
        verbs(inner, &path, found);
    }
}

#[test]
fn every_verb_has_an_example_that_works() {
    if !["bash", "script"].into_iter().all(has_program) {
        return;
    }
    let mut found = Vec::new();
    verbs(&mut Cli::command().term_width(120), "", &mut found);
    found.retain(|(verb, _)| !WITHOUT.contains(&verb.as_str()));
    assert!(found.len() > 40, "{found:?}");

    let sandbox = Sandbox::start(&[]);
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(BOWLINE, folder.path().join("bin/bowline")).unwrap();
    let world = root().join("examples/worlds/shop.yaml");
    fs::copy(world, folder.path().join("shop.yaml")).unwrap();
    let shell = |script: &str, limit: Duration| {
        let mut command = sandbox.command("bash");
        let path = format!(
            "{}/bin:/usr/local/bin:/usr/bin:/bin",
            folder.path().display()
        );
        let script = format!("PATH=$HOME/.local/bin:$PATH; {script}");
        command
            .args(["-c", &script])
            .env("PATH", path)
            .env("COLUMNS", "100");
        command.current_dir(folder.path());
        run_with(&mut command, Vec::new(), limit)
    };
    shell(PREPARE, LATER).code(0);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let tasks: serde_json::Value = serde_json::from_str(&read("tasks.json")).unwrap();
    let of_web = tasks["tasks"][0]["taskId"].as_str().unwrap().to_owned();
    let started = read("task").trim().rsplit('/').next().unwrap().to_owned();
    let record = String::from_utf8(shell("bowline record ls -o name", LATER).stdout).unwrap();
    let replaced = [
        ("job-3f2a9c1d-00a7ff", read("job").trim().to_owned()),
        ("0a1b2c3d", of_web),
        ("3f2a9c", started),
        ("20261121T1735", record.trim().to_owned()),
        ("prod/web", "demo/web".to_owned()),
        ("db.internal", "db.demo.internal".to_owned()),
        ("orders", "demo".to_owned()),
        ("web:/var/log/", "web:./log/".to_owned()),
        (
            "*.cast *.ndjson",
            "~/.local/state/bowline/recordings/*.ndjson".to_owned(),
        ),
    ];
    let mut without = Vec::new();
    for (verb, examples) in found {
        let mut said = Vec::new();
        let mut tried = examples
            .iter()
            .filter(|line| !ENDLESS.iter().any(|endless| line.contains(endless)));
        let works = tried.any(|example| {
            let line = replaced
                .iter()
                .fold(example.clone(), |line, (from, to)| line.replace(from, to));
            // Each of these is left in another state.
            let line = match verb.strip_prefix("runbook ") {
                Some(what @ ("stop" | "signal" | "follow")) => {
                    line.replace(EXECUTION, read(what).trim())
                }
                _ => line,
            };
            let typed = ON_A_TERMINAL.iter().find(|(name, _)| *name == verb);
            let script = match typed {
                Some((_, typed)) => format!(
                    "printf '{typed}' | timeout {0} script -qec {1} /dev/null",
                    ONE.as_secs(),
                    shell_words(&line)
                ),
                None => format!("timeout {} bash -c {}", ONE.as_secs(), shell_words(&line)),
            };
            let ended = shell(&script, ONE * 2);
            said.push(format!("{line}: {}: {}", ended.status, ended.stderr.trim()));
            ended.status.code() == Some(0)
        });
        if !works {
            without.push(format!("{verb}: {}", said.join("; ")));
        }
    }
    assert_eq!(without, [] as [String; 0], "{without:#?}");
}

/// One word for a shell.
fn shell_words(line: &str) -> String {
    format!("'{}'", line.replace('\'', r"'\''"))
}
