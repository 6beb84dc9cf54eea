//! Calls that bowline does not make: to set the stage, and to look behind it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{SOON, Sandbox};

/// Starts a sandbox that the calls here reach.
pub(crate) fn sandbox(options: &[&str]) -> Sandbox {
    Sandbox::start(&[&["--accept-any-credentials"], options].concat())
}

/// One call. `FailNext` and its like are the sandbox's own, all others ECS's.
#[track_caller]
pub(crate) fn call(sandbox: &Sandbox, operation: &str, body: &Value) -> Value {
    let service = match operation {
        "FailNext" | "FailRunTask" | "FailStart" | "EndTask" | "KillContainer" => "BowlineSandbox",
        _ => "AmazonEC2ContainerServiceV20141113",
    };
    let endpoint = sandbox.variable("AWS_ENDPOINT_URL");
    let address = endpoint.strip_prefix("http://").unwrap();
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\n\
         x-amz-target: {service}.{operation}\r\nx-amz-date: 20260101T000000Z\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/ecs/aws4_request, SignedHeaders=host, \
         Signature=00\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{operation}: {answer}");
    serde_json::from_str(body).unwrap()
}

/// Registers a definition in network mode awsvpc, whose containers log under `/ecs/<family>`.
#[track_caller]
pub(crate) fn register(sandbox: &Sandbox, family: &str, containers: &[(&str, bool, &str)]) {
    let container = |(name, essential, script): &(&str, bool, &str)| {
        json!({
            "name": name,
            "image": "test",
            "essential": essential,
            "command": ["sh", "-c", script],
            "logConfiguration": { "logDriver": "awslogs", "options": {
                "awslogs-group": format!("/ecs/{family}"),
                "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "ecs",
                "awslogs-create-group": "true",
            } },
        })
    };
    let containers: Vec<Value> = containers.iter().map(container).collect();
    let definition = json!({
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
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
