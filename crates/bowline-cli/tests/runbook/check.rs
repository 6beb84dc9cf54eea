//! What is said about documents, and what a run of them would do: no account, no network.

use serde_json::Value;

use super::{EXAMPLE, offline, written};

#[test]
fn the_example_has_warnings_that_name_what_mends_them() {
    let (folder, _) = written(EXAMPLE);
    let said = offline(folder.path(), &["check", "book.yaml"]).code(0);
    insta::assert_snapshot!(String::from_utf8(said.stdout).unwrap(), @r"
    book.yaml:31:11: warning RB060: lambda1: when this step fails the run ends as Failed or TimedOut, even if Sleep succeeds
        |   - name: lambda1
        |           ^^^^^^^
        = write isCritical: false if a handled failure shall end as Success
    book.yaml:37:11: warning RB060: ecs: when this step fails the run ends as Failed or TimedOut, even if Sleep succeeds
        |   - name: ecs
        |           ^^^
        = write isCritical: false if a handled failure shall end as Success
    book.yaml:61:11: warning RB060: waitecscontainer1: when this step fails the run ends as Failed or TimedOut, even if Sleep succeeds
        |   - name: waitecscontainer1
        |           ^^^^^^^^^^^^^^^^^
        = write isCritical: false if a handled failure shall end as Success
    book.yaml:70:25: warning RB026: waitecscontainer1: an exit code other than 0 is final and does not end the wait: the step runs into its timeout
        |       PropertySelector: 'tasks[0].containers[0].exitCode'
        |                         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        = wait for lastStatus STOPPED, declare the exit code as an output, and branch on it
    book.yaml:74:11: warning RB060: lambda2: 3 other steps go to Sleep when they fail; this one ends the run
        |   - name: lambda2
        |           ^^^^^^^
        = write onFailure: step:Sleep, or onFailure: Abort if that is meant
    ");
    assert_eq!(said.stderr, "1 runbook: 0 errors, 5 warnings\n");
    offline(folder.path(), &["check", "--strict", "book.yaml"]).code(4);
    let allowed = EXAMPLE.replace("lambda2\n", "lambda2 # bowline: allow RB060\n");
    let (folder, _) = written(&allowed);
    let said = offline(folder.path(), &["check", "book.yaml"]).code(0);
    assert_eq!(said.stderr, "1 runbook: 0 errors, 4 warnings\n");
}

#[test]
fn the_status_code_of_a_function_is_no_integer() {
    let text = "schemaVersion: '0.3'\nmainSteps:\n- name: f\n  action: aws:invokeLambdaFunction\n  inputs: {FunctionName: test}\n  outputs:\n  - {Name: Code, Selector: $.StatusCode, Type: Integer}\n- name: b\n  action: aws:branch\n  inputs:\n    Choices: [{NextStep: f, Variable: '{{ f.StatusCode }}', NumericEquals: 200}]\n  isEnd: true\n";
    let (folder, _) = written(text);
    let said = offline(folder.path(), &["check", "book.yaml"]).code(4);
    insta::assert_snapshot!(String::from_utf8(said.stdout).unwrap(), @r#"
    book.yaml:3:9: warning RB007: f: the steps can go round: f -> b -> f
        | - name: f
        |         ^
        = the service refuses rings without a way out; aws:loop has a limit
    book.yaml:7:48: error RB040: f: Lambda's StatusCode is a String ("200"), not an Integer: comparing it as one fails at run time
        |   - {Name: Code, Selector: $.StatusCode, Type: Integer}
        |                                                ^^^^^^^
        = declare Type: String, or use {{ f.StatusCode }} without declaring it, and compare with StringEquals: '200'
    book.yaml:11:39: error RB022: b: NumericEquals needs an Integer, and f.StatusCode is a String
        |     Choices: [{NextStep: f, Variable: '{{ f.StatusCode }}', NumericEquals: 200}]
        |                                       ^^^^^^^^^^^^^^^^^^^^
        = Lambda's StatusCode is a String: compare it with StringEquals: '200'
    "#);
}

#[test]
fn machines_get_json_and_sarif() {
    let (folder, _) = written(&EXAMPLE.replace("'{{Cluster}}'", "'{{Clster}}'"));
    let said = offline(folder.path(), &["check", "-o", "json", "book.yaml"]).code(4);
    let json: Value = serde_json::from_slice(&said.stdout).unwrap();
    let first = &json[0]["findings"][2];
    assert_eq!(
        (
            &first["code"],
            &first["severity"],
            &first["line"],
            &first["suggestion"]
        ),
        (
            &"RB010".into(),
            &"error".into(),
            &46.into(),
            &"did you mean Cluster?".into()
        )
    );
    let said = offline(folder.path(), &["check", "-o", "sarif", "book.yaml"]).code(4);
    let sarif: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][2];
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(
        (&result["ruleId"], &region["startLine"]),
        (&"RB010".into(), &46.into())
    );
    let said = offline(
        folder.path(),
        &["check", "--types", "-o", "json", "book.yaml"],
    )
    .code(4);
    assert!(
        String::from_utf8(said.stdout)
            .unwrap()
            .contains("\"lambda2\"")
    );
    offline(folder.path(), &["check", "--explain", "RB999"])
        .code(2)
        .stderr_has("there is no rule RB999");
    offline(folder.path(), &["check", "none.yaml"])
        .code(2)
        .stderr_has("none.yaml");
    offline(folder.path(), &["check", "-o", "name", "book.yaml"]).code(2);
}

#[test]
fn a_plan_needs_no_account() {
    let (folder, _) = written(EXAMPLE);
    let said = offline(
        folder.path(),
        &["plan", "--offline", "-p", "Cluster=prod", "book.yaml"],
    )
    .code(0);
    let shown = String::from_utf8(said.stdout).unwrap();
    assert!(
        shown.contains("    cluster: prod\n    tasks: [\"\u{2039}ecs.taskArn: String\u{203a}\"]\n"),
        "{shown}"
    );
    assert!(
        shown.contains("Sleep  aws:sleep  (not unless a step fails)"),
        "{shown}"
    );
    let said = offline(
        folder.path(),
        &["plan", "--offline", "--graph", "mermaid", "book.yaml"],
    )
    .code(0);
    let shown = String::from_utf8(said.stdout).unwrap();
    assert!(
        shown.starts_with("flowchart TD\n") && shown.contains("s0 -.->|\"fails\"| s4"),
        "{shown}"
    );
    let said = offline(
        folder.path(),
        &["plan", "--offline", "--graph", "svg", "book.yaml"],
    )
    .code(0);
    let shown = String::from_utf8(said.stdout).unwrap();
    assert!(
        shown.starts_with("<svg") && shown.ends_with("</svg>\n"),
        "{shown}"
    );
    let (folder, _) = written(&EXAMPLE.replace("'{{Cluster}}'", "'{{Clster}}'"));
    offline(folder.path(), &["plan", "--offline", "book.yaml"])
        .code(4)
        .stderr_has("RB010");
}
