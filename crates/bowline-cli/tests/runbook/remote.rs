//! Runs by the service, which the sandbox stands for: submit, follow, stop, signal, compare; and runbooks within runbooks.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::support::{Finished, Running, Sandbox, run, wait_for};
use super::{ends, events, written};

const LIMIT: Duration = Duration::from_secs(60);

fn book(steps: &str) -> String {
    format!(
        "schemaVersion: '0.3'\nparameters: {{N: {{type: StringList, default: [a]}}}}\nmainSteps:\n{steps}"
    )
}

const FUNCTION: &str = "- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test, InputPayload: {n: '{{ N }}'}}}\n";
const BAD: &str = "- {name: bad, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: nothing}, onFailure: 'step:after'}\n- {name: skip, action: 'aws:sleep', inputs: {Duration: PT1S}, isEnd: true}\n- {name: after, action: 'aws:sleep', inputs: {Duration: PT1S}}\n";
const LATE: &str = "- {name: wait, action: 'aws:waitForAwsResourceProperty', timeoutSeconds: 1, inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [never]}}\n";
const WAIT: &str = "- {name: wait, action: 'aws:waitForAwsResourceProperty', onCancel: 'step:clean', inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [never]}}\n- {name: clean, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test}, isEnd: true}\n";

fn submit(sandbox: &Sandbox, text: &str, more: &[&str]) -> Finished {
    let (_folder, path) = written(text);
    let words = [
        &[
            "runbook",
            "submit",
            path.to_str().unwrap(),
            "--poll-interval",
            "100ms",
        ],
        more,
    ]
    .concat();
    Running::start(sandbox.bowline(&words).stdin(Stdio::null())).finish(LIMIT)
}

#[test]
fn the_service_runs_it_and_its_end_is_ours() {
    let sandbox = Sandbox::start(&[]);
    let done = submit(&sandbox, &book(FUNCTION), &["-p", "N=x", "-p", "N=y"]).code(0);
    let seen = events(&done.stdout);
    assert_eq!(ends(&seen), ["f Success"]);
    assert_eq!(seen.last().unwrap()["status"], "Success");

    let failed = submit(&sandbox, &book(BAD), &[]).code(1);
    let seen = events(&failed.stdout);
    assert_eq!(ends(&seen), ["bad Failed", "after Success"]);
    let failure = seen.last().unwrap()["failure"].as_str().unwrap().to_owned();
    assert!(
        failure.contains("(ResourceNotFoundException)") && !failure.contains("Step fails when"),
        "{failure}"
    );
    let verbatim = submit(&sandbox, &book(BAD), &["-v"]).code(1);
    assert!(
        String::from_utf8(verbatim.stdout)
            .unwrap()
            .contains("Step fails when it is")
    );

    submit(&sandbox, &book(LATE), &[]).code(124);
    submit(
        &sandbox,
        &book("- {name: x, action: 'aws:slep', inputs: {}}\n"),
        &[],
    )
    .code(4)
    .stderr_has("did you mean aws:sleep?");
    submit(&sandbox, &book(FUNCTION), &["-p", "M=x"])
        .code(2)
        .stderr_has("there is no parameter M");
    // Temporary documents have gone; the next one finds its name free.
    for version in ["1", "2", "2"] {
        let steps = if version == "1" { FUNCTION } else { BAD };
        let code = if version == "1" { 0 } else { 1 };
        submit(&sandbox, &book(steps), &["--name", "Kept"]).code(code);
        let named = format!("Kept:{version}");
        let words = [
            "runbook",
            "submit",
            "--document",
            &named,
            "--poll-interval",
            "100ms",
        ];
        run(&mut sandbox.bowline(&words)).code(code);
    }
    let words = ["runbook", "submit", "--document", "Kept:9"];
    run(&mut sandbox.bowline(&words))
        .code(125)
        .stderr_has("InvalidDocumentVersion");
    let nobody = "00000000-0000-4000-8000-000000000000";
    run(&mut sandbox.bowline(&["runbook", "follow", nobody]))
        .code(125)
        .stderr_has("AutomationExecutionNotFoundException");
}

