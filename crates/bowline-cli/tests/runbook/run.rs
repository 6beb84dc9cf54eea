//! Runs against sandboxes: the example case by case, scripts, approvals, interrupts and going on.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::support::{Finished, LATER, Running, Sandbox, Terminal, run, run_unread, wait_for};
use super::{EXAMPLE, written};

const PARAMETERS: [&str; 6] = [
    "-p",
    "Cluster=demo",
    "-p",
    "Subnet=subnet-0a1b2c3d4e5f60001",
    "-p",
    "SecurityGroupID=sg-0a1b2c3d4e5f60001",
];

const WORLD: &str = r#"
families:
  - name: good
    containers: [{ name: app, image: "example/app:1", command: [sh, -c, "exit 0"] }]
  - name: bad
    containers: [{ name: app, image: "example/app:1", command: [sh, -c, "exit 1"] }]
clusters: [{ name: demo }]
functions:
  - { name: test, command: [sh, -c, 'cat; echo from the log >&2'] }
  - { name: test2 }
  - { name: broken, command: [sh, -c, 'echo oops >&2; exit 3'] }
"#;

/// Statuses by step, and the last event.
fn events(finished: &Finished) -> (Vec<(String, String)>, Value) {
    let text = String::from_utf8(finished.stdout.clone()).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ends = events.iter().filter(|event| event["type"] == "step.end");
    let statuses = ends.map(|it| {
        (
            it["step"].as_str().unwrap().to_owned(),
            it["status"].as_str().unwrap().to_owned(),
        )
    });
    (statuses.collect(), events.last().unwrap().clone())
}

fn example(sandbox: &Sandbox, text: &str, more: &[&str]) -> Finished {
    let (_folder, path) = written(text);
    let words = [
        &[
            "runbook",
            "run",
            path.to_str().unwrap(),
            "--poll-interval",
            "1s",
            "--fast-sleep",
            "30",
        ][..],
        &PARAMETERS,
        more,
    ]
    .concat();
    let mut command = sandbox.bowline(&words);
    Running::start(command.stdin(Stdio::null())).finish(LATER)
}

fn statuses(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(step, status)| ((*step).to_owned(), (*status).to_owned()))
        .collect()
}

#[test]
fn the_example_ends_as_the_service_would_end_it() {
    let (folder, world) = written(WORLD);
    let sandbox = Sandbox::start(&["--world", world.to_str().unwrap()]);
    drop(folder);
    let all = example(&sandbox, EXAMPLE, &["-p", "TaskDefName=good:1"]).code(0);
    let (ended, last) = events(&all);
    assert_eq!(
        ended,
        statuses(&[
            ("lambda1", "Success"),
            ("ecs", "Success"),
            ("waitecscontainer1", "Success"),
            ("lambda2", "Success")
        ])
    );
    assert_eq!(last["status"], "Success");

    let first = example(
        &sandbox,
        EXAMPLE,
        &["-p", "TaskDefName=good:1", "-p", "FunctionName1=broken"],
    )
    .code(1);
    let (ended, last) = events(&first);
    assert_eq!(
        ended,
        statuses(&[("lambda1", "Failed"), ("Sleep", "Success")])
    );
    assert!(
        last["failure"]
            .as_str()
            .unwrap()
            .contains("the function failed (Unhandled): Runtime.ExitError"),
        "{last}"
    );

    let unknown = example(&sandbox, EXAMPLE, &["-p", "TaskDefName=good:7"]).code(1);
    let (ended, last) = events(&unknown);
    assert_eq!(
        ended,
        statuses(&[
            ("lambda1", "Success"),
            ("ecs", "Failed"),
            ("Sleep", "Success")
        ])
    );
    assert!(
        last["failure"]
            .as_str()
            .unwrap()
            .contains("when calling the RunTask operation"),
        "{last}"
    );

    let short = EXAMPLE.replace("timeoutSeconds: 300", "timeoutSeconds: 5");
    let timed_out = example(&sandbox, &short, &["-p", "TaskDefName=bad:1"]).code(124);
    let (ended, last) = events(&timed_out);
    assert_eq!(
        ended,
        statuses(&[
            ("lambda1", "Success"),
            ("ecs", "Success"),
            ("waitecscontainer1", "TimedOut"),
            ("Sleep", "Success")
        ])
    );
    assert_eq!(last["status"], "TimedOut");

    let second = example(
        &sandbox,
        EXAMPLE,
        &["-p", "TaskDefName=good:1", "-p", "FunctionName2=nothing"],
    )
    .code(1);
    let (ended, last) = events(&second);
    assert_eq!(
        ended.last().unwrap(),
        &("lambda2".to_owned(), "Failed".to_owned())
    );
    assert!(
        last["failure"]
            .as_str()
            .unwrap()
            .contains("(ResourceNotFoundException) when calling the Invoke operation"),
        "{last}"
    );
}

