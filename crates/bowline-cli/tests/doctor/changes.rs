//! What a fix changes, and what it must leave as it is.

use serde_json::{Value, json};

use crate::support::{Sandbox, Terminal, post, run};
use crate::{diagnosis, echo, states};

/// Starts a sandbox that `call` reaches.
fn start(options: &[&str]) -> Sandbox {
    Sandbox::start(&[&["--accept-any-credentials"], options].concat())
}

#[track_caller]
fn call(sandbox: &Sandbox, operation: &str, body: &Value) -> Value {
    let ecs = "AmazonEC2ContainerServiceV20141113";
    post(sandbox, ecs, operation, body)
}

/// What family web's newest revision is, with its tags beside it.
#[track_caller]
fn newest(sandbox: &Sandbox) -> Value {
    let asked = json!({ "taskDefinition": "web", "include": ["TAGS"] });
    call(sandbox, "DescribeTaskDefinition", &asked)
}

/// Makes service web run a changed copy of its definition, and returns the new revision's ARN.
#[track_caller]
fn deploy(sandbox: &Sandbox, change: impl FnOnce(&mut Value)) -> String {
    let mut definition = newest(sandbox)["taskDefinition"].take();
    change(&mut definition);
    let answer = call(sandbox, "RegisterTaskDefinition", &definition);
    let arn = answer["taskDefinition"]["taskDefinitionArn"].as_str();
    let arn = arn.unwrap().to_owned();
    let update = json!({ "cluster": "demo", "service": "web", "taskDefinition": arn });
    call(sandbox, "UpdateService", &update);
    arn
}

/// Waits until service web runs nothing but its newest deployment.
fn settled(sandbox: &Sandbox) {
    let restart = ["service", "restart", "demo/web", "--wait", "--yes"];
    run(&mut sandbox.bowline(&restart)).code(0);
}

#[track_caller]
fn service(sandbox: &Sandbox) -> Value {
    let asked = json!({ "cluster": "demo", "services": ["web"] });
    call(sandbox, "DescribeServices", &asked)["services"][0].take()
}

#[test]
fn values_that_look_like_secrets_are_deployed_again_and_never_shown() {
    let sandbox = start(&["--scenario", "no-init-process"]);
    let environment = json!([
        { "name": "DB_PASSWORD", "value": "hunter2" },
        { "name": "LOG_LEVEL", "value": "loud" },
    ]);
    deploy(&sandbox, |definition| {
        definition["containerDefinitions"][0]["environment"] = environment.clone();
        definition["tags"] = json!([{ "key": "team", "value": "shop" }]);
    });
    settled(&sandbox);

    let report = diagnosis(&sandbox, &[], 0);
    assert_eq!(states(&report, "problem"), ["init-process"], "{report:#}");
    let text = report.to_string();
    assert!(text.contains("loud") && !text.contains("hunter2"), "{text}");

    let mut asked = Terminal::bowline(&sandbox, &["doctor", "web", "--fix"]);
    asked.until("make this change? [y/N]");
    asked.press(b"y\n");
    let (status, text) = asked.end();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(text.contains("loud") && !text.contains("hunter2"), "{text}");

    let made = newest(&sandbox);
    let container = &made["taskDefinition"]["containerDefinitions"][0];
    assert_eq!(
        container["linuxParameters"]["initProcessEnabled"],
        json!(true)
    );
    assert_eq!(container["environment"], environment);
    assert_eq!(made["tags"], json!([{ "key": "team", "value": "shop" }]));
    assert_eq!(
        service(&sandbox)["taskDefinition"],
        made["taskDefinition"]["taskDefinitionArn"]
    );
}

/// The tasks have the old definition, with a fault, while the new one is still being pulled.
#[test]
fn a_roll_out_is_not_taken_back() {
    let sandbox = start(&["--scenario", "read-only-root", "--scenario", "pull=900"]);
    let new = deploy(&sandbox, |definition| {
        definition["containerDefinitions"][0]["image"] = json!("shop/web:new");
    });
    let report = diagnosis(&sandbox, &["--fix", "--yes"], 4);
    let found = states(&report, "problem");
    assert_eq!(found, ["read-only-root", "agent", "task-definition"]);
    assert_eq!(service(&sandbox)["taskDefinition"], json!(new));
    assert_eq!(
        newest(&sandbox)["taskDefinition"]["taskDefinitionArn"],
        json!(new)
    );
}

/// Somebody deploys while the question stands there.
#[test]
fn what_was_deployed_during_the_question_is_not_taken_back() {
    let sandbox = start(&["--scenario", "read-only-root", "--scenario", "pull=900"]);
    let mut asked = Terminal::bowline(&sandbox, &["doctor", "web", "--fix"]);
    asked.until("make this change? [y/N]");
    let new = deploy(&sandbox, |_| {});
    asked.press(b"y\n");
    asked.until("has changed meanwhile");
    let (status, text) = asked.end();
    assert_eq!(status.code(), Some(4), "{text}");
    assert!(!text.contains("done:"), "{text}");
    assert_eq!(service(&sandbox)["taskDefinition"], json!(new));
}

/// A fix that did not come to its end left the role behind.
#[test]
fn a_role_that_an_earlier_fix_made_serves() {
    let sandbox = start(&["--scenario", "no-task-role"]);
    let refusal = json!({ "operation": "RegisterTaskDefinition", "code": "AccessDeniedException" });
    post(&sandbox, "BowlineSandbox", "FailNext", &refusal);
    run(&mut sandbox.bowline(&["doctor", "web", "--fix", "--yes"]))
        .code(125)
        .stderr_has("made before it: iam:CreateRole, iam:PutRolePolicy");
    diagnosis(&sandbox, &["--fix", "--yes"], 0);
    echo(&sandbox).code(0).stdout("in\n");
}

#[test]
fn what_is_known_of_a_change_that_failed_is_said() {
    let fix = ["doctor", "web", "--fix", "--yes"];
    let start = |answer: &str| {
        let fail = format!("fail=UpdateService:{answer}");
        Sandbox::start(&["--scenario", "exec-disabled", "--scenario", &fail])
    };
    let refused = run(&mut start("AccessDeniedException").bowline(&fix)).code(125);
    let refused = refused.stderr_has("nothing was changed");
    assert!(!refused.stderr.contains("not known"), "{}", refused.stderr);
    let failed = run(&mut start("ServerException").bowline(&fix)).code(125);
    let failed = failed.stderr_has("whether ecs:UpdateService had its effect is not known");
    assert!(!failed.stderr.contains("nothing was"), "{}", failed.stderr);
}

#[test]
fn a_proxy_that_the_agent_passes_by_is_no_problem() {
    let sandbox = start(&[]);
    deploy(&sandbox, |definition| {
        definition["containerDefinitions"][0]["environment"] = json!([
            { "name": "HTTPS_PROXY", "value": "http://proxy.invalid:3128" },
            { "name": "NO_PROXY", "value": "localhost,.amazonaws.com" },
        ]);
    });
    settled(&sandbox);
    echo(&sandbox).code(0).stdout("in\n");
    let report = diagnosis(&sandbox, &[], 0);
    assert_eq!(states(&report, "problem"), [""; 0], "{report:#}");
}