#[test]
fn executions_are_followed_stopped_and_answered() {
    let sandbox = Sandbox::start(&[]);
    let start = |text: &str| {
        let started = submit(&sandbox, text, &["--keep", "--detach"]).code(0);
        String::from_utf8(started.stdout).unwrap().trim().to_owned()
    };
    let follow = |id: &str, code: i32| {
        let words = ["runbook", "follow", id, "--poll-interval", "100ms"];
        let done = Running::start(sandbox.bowline(&words).stdin(Stdio::null())).finish(LIMIT);
        ends(&events(&done.code(code).stdout))
    };
    let id = start(&book(WAIT));
    run(&mut sandbox.bowline(&["runbook", "stop", &id]))
        .code(0)
        .stderr_has("is being cancelled");
    assert_eq!(follow(&id, 130), ["wait Cancelled", "clean Success"]);
    run(&mut sandbox.bowline(&["runbook", "stop", &id]))
        .code(125)
        .stderr_has("has ended with Cancelled");

    let asks = book(
        "- {name: ask, action: 'aws:approve', inputs: {Approvers: [sandbox]}}\n- {name: hold, action: 'aws:pause', inputs: {}}\n",
    );
    let id = start(&asks);
    let words = ["runbook", "follow", &id, "--poll-interval", "100ms"];
    let mut running = Running::start_lines(sandbox.bowline(&words).stdin(Stdio::null()));
    for (step, answer) in [("ask", "approve"), ("hold", "resume")] {
        loop {
            let line = running.line().1;
            if line.contains("step.waiting") && line.contains(step) {
                break;
            }
        }
        run(&mut sandbox.bowline(&["runbook", "signal", &id, answer])).code(0);
    }
    while !running.line().1.contains("run.end") {}
    assert_eq!(running.wait(LIMIT).code(), Some(0));
    run(&mut sandbox.bowline(&["runbook", "signal", &id, "approve"]))
        .code(125)
        .stderr_has("InvalidAutomationSignalException");
    let id = start(&asks);
    let mut running = Running::start_lines(
        sandbox
            .bowline(&["runbook", "follow", &id, "--poll-interval", "100ms"])
            .stdin(Stdio::null()),
    );
    while !running.line().1.contains("step.waiting") {}
    run(&mut sandbox.bowline(&["runbook", "signal", &id, "reject", "--comment", "no"])).code(0);
    while !running.line().1.contains("run.end") {}
    assert_eq!(running.wait(LIMIT).code(), Some(1));
}

#[test]
fn an_interrupt_cancels_the_execution() {
    let sandbox = Sandbox::start(&[]);
    let (_folder, path) = written(&book(WAIT));
    let words = [
        "runbook",
        "submit",
        path.to_str().unwrap(),
        "--poll-interval",
        "100ms",
    ];
    let mut running = Running::start_lines(sandbox.bowline(&words).stdin(Stdio::null()));
    while !running.line().1.contains("step.start") {}
    running.signal("INT");
    let mut seen = String::new();
    while !seen.contains("run.end") {
        seen.push_str(&running.line().1);
    }
    assert_eq!(running.wait(LIMIT).code(), Some(130));
    assert!(
        seen.contains("\"step\":\"clean\",\"status\":\"Success\""),
        "{seen}"
    );
}

#[test]
fn both_runs_are_compared() {
    let sandbox = Sandbox::start(&[]);
    let compare = |path: &Path, form: &str| {
        let (path, interval) = (path.to_str().unwrap(), "--poll-interval");
        let words = ["runbook", "compare", path, interval, "100ms", "-o", form];
        run(&mut sandbox.bowline(&words))
    };
    let (_folder, path) = written(&book(BAD));
    let done = compare(&path, "table").code(0);
    done.stdout("STEP     HERE        SERVICE\nbad      Failed      Failed\nskip     Pending     Pending\nafter    Success     Success\nthe run  Failed      Failed\n");
    // What works once only differs the second time.
    let once = "- {name: once, action: 'aws:executeAwsApi', inputs: {Service: ssm, Api: CreateDocument, Name: Once, DocumentType: Automation, DocumentFormat: YAML, Content: \"schemaVersion: '0.3'\\nmainSteps: [{name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}]\\n\"}}\n";
    let (_folder, path) = written(&book(once));
    let done = compare(&path, "json").code(4);
    let rows: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        rows[0],
        serde_json::json!({ "step": "once", "local": "Success", "remote": "Failed", "same": false })
    );
}