#[test]
fn without_capacity_the_wait_makes_no_call() {
    let sandbox = Sandbox::start(&["--scenario", "run-failure=capacity"]);
    let (ended, last) = events(&example(&sandbox, EXAMPLE, &["-p", "TaskDefName=job"]).code(1));
    assert_eq!(
        ended,
        statuses(&[
            ("lambda1", "Success"),
            ("ecs", "Success"),
            ("waitecscontainer1", "Failed"),
            ("Sleep", "Success")
        ])
    );
    assert!(
        last["failure"]
            .as_str()
            .unwrap()
            .contains("selector $.tasks[0].taskArn matched nothing"),
        "{last}"
    );
}

#[test]
fn what_cannot_be_done_here_is_refused_before_the_first_step() {
    let sandbox = Sandbox::start(&[]);
    let text = "schemaVersion: '0.3'\nmainSteps:\n- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test}}\n- {name: s, action: 'aws:executeScript', inputs: {Runtime: python3.11, Handler: go, Script: \"def go(e, c):\\n  print('noise')\\n  return {'twice': e['n'] * 2}\\n\", InputPayload: {n: 21}}, outputs: [{Name: twice, Selector: $.Payload.twice, Type: Integer}]}\noutputs: [s.twice]\n";
    let (_folder, path) = written(text);
    let path = path.to_str().unwrap();
    let refused = run(&mut sandbox.bowline(&["runbook", "run", path])).code(2);
    refused.stdout("").stderr_has("--allow-scripts");
    let (_, last) =
        events(&run(&mut sandbox.bowline(&["runbook", "run", path, "--allow-scripts"])).code(0));
    assert_eq!(last["outputs"]["s.twice"], serde_json::json!(["42"]));
    for (step, said) in [
        (
            "{name: x, action: 'aws:executeScript', inputs: {Runtime: 'PowerShell 7.4', Script: x}}",
            "step x: PowerShell scripts do not run locally",
        ),
        (
            "{name: x, action: 'aws:pause', inputs: {}}",
            "--auto-resume",
        ),
        (
            "{name: x, action: 'aws:approve', inputs: {Approvers: [a]}}",
            "--approve x",
        ),
        (
            "{name: x, action: 'aws:executeAutomation', inputs: {DocumentName: d, TargetLocations: [{Accounts: ['1']}]}}",
            "TargetLocations: only the service starts executions in several places",
        ),
    ] {
        let (_folder, path) = written(&format!("schemaVersion: '0.3'\nmainSteps:\n- {step}\n"));
        let refused =
            run(&mut sandbox.bowline(&["runbook", "run", path.to_str().unwrap()])).code(2);
        refused.stdout("").stderr_has(said);
    }
    let (_folder, path) = written(EXAMPLE);
    run(&mut sandbox.bowline(&["runbook", "run", "x.yaml", "--poll-interval", "0s"]))
        .code(2)
        .stderr_has("it is 100ms at least");
    run(&mut sandbox.bowline(&["runbook", "run", path.to_str().unwrap(), "-p", "Clster=x"]))
        .code(2)
        .stderr_has("did you mean Cluster?");
}

