//! `bowline login`: a shell in a container.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use bowline::session::exec::{Engine, ExecError, ExecEvent, ExecRequest};
use bowline::session::shell::Shell;
use bowline::target::TargetSpec;
use bowline::{Client, ResolvedTarget};
use bytes::Bytes;
use clap::Args;
use tokio::time::{sleep, timeout};

use super::doctor::hint;
use super::exec::Via;
use super::follow::{self, Ended, Source};
use super::{Context, guard};
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::escape::{EscapeChar, Escapes};
use crate::exit_code::ExitCode;
use crate::picker::{self, Found, PickArgs};
use crate::terminal;
use crate::writer::Stream;

/// For finding out what became of the task when its session broke off, …
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// … looking this often.
const LOOK_PAUSE: Duration = Duration::from_millis(300);
/// Of a task's id, in the banner.
const ID_SHOWN: usize = 8;

/// Open a shell in a container
///
/// All keys go to the shell, Ctrl-C and Ctrl-Z too, and its exit code is login's.
/// At the beginning of a line `~.` leaves and `~?` shows what else there is. The
/// values of `--env` can be read in the audit log of the account. Without a target
/// the only one there is is meant, or one is chosen from a list.
///
/// Examples:
///   bowline login
///   bowline login web
///   bowline login prod/web/app --shell /bin/zsh --cwd /app
///   bowline login web --user www-data --env PAGER=less
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct LoginArgs {
    /// A service, task or container; not needed where there is only one
    target: Option<TargetSpec>,
    #[command(flatten)]
    pick: PickArgs,
    /// The shell to start; without this the first of bash, ash and sh that is there
    #[arg(long, value_name = "PATH", value_parser = word)]
    shell: Option<OsString>,
    /// Become this user, with `su`
    #[arg(long, value_name = "USER", value_parser = word)]
    user: Option<OsString>,
    /// Start in this directory
    #[arg(long, value_name = "DIR", value_parser = word)]
    cwd: Option<OsString>,
    /// Set a variable; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<OsString>,
    /// The character for `~.` and `~?` (^X for a control character), or none
    #[arg(long, value_name = "C", default_value = "~")]
    escape_char: EscapeChar,
    /// Start the session through SSM instead of ECS: the shell is the account's, its exit code cannot be learned
    #[arg(long, value_enum, default_value_t = Via::Ecs, value_name = "API", conflicts_with_all = ["shell", "user", "cwd", "env"])]
    via: Via,
    /// How long to wait for an exec agent that is not ready (90s, 2m)
    #[arg(long, value_parser = duration::parse, default_value = "60s", value_name = "TIME")]
    wait: Duration,
    /// How long to try to restore a lost connection; nothing is lost meanwhile. 0 never tries
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME")]
    reconnect_for: Duration,
}

/// Opens the shell and stays until it ends.
pub async fn run(args: LoginArgs, context: &Context) -> Result<ExitCode, CommandError> {
    if context.global.output.is_some() {
        return Err(
            CommandError::usage("a login has no output to choose a form for")
                .hint("leave out --output"),
        );
    }
    if !terminal::stdin_is_terminal() {
        let target = args.target.as_ref().map(|target| format!(" {target}"));
        return Err(
            CommandError::usage("a login needs a terminal, and stdin is none").hint(format!(
                "to feed a shell, write: bowline exec -i{} -- sh",
                target.unwrap_or_default()
            )),
        );
    }
    let client = context.client().await?;
    let asked = picker::resolve(&client, args.target.as_ref(), &args.pick, "log in", context);
    let target = match asked.await? {
        Found::Target(target) => *target,
        Found::Left(code) => return Ok(code),
    };
    for note in &target.notes {
        context.printer.note(note);
    }
    guard::check(context, &target).await?;
    let banner = banner(&target, args.escape_char);
    let source = Source::Keys {
        escapes: Some(Escapes::new(args.escape_char)),
        banner: terminal::stderr_is_terminal().then(|| terminal::dim(&banner)),
    };
    let via = args.via;
    let mut request = args.request(context);
    request.record = context.recording("login")?;
    let exec = client.exec(target.clone(), request);
    let ended = follow::follow(exec, context, source, |event| show(event, context)).await?;
    match ended {
        // Nobody tells how such a shell ends; that it did without a word is its usual end.
        Ended::Closed {
            reason: ExecError::StatusUnknown { output },
            started: true,
        } if via == Via::Ssm && output.trim().is_empty() => {
            let text = format!(
                "the shell in {target} has ended; its exit code cannot be learned with --via ssm"
            );
            Err(CommandError::new(ErrorKind::StatusUnknown, text))
        }
        ended => report(ended, &client, &target, context).await,
    }
}

impl LoginArgs {
    /// The target, and what is asked about it.
    pub(crate) fn question(&self) -> (Option<&TargetSpec>, &PickArgs) {
        (self.target.as_ref(), &self.pick)
    }

    fn request(self, context: &Context) -> ExecRequest {
        // A shell of the account's own choosing takes no program.
        let configured = || {
            let shell = context.config.defaults.shell.as_ref();
            shell.map(|shell| shell.value.clone().into())
        };
        let shell = Shell {
            program: self.shell.or_else(configured).map(OsString::into_vec),
            user: self.user.map(OsString::into_vec),
            directory: self.cwd.map(OsString::into_vec),
            environment: self.env.into_iter().map(OsString::into_vec).collect(),
        };
        ExecRequest {
            engine: match self.via {
                Via::Ecs => Engine::Tty,
                Via::Ssm => Engine::Shell,
            },
            stdin: true,
            size: terminal::size(),
            wait: self.wait,
            reconnect_for: self.reconnect_for,
            ..ExecRequest::new(shell.argv())
        }
    }
}

