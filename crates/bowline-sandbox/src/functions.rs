//! Lambda functions as programs on this machine: a command that reads its event from stdin and writes its answer to stdout,
//! or a `bootstrap` that speaks the Lambda Runtime API.

mod runtime;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::identifiers::Account;

/// A synchronous answer of Lambda is 6 MB at most.
const ANSWER_LIMIT: u64 = 6 << 20;
/// What of a function's log is kept; callers see the last 4 KB.
const LOG_LIMIT: u64 = 1 << 20;
const LOG_TAIL: usize = 4096;
/// For outputs that somebody holds open who is out of reach, once the program has ended.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// A function.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) timeout: Duration,
}

/// What runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Program {
    /// Answers that all is well.
    Fine,
    /// The event on stdin, the answer on stdout, the log on stderr; a failure by its status.
    Command(Vec<String>),
    /// An executable that asks for its events.
    Bootstrap(PathBuf),
}

/// One call of a function.
pub(crate) struct Call<'a> {
    /// JSON.
    pub(crate) event: Vec<u8>,
    pub(crate) request_id: &'a str,
    pub(crate) account: &'a Account,
    /// What leads its AWS clients to the sandbox, besides the region.
    pub(crate) leads: Vec<(&'static str, String)>,
}

/// How an invocation ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// JSON.
    pub(crate) payload: Vec<u8>,
    /// `Unhandled`, where the function failed.
    pub(crate) error: Option<&'static str>,
    log: Vec<u8>,
}

impl Function {
    /// One that answers that all is well.
    pub(crate) fn fine(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            program: Program::Fine,
            environment: BTreeMap::new(),
            timeout: Duration::from_secs(3),
        }
    }

    /// Runs it once, within its time.
    pub(crate) async fn invoke(&self, mut call: Call<'_>) -> Outcome {
        let request_id = call.request_id;
        let event = std::mem::take(&mut call.event);
        let work = async {
            match &self.program {
                Program::Fine => Outcome::fine(
                    json!({ "ok": true, "function": self.name })
                        .to_string()
                        .into_bytes(),
                ),
                Program::Command(words) => self.command(words, event, &call).await,
                Program::Bootstrap(path) => runtime::invoke(self, path, event, &call).await,
            }
        };
        match timeout(self.timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let seconds = self.timeout.as_secs_f64();
                let text = format!(
                    "RequestId: {request_id} Error: Task timed out after {seconds:.2} seconds"
                );
                Outcome::failed("Sandbox.Timedout", &text, Vec::new())
            }
        }
    }

    async fn command(&self, words: &[String], event: Vec<u8>, call: &Call<'_>) -> Outcome {
        let request_id = call.request_id;
        let Some((program, arguments)) = words.split_first() else {
            return Outcome::failed(
                "Runtime.InvalidEntrypoint",
                "the function has no command",
                Vec::new(),
            );
        };
        let mut command = self.process(program, call);
        command.args(arguments).stdin(Stdio::piped());
        let mut group = match Group::start(&mut command) {
            Ok(group) => group,
            Err(error) => return Outcome::failed("Runtime.InvalidEntrypoint", &error, Vec::new()),
        };
        let (answer, log, success) = group.finish(event).await;
        if !success.is_empty() {
            let text =
                format!("RequestId: {request_id} Error: Runtime exited with error: {success}");
            return Outcome::failed("Runtime.ExitError", &text, log);
        }
        let mut outcome = Outcome::fine(as_json(&answer));
        outcome.log = log;
        outcome
    }

    /// A process with what Lambda has in its environment.
    fn process(&self, program: &str, call: &Call<'_>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_REGION", &call.account.region)
            .env("AWS_DEFAULT_REGION", &call.account.region)
            .envs(call.leads.iter().cloned())
            .env("AWS_LAMBDA_FUNCTION_NAME", &self.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("_HANDLER", "function.handler")
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

impl Outcome {
    fn fine(payload: Vec<u8>) -> Self {
        Self {
            payload,
            error: None,
            log: Vec::new(),
        }
    }

    fn failed(kind: &str, message: &str, log: Vec<u8>) -> Self {
        Self {
            payload: json!({ "errorMessage": message, "errorType": kind })
                .to_string()
                .into_bytes(),
            error: Some("Unhandled"),
            log,
        }
    }

    /// The last 4 KB of the log, with the lines that Lambda writes around it.
    pub(crate) fn log_tail(&self, request_id: &str) -> Vec<u8> {
        let mut log = format!("START RequestId: {request_id} Version: $LATEST\n").into_bytes();
        log.extend_from_slice(&self.log);
        if !log.ends_with(b"\n") {
            log.push(b'\n');
        }
        log.extend_from_slice(format!("END RequestId: {request_id}\n").as_bytes());
        let start = log.len().saturating_sub(LOG_TAIL);
        log.split_off(start)
    }
}

/// What a command printed as JSON: nothing is null, and what is no JSON is a text.
fn as_json(answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answer);
    let text = text.trim();
    match serde_json::from_str::<Value>(text) {
        Ok(_) => text.as_bytes().to_vec(),
        Err(_) if text.is_empty() => b"null".to_vec(),
        Err(_) => Value::from(text).to_string().into_bytes(),
    }
}

/// A process and all that it started: ended when dropped.
pub(crate) struct Group(Child);

impl Group {
    pub(crate) fn start(command: &mut Command) -> Result<Self, String> {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        command
            .spawn()
            .map(Self)
            .map_err(|error| format!("{program}: {error}"))
    }

    /// Feeds it, and gives its answer, its log, and what is wrong with its status: nothing, if it is 0.
    pub(crate) async fn finish(&mut self, event: Vec<u8>) -> (Vec<u8>, Vec<u8>, String) {
        let (stdin, stdout, stderr) = (
            self.0.stdin.take(),
            self.0.stdout.take(),
            self.0.stderr.take(),
        );
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A function that does not read its event is fine.
                let _ = stdin.write_all(&event).await;
            }
        };
        let (mut answer, mut log) = (Vec::new(), Vec::new());
        let group = self.group();
        let status = {
            let mut outputs = pin!(async {
                tokio::join!(
                    feed,
                    drain(stdout, ANSWER_LIMIT, &mut answer),
                    drain(stderr, LOG_LIMIT, &mut log)
                )
            });
            // What it has started may hold its outputs open, and ends with it.
            tokio::select! {
                _ = &mut outputs => {
                    let status = self.0.wait().await;
                    kill(group);
                    status
                }
                status = self.0.wait() => {
                    kill(group);
                    let _ = timeout(OUTPUT_PATIENCE, outputs).await;
                    status
                }
            }
        };
        let wrong = match status {
            Ok(status) if status.success() => String::new(),
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        (answer, log, wrong)
    }
}

impl Group {
    /// None once it has been waited for.
    fn group(&self) -> Option<Pid> {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        kill(self.group());
    }
}

fn kill(group: Option<Pid>) {
    if let Some(pid) = group {
        // It may just have ended.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// All of a pipe, of which so much is kept.
async fn drain(pipe: Option<impl tokio::io::AsyncRead + Unpin>, limit: u64, kept: &mut Vec<u8>) {
    if let Some(pipe) = pipe {
        let mut pipe = pipe.take(limit);
        // A broken pipe is an end.
        let _ = pipe.read_to_end(kept).await;
        let _ = tokio::io::copy(&mut pipe.into_inner(), &mut tokio::io::sink()).await;
    }
}
