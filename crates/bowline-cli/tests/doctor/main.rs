//! `doctor`, its fixes and `service enable-exec`: each finding provoked by its scenario, named first, mended, and then
//! the command works.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod changes;
#[path = "../exec/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness of tests/exec serves here in part"
)]
mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Finished, Sandbox, Terminal, run};

/// What `doctor -o json` says about service web.
#[track_caller]
fn diagnosis(sandbox: &Sandbox, words: &[&str], code: i32) -> Value {
    let line = [&["doctor", "web", "-o", "json"], words].concat();
    let finished = run(&mut sandbox.bowline(&line)).code(code);
    serde_json::from_slice(&finished.stdout).unwrap()
}

fn states(report: &Value, state: &str) -> Vec<String> {
    report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["state"] == state)
        .map(|check| check["id"].as_str().unwrap().to_owned())
        .collect()
}

#[track_caller]
fn echo(sandbox: &Sandbox) -> Finished {
    run(&mut sandbox.bowline(&["exec", "--wait", "1s", "demo/web/app", "--", "echo", "in"]))
}

fn start(scenarios: &str) -> Sandbox {
    let words: Vec<&str> = scenarios
        .split(' ')
        .flat_map(|scenario| ["--scenario", scenario])
        .collect();
    Sandbox::start(&words)
}

/// The finding comes first; the fix mends it; nothing is left, and the command works.
#[track_caller]
fn mended(scenarios: &str, id: &str, enters_before: bool) {
    let sandbox = start(scenarios);
    if enters_before {
        echo(&sandbox).code(0).stdout("in\n");
    } else {
        echo(&sandbox).code(125).stdout("");
    }
    let code = if id == "init-process" { 0 } else { 4 };
    let report = diagnosis(&sandbox, &[], code);
    assert_eq!(report["checks"][0]["id"], id, "{scenarios}: {report:#}");
    assert_eq!(report["checks"][0]["state"], "problem", "{scenarios}");

    let report = diagnosis(&sandbox, &["--fix", "--yes", "--wait", "60s"], 0);
    assert_eq!(
        states(&report, "problem"),
        [""; 0],
        "{scenarios}: {report:#}"
    );
    echo(&sandbox).code(0).stdout("in\n");
}

/// The finding comes first, and is the user's to mend: no call is offered or made.
#[track_caller]
fn told(scenarios: &str, id: &str) {
    let sandbox = start(scenarios);
    echo(&sandbox).code(125).stdout("");
    let report = diagnosis(&sandbox, &["--fix", "--yes"], 4);
    assert_eq!(report["checks"][0]["id"], id, "{scenarios}: {report:#}");
    assert_eq!(report["checks"][0].get("requests"), None, "{scenarios}");
    assert!(report["checks"][0]["fix"].is_string(), "{scenarios}");
    echo(&sandbox).code(125).stdout("");
}

#[test]
fn services_and_agents_are_mended() {
    mended("exec-disabled", "exec-enabled", false);
    mended("exec-enabled-later", "exec-enabled", false);
    mended("old-platform", "platform-version", false);
    mended("agent-stopped", "agent", false);
}

#[test]
fn definitions_are_mended() {
    mended("read-only-root", "read-only-root", false);
    mended(
        "credentials-in-environment",
        "credentials-in-environment",
        false,
    );
    mended("no-init-process", "init-process", true);
    // The second container is the one that cannot be entered.
    mended("pid-mode-task", "pid-mode", true);
}

#[test]
fn roles_are_mended() {
    mended("no-task-role", "task-role", false);
    // ECS refuses to turn ECS Exec on before there is a role.
    mended("no-task-role exec-disabled", "task-role", false);
    mended("role-denied", "role-channel", false);
    mended(
        "exec-logging role-denied=logs:PutLogEvents",
        "role-logging",
        false,
    );
    mended("encrypted role-denied=kms:*", "role-kms", false);
}

#[test]
fn networks_are_mended() {
    mended("no-route", "route", false);
    mended("no-endpoint", "route", false);
    mended("endpoint-without-dns", "route", false);
    mended("endpoint-closed", "security-groups", false);
    mended("egress-closed", "security-groups", false);
}

#[test]
fn a_place_is_made_where_all_sessions_are_taken() {
    let sandbox = start("sessions-full");
    let report = diagnosis(&sandbox, &[], 4);
    assert_eq!(report["checks"][0]["id"], "session-limit");
    diagnosis(&sandbox, &["--fix", "--yes"], 0);
    echo(&sandbox).code(0).stdout("in\n");
}

#[test]
fn what_is_the_users_own_is_told() {
    told("caller-denied", "caller-execute");
    told("caller-denied=ssmmessages:*", "caller-open");
    told("encrypted caller-denied=kms:GenerateDataKey", "caller-kms");
    told("clock-ahead=1200", "clock");
    told("proxy-in-environment", "proxy-in-environment");
}

