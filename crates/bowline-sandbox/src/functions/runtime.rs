//! The Lambda Runtime API for one invocation of a `bootstrap`: the next event, and its response or error.

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path as Segment, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{
    ANSWER_LIMIT, Call, Function, Group, LOG_LIMIT, OUTPUT_PATIENCE, Outcome, drain, kill,
};

/// How an event was answered: well or not, and with what.
type Answer = (bool, Vec<u8>);

struct Invocation {
    request_id: String,
    arn: String,
    /// Given out once; whoever asks again waits.
    event: Mutex<Option<Vec<u8>>>,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
    never: Notify,
}

/// Starts the bootstrap, gives it its event and waits for what it makes of it.
pub(super) async fn invoke(
    function: &Function,
    bootstrap: &Path,
    event: Vec<u8>,
    call: &Call<'_>,
) -> Outcome {
    let broken =
        |error: std::io::Error| Outcome::failed("Runtime.Unknown", &error.to_string(), Vec::new());
    let listener = match TcpListener::bind("127.0.0.1:0").await {
        Ok(listener) => listener,
        Err(error) => return broken(error),
    };
    let address = match listener.local_addr() {
        Ok(address) => address,
        Err(error) => return broken(error),
    };
    let (sender, answered) = oneshot::channel();
    let invocation = Arc::new(Invocation {
        request_id: call.request_id.to_owned(),
        arn: call.account.function(&function.name),
        event: Mutex::new(Some(event)),
        answer: Mutex::new(Some(sender)),
        never: Notify::new(),
    });
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::max(ANSWER_LIMIT as usize))
        .with_state(invocation);
    let server =
        AbortOnDropHandle::new(tokio::spawn(
            async move { axum::serve(listener, router).await },
        ));
    let mut command = function.process(&bootstrap.to_string_lossy(), call);
    command.env("AWS_LAMBDA_RUNTIME_API", address.to_string());
    let mut group = match Group::start(&mut command) {
        Ok(group) => group,
        Err(error) => return Outcome::failed("Runtime.InvalidEntrypoint", &error, Vec::new()),
    };
    // Both of its streams are its log.
    let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
    let (mut log, mut errors) = (Vec::new(), Vec::new());
    let id = group.group();
    let ended = {
        let mut outputs = pin!(async {
            tokio::join!(
                drain(stdout, LOG_LIMIT, &mut log),
                drain(stderr, LOG_LIMIT, &mut errors)
            )
        });
        let mut end = pin!(async {
            tokio::select! {
                // An answer counts, however soon the program ends after it.
                biased;
                answer = answered => answer.ok(),
                _ = group.0.wait() => None,
            }
        });
        // It waits for its next event by now, and there is none. What it has started ends with it.
        tokio::select! {
            ended = &mut end => {
                kill(id);
                let _ = timeout(OUTPUT_PATIENCE, outputs).await;
                ended
            }
            _ = &mut outputs => {
                let ended = end.await;
                kill(id);
                ended
            }
        }
    };
    drop(server);
    log.extend(errors);
    match ended {
        Some((true, payload)) => {
            let mut outcome = Outcome::fine(payload);
            outcome.log = log;
            outcome
        }
        Some((false, payload)) => Outcome {
            payload,
            error: Some("Unhandled"),
            log,
        },
        None => {
            let text = format!(
                "RequestId: {} Error: Runtime exited without providing a reason",
                call.request_id
            );
            Outcome::failed("Runtime.ExitError", &text, log)
        }
    }
}

async fn next(State(invocation): State<Arc<Invocation>>) -> Response {
    let event = invocation
        .event
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some(event) = event else {
        invocation.never.notified().await;
        return StatusCode::GONE.into_response();
    };
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (
            "lambda-runtime-aws-request-id",
            invocation.request_id.as_str(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            invocation.arn.as_str(),
        ),
        ("lambda-runtime-deadline-ms", "9999999999999"),
        ("content-type", "application/json"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    (headers, event).into_response()
}

async fn response(
    State(invocation): State<Arc<Invocation>>,
    Segment(id): Segment<String>,
    body: Result<Bytes, BytesRejection>,
) -> StatusCode {
    if let Ok(body) = body {
        return take(&invocation, &id, true, &body);
    }
    let text = format!(
        "Response payload size exceeded maximum allowed payload size ({ANSWER_LIMIT} bytes)."
    );
    let problem = json!({ "errorMessage": text, "errorType": "Function.ResponseSizeTooLarge" });
    take(&invocation, &id, false, problem.to_string().as_bytes());
    StatusCode::PAYLOAD_TOO_LARGE
}

async fn error(
    State(invocation): State<Arc<Invocation>>,
    Segment(id): Segment<String>,
    body: Bytes,
) -> StatusCode {
    take(&invocation, &id, false, &body)
}

async fn init_error(State(invocation): State<Arc<Invocation>>, body: Bytes) -> StatusCode {
    let id = invocation.request_id.clone();
    take(&invocation, &id, false, &body)
}

fn take(invocation: &Invocation, id: &str, well: bool, body: &[u8]) -> StatusCode {
    if id != invocation.request_id {
        return StatusCode::BAD_REQUEST;
    }
    let sender = invocation
        .answer
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(sender) = sender {
        // Nobody waits any more once the time is up.
        let _ = sender.send((well, body.to_vec()));
    }
    StatusCode::ACCEPTED
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use rustix::process::{Pid, test_kill_process};

    use super::super::Program;
    use super::*;
    use crate::identifiers::Account;

    #[tokio::test]
    async fn what_a_bootstrap_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let bootstrap = folder.path().join("bootstrap");
        let started = folder.path().join("started");
        let script = "#!/bin/sh\nsleep 1000 &\necho $! > \"$STARTED\"\necho a line\nexit 1\n";
        std::fs::write(&bootstrap, script).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&bootstrap, mode).unwrap();
        let place = started.to_string_lossy().into_owned();
        let function = Function {
            name: "f".to_owned(),
            program: Program::Bootstrap(bootstrap),
            environment: BTreeMap::from([("STARTED".to_owned(), place)]),
            timeout: Duration::from_secs(60),
        };
        let call = Call {
            event: b"{}".to_vec(),
            request_id: "r",
            account: &Account::new("us-east-1"),
            leads: Vec::new(),
        };
        let outcome = function.invoke(call).await;
        let answer = String::from_utf8_lossy(&outcome.payload);
        assert!(answer.contains("Runtime.ExitError"), "{answer}");
        assert_eq!(outcome.log, b"a line\n");
        let pid = std::fs::read_to_string(&started).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let gone = async {
            while is_alive(pid) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), gone)
            .await
            .expect("the program is still there");
    }

    /// A killed orphan may stay as a zombie where nobody reaps it.
    fn is_alive(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        let state = stat.map(|stat| {
            stat.rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next())
        });
        test_kill_process(pid).is_ok() && !matches!(state, Ok(Some('Z')))
    }
}
