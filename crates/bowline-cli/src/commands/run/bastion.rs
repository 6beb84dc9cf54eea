//! `run --rm -it`: a task for a shell, started for it and stopped after it, however it ends.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use bowline::model::Task;
use bowline::run::{RunError, RunPlan};
use bowline::session::exec::{Engine, ExecEvent, ExecRequest};
use bowline::session::shell::Shell;
use bowline::target::{Selector, TargetSpec};
use bowline::{Client, ResolvedTarget, TargetError, TargetOptions};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::RunArgs;
use super::follow::Ended;
use super::launch::{self, Launched};
use crate::commands::Context;
use crate::commands::follow::{self as session, Source};
use crate::error::{CommandError, ErrorKind};
use crate::escape::{EscapeChar, Escapes};
use crate::exit_code::ExitCode;
use crate::signals::Signals;
use crate::terminal;
use crate::writer::Stream;

/// The task ends by itself after so long without `--timeout`: should nobody be left to stop it, that still happens.
const LONGEST: Duration = Duration::from_secs(8 * 3600);
/// For the task to run: images are pulled, network interfaces made.
const START_LIMIT: Duration = Duration::from_secs(15 * 60);
/// ECS may not know a new task for so long.
const MISSING_LIMIT: Duration = Duration::from_secs(15);
/// For the exec agent, once the task runs.
const AGENT_LIMIT: Duration = Duration::from_secs(120);
/// Between looks.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// What only makes sense together.
pub(super) fn check(args: &RunArgs) -> Result<(), CommandError> {
    if !args.rm {
        return Ok(());
    }
    if args.count != 1 {
        return Err(CommandError::usage("--rm -it starts one task").hint("leave out --count"));
    }
    if !terminal::stdin_is_terminal() {
        return Err(
            CommandError::usage("--rm -it needs a terminal, and stdin is none")
                .hint("leave out --rm -it to run a command without one"),
        );
    }
    Ok(())
}

/// The task itself waits; the shell is a session in it.
pub(super) fn prepare(args: &RunArgs, plan: &mut RunPlan) {
    let seconds = args.timeout.unwrap_or(LONGEST).as_secs().max(1);
    let waiting = format!("trap 'exit 0' TERM; sleep {seconds} & wait");
    let command = ["sh", "-c", &waiting].map(str::to_owned);
    let container = plan.container.clone();
    plan.request.overrides.container(&container).command = Some(command.to_vec());
    plan.request.enable_execute_command = true;
}

/// Starts the task, opens the shell, and stops the task.
pub(super) async fn run(
    args: &RunArgs,
    client: &Client,
    plan: RunPlan,
    context: &Context,
    mut signals: Signals,
) -> Result<Ended, CommandError> {
    let entry_point = plan.definition.container(&plan.container);
    if entry_point.is_some_and(|container| !container.entry_point.is_empty()) {
        context.printer.note(&format!(
            "container {} has an entry point, which ECS cannot override: it has to let `sh -c` run",
            plan.container
        ));
    }
    let (tasks, leaving) =
        match launch::launch(client, &plan.request, context, &mut signals).await? {
            Launched::Yes { tasks, .. } => (tasks, None),
            Launched::Leaving { tasks, signal } => (tasks, Some(signal)),
            Launched::Left(signal) => return Ok(signal.code().into()),
        };
    // A successful answer has tasks.
    let Some(task) = tasks.into_iter().next() else {
        return Err(RunError::NotPlaced {
            failures: Vec::new(),
        }
        .into());
    };
    let ended = match leaving {
        Some(signal) => Ok(signal.code()),
        None => shell(args, client, &plan, &task, context, &mut signals).await,
    };
    let reason = "bowline run --rm: the shell has ended";
    launch::stop(client, &plan, &[task], reason, context).await;
    ended.map(Ended::from)
}

async fn shell(
    args: &RunArgs,
    client: &Client,
    plan: &RunPlan,
    task: &Task,
    context: &Context,
    signals: &mut Signals,
) -> Result<ExitCode, CommandError> {
    let target = tokio::select! {
        target = running(client, plan, task, context) => target?,
        signal = signals.next() => return Ok(signal.code()),
    };
    let words = match &args.command[..] {
        [] => Shell::default().argv(),
        words => words
            .iter()
            .map(|word| OsString::from(word).into_vec())
            .collect(),
    };
    let request = ExecRequest {
        engine: Engine::Tty,
        stdin: true,
        size: terminal::size(),
        wait: AGENT_LIMIT,
        timeout: args.timeout,
        record: context.recording("run")?,
        ..ExecRequest::new(words)
    };
    let escape = EscapeChar::default();
    let banner = format!(
        "in task {} – ~. leaves, ~? helps; the task is stopped then",
        target.task.id
    );
    let source = Source::Keys {
        escapes: Some(Escapes::new(escape)),
        banner: terminal::stderr_is_terminal().then(|| terminal::dim(&banner)),
    };
    let exec = client.exec(target, request);
    let show = |event: &ExecEvent| -> Option<(Stream, Bytes)> {
        match event {
            ExecEvent::Stdout(bytes) => return Some((Stream::Stdout, bytes.clone())),
            ExecEvent::Notice(text) => context.printer.note(&format!("\r{text}\r")),
            _ => {}
        }
        None
    };
    match session::follow(exec, context, source, show).await? {
        session::Ended::Exit(code) => session::exit_code(code),
        session::Ended::Escape => Ok(ExitCode::Interrupted),
        session::Ended::Signal(code) => Ok(code),
        session::Ended::Closed { reason, .. } => Err(reason.into()),
        session::Ended::Gone => Err(session::gone()),
        session::Ended::Output(error) => session::output_lost(&error),
    }
}

/// Waits until the task runs.
async fn running(
    client: &Client,
    plan: &RunPlan,
    task: &Task,
    context: &Context,
) -> Result<ResolvedTarget, CommandError> {
    let begun = Instant::now();
    let mut last = None;
    let mut now = Some(task.clone());
    loop {
        match &now {
            Some(task) if task.is_stopping() => {
                let reason = task.stopped_reason.clone();
                return Err(CommandError::from(TargetError::TaskStopped {
                    task: task.task_id.clone(),
                    reason: reason.unwrap_or_else(|| "no reason was given".to_owned()),
                })
                .starting_remote());
            }
            Some(task) => {
                if last != task.last_status {
                    last.clone_from(&task.last_status);
                    let status = last.as_deref().unwrap_or("starting");
                    context
                        .printer
                        .note(&format!("task {} is {status}", task.task_id));
                }
                if task.is_running() {
                    break;
                }
            }
            None if begun.elapsed() < MISSING_LIMIT => {}
            None => {
                let task = task.task_arn.clone();
                return Err(RunError::Gone { task }.into());
            }
        }
        if begun.elapsed() > START_LIMIT {
            let minutes = START_LIMIT.as_secs() / 60;
            let text = format!("the task did not run within {minutes} minutes");
            return Err(CommandError::new(ErrorKind::TimedOut, text));
        }
        sleep(LOOK_PAUSE).await;
        now = client.task(plan.cluster.as_str(), &task.task_arn).await?;
    }
    // What ECS gives as an id is one.
    let id = task.task_id.parse();
    let id = id.map_err(|_| RunError::Gone {
        task: task.task_arn.clone(),
    })?;
    let mut spec = TargetSpec::of(Selector::Task(id));
    spec.cluster = Some(plan.cluster.clone());
    spec.container = plan.container.parse().ok();
    let options = TargetOptions::default();
    client
        .resolve(&spec, &options)
        .await
        .map_err(|error| CommandError::from(error).starting_remote())
}
