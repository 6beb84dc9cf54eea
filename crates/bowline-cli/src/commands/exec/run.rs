//! Following a command: what its end means for exec.

use bowline::session::exec::ExecRequest;
use bowline::{Client, ResolvedTarget};

use super::report::Report;
use crate::commands::Context;
use crate::commands::doctor::hint;
use crate::commands::follow::{self, Ended, Source};
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// Runs until the command has ended or somebody wants to leave.
pub(in crate::commands) async fn follow(
    client: &Client,
    target: ResolvedTarget,
    request: ExecRequest,
    context: &Context,
    report: Report,
    raw: bool,
) -> Result<ExitCode, CommandError> {
    let exec = client.exec(target.clone(), request);
    let source = if raw {
        Source::Keys {
            escapes: None,
            banner: None,
        }
    } else {
        Source::Stream
    };
    let show = |event: &_| report.event(event, context);
    match follow::follow(exec, context, source, show).await? {
        Ended::Exit(code) => follow::exit_code(code),
        Ended::Closed { reason, .. } => Err(hint::explain(reason, client, &target).await),
        Ended::Gone => Err(follow::gone()),
        Ended::Signal(code) => Ok(code),
        Ended::Escape => Ok(ExitCode::Interrupted),
        Ended::Output(error) => follow::output_lost(&error),
    }
}
