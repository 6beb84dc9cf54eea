//! The Lambda function, run by the sandbox's Lambda: its runtime is not ours, so each is a witness of the other.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::example;
use crate::support::{Sandbox, run};

/// A runbook whose one step calls the function with this event.
fn book(event: &Value) -> String {
    let book = json!({
        "schemaVersion": "0.3",
        "mainSteps": [{
            "name": "call",
            "action": "aws:invokeLambdaFunction",
            "inputs": { "FunctionName": "report", "Payload": event.to_string() },
        }],
    });
    book.to_string()
}

#[test]
fn a_function_returns_all_that_a_command_printed() {
    let folder = TempDir::new().unwrap();
    let world = folder.path().join("world.yaml");
    let text = json!({
        "families": [{ "name": "web", "containers": [{ "name": "app", "image": "example/web:1" }] }],
        "clusters": [{ "name": "shop", "services": [{ "name": "web", "desired": 1 }] }],
        "functions": [{ "name": "report", "bootstrap": example("lambda") }],
    });
    std::fs::write(&world, text.to_string()).unwrap();
    let sandbox = Sandbox::start(&["--world", world.to_str().unwrap()]);

    let call = |target: &str, command: &[&str]| {
        let path = folder.path().join("book.json");
        std::fs::write(
            &path,
            book(&json!({ "target": target, "command": command })),
        )
        .unwrap();
        let finished = run(&mut sandbox.bowline(&["runbook", "run", path.to_str().unwrap()]));
        let text = String::from_utf8(finished.stdout.clone()).unwrap();
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let end = events.iter().find(|event| event["type"] == "step.end");
        (finished.status.code(), end.unwrap().clone())
    };

    let megabyte = "head -c 1000000 /dev/zero | tr '\\0' x; echo last words >&2; exit 3";
    let (code, end) = call("shop/web/app", &["sh", "-c", megabyte]);
    assert_eq!(code, Some(0), "{end}");
    let payload: Value = serde_json::from_str(end["outputs"]["Payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["code"], 3);
    assert_eq!(payload["stdout"], "x".repeat(1_000_000));
    assert_eq!(payload["stderr"], "last words\n");

    let (code, end) = call("shop/nobody", &["true"]);
    assert_eq!(code, Some(1));
    let error = end["error"].as_str().unwrap();
    assert!(error.contains("nobody was not found"), "{error}");
}
