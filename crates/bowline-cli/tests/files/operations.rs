//! Named operations: values stay in their arguments, and what was done is told in full.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::{Sandbox, Shared, run, run_unread};

/// The project of the example, its programs where the containers see them.
struct Project(TempDir);

impl Project {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let root = folder.path().to_str().unwrap().to_owned();
        let example = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/operations/bowline.toml"
        );
        let text = fs::read_to_string(example)
            .unwrap()
            .replace("\"/ops/", &format!("\"{root}/ops/"));
        fs::write(folder.path().join(".bowline.toml"), text).unwrap();
        fs::create_dir(folder.path().join("ops")).unwrap();
        for (name, text) in [
            ("backup.sh", "printf '<%s>' \"$#\" \"$@\"; echo err >&2"),
            ("restore.sh", "echo \"restoring $1\"; exit 4"),
            (
                "list.sh",
                "echo my-dev_20220902-153423_backupComment.dump; echo 'odd;$(id) name.dump'",
            ),
        ] {
            let path = folder.path().join("ops").join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(folder)
    }

    fn bowline(&self, sandbox: &Sandbox, words: &[&str]) -> Command {
        let mut command = sandbox.bowline(words);
        command.current_dir(self.0.path());
        command
    }

    fn declare(&self, text: &str) {
        fs::write(self.0.path().join(".bowline.toml"), text).unwrap();
    }
}

#[test]
fn hostile_values_stay_in_their_argument() {
    let sandbox = Shared::get();
    let project = Project::new();
    for value in [
        "plain",
        "it's; \"quoted\" && touch pwned",
        "$(touch pwned) `touch pwned` ${IFS} $HOME",
        "two\nlines\n; touch pwned",
        "a=b=c {comment} {{x}} %s \\n \\0041",
        "* ? ~ | > pwned",
        "日本語 \u{1b}[31m",
        "",
    ] {
        let word = format!("comment={value}");
        run(&mut project.bowline(&sandbox, &["op", "backup", &word]))
            .code(0)
            .stdout(format!("<1><{value}>"))
            .stderr_has("err\n");
    }
    assert!(!project.0.path().join("pwned").exists());
    for (word, said) in [
        ("comment=--delete", "take for an option"),
        ("comment", "is no value"),
        ("coment=x", "its parameters are comment"),
    ] {
        run(&mut project.bowline(&sandbox, &["op", "backup", word]))
            .code(2)
            .stderr_has(said)
            .stdout("");
    }
    run(&mut project.bowline(
        &sandbox,
        &["op", "backup", &format!("comment={}", "x".repeat(201))],
    ))
    .code(2)
    .stderr_has("may have 200");
}

#[test]
fn a_choice_comes_from_the_container_and_is_asked_about() {
    let sandbox = Shared::get();
    let project = Project::new();
    let dump = "dump=my-dev_20220902-153423_backupComment.dump";
    let bowline = |words: &[&str]| run(&mut project.bowline(&sandbox, words));
    bowline(&["op", "restore", dump])
        .code(2)
        .stderr_has("--yes")
        .stdout("");
    bowline(&["op", "restore", dump, "--yes"])
        .code(4)
        .stdout("restoring my-dev_20220902-153423_backupComment.dump\n");
    bowline(&["op", "restore", "dump=odd;$(id) name.dump", "--yes"])
        .code(4)
        .stdout("restoring odd;$(id) name.dump\n");
    bowline(&["op", "restore", "dump=/etc/passwd", "--yes"])
        .code(2)
        .stderr_has("it is one of my-dev")
        .stdout("");
    bowline(&["op", "restore", "dump=odd;$(id) name.dump", "--dry-run"])
        .code(0)
        .stdout(format!(
            "would run in demo/web/app:\n{}/ops/restore.sh 'odd;$(id) name.dump'\n",
            project.0.path().to_str().unwrap()
        ));
    bowline(&["op", "nope"])
        .code(2)
        .stderr_has("there are backup, restore");
    let names = bowline(&["op", "ls", "-o", "name"]).code(0);
    assert_eq!(names.stdout, b"backup\nrestore\n");
    bowline(&["op", "show", "restore"]).code(0);
}

