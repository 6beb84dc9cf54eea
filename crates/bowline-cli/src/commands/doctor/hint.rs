//! The likeliest cause, for commands that could not get in.

use std::time::Duration;

use bowline::doctor::{Scope, Severity};
use bowline::session::exec::ExecError;
use bowline::{Client, ResolvedTarget};
use tokio::time::timeout;

use crate::error::CommandError;

/// All of it together, whatever happens.
const LIMIT: Duration = Duration::from_secs(3);
/// For the calls: what has come by then is still judged and told in time.
const CALLS: Duration = Duration::from_millis(2500);

/// The error of a command that could not get in, with what read-only checks find to be the likeliest cause. Without
/// any finding it is the error as it would be otherwise, and its exit code never changes.
pub(in crate::commands) async fn explain(
    reason: ExecError,
    client: &Client,
    target: &ResolvedTarget,
) -> CommandError {
    if !concerns_access(&reason) {
        return reason.into();
    }
    let looking = timeout(LIMIT, client.diagnose(target, Scope::Container, CALLS));
    let error = CommandError::from(reason);
    let Ok(Ok(report)) = looking.await else {
        return error;
    };
    let mut problems = report
        .problems()
        .filter(|check| check.severity != Some(Severity::Note));
    let Some(likeliest) = problems.next() else {
        return error;
    };
    let more = match problems.count() {
        0 => String::new(),
        1 => " (and 1 more finding)".to_owned(),
        more => format!(" (and {more} more findings)"),
    };
    let name = super::name(target);
    let act = match likeliest.requests.is_empty() {
        true => format!("`bowline doctor {name}` shows all that was looked at"),
        false => format!("`bowline doctor {name} --fix` offers to do that"),
    };
    let mut hints = vec![format!("likeliest cause: {}{more}", likeliest.what)];
    hints.extend(likeliest.fix.iter().map(|fix| format!("fix: {fix}")));
    hints.push(act);
    error.with_only(hints)
}

/// Whether the failure is of the kind that the checks are about.
fn concerns_access(reason: &ExecError) -> bool {
    match reason {
        ExecError::NotEnabled { .. }
        | ExecError::AgentStopped { .. }
        | ExecError::NotReady { .. } => true,
        ExecError::Aws(error) => {
            error.is("TargetNotConnectedException")
                || error.is("TargetNotConnected")
                || (error.is("InvalidParameterException")
                    && error.message.contains("execute command was not enabled"))
        }
        _ => false,
    }
}
