//! Following tasks: their lines to stdout, signals to them, until they have ended or somebody leaves.

use std::io;

use bowline::run::{Run, RunEvent, RunReport};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::report::Report;
use super::verdict::verdict;
use crate::commands::Context;
use crate::commands::follow::output_lost;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::signals::{Signal, Signals};
use crate::terminal;
use crate::writer::{Stream, Writers};

/// How it ended.
#[derive(Debug)]
pub(in crate::commands) struct Ended {
    pub(in crate::commands) code: ExitCode,
    /// If it was seen to the end.
    pub(in crate::commands) report: Option<RunReport>,
}

impl From<ExitCode> for Ended {
    fn from(code: ExitCode) -> Self {
        Self { code, report: None }
    }
}

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands) struct Shown {
    pub(in crate::commands) report: Report,
    /// Lines begin with task and container.
    pub(in crate::commands) prefix: bool,
    /// The tasks are ours to stop.
    pub(in crate::commands) stop_on_interrupt: bool,
}

/// Follows to the end.
pub(in crate::commands) async fn follow(
    mut run: Run,
    context: &Context,
    shown: Shown,
    mut signals: Signals,
) -> Result<Ended, CommandError> {
    let control = run.control();
    let asks = terminal::stdin_is_terminal() && terminal::stderr_is_terminal();
    let mut writers = Writers::start()?;
    let mut unwritten: Option<(Stream, Bytes)> = None;
    let mut tasks: Vec<String> = Vec::new();
    let mut answer: Option<oneshot::Receiver<bool>> = None;
    // The signal that made us stop the tasks.
    let mut stopped_by: Option<Signal> = None;
    let last = loop {
        // Every arm is cancel-safe: what was written is counted at once, channels, signals that are kept.
        tokio::select! {
            result = writers.write(&mut unwritten), if unwritten.is_some() => {
                if let Err(error) = result {
                    return unwritable(&error, &tasks, context);
                }
            }
            // While a question is on the screen nothing else is.
            event = run.next(), if unwritten.is_none() && answer.is_none() => match event {
                Some(event @ (RunEvent::Ended(_) | RunEvent::Failed(_))) => break event,
                Some(event) => {
                    if let RunEvent::Launched { tasks: launched, .. } = &event {
                        tasks = launched.iter().map(|task| task.task_arn.clone()).collect();
                    }
                    let text = shown.report.event(&event, shown.prefix, context);
                    if !text.is_empty() {
                        unwritten = Some((Stream::Stdout, text.into()));
                    }
                }
                None => return Err(CommandError::new(ErrorKind::Unavailable, "the run ended without a word")),
            },
            stop = answered(answer.as_mut()) => {
                answer = None;
                if stop {
                    stopped_by = Some(Signal::Interrupt);
                    control.stop(Signal::Interrupt.reason("run"));
                } else {
                    context.printer.note("it goes on; Ctrl-C asks again");
                }
            }
            signal = signals.next() => {
                let first = stopped_by.is_none() && answer.is_none();
                if !shown.stop_on_interrupt || (signal == Signal::Interrupt && !first) {
                    return Ok(leave(signal, &tasks, stopped_by.is_some(), context));
                }
                if signal == Signal::Interrupt && asks && !tasks.is_empty() {
                    answer = Some(ask(context));
                } else if stopped_by.is_none() {
                    answer = None;
                    stopped_by = Some(signal);
                    if tasks.is_empty() {
                        context.printer.note("stopping the task as soon as ECS has answered; once more leaves it running");
                    }
                    control.stop(signal.reason("run"));
                } else {
                    return Ok(leave(signal, &tasks, true, context));
                }
            }
        }
    };
    if let Err(error) = finish(writers, &mut signals).await {
        return unwritable(&error, &tasks, context);
    }
    match last {
        RunEvent::Ended(report) => {
            let by_us = report
                .results
                .iter()
                .any(|(_, outcome)| outcome.cause == bowline::run::Cause::UserStopped);
            match stopped_by.filter(|_| by_us) {
                Some(signal) => Ok(signal.code().into()),
                None => verdict(report, context),
            }
        }
        RunEvent::Failed(error) => Err(error.into()),
        _ => Err(CommandError::new(
            ErrorKind::Unavailable,
            "the run ended without a word",
        )),
    }
}

/// Waits for what is on its way to a slow reader, who can still be left.
async fn finish(writers: Writers, signals: &mut Signals) -> io::Result<()> {
    tokio::select! {
        result = writers.finish() => result,
        _ = signals.next() => Err(io::Error::from(io::ErrorKind::Interrupted)),
    }
}

/// Asks whether to stop. A read of the terminal cannot be cancelled, so it has a thread that ends with the answer or the
/// process.
fn ask(context: &Context) -> oneshot::Receiver<bool> {
    context
        .printer
        .prompt("\nstop the task? [Y/n] (Ctrl-C again leaves it running) ");
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // The end of the input is a yes: nobody is there to look after the task.
        let read = io::stdin().read_line(&mut line);
        let no = read.is_ok_and(|length| length > 0)
            && line.trim().to_ascii_lowercase().starts_with('n');
        let _ = sender.send(!no);
    });
    receiver
}

async fn answered(answer: Option<&mut oneshot::Receiver<bool>>) -> bool {
    match answer {
        // A question that cannot be asked is a yes.
        Some(answer) => answer.await.unwrap_or(true),
        None => std::future::pending().await,
    }
}

/// Leaves, and says what goes on without us.
fn leave(signal: Signal, tasks: &[String], stopping: bool, context: &Context) -> Ended {
    match (tasks, stopping) {
        ([], _) => context.printer.warning(
            "left before ECS had answered; a task may have been started (`bowline ls tasks`)",
        ),
        (tasks, true) => context
            .printer
            .note(&format!("left; asked to stop: {}", tasks.join(" "))),
        (tasks, false) => context.printer.note(&format!(
            "\nleft running: {0}\n`bowline attach {1}` comes back",
            tasks.join(" "),
            tasks.join(" ")
        )),
    }
    signal.code().into()
}

/// Nobody reads our output. The task is not ended for that: it does its work, and its output is kept.
fn unwritable(
    error: &io::Error,
    tasks: &[String],
    context: &Context,
) -> Result<Ended, CommandError> {
    if error.kind() == io::ErrorKind::Interrupted {
        return Ok(ExitCode::Interrupted.into());
    }
    if !tasks.is_empty() {
        context
            .printer
            .note(&format!("left running: {}", tasks.join(" ")));
    }
    output_lost(error).map(Ended::from)
}