#[test]
fn a_step_runs_another_runbook() {
    let sandbox = Sandbox::start(&[]);
    let child = "schemaVersion: '0.3'\nparameters: {Name: {type: String}}\nmainSteps:\n- {name: g, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: '{{ Name }}'}, outputs: [{Name: code, Selector: $.StatusCode, Type: String}]}\noutputs: [g.code]\n";
    let parent = |name: &str, function: &str| {
        format!(
            "schemaVersion: '0.3'\nmainSteps:\n- {{name: c, action: 'aws:executeAutomation', inputs: {{DocumentName: {name}, RuntimeParameters: {{Name: {function}}}}}}}\noutputs: [c.Output]\n"
        )
    };
    let (folder, child_path) = written(child);
    std::fs::copy(&child_path, folder.path().join("Child.yaml")).unwrap();
    let local = |text: &str, more: &[&str]| {
        let (_folder, path) = written(text);
        run(&mut sandbox.bowline(&[&["runbook", "run", path.to_str().unwrap()], more].concat()))
    };
    let dir = ["--runbook-dir", folder.path().to_str().unwrap()];
    let done = local(&parent("Child", "test"), &dir).code(0);
    let seen = events(&done.stdout);
    assert_eq!(
        seen.last().unwrap()["outputs"]["c.Output"],
        serde_json::json!(["200"])
    );
    assert!(
        seen.iter()
            .any(|it| it["type"] == "step.child" && it["event"]["step"] == "g")
    );
    let map = format!("Other={}", child_path.display());
    local(&parent("Other", "test"), &["--map", &map]).code(0);
    let failed = local(&parent("Child", "nothing"), &dir).code(1);
    let failure = events(&failed.stdout).pop().unwrap()["failure"].to_string();
    assert!(
        failure.contains("ended as Failed: step g (aws:invokeLambdaFunction)"),
        "{failure}"
    );
    // From the account, and not there either.
    submit(
        &sandbox,
        child,
        &["--name", "Kept", "--detach", "-p", "Name=test"],
    )
    .code(0);
    local(&parent("Kept", "test"), &[]).code(0);
    let missing = local(&parent("Missing", "test"), &[]).code(1);
    let failure = events(&missing.stdout).pop().unwrap()["failure"].to_string();
    assert!(failure.contains("(InvalidDocument)"), "{failure}");
    // It runs itself.
    let again = format!("Again={}", folder.path().join("again.yaml").display());
    std::fs::write(
        folder.path().join("again.yaml"),
        parent("Again", "x").replace("mainSteps", "parameters: {Name: {type: String}}\nmainSteps"),
    )
    .unwrap();
    let done = local(&parent("Again", "x"), &["--map", &again]).code(1);
    assert!(
        String::from_utf8(done.stdout)
            .unwrap()
            .contains("runs itself")
    );
}

/// What a call selects, as texts.
fn asked(sandbox: &Sandbox, call: &str, selector: &str) -> Vec<String> {
    let text = format!(
        "schemaVersion: '0.3'\nmainSteps:\n- {{name: a, action: 'aws:executeAwsApi', inputs: {{Service: ssm, {call}}}, outputs: [{{Name: x, Selector: '{selector}', Type: StringList}}]}}\noutputs: [a.x]\n"
    );
    let (_folder, path) = written(&text);
    let done = run(&mut sandbox.bowline(&["runbook", "run", path.to_str().unwrap()])).code(0);
    let outputs = events(&done.stdout).pop().unwrap()["outputs"]["a.x"].clone();
    serde_json::from_value(outputs).unwrap()
}

