//! Calls that bowline does not make: to set the stage, and to look behind it.

use serde_json::{Value, json};

use crate::support::{Sandbox, post};

/// Starts a sandbox that the calls here reach.
pub(crate) fn sandbox(options: &[&str]) -> Sandbox {
    Sandbox::start(&[&["--accept-any-credentials"], options].concat())
}

/// One call. `FailNext` and its like are the sandbox's own, all others ECS's.
#[track_caller]
pub(crate) fn call(sandbox: &Sandbox, operation: &str, body: &Value) -> Value {
    let service = match operation {
        "FailNext" | "SetFaults" | "FailRunTask" | "FailStart" | "EndTask" | "KillContainer" => {
            "BowlineSandbox"
        }
        _ => "AmazonEC2ContainerServiceV20141113",
    };
    post(sandbox, service, operation, body)
}

/// Registers a definition in network mode awsvpc, whose containers log under `/ecs/<family>`.
#[track_caller]
pub(crate) fn register(sandbox: &Sandbox, family: &str, containers: &[(&str, bool, &str)]) {
    register_logging(
        sandbox,
        family,
        containers,
        ("awslogs-stream-prefix", "ecs"),
    );
}

/// The same on EC2, with one stream `all` for all of them.
#[track_caller]
pub(crate) fn register_shared(sandbox: &Sandbox, family: &str, containers: &[(&str, bool, &str)]) {
    register_logging(sandbox, family, containers, ("awslogs-stream", "all"));
}

#[track_caller]
fn register_logging(
    sandbox: &Sandbox,
    family: &str,
    containers: &[(&str, bool, &str)],
    (option, stream): (&str, &str),
) {
    let container = |(name, essential, script): &(&str, bool, &str)| {
        json!({
            "name": name,
            "image": "test",
            "essential": essential,
            "command": ["sh", "-c", script],
            "logConfiguration": { "logDriver": "awslogs", "options": {
                "awslogs-group": format!("/ecs/{family}"),
                "awslogs-region": "us-east-1",
                (option): stream,
                "awslogs-create-group": "true",
            } },
        })
    };
    let containers: Vec<Value> = containers.iter().map(container).collect();
    // Fargate insists on prefixes, but only when the definition is for it alone.
    let compatibilities: &[&str] = match option {
        "awslogs-stream" => &["EC2", "FARGATE"],
        _ => &["FARGATE"],
    };
    let definition = json!({
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": compatibilities,
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": containers,
    });
    call(sandbox, "RegisterTaskDefinition", &definition);
}

/// The ARNs of a family's tasks that are not on their way down.
#[track_caller]
pub(crate) fn running(sandbox: &Sandbox, family: &str) -> Vec<String> {
    let answer = call(
        sandbox,
        "ListTasks",
        &json!({ "cluster": "demo", "family": family }),
    );
    let arns = answer["taskArns"].as_array().unwrap().iter();
    arns.map(|arn| arn.as_str().unwrap().to_owned()).collect()
}
