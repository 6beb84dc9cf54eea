//! A Lambda function that finds a service's task, runs a command in it and returns all of its output.
//!
//! Its event is `{"target": "shop/web/app", "command": ["bin/report", "--all"]}`. It answers `{"code", "stdout", "stderr"}`,
//! where output that is not UTF-8 is `{"base64": …}`. Everything that keeps it from an exit code is a function error.
//!
//! Build it for the runtime `provided.al2023`, name the executable `bootstrap` and zip it:
//!
//! ```text
//! cargo build --release --example lambda --target x86_64-unknown-linux-musl
//! ```
//!
//! The function's role needs `ecs:ListTasks`, `ecs:DescribeTasks`, `ecs:ListClusters`, `ecs:ExecuteCommand` and
//! `ssm:TerminateSession`.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bowline::session::exec::{ExecEvent, ExecRequest};
use bowline::{Client, ClientOptions, TargetOptions};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};

/// An answer of Lambda takes 6 MB, and JSON or base64 may need half as much again as the output.
const LARGEST: usize = 4_000_000;
/// What the function keeps of its time for its answer.
const RESERVE: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct Order {
    target: String,
    command: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = Client::connect(ClientOptions::default()).await?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Order>| {
        let left = event.context.deadline().duration_since(SystemTime::now());
        answer(&client, event.payload, left.unwrap_or_default())
    }))
    .await
}

async fn answer(client: &Client, order: Order, left: Duration) -> Result<Value, Error> {
    let target = client
        .resolve(&order.target.parse()?, &TargetOptions::default())
        .await?;
    let request = ExecRequest {
        timeout: Some(left.saturating_sub(RESERVE)),
        ..ExecRequest::new(order.command)
    };
    let mut exec = client.exec(target, request);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(event) = exec.next().await {
        match event {
            ExecEvent::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            ExecEvent::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            ExecEvent::Exit { code } => {
                return Ok(json!({ "code": code, "stdout": text(stdout), "stderr": text(stderr) }));
            }
            ExecEvent::Closed { reason } => return Err(reason.into()),
            _ => {}
        }
        if stdout.len() + stderr.len() > LARGEST {
            exec.terminate().await;
            return Err(format!("the command printed more than {LARGEST} bytes").into());
        }
    }
    Err("the command's end was not seen".into())
}

fn text(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => json!({ "base64": BASE64.encode(error.as_bytes()) }),
    }
}