#[test]
fn the_result_says_who_what_when_where_and_the_log_has_it_all() {
    let sandbox = Shared::get();
    let project = Project::new();
    let finished =
        run(&mut project.bowline(&sandbox, &["op", "backup", "comment=x y", "-o", "json"])).code(0);
    let result: Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(result["operation"], "backup");
    assert_eq!(result["parameters"]["comment"], "x y");
    assert_eq!(result["argv"][1], "x y");
    assert_eq!(result["where"]["service"], "web");
    assert_eq!(
        (&result["code"], &result["origin"]),
        (&0.into(), &"remote".into())
    );
    assert!(
        result["who"]["caller"]
            .as_str()
            .unwrap()
            .starts_with("arn:aws:")
    );
    assert_eq!(
        result["stdout"]["sha256"],
        hex::encode(Sha256::digest("<1><x y>"))
    );
    assert_eq!(result["stderr"]["tail"], "err\n");
    assert!(result["began"].as_str() <= result["ended"].as_str());
    let log = fs::read_to_string(project.0.path().join("operations.log")).unwrap();
    assert!(
        log.contains("<1><x y>") && log.contains("err\n") && log.contains("backup ended with 0"),
        "{log}"
    );
}

#[test]
fn files_are_shipped_and_fresh_tasks_started() {
    let sandbox = Shared::get();
    let project = Project::new();
    project.declare(
        "[op.load]\ntarget = 'web'\ncommand = ['sh', '-c', 'wc -c <\"$1\"; ls \"$1\"', 'sh', '{data}']\n\
         param.data = { type = 'file' }\n\
         [op.job]\ntarget = 'family:job'\nvia = 'run'\ncommand = ['sh', '-c', 'echo \"$1\"; exit 3', 'sh', '{n}']\n\
         param.n = { type = 'int', min = 1, max = 9 }\n",
    );
    fs::write(project.0.path().join("rows.csv"), "1,2\n").unwrap();
    let shipped = run(&mut project.bowline(&sandbox, &["op", "load", "data=rows.csv"])).code(0);
    let text = String::from_utf8(shipped.stdout).unwrap();
    let (size, path) = text.trim_end().split_once('\n').unwrap();
    assert_eq!(size, "4");
    assert!(!fs::exists(path).unwrap(), "{path} was left");
    run(&mut project.bowline(&sandbox, &["op", "load", "data=nope"]))
        .code(2)
        .stderr_has("there is no file");
    run(&mut project.bowline(&sandbox, &["op", "job", "n=7"]))
        .code(3)
        .stdout("7\n");
    run(&mut project.bowline(&sandbox, &["op", "job", "n=10"]))
        .code(2)
        .stderr_has("1..9");
    let elsewhere = ["op", "job", "n=7", "--on", "web", "--dry-run"];
    let finished = run(&mut project.bowline(&sandbox, &elsewhere)).code(0);
    let said = String::from_utf8(finished.stdout).unwrap();
    assert!(said.starts_with("would run in a fresh task web:"), "{said}");
    project.declare("[op.bad]\ncommand = ['sh', '-c', 'rm {x}']\nparam.x = {}\n");
    run(&mut project.bowline(&sandbox, &["op", "ls"]))
        .code(2)
        .stderr_has("could break out");
    project.declare("[op.bad]\ncommand = ['true']\nlog = '../elsewhere'\n");
    run(&mut project.bowline(&sandbox, &["op", "ls"]))
        .code(2)
        .stderr_has("below the project");
}

/// What was done has its code, and the log its end, whether anybody reads or not.
#[test]
fn a_reader_that_leaves_changes_neither_the_code_nor_the_log() {
    let sandbox = Shared::get();
    let project = Project::new();
    let log = project.0.path().join("log");
    project.declare(
        "[op.here]\ntarget = 'web'\ncommand = ['sh', '-c', 'echo out; exit 4']\n\
         [op.fresh]\ntarget = 'family:job'\nvia = 'run'\ncommand = ['sh', '-c', 'echo out; exit 4']\nlog = 'log'\n",
    );
    let unread = |words: &[&str]| run_unread(&mut project.bowline(&sandbox, words));
    unread(&["op", "here"]).code(141);
    unread(&["op", "here", "-o", "json"]).code(4);
    unread(&["op", "fresh"])
        .code(141)
        .stderr_has("the task goes on");
    let text = fs::read_to_string(log).unwrap();
    assert!(text.contains("fresh ended with 141"), "{text}");
    unread(&["op", "fresh", "-o", "json"]).code(4);
}

/// The log cannot be opened: what was to be run was not, and nothing of it is left in the container.
#[test]
fn what_fails_here_leaves_no_file_there() {
    let sandbox = Shared::get();
    let project = Project::new();
    project.declare(
        "[op.load]\ntarget = 'web'\ncommand = ['cat', '{data}']\nlog = 'nowhere/log'\nparam.data = { type = 'file' }\n",
    );
    let name = format!("left{}.csv", std::process::id());
    fs::write(project.0.path().join(&name), "1,2\n").unwrap();
    run(&mut project.bowline(&sandbox, &["op", "load", &format!("data={name}")]))
        .code(125)
        .stdout("")
        .stderr_has("cannot write the log");
    let left = fs::read_dir("/tmp").unwrap().flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name().into_string().unwrap_or_default())
        .filter(|file| file.ends_with(&name))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