#[test]
fn nothing_is_found_in_a_healthy_world() {
    let sandbox = Sandbox::start(&[]);
    let report = diagnosis(&sandbox, &[], 0);
    assert_eq!(states(&report, "problem"), [""; 0], "{report:#}");
    // Nothing but what no API shows.
    assert_eq!(states(&report, "unknown"), ["shell", "space"], "{report:#}");
    run(&mut sandbox.bowline(&["doctor", "web"]))
        .code(0)
        .stderr_has("");
    run(&mut sandbox.bowline(&["doctor", "nobody"]))
        .code(3)
        .stdout("");
}

#[test]
fn without_permission_for_iam_rights_are_unknown_and_not_denied() {
    let sandbox = start("caller-denied=iam:* caller-denied=ec2:*");
    let report = diagnosis(&sandbox, &[], 0);
    assert_eq!(states(&report, "problem"), [""; 0], "{report:#}");
    let unknown = states(&report, "unknown");
    for id in ["caller-execute", "role-channel", "route"] {
        assert!(unknown.iter().any(|found| found == id), "{id}: {unknown:?}");
    }
    let text = report.to_string();
    assert!(
        text.contains("the caller may not iam:SimulatePrincipalPolicy"),
        "{text}"
    );
}

#[test]
fn throttled_apis_make_no_findings() {
    let words = "throttle=SimulatePrincipalPolicy:1000,throttle=DescribeSubnets:1000,throttle=DescribeSessions:1000,\
                 throttle=DescribeServices:1000,throttle=DescribeTaskDefinition:1000,throttle=DescribeClusters:1000";
    let sandbox = Sandbox::start(&["--fault", words]);
    let report = diagnosis(&sandbox, &[], 0);
    assert_eq!(states(&report, "problem"), [""; 0], "{report:#}");
    assert!(report.to_string().contains("AWS throttled"), "{report:#}");
}

#[test]
fn a_command_that_cannot_get_in_names_the_likeliest_cause_itself() {
    let sandbox = start("role-denied=ssmmessages:OpenDataChannel");
    echo(&sandbox)
        .code(125)
        .stderr_has("hint: likeliest cause: the task's role demo-task does not allow ssmmessages:OpenDataChannel")
        .stderr_has("hint: `bowline doctor demo/web/app --fix` offers to do that");
    let mut login = Terminal::bowline(&sandbox, &["login", "web", "--wait", "1s"]);
    login.until("likeliest cause: the task's role demo-task does not allow");
    assert_eq!(login.end().0.code(), Some(125));
}

/// Slow APIs: the hint gives up after three seconds, and what is said otherwise is said.
#[test]
fn the_hint_waits_for_three_seconds_and_no_longer() {
    let faults = "latency=SimulatePrincipalPolicy:60s,latency=DescribeClusters:60s";
    let scenario = "role-denied=ssmmessages:OpenDataChannel";
    let sandbox = Sandbox::start(&["--scenario", scenario, "--fault", faults]);
    let finished = echo(&sandbox)
        .code(125)
        .stderr_has("TargetNotConnectedException");
    assert!(
        !finished.stderr.contains("likeliest cause"),
        "{}",
        finished.stderr
    );
    // One second for the agent, three for the checks; the rest is this machine's own slowness.
    assert!(
        finished.took < Duration::from_secs(30),
        "{:?}",
        finished.took
    );
}

#[test]
fn changes_are_asked_for_on_a_terminal_and_need_yes_elsewhere() {
    let sandbox = start("exec-disabled");
    run(&mut sandbox.bowline(&["doctor", "web", "--fix"]))
        .code(2)
        .stdout("")
        .stderr_has("--yes");
    let mut refused = Terminal::bowline(&sandbox, &["doctor", "web", "--fix"]);
    refused.until("make this change? [y/N]");
    assert!(
        refused.text().contains("ecs:UpdateService {"),
        "{}",
        refused.text()
    );
    refused.press(b"n\n");
    let (status, text) = refused.end();
    assert_eq!(status.code(), Some(4), "{text}");
    assert!(!text.contains("done:"), "{text}");

    let mut agreed = Terminal::bowline(&sandbox, &["doctor", "web", "--fix"]);
    agreed.until("make this change? [y/N]");
    agreed.press(b"y\n");
    let (status, text) = agreed.end();
    assert_eq!(status.code(), Some(0), "{text}");
    echo(&sandbox).code(0).stdout("in\n");
}

#[test]
fn exec_is_enabled_for_new_tasks_and_for_all_with_a_redeployment() {
    let sandbox = start("exec-disabled");
    run(&mut sandbox.bowline(&["service", "enable-exec", "nobody", "--yes"])).code(3);
    run(&mut sandbox.bowline(&["service", "enable-exec", "web"])).code(2);
    run(&mut sandbox.bowline(&["service", "enable-exec", "web", "--yes"]))
        .code(0)
        .stdout("")
        .stderr_has("those that run do not get it");
    echo(&sandbox)
        .code(125)
        .stderr_has("service web has it now, for newer tasks only");
    run(&mut sandbox.bowline(&["service", "enable-exec", "demo/web", "--redeploy", "--yes"]))
        .code(0)
        .stderr_has("being replaced");
    support::wait_for("a task with ECS Exec", support::SOON, || {
        (echo(&sandbox).status.code() == Some(0)).then_some(())
    });
}