#[test]
fn a_script_goes_where_its_runbook_does() {
    let sandbox = Sandbox::start(&[]);
    let script = "import os\\ndef go(e, c):\\n  return {'found': [str(os.environ.get(n)) for n in e['names']]}\\n";
    let names = "AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_ECS, HTTPS_PROXY, no_proxy";
    let text = format!(
        "schemaVersion: '0.3'\nmainSteps:\n- {{name: s, action: 'aws:executeScript', inputs: {{Runtime: python3.11, \
         Handler: go, Script: \"{script}\", InputPayload: {{names: [{names}]}}}}, outputs: [{{Name: found, Selector: \
         $.Payload.found, Type: StringList}}]}}\noutputs: [s.found]\n"
    );
    let (_folder, path) = written(&text);
    let words = ["runbook", "run", path.to_str().unwrap(), "--allow-scripts"];
    let mut command = sandbox.bowline(&words);
    let elsewhere = "http://127.0.0.1:9";
    command
        .env_remove("BOWLINE_ENDPOINT")
        .env("AWS_ENDPOINT_URL_ECS", elsewhere)
        .env("HTTPS_PROXY", elsewhere)
        .env("NO_PROXY", "example.com");
    let (_, last) = events(&run(&mut command).code(0));
    let general = sandbox.variable("AWS_ENDPOINT_URL");
    let expected = serde_json::json!([
        general,
        elsewhere,
        elsewhere,
        "example.com,localhost,127.0.0.1,::1"
    ]);
    assert_eq!(last["outputs"]["s.found"], expected);
}

