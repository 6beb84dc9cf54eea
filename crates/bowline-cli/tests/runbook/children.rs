//! Runbooks that steps of local runs run: what they are refused for, and how they end with what is above them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use super::support::{Finished, Running, Sandbox, run};
use super::{ends, events};

const PARENT: &str = "schemaVersion: '0.3'\nmainSteps:\n- {name: first, action: 'aws:sleep', inputs: {Duration: PT0S}}\n- {name: c, action: 'aws:executeAutomation', inputs: {DocumentName: Child}, onCancel: 'step:undo', onFailure: 'step:undo'}\n- {name: undo, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: ListClusters}, isEnd: true}\n";

/// A folder with the parent and this child.
fn family(child: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("parent.yaml", PARENT);
    write(
        "Child.yaml",
        &format!("schemaVersion: '0.3'\nmainSteps:\n{child}"),
    );
    folder
}

fn words<'a>(parent: &'a str, folder: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "runbook",
        "run",
        parent,
        "--runbook-dir",
        folder.to_str().unwrap(),
    ];
    [&fixed[..], more].concat()
}

fn local(sandbox: &Sandbox, folder: &TempDir, more: &[&str]) -> Finished {
    let parent = folder.path().join("parent.yaml");
    let words = words(parent.to_str().unwrap(), folder.path(), more);
    run(&mut sandbox.bowline(&words))
}

#[test]
fn what_a_child_cannot_do_here_is_refused_before_the_first_step() {
    let sandbox = Sandbox::start(&[]);
    for (step, said) in [
        (
            "- {name: a, action: 'aws:approve', inputs: {Approvers: [x]}}\n",
            "runbook Child: step a: nobody can be asked to approve",
        ),
        (
            "- {name: a, action: 'aws:pause', inputs: {}}\n",
            "say --auto-resume",
        ),
        (
            "- {name: a, action: 'aws:executeScript', inputs: {Runtime: python3.11, Handler: f, Script: x}}\n",
            "--allow-scripts",
        ),
    ] {
        let folder = family(step);
        local(&sandbox, &folder, &[])
            .code(2)
            .stdout("")
            .stderr_has(said);
    }
    let folder = family("- {name: a, action: 'aws:pause', inputs: {}}\n");
    local(&sandbox, &folder, &["--auto-resume"]).code(0);
}

/// What the parent's document says of its files is not about the child's.
#[test]
fn an_attachment_is_held_against_the_checksum_of_its_own_document() {
    let sandbox = Sandbox::start(&[]);
    let step = "- {name: s, action: 'aws:executeScript', inputs: {Runtime: python3.11, Handler: x.go, Attachment: x.py}}\n";
    let files = "files: {x.py: {checksums: {sha256: '0000000000000000000000000000000000000000000000000000000000000000'}}}\n";
    for (more, code) in [(files, 1), ("", 0)] {
        let folder = family(&format!("{step}{more}"));
        std::fs::write(
            folder.path().join("x.py"),
            "def go(e, c):\n  return {'done': 1}\n",
        )
        .unwrap();
        let attachments = folder.path().to_str().unwrap().to_owned();
        let more = ["--allow-scripts", "--attachments", &attachments];
        let done = local(&sandbox, &folder, &more).code(code);
        let shown = String::from_utf8(done.stdout).unwrap();
        let refused = shown.contains("is not the one of the runbook");
        assert_eq!(refused, code == 1, "{shown}");
    }
}

#[test]
fn a_child_sleeps_as_its_parent_does() {
    let sandbox = Sandbox::start(&[]);
    let folder = family("- {name: s, action: 'aws:sleep', inputs: {Duration: PT1H}}\n");
    // Within the patience of the test: an hour is less than four seconds.
    local(&sandbox, &folder, &["--fast-sleep", "1000"]).code(0);
}

#[test]
fn a_child_cleans_up_when_its_parent_gives_it_up() {
    let sandbox = Sandbox::start(&[]);
    let child = "- {name: wait, action: 'aws:waitForAwsResourceProperty', onCancel: 'step:clean', inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [never]}}\n- {name: clean, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test}, isEnd: true}\n";
    let folder = family(child);
    let parent = folder.path().join("parent.yaml");
    let parent = parent.to_str().unwrap();
    let words = words(parent, folder.path(), &["--poll-interval", "100ms"]);
    let inner = |text: &[u8]| {
        let events = events(text);
        let told: Vec<String> = events
            .iter()
            .flat_map(|event| match event["type"].as_str() {
                Some("step.child") => ends(std::slice::from_ref(&event["event"])),
                _ => ends(std::slice::from_ref(event)),
            })
            .collect();
        told
    };
    let mut running = Running::start_lines(sandbox.bowline(&words).stdin(Stdio::null()));
    while !running.line().1.contains("step.poll") {}
    running.signal("INT");
    let mut seen = String::new();
    while !seen.contains("{\"type\":\"run.end\"") || !seen.contains("\"undo\",\"status\"") {
        seen.push_str(&running.line().1);
    }
    assert_eq!(running.wait(Duration::from_secs(60)).code(), Some(130));
    assert_eq!(
        inner(seen.as_bytes()),
        [
            "wait Cancelled",
            "clean Success",
            "c Cancelled",
            "undo Success"
        ],
        "{seen}"
    );

    // The same when the time of the step is up.
    let late = PARENT.replace("{name: c,", "{name: c, timeoutSeconds: 2,");
    std::fs::write(folder.path().join("parent.yaml"), late).unwrap();
    let done = run(&mut sandbox.bowline(&words)).code(124);
    assert_eq!(
        inner(&done.stdout)[1..],
        [
            "wait Cancelled",
            "clean Success",
            "c TimedOut",
            "undo Success"
        ]
    );
}
