//! Getting a session: waiting for an agent that is not ready, then ExecuteCommand.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::ExecEvent;
use super::error::ExecError;
use crate::model::{Readiness, SessionGrant};
use crate::{AwsError, Client, ResolvedTarget};

/// How the refusal of a container that cannot be entered (yet) begins. Its apostrophe was U+2019 for years and is
/// plain today, so only what comes before it is compared.
const NOT_READY: &str = "The execute command failed because execute command was not enabled when the task was run or the execute command agent isn";
/// The first look at a container that is not ready comes after this …
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// … and the later ones not further apart than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A session that nobody wants any more, because its reader left while it was asked for, is waited for so long, to be ended.
const UNWANTED_PATIENCE: Duration = Duration::from_secs(3);
/// ECS believes the agent runs but it is not connected: nearly always configuration, sometimes a matter of seconds.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of AWS.
#[derive(Clone, Debug)]
pub(crate) enum Opening {
    /// ECS ExecuteCommand with this command line.
    Execute(String),
    /// SSM StartSession for one command without a terminal.
    NonInteractive(String),
    /// SSM StartSession for the default shell.
    Shell,
    /// SSM StartSession for a port: of the task, or of a host that it reaches.
    Port {
        /// Not the task itself.
        host: Option<String>,
        port: u16,
    },
}

/// Starts a session in `target`, waiting up to `wait` for its agent. `reader` is told what is waited for, once.
///
/// When the reader leaves there is no session, or one to be ended if it was already asked for.
pub(crate) async fn start(
    client: &Client,
    target: &mut ResolvedTarget,
    opening: &Opening,
    wait: Duration,
    reader: &mpsc::Sender<ExecEvent>,
) -> Result<Option<SessionGrant>, ExecError> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let (reason, patience) = match &target.readiness {
            Readiness::Ready => match open_for(reader, open(client, target, opening)).await {
                None => return Ok(None),
                Some(Ok(grant)) => return Ok(Some(grant)),
                Some(Err(error))
                    if error.is("TargetNotConnectedException")
                        || error.is("TargetNotConnected") =>
                {
                    let patience = wait.min(CONNECT_PATIENCE);
                    if begun.elapsed() + pause > patience {
                        return Err(error.into());
                    }
                    ("its exec agent is not connected".to_owned(), patience)
                }
                Some(Err(error))
                    if error.is("InvalidParameterException")
                        && error.message.starts_with(NOT_READY) =>
                {
                    if begun.elapsed() + pause > wait {
                        return Err(error.into());
                    }
                    ("its exec agent is not running yet".to_owned(), wait)
                }
                Some(Err(error)) => return Err(error.into()),
            },
            Readiness::Pending(reason) => (reason.clone(), wait),
            Readiness::NotEnabled => {
                return Err(ExecError::NotEnabled {
                    task: target.task.id.clone(),
                });
            }
            Readiness::AgentStopped(reason) => {
                return Err(ExecError::AgentStopped {
                    container: target.container.clone(),
                    reason: reason.clone(),
                });
            }
        };
        if begun.elapsed() + pause > patience {
            return Err(ExecError::NotReady {
                container: target.container.clone(),
                reason,
                waited: begun.elapsed(),
            });
        }
        if !told {
            told = true;
            let waiting = format!(
                "waiting for container {} of task {}: {reason} (up to {} s)",
                target.container,
                target.task.id,
                patience.as_secs()
            );
            // A reader that has left is noticed below.
            let _ = reader.send(ExecEvent::Notice(waiting)).await;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = reader.closed() => return Ok(None),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        *target = tokio::select! {
            refreshed = client.refresh(target) => refreshed?,
            () = reader.closed() => return Ok(None),
        };
    }
}

/// Waits for the answer, or not much longer than the reader does.
async fn open_for(
    reader: &mpsc::Sender<ExecEvent>,
    opening: impl Future<Output = Result<SessionGrant, AwsError>>,
) -> Option<Result<SessionGrant, AwsError>> {
    let mut opening = pin!(opening);
    tokio::select! {
        biased;
        () = reader.closed() => timeout(UNWANTED_PATIENCE, opening).await.ok(),
        answer = &mut opening => Some(answer),
    }
}

async fn open(
    client: &Client,
    target: &ResolvedTarget,
    opening: &Opening,
) -> Result<SessionGrant, AwsError> {
    match opening {
        Opening::Execute(line) => {
            client
                .execute_command(
                    &target.cluster.name,
                    &target.task.id,
                    &target.container,
                    line,
                )
                .await
        }
        // A container that runs has a runtime id.
        Opening::NonInteractive(line) => {
            let target = target.ssm_target().unwrap_or_default();
            let parameters = [("command", line.as_str()), ("separateOutputStream", "true")];
            let document = Some("AWS-StartNonInteractiveCommand");
            client.start_session(&target, document, &parameters).await
        }
        Opening::Port { host, port } => {
            let target = target.ssm_target().unwrap_or_default();
            let port = port.to_string();
            // The client's port is for the record only.
            let mut parameters = vec![("portNumber", port.as_str()), ("localPortNumber", "0")];
            let document = match host {
                Some(host) => {
                    parameters.push(("host", host));
                    "AWS-StartPortForwardingSessionToRemoteHost"
                }
                None => "AWS-StartPortForwardingSession",
            };
            client
                .start_session(&target, Some(document), &parameters)
                .await
        }
        Opening::Shell => {
            let target = target.ssm_target().unwrap_or_default();
            client.start_session(&target, None, &[]).await
        }
    }
}