/// The script ends with its handler, and what it has started with it.
#[test]
fn a_script_does_not_wait_for_what_it_has_left_behind() {
    let sandbox = Sandbox::start(&[]);
    let text = "schemaVersion: '0.3'\nmainSteps:\n- {name: s, action: 'aws:executeScript', inputs: {Runtime: python3.11, Handler: go, Script: \"import subprocess\\ndef go(e, c):\\n  return {'pid': subprocess.Popen(['sleep', '1000']).pid}\\n\"}, outputs: [{Name: pid, Selector: $.Payload.pid, Type: Integer}]}\noutputs: [s.pid]\n";
    let (_folder, path) = written(text);
    let words = ["runbook", "run", path.to_str().unwrap(), "--allow-scripts"];
    let (_, last) = events(&run(&mut sandbox.bowline(&words)).code(0));
    let pid = last["outputs"]["s.pid"][0].as_str().unwrap();
    let stat = Path::new("/proc").join(pid).join("stat");
    wait_for("the end of what the script has started", LATER, || {
        let state = std::fs::read_to_string(&stat).unwrap_or_default();
        // A zombie has ended too.
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
}

#[test]
fn a_script_without_a_result_says_why() {
    let sandbox = Sandbox::start(&[]);
    for (body, said) in [
        ("return {'x': float('nan')}", "not JSON compliant"),
        (
            "import sys; sys.exit(0)",
            "the script ended itself before its handler had returned",
        ),
    ] {
        let text = format!(
            "schemaVersion: '0.3'\nmainSteps:\n- {{name: s, action: 'aws:executeScript', inputs: {{Runtime: python3.11, Handler: f, Script: \"def f(e, c):\\n  {body}\\n\"}}}}\n"
        );
        let (_folder, path) = written(&text);
        let words = ["runbook", "run", path.to_str().unwrap(), "--allow-scripts"];
        let (_, last) = events(&run(&mut sandbox.bowline(&words)).code(1));
        let failure = last["failure"].as_str().unwrap();
        assert!(failure.contains(said), "{failure}");
    }
}

#[test]
fn a_signal_follows_on_cancel() {
    let sandbox = Sandbox::start(&[]);
    let text = "schemaVersion: '0.3'\nmainSteps:\n- {name: wait, action: 'aws:waitForAwsResourceProperty', inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [never]}, onCancel: 'step:clean'}\n- {name: clean, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test}, isEnd: true}\n";
    let (_folder, path) = written(text);
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut running = Running::start_lines(
            sandbox
                .bowline(&["runbook", "run", path.to_str().unwrap()])
                .stdin(Stdio::null()),
        );
        while !running.line().1.contains("step.poll") {}
        running.signal(name);
        let mut seen = Vec::new();
        loop {
            let line = running.line().1;
            let is_last = line.contains("run.end");
            seen.push(line);
            if is_last {
                break;
            }
        }
        assert_eq!(running.wait(Duration::from_secs(60)).code(), Some(code));
        let seen = seen.join("\n");
        assert!(
            seen.contains("\"to\":\"clean\",\"why\":\"onCancel\"")
                && seen.contains("\"status\":\"Cancelled\""),
            "{seen}"
        );
    }
}

#[test]
fn a_run_that_failed_is_gone_on_with() {
    let sandbox = Sandbox::start(&[]);
    let text = "schemaVersion: '0.3'\nmainSteps:\n- {name: a, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test}}\n- {name: b, action: 'aws:waitForAwsResourceProperty', timeoutSeconds: 1, inputs: {Service: ecs, Api: DescribeServices, cluster: demo, services: [web], PropertySelector: '$.services[0].desiredCount', DesiredValues: ['0']}}\n";
    let (_folder, path) = written(text);
    let failed = run(&mut sandbox.bowline(&["runbook", "run", path.to_str().unwrap()])).code(124);
    let first: Value = serde_json::from_str(
        String::from_utf8(failed.stdout)
            .unwrap()
            .lines()
            .next()
            .unwrap(),
    )
    .unwrap();
    let id = first["executionId"].as_str().unwrap();
    let again = run(&mut sandbox.bowline(&["runbook", "run", "--resume", id])).code(124);
    let (ended, _) = events(&again);
    assert_eq!(ended, statuses(&[("b", "TimedOut")]));
    run(&mut sandbox.bowline(&["runbook", "run", "--resume", "../x"]))
        .code(2)
        .stderr_has("there is no run");
}

#[test]
fn a_person_approves_and_sees_what_is_waited_for() {
    let sandbox = Sandbox::start(&[]);
    let text = "schemaVersion: '0.3'\nparameters: {Who: {type: String}}\nmainSteps:\n- {name: ask, action: 'aws:approve', inputs: {Approvers: [ann], Message: 'really, {{ Who }}?'}}\n- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test}}\n";
    let (_folder, path) = written(text);
    let mut terminal = Terminal::bowline(&sandbox, &["runbook", "run", path.to_str().unwrap()]);
    terminal.until("Who: ");
    terminal.press(b"Bob\r");
    terminal.until("really, Bob?");
    terminal.until("approve? [y/N]");
    terminal.press(b"y\r");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(shown.contains("ask  Success"), "{shown}");
}

/// Half a run would be worse than one that nobody has watched.
#[test]
fn a_reader_that_leaves_does_not_end_the_run() {
    let sandbox = Sandbox::start(&[]);
    let text = "schemaVersion: '0.3'\nmainSteps:\n- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test}}\n- {name: g, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: nothing}}\n";
    let (_folder, path) = written(text);
    run_unread(&mut sandbox.bowline(&["runbook", "run", path.to_str().unwrap()])).code(1);
    let home = sandbox.environment().find(|(name, _)| name == "HOME");
    let runs = Path::new(&home.unwrap().1).join(".local/state/bowline/runbooks");
    let run = std::fs::read_dir(runs).unwrap().next().unwrap().unwrap();
    let events = std::fs::read_to_string(run.path().join("events.ndjson")).unwrap();
    let last = events.lines().last().unwrap();
    assert!(last.contains("run.end"), "{last}");
}

#[test]
fn a_question_of_a_run_is_left_by_ctrl_c() {
    let sandbox = Sandbox::start(&[]);
    let text = "schemaVersion: '0.3'\nmainSteps:\n- {name: ask, action: 'aws:approve', inputs: {Approvers: [ann]}, onCancel: 'step:f'}\n- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: test}}\n";
    let (_folder, path) = written(text);
    let mut terminal = Terminal::bowline(&sandbox, &["runbook", "run", path.to_str().unwrap()]);
    terminal.until("approve? [y/N]");
    terminal.press(b"\x03");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(130), "{shown}");
    assert!(shown.contains("ask  Cancelled"), "{shown}");
    assert!(shown.contains("f    Success"), "{shown}");
}