fn show(event: &ExecEvent, context: &Context) -> Option<(Stream, Bytes)> {
    match event {
        ExecEvent::Stdout(bytes) => {
            // Tests have no other way to see the terminal given back after a bug.
            assert!(
                std::env::var_os(TEST_PANIC).is_none(),
                "asked for by {TEST_PANIC}"
            );
            return Some((Stream::Stdout, bytes.clone()));
        }
        // The screen may be the remote side's.
        ExecEvent::Notice(text) => context.printer.note(&format!("\r{text}\r")),
        ExecEvent::Started { session_id } => {
            tracing::debug!(session = session_id, "the shell starts");
        }
        _ => {}
    }
    None
}

/// What the user is told once the terminal is his again.
async fn report(
    ended: Ended,
    client: &Client,
    target: &ResolvedTarget,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    match ended {
        Ended::Exit(code) => follow::exit_code(code),
        Ended::Escape => {
            context
                .printer
                .note(&format!("left {target}; the session was ended"));
            Ok(ExitCode::Interrupted)
        }
        Ended::Signal(code) => Ok(code),
        Ended::Closed {
            reason,
            started: false,
        } => Err(hint::explain(reason, client, target).await),
        Ended::Closed { reason, .. } => Err(broken_off(reason, client, target).await),
        Ended::Gone => Err(follow::gone()),
        Ended::Output(error) => follow::output_lost(&error),
    }
}

/// Why the shell is gone, in the words of whoever knows: the task, the service, or the connection.
async fn broken_off(reason: ExecError, client: &Client, target: &ResolvedTarget) -> CommandError {
    let unavailable = |text: String| CommandError::new(ErrorKind::Unavailable, text);
    if let Some(stop) = stop(client, target).await {
        return unavailable(stop).hint("`bowline ls tasks` shows what runs now");
    }
    match reason {
        ExecError::StatusUnknown { output } if output.trim().is_empty() => {
            unavailable(format!("the session in {target} was ended from outside"))
        }
        ExecError::StatusUnknown { output } => unavailable(format!(
            "the service ended the session in {target}: {}",
            output.trim()
        )),
        ExecError::Lost { source, .. } => {
            unavailable(format!("the shell in {target} is out of reach: {source}"))
                .hint("what ran in the shell may still be running; log in again to see")
        }
        reason => reason.into(),
    }
}

/// The end of the task, if that is what happened; ECS knows of it a little later than the session does. Without an
/// answer nothing is said of it.
async fn stop(client: &Client, target: &ResolvedTarget) -> Option<String> {
    let looking = async {
        loop {
            let task = client.task(&target.cluster.name, &target.task.id).await;
            let task = task.ok()??;
            let status = task.last_status.as_deref().unwrap_or_default();
            if task.desired_status.as_deref() != Some("STOPPED") && status != "STOPPED" {
                sleep(LOOK_PAUSE).await;
                continue;
            }
            let what = match status {
                "STOPPED" => "has stopped",
                _ => "is being stopped",
            };
            let reason = task.stopped_reason.or(task.stop_code);
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            return Some(format!("task {} {what}{reason}", target.task.id));
        }
    };
    timeout(LOOK_LIMIT, looking).await.ok()?
}

/// One line that says where one is: `web/app in task 1a2b3c4d… (demo) – ~. leaves, ~? helps`
fn banner(target: &ResolvedTarget, escape: EscapeChar) -> String {
    let service = target.service.as_deref();
    let service = service.map_or_else(String::new, |service| format!("{service}/"));
    let task: String = target.task.id.chars().take(ID_SHOWN).collect();
    let escapes = escape.label().map_or_else(String::new, |escape| {
        format!(" – {escape}. leaves, {escape}? helps")
    });
    format!(
        "{service}{} in task {task}… ({}){escapes}",
        target.container, target.cluster.name
    )
}

/// Something that is not empty and cannot be taken for an option.
fn word(text: &str) -> Result<OsString, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        _ if text.starts_with('-') => Err("it begins with a hyphen".to_owned()),
        _ => Ok(text.into()),
    }
}

/// `NAME=value` as every shell can export it.
fn variable(text: &str) -> Result<OsString, String> {
    let (name, _) = text
        .split_once('=')
        .ok_or("a variable is set as NAME=value")?;
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins_well = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
    if begins_well && name.bytes().all(letters) {
        Ok(text.into())
    } else {
        Err(format!("{name:?} cannot be the name of a variable"))
    }
}

/// A switch for tests: panic at the first output of the shell.
const TEST_PANIC: &str = "BOWLINE_TEST_PANIC";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names_that_shells_take() {
        for good in ["A=", "_a1=x=y", "PATH=/bin"] {
            assert_eq!(variable(good), Ok(good.into()));
        }
        for bad in ["A", "=x", "1A=x", "A-B=x", "a b=x", "é=x"] {
            assert!(variable(bad).is_err(), "{bad}");
        }
    }
}
