//! The steps of a workflow and of a ticket, run by a shell as those systems do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::recipe;
use crate::support::{BOWLINE, Finished, Sandbox, run};

/// The commands of a workflow's steps, by name. Each is one line.
fn steps(workflow: &str) -> Vec<(String, String)> {
    let mut named = String::new();
    let mut steps = Vec::new();
    for line in workflow.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- name: ") {
            named = name.to_owned();
        } else if let Some(command) = line.strip_prefix("run: ") {
            steps.push((named.clone(), command.to_owned()));
        }
    }
    steps
}

/// `sh -e`, as a runner calls it, with bowline in the path.
fn shell(sandbox: &Sandbox, folder: &TempDir) -> Command {
    let mut command = sandbox.command("/bin/sh");
    let here = std::path::Path::new(BOWLINE).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    command
        .env("PATH", format!("{}:{path}", here.display()))
        .current_dir(folder.path());
    command
}

#[test]
fn a_workflow_migrates_deploys_and_empties_the_cache_and_stops_at_what_fails() {
    let sandbox = Sandbox::start(&[]);
    let folder = TempDir::new().unwrap();
    let workflow = fs::read_to_string(recipe("ci/deploy.yml")).unwrap();
    let steps = steps(&workflow);
    let names: Vec<&str> = steps.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["migrate", "deploy", "empty the cache"]);
    let step = |at: usize, migrate: &str| -> Finished {
        run(shell(&sandbox, &folder)
            .args(["-ec", &steps[at].1])
            .env("SERVICE", "demo/web")
            .env("MIGRATE", migrate)
            .env("FLUSH", "echo flushed"))
    };
    step(0, "echo migrated").code(0).stdout("migrated\n");
    let fails = folder.path().join("fails");
    fs::write(&fails, "#!/bin/sh\nexit 4\n").unwrap();
    fs::set_permissions(&fails, fs::Permissions::from_mode(0o755)).unwrap();
    step(0, fails.to_str().unwrap()).code(4);
    step(1, "").code(0);
    step(2, "").code(0).stdout("flushed\n");
}

#[test]
fn a_ticket_has_the_result_whether_it_went_well_or_not() {
    let sandbox = Sandbox::start(&[]);
    let folder = TempDir::new().unwrap();
    let operations = r#"
[op.backup]
target = "web"
command = ["sh", "-c", "echo \"$1\"; exit \"$2\"", "sh", "{comment}", "{code}"]
[op.backup.param.comment]
[op.backup.param.code]
type = "int"
"#;
    fs::write(folder.path().join(".bowline.toml"), operations).unwrap();
    let step = |code: &str| {
        run(shell(&sandbox, &folder)
            .arg(recipe("ticket/step.sh"))
            .args(["OPS-7", "backup", "comment=it's $(me)"])
            .arg(format!("code={code}")))
    };
    let result = || -> Value {
        let text = fs::read_to_string(folder.path().join("result.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    step("0").code(0).stdout("OPS-7: backup is done\n");
    assert_eq!(result()["stdout"]["tail"], "it's $(me)\n");
    step("6").code(6).stdout("OPS-7: backup failed with 6\n");
    assert_eq!(result()["code"], 6);
}