#[test]
fn nothing_is_left_of_a_comparison_that_was_interrupted() {
    let sandbox = Sandbox::start(&[]);
    let documents = || {
        asked(
            &sandbox,
            "Api: ListDocuments",
            "$.DocumentIdentifiers[*].Name",
        )
    };
    let executions = |status: &str| {
        let call = format!(
            "Api: DescribeAutomationExecutions, Filters: [{{Key: ExecutionStatus, Values: [{status}]}}]"
        );
        let selector = "$.AutomationExecutionMetadataList[*].AutomationExecutionId";
        asked(&sandbox, &call, selector)
    };
    // Here it ends at once, and the service, which sees the document of the comparison, sleeps for an hour.
    let text = book(
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ssm, Api: ListDocuments}, outputs: [{Name: n, Selector: '$.DocumentIdentifiers[0].Name', Type: String}]}\n- {name: b, action: 'aws:branch', inputs: {Choices: [{NextStep: s, Variable: '{{ a.n }}', StartsWith: bowline-}]}, isEnd: true}\n- {name: s, action: 'aws:sleep', inputs: {Duration: PT1H}}\n",
    );
    let (_folder, path) = written(&text);
    let words = ["runbook", "compare", path.to_str().unwrap()];
    let running = Running::start(sandbox.bowline(&words).stdin(Stdio::null()));
    wait_for("the execution", LIMIT, || {
        (!executions("InProgress").is_empty()).then_some(())
    });
    running.signal("INT");
    let done = running.finish(LIMIT).code(130);
    assert!(
        done.stdout.is_empty() && done.stderr.contains("cancelling the execution"),
        "{}",
        done.stderr
    );
    assert_eq!(documents(), Vec::<String>::new());
    assert_eq!(executions("Cancelled").len(), 1);

    // A document of the same text that was left behind goes with the next run of it.
    submit(&sandbox, &book(FUNCTION), &["--keep", "--detach"]).code(0);
    assert_eq!(documents().len(), 1);
    submit(&sandbox, &book(FUNCTION), &[]).code(0);
    assert_eq!(documents(), Vec::<String>::new());
}

/// The sandbox has a secret, whose value is JSON with a password in it.
#[test]
fn secrets_are_not_shown_wherever_the_run_is() {
    let sandbox = Sandbox::start(&[]);
    let child = "schemaVersion: '0.3'\nmainSteps:\n- {name: g, action: 'aws:executeAwsApi', inputs: {Service: secretsmanager, Api: GetSecretValue, SecretId: demo/db}, outputs: [{Name: Password, Selector: $.SecretString, Type: String}, {Name: x, Selector: $.SecretString, Type: String}]}\noutputs: [g.Password, g.Output]\n";
    let (folder, path) = written(child);
    let parent = "schemaVersion: '0.3'\nmainSteps:\n- {name: c, action: 'aws:executeAutomation', inputs: {DocumentName: book}}\noutputs: [c.Output]\n";
    let (_folder, parent) = written(parent);
    let dir = ["--runbook-dir", folder.path().to_str().unwrap()];
    let words = [&["runbook", "run", parent.to_str().unwrap()][..], &dir].concat();
    let state = tempfile::TempDir::new().unwrap();
    let local = |words: &[&str]| {
        let mut command = sandbox.bowline(words);
        run(command.env("XDG_STATE_HOME", state.path())).code(0)
    };
    let parent = local(&words);
    let words = ["runbook", "run", path.to_str().unwrap(), "-o", "table"];
    let table = local(&words);
    let remote = submit(
        &sandbox,
        &child.replace(", {Name: x, Selector: $.SecretString, Type: String}", ""),
        &[],
    )
    .code(0);
    for done in [parent, table, remote] {
        let shown = String::from_utf8(done.stdout).unwrap() + &done.stderr;
        assert!(
            !shown.contains("not a secret") && shown.contains("[masked]"),
            "{shown}"
        );
    }
    // Nor do they stay on the disk.
    let runs = state.path().join("bowline/runbooks");
    let mut files = 0;
    for folder in std::fs::read_dir(runs).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!text.contains("not a secret"), "{text}");
            files += 1;
        }
    }
    assert_eq!(files, 6);
}

#[test]
fn a_run_takes_the_role_of_its_runbook() {
    let sandbox = Sandbox::start(&[]);
    let text = |role: &str| {
        format!(
            "schemaVersion: '0.3'\nassumeRole: '{{{{ Role }}}}'\nparameters: {{Role: {{type: String, default: '{role}'}}}}\nmainSteps:\n- {{name: f, action: 'aws:invokeLambdaFunction', inputs: {{FunctionName: test}}}}\n"
        )
    };
    let local = |text: &str, more: &[&str]| {
        let (_folder, path) = written(text);
        run(&mut sandbox.bowline(&[&["runbook", "run", path.to_str().unwrap()], more].concat()))
    };
    local(&text(""), &[]).code(0);
    let denied = text("arn:aws:iam::123456789012:role/books");
    local(&denied, &[])
        .code(125)
        .stdout("")
        .stderr_has("AccessDenied");
    local(&denied, &["--no-assume-role"]).code(0);
}
