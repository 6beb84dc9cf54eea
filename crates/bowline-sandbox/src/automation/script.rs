//! Scripts of runbooks: processes of this machine, as the sandbox's containers and functions are.

use std::process::Stdio;

use bowline_runbook::Script;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::functions::Group;
use crate::state::Shared;

/// Reads the job from stdin and answers on what stdout was; what the script prints goes to its log.
const PROGRAM: &str = r#"
import json, os, sys
job = json.load(sys.stdin)
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
scope = {"__name__": "runbook"}
exec(compile(job["script"], "script.py", "exec"), scope)
json.dump(scope[job["handler"]](job["events"], {}), answer, allow_nan=False)
answer.close()
"#;

/// Runs a script and gives what its handler returned.
pub(super) async fn run(shared: &Shared, script: &Script) -> Result<Value, String> {
    if !script.runtime.starts_with("python") {
        return Err(format!(
            "the sandbox runs Python scripts only, and this one is for {}",
            script.runtime
        ));
    }
    let (Some(source), Some(handler)) = (&script.source, &script.handler) else {
        return Err("the sandbox runs scripts that are in the document, with a Handler".to_owned());
    };
    let folder = tempfile::tempdir_in(&shared.root)
        .map_err(|error| format!("no folder for the script: {error}"))?;
    let exact = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|path| path.join(&script.runtime).is_file());
    let mut command = Command::new(if exact { &script.runtime } else { "python3" });
    command
        .args(["-c", PROGRAM])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("HOME", folder.path())
        .env("AWS_ENDPOINT_URL", &shared.endpoint)
        .env("AWS_REGION", &shared.account.region)
        .env("AWS_DEFAULT_REGION", &shared.account.region)
        .env("AWS_ACCESS_KEY_ID", &shared.credentials.access_key_id)
        .env(
            "AWS_SECRET_ACCESS_KEY",
            &shared.credentials.secret_access_key,
        )
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if shared.endpoint.starts_with("https:") {
        command.env("AWS_CA_BUNDLE", shared.root.join(crate::tls::AUTHORITY));
    }
    let job = json!({ "script": source, "handler": handler, "events": script.payload });
    let mut group = Group::start(&mut command)?;
    let (answer, log, wrong) = group.finish(job.to_string().into_bytes()).await;
    if !wrong.is_empty() {
        let log = String::from_utf8_lossy(&log);
        return Err(format!("the script failed ({wrong}):\n{}", log.trim_end()));
    }
    if answer.is_empty() {
        return Err("the script ended itself before its handler had returned".to_owned());
    }
    serde_json::from_slice(&answer)
        .map_err(|_| "the handler returned nothing that is JSON".to_owned())
}
