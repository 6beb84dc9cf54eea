//! The pages of `docs/reference` that the program writes itself. With `BOWLINE_BLESS=1` they are written anew.

use std::fmt::Write as _;
use std::fs;

use bowline_cli::cli::Cli;
use clap::{Command, CommandFactory as _};

use crate::root;
use crate::support::{BOWLINE, clean, run};

/// What stands on top of a generated page.
const MADE: &str = "<!-- Made by `BOWLINE_BLESS=1 cargo test -p bowline-cli --test docs reference`; not to be edited. -->\n";

/// Command lines whose permissions are shown: one for each kind of work.
const EXPLAINED: &[&str] = &[
    "ls",
    "exec demo/web/app -- true",
    "exec --all demo/web -- true",
    "login demo/web",
    "run demo/web -- true",
    "logs demo/web -f",
    "forward demo/web 5432:db.demo.internal:5432",
    "cp demo/web:/etc/hosts .",
    "service restart demo/web",
    "stop demo/web",
    "doctor demo/web",
    "runbook submit deploy.yaml",
];

/// The words of `bowline` and what it prints.
fn said(words: &str) -> String {
    let home = tempfile::TempDir::new().unwrap();
    let runbook = "schemaVersion: '0.3'\nassumeRole: '{{ Role }}'\nparameters:\n  Role: {type: String}\nmainSteps:\n\
                   - {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}\n";
    fs::write(home.path().join("deploy.yaml"), runbook).unwrap();
    let mut command = clean(BOWLINE, home.path());
    command.args(words.split(' ')).env("COLUMNS", "100");
    command.env("AWS_REGION", "us-east-1");
    String::from_utf8(run(&mut command).code(0).stdout).unwrap()
}

#[track_caller]
fn same(name: &str, text: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("BOWLINE_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let line = there
        .lines()
        .zip(text.lines())
        .find(|(old, new)| old != new);
    assert!(
        there == text,
        "docs/reference/{name} is not what the program says, first here: {line:?}\n{MADE}"
    );
}

/// Every command's help, without the options that all of them have.
fn commands(command: &mut Command, path: &str, page: &mut String) {
    let inner = command
        .get_subcommands()
        .map(|inner| inner.get_name().to_owned());
    let inner: Vec<String> = inner
        .filter(|name| name != "help" || path == "bowline")
        .collect();
    for name in inner {
        let Some(command) = command.find_subcommand_mut(&name) else {
            continue;
        };
        if command.is_hide_set() {
            continue;
        }
        let path = format!("{path} {name}");
        let help = command.render_long_help().to_string();
        let own = help.split("\nGlobal options:\n").next().unwrap_or_default();
        let lines = own.lines().map(str::trim_end);
        let own = lines.collect::<Vec<_>>().join("\n");
        write!(page, "\n## {path}\n\n```text\n{}\n```\n", own.trim_end()).unwrap();
        commands(command, &path, page);
    }
}

#[test]
fn reference_of_commands() {
    let mut tree = Cli::command().term_width(100);
    tree.build();
    let help = tree.render_long_help().to_string();
    let global = help.split("\nGlobal options:\n").nth(1).unwrap();
    let global: Vec<&str> = global.lines().map(str::trim_end).collect();
    let mut page = format!(
        "# Commands\n\n{MADE}\nOptions that every command has:\n\n```text\n{}\n```\n",
        global.join("\n")
    );
    commands(&mut tree, "bowline", &mut page);
    same("commands.md", &page);
}

#[test]
fn reference_of_exit_codes() {
    let page = format!(
        "# Exit codes\n\n{MADE}\n```text\n{}```\n",
        said("help exit-codes")
    );
    same("exit-codes.md", &page);
}

#[test]
fn reference_of_the_configuration() {
    same("configuration.schema.json", &said("config schema"));
}

#[test]
fn reference_of_world_files() {
    same("sandbox-world.schema.json", &said("sandbox schema"));
}

#[test]
fn reference_of_permissions() {
    let mut page = format!(
        "# Permissions\n\n{MADE}\nThe calls that some command lines make, as `bowline --explain` prints them; with `-o json` it prints the\nleast policy for them. [How to read it](explain.md).\n"
    );
    for words in EXPLAINED {
        let said = said(&format!("--explain {words}"));
        let table = said.split("\n\n").next().unwrap_or_default();
        let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
        write!(page, "\n## {words}\n\n```text\n{}\n```\n", lines.join("\n")).unwrap();
    }
    same("permissions.md", &page);
}
