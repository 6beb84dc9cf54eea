//! A command from its start to its end: the session that is asked for, the one that takes its place where an image
//! lacks tools, and what is left behind.

use std::time::Duration;

use tokio::time::timeout;

use super::error::ExecError;
use super::protocol::Protocol;
use super::start::{self, Opening};
use super::worker::{Caller, End, Session, TERMINATE_LIMIT, Worker};
use super::wrapper::{self, Kind};
use super::{Engine, ExecEvent, ExecRequest};
use crate::session::driver::{BACKLOG, Channel, ChannelOptions};
use crate::{Client, ResolvedTarget};

// Tuning.
/// Without a wrapper nothing says that the agent listens; after this it is taken to.
const BARE_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the command to its end; the last event says how it went.
pub(super) async fn run(
    client: Client,
    mut target: ResolvedTarget,
    mut request: ExecRequest,
    mut caller: Caller,
) {
    let mut end = run_once(&client, &mut target, &request, &mut caller).await;
    if matches!(end, End::NoEncoder) {
        end = if request.stdin || !request.first.is_empty() {
            End::Event(ExecEvent::Closed {
                reason: ExecError::NoEncoder {
                    container: target.container.clone(),
                },
            })
        } else {
            request.engine = Engine::Plain;
            let note = format!(
                "container {} has none of base64, openssl, python3, perl and od: text comes back exact, other bytes may not",
                target.container
            );
            // A reader that has left is noticed in the next session.
            let _ = caller.reader.send(ExecEvent::Notice(note)).await;
            run_once(&client, &mut target, &request, &mut caller).await
        };
    }
    if let End::Event(last) = end {
        // The reader may have left.
        let _ = caller.reader.send(last).await;
    }
}

/// One session from its start to its end. It is over by API unless the command ended by itself.
async fn run_once(
    client: &Client,
    target: &mut ResolvedTarget,
    request: &ExecRequest,
    caller: &mut Caller,
) -> End {
    let mut session_id = None;
    let end = match work(client, target, request, caller, &mut session_id).await {
        Ok(end) => end,
        Err(reason) => End::Event(ExecEvent::Closed { reason }),
    };
    let ended = matches!(end, End::Event(ExecEvent::Exit { .. }) | End::NoEncoder);
    if let Some(session_id) = session_id.filter(|_| !ended) {
        // The caller may lack the permission, and the session may be over: then there is nothing more to do.
        let _ = timeout(TERMINATE_LIMIT, client.terminate_session(&session_id)).await;
    }
    end
}

async fn work(
    client: &Client,
    target: &mut ResolvedTarget,
    request: &ExecRequest,
    caller: &mut Caller,
    session_id: &mut Option<String>,
) -> Result<End, ExecError> {
    if request.argv.is_empty() && request.engine != Engine::Shell {
        return Err(ExecError::NoCommand);
    }
    let nonce = nonce();
    let (opening, later) = opening(request, &nonce)?;
    let started = start::start(client, target, &opening, request.wait, &caller.reader).await?;
    let Some(grant) = started else {
        return Ok(End::Unwanted);
    };
    *session_id = Some(grant.session_id.clone());
    let wrapped = !matches!(
        request.engine,
        Engine::Bare | Engine::Native | Engine::Shell
    );
    let options = ChannelOptions {
        size: Some(request.size),
        max_payload: None,
        backlog: BACKLOG,
        keep_alive: request.keep_alive,
        // Sessions without a terminal begin with a handshake.
        speak_after: (!wrapped && request.engine != Engine::Native).then_some(BARE_PATIENCE),
        reconnect_for: request.reconnect_for,
        // A container that was entered has a runtime id.
        target: target.ssm_target().unwrap_or_default(),
    };
    let connecting = Channel::open(client, &grant, &options);
    let channel = tokio::select! {
        biased;
        () = caller.reader.closed() => return Ok(End::Unwanted),
        channel = connecting => channel.map_err(ExecError::Open)?,
    };
    let session = Session {
        client,
        target,
        grant: &grant,
        channel,
    };
    let protocol = Protocol::new(request.engine, &nonce);
    let mut worker = Worker::new(session, request, protocol, later, caller);
    if !wrapped {
        worker.started();
    }
    worker.serve().await
}

/// What is asked of AWS, and the argv that has to follow through the session.
fn opening(request: &ExecRequest, nonce: &str) -> Result<(Opening, Option<Vec<u8>>), ExecError> {
    let kind = match request.engine {
        Engine::Framed => Kind::Framed {
            stdin: request.stdin || !request.first.is_empty(),
        },
        Engine::Plain => Kind::Plain,
        Engine::Tty => Kind::Tty,
        Engine::Shell => return Ok((Opening::Shell, None)),
        Engine::Bare => return Ok((Opening::Execute(bare(request)?), None)),
        Engine::Native => return Ok((Opening::NonInteractive(bare(request)?), None)),
    };
    let line = wrapper::command_line(kind, nonce, &request.argv);
    Ok((Opening::Execute(line.line), line.later))
}

fn bare(request: &ExecRequest) -> Result<String, ExecError> {
    wrapper::bare_line(&request.argv).ok_or(ExecError::NotCarried)
}

fn nonce() -> String {
    // Without random numbers marks could be guessed by accident only; a process id is enough then.
    let seed = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
    format!("{seed:016x}")
}
