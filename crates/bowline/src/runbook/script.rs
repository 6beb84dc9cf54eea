//! Scripts of runbooks on this machine: only where that was allowed, with limits, and ended with their step.

use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use bowline_runbook::Script;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::ScriptPolicy;
use crate::Client;

/// The longest result, and the longest log that is kept.
const OUTPUT_LIMIT: u64 = 1 << 20;
/// What a script may take at most; its step's own limit is shorter as a rule.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// How SDKs are told of proxies.
const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];
/// What is asked without one, as bowline itself does: a sandbox is on this machine.
const HERE: &str = "localhost,127.0.0.1,::1";

/// For outputs that somebody holds open who is out of reach, once the script has ended.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// Reads the job from stdin, calls the handler, and writes the result to the stream that stdout was: what the script
/// itself prints goes to stderr.
const WRAPPER: &str = r"
import json, os, sys
job = json.load(sys.stdin)
result = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)
names = {'__name__': 'script'}
exec(compile(job['source'], 'script.py', 'exec'), names)
value = names[job['handler']](job['payload'], {})
json.dump(value, result, allow_nan=False)
result.close()
";

/// Runs a script and gives what its handler returned.
pub(super) async fn run(
    client: &Client,
    script: &Script,
    policy: &ScriptPolicy,
) -> Result<Value, String> {
    if !policy.allowed {
        return Err("scripts are not allowed to run here".to_owned());
    }
    let (source, handler) = source(script, policy)?;
    let folder =
        tempfile::tempdir().map_err(|error| format!("no folder for the script: {error}"))?;
    let mut command = Command::new(interpreter(&script.runtime));
    command
        .arg("-c")
        .arg(WRAPPER)
        .env_clear()
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let kept = ["PATH", "LANG", "LC_ALL", "AWS_CA_BUNDLE", "PYTHONPATH"];
    for name in kept.into_iter().chain(PROXIES) {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let direct = std::env::var("no_proxy").or_else(|_| std::env::var("NO_PROXY"));
    let direct = self::direct(direct.as_deref().unwrap_or_default());
    for name in ["no_proxy", "NO_PROXY"] {
        command.env(name, &direct);
    }
    command
        .env("HOME", folder.path())
        .env("AWS_REGION", client.region())
        .env("AWS_DEFAULT_REGION", client.region())
        .envs(client.endpoint_variables());
    let credentials = client.credentials().await.map_err(|error| error.message)?;
    command.env("AWS_ACCESS_KEY_ID", &credentials.access_key_id);
    command.env(
        "AWS_SECRET_ACCESS_KEY",
        credentials.secret_access_key.expose(),
    );
    if let Some(token) = &credentials.session_token {
        command.env("AWS_SESSION_TOKEN", token.expose());
    }
    let child = command.spawn().map_err(|error| {
        format!(
            "{} cannot be started: {error}",
            interpreter(&script.runtime)
        )
    })?;
    let job = json!({ "source": source, "handler": handler, "payload": script.payload });
    let mut group = Group(child);
    let work = group.finish(job.to_string());
    match timeout(TIME_LIMIT, work).await {
        Ok(result) => result,
        Err(_) => Err(format!(
            "the script took longer than {} s",
            TIME_LIMIT.as_secs()
        )),
    }
}

/// The hosts that are asked without a proxy, with this machine among them.
fn direct(given: &str) -> String {
    match given.trim() {
        "*" => "*".to_owned(),
        "" => HERE.to_owned(),
        given => format!("{given},{HERE}"),
    }
}

fn source(script: &Script, policy: &ScriptPolicy) -> Result<(String, String), String> {
    let handler = script.handler.clone().ok_or("the script has no Handler")?;
    if let Some(source) = &script.source {
        return Ok((source.clone(), handler));
    }
    let name = script
        .attachment
        .as_deref()
        .ok_or("there is neither Script nor Attachment")?;
    let folder = policy.attachments.as_ref().ok_or_else(|| {
        format!("the attachment {name} is not here: --attachments DIR says where")
    })?;
    if name.contains('/') || name.contains('\\') || !name.ends_with(".py") {
        return Err(format!("the attachment {name} is no Python file"));
    }
    let source = std::fs::read_to_string(folder.join(name))
        .map_err(|error| format!("the attachment {name}: {error}"))?;
    let sum = hex::encode(Sha256::digest(source.as_bytes()));
    if policy
        .checksums
        .get(name)
        .is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&sum))
    {
        return Err(format!(
            "the attachment {name} is not the one of the runbook: its SHA-256 is {sum}"
        ));
    }
    // `file.function`
    let function = handler.rsplit('.').next().unwrap_or(&handler).to_owned();
    Ok((source, function))
}

/// `python3.11` if it is there, else `python3`.
fn interpreter(runtime: &str) -> String {
    let exact = runtime.trim().to_owned();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(&exact).is_file());
    match found {
        true => exact,
        false => "python3".to_owned(),
    }
}

/// A process and all that it started: ended when dropped.
struct Group(Child);

impl Group {
    async fn finish(&mut self, job: String) -> Result<Value, String> {
        let child = &mut self.0;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err("the script has no pipes".to_owned());
        };
        let (mut result, mut log) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (stdout.take(OUTPUT_LIMIT + 1), stderr.take(OUTPUT_LIMIT));
        let feed = async {
            // A script that ends early is the business of its status.
            let _ = stdin.write_all(job.as_bytes()).await;
            drop(stdin);
        };
        // What is beyond the limits is read and dropped, so that the script is not held up.
        let read = async {
            stdout.read_to_end(&mut result).await?;
            tokio::io::copy(&mut stdout.into_inner(), &mut tokio::io::sink()).await
        };
        let noted = async {
            stderr.read_to_end(&mut log).await?;
            tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await
        };
        let pid = pid(child);
        let status = {
            let mut outputs = pin!(async { tokio::join!(feed, read, noted) });
            // What the script has started may hold its outputs open, and ends with it.
            let (status, outputs) = tokio::select! {
                outputs = &mut outputs => {
                    let status = child.wait().await;
                    kill(pid);
                    (status, Some(outputs))
                }
                status = child.wait() => {
                    kill(pid);
                    (status, timeout(OUTPUT_PATIENCE, outputs).await.ok())
                }
            };
            if let Some(((), read, noted)) = outputs {
                read.and(noted)
                    .map_err(|error| format!("the script's output: {error}"))?;
            }
            status.map_err(|error| error.to_string())?
        };
        if result.len() as u64 > OUTPUT_LIMIT {
            return Err(format!(
                "the script returned more than {OUTPUT_LIMIT} bytes"
            ));
        }
        let log = String::from_utf8_lossy(&log);
        if !status.success() {
            let hint = match log.contains("ModuleNotFoundError") {
                true => "\nthe module has to be installed for this Python",
                false => "",
            };
            return Err(format!("the script failed:\n{}{hint}", log.trim_end()));
        }
        if !log.trim().is_empty() {
            tracing::info!("the script printed:\n{}", log.trim_end());
        }
        if result.is_empty() {
            return Err("the script ended itself before its handler had returned".to_owned());
        }
        serde_json::from_slice(&result)
            .map_err(|_| "the handler returned nothing that is JSON".to_owned())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        kill(pid(&self.0));
    }
}

/// The group that a process leads; none once it has been waited for.
fn pid(child: &Child) -> Option<Pid> {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    id.and_then(Pid::from_raw)
}

fn kill(group: Option<Pid>) {
    if let Some(pid) = group {
        // It may just have ended.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}
