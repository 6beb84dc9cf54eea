//! Recording what commands do: asked for with `--record`, or forced by the configuration.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bowline::record::{Closed, End, Patterns, RecordError, RecordOptions, RecordPlan, Recorder};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli::Command;
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::{kept, terminal};

/// For the last lines of a recording, on a disk that is slow.
const CLOSE_LIMIT: Duration = Duration::from_secs(20);

/// What is being recorded, until the command ends.
#[derive(Debug, Default)]
pub(crate) struct Recordings {
    plans: Mutex<Vec<RecordPlan>>,
    /// Of a command that is recorded as a whole, and not by its sessions.
    action: Mutex<Option<Recorder>>,
}

impl Context {
    /// How sessions of `verb` are recorded, if they are: for [`bowline::session::exec::ExecRequest::record`] and
    /// [`bowline::run::RunOptions`]. Each session gets a file of its own, and none begins without it.
    pub(crate) fn recording(&self, verb: &str) -> Result<Option<RecordPlan>, CommandError> {
        let settings = &self.config.record;
        let forced = settings.always.as_ref();
        if !self.global.record && forced.is_none() {
            return Ok(None);
        }
        let options = RecordOptions {
            folder: folder(self)?,
            input: self.global.record_input || settings.input,
            patterns: patterns(self)?,
            required: forced.is_some(),
        };
        if let Some(origin) = forced
            && terminal::stderr_is_terminal()
        {
            self.printer
                .note(&terminal::dim(&format!("this is recorded ({origin})")));
        }
        let more = forced.map_or(
            Value::Null,
            |origin| json!({ "forced": origin.to_string() }),
        );
        let plan = RecordPlan::new(verb, options, more);
        lock(&self.recordings.plans).push(plan.clone());
        Ok(Some(plan))
    }

    /// Records an event of a command that is recorded as a whole; nothing waits for it.
    pub(crate) fn record_event(&self, event: impl FnOnce() -> Value) {
        if let Some(recorder) = &*lock(&self.recordings.action) {
            recorder.try_event(event());
        }
    }
}

/// The folder of recordings.
pub(crate) fn folder(context: &Context) -> Result<PathBuf, CommandError> {
    let given = context.global.record_dir.clone();
    let folder = given
        .or_else(|| context.config.record.folder.clone())
        .or_else(|| Some(kept::state_folder()?.join("recordings")));
    folder.ok_or_else(|| {
        CommandError::usage("there is no folder for recordings: HOME is not set")
            .hint("name one with --record-dir")
    })
}

fn patterns(context: &Context) -> Result<Patterns, CommandError> {
    let more = context.config.record.redact.iter().map(String::as_str);
    Patterns::with(more).map_err(|error| CommandError::usage(error.to_string()))
}

/// Begins the recording of a command that changes something and is no session of its own.
pub(crate) async fn begin(command: &Command, context: &Context) -> Result<(), CommandError> {
    let (verb, kind) = kind(command);
    match kind {
        Kind::Sessions => return Ok(()),
        Kind::Nothing if context.global.record => {
            let text =
                format!("{verb} enters no container and changes nothing, so it is not recorded");
            return Err(CommandError::usage(text).hint("leave out --record"));
        }
        Kind::Nothing => return Ok(()),
        Kind::Action => {}
    }
    let Some(plan) = context.recording(verb)? else {
        return Ok(());
    };
    // Who it is, is worth knowing; that it cannot be learned is for the command itself to say.
    let client = context.client().await.ok();
    let words = context.arguments.iter().skip(1);
    let argv = words.map(|word| word.to_string_lossy().into_owned());
    let begun = plan
        .begin(client.as_ref(), argv.collect(), Value::Null)
        .await;
    let recorder = begun.map_err(|error| unwritable(&error))?;
    *lock(&context.recordings.action) = Some(recorder);
    Ok(())
}

/// Closes all recordings, copies them, and says where they are. A forced one that is not whole is an error.
pub(crate) async fn finish(
    context: &Context,
    ended: Result<ExitCode, CommandError>,
) -> Result<ExitCode, CommandError> {
    let action = lock(&context.recordings.action).take();
    if let Some(recorder) = action {
        let end = match &ended {
            Ok(code) => End::exit(code.value().into()),
            Err(error) => End::because(error.to_string()),
        };
        // What is wrong with it shows when it is closed.
        let _ = recorder.end(end).await;
    }
    let mut failed = None;
    let plans = std::mem::take(&mut *lock(&context.recordings.plans));
    for plan in plans {
        let mut closed = Vec::new();
        for mut recording in plan.take_opened() {
            let late = || RecordError {
                path: recording.path.clone(),
                reason: format!("it was not closed within {} seconds", CLOSE_LIMIT.as_secs()),
            };
            let late = late();
            match timeout(CLOSE_LIMIT, recording.closed())
                .await
                .unwrap_or(Err(late))
            {
                Ok(one) => closed.push(one),
                Err(error) if plan.options().required => failed = Some(unwritable(&error)),
                Err(error) => context.printer.warning(&error.to_string()),
            }
        }
        say(&closed, context);
        copy(&closed, context).await;
    }
    match (ended, failed) {
        (Ok(_), Some(error)) => Err(error),
        (ended, _) => ended,
    }
}

fn say(closed: &[Closed], context: &Context) {
    match closed {
        _ if !context.global.record => {
            for one in closed {
                tracing::info!(path = %one.path.display(), seal = one.seal, "recorded");
            }
        }
        [] => {}
        [one] => context
            .printer
            .note(&format!("recorded in {}", one.path.display())),
        all => context.printer.note(&format!(
            "{} recordings; `bowline record ls` lists them",
            all.len()
        )),
    }
}

async fn copy(closed: &[Closed], context: &Context) {
    let destinations = &context.config.record.copy;
    if destinations.is_empty() || closed.is_empty() {
        return;
    }
    let client = match context.client().await {
        Ok(client) => client,
        Err(error) => {
            context
                .printer
                .warning(&format!("recordings were not copied: {error}"));
            return;
        }
    };
    for one in closed {
        for to in destinations {
            match client.copy_recording(&one.path, to).await {
                Ok(copy) => tracing::info!(copy, "copied"),
                Err(error) => {
                    let path = one.path.display();
                    context.printer.warning(&format!(
                        "the recording was not copied to {to}: {error}; \
                         `bowline record export {path} --to {to}` tries it again"
                    ));
                }
            }
        }
    }
}

/// The error of something that must not happen unrecorded.
pub(crate) fn unwritable(error: &RecordError) -> CommandError {
    CommandError::new(ErrorKind::Unavailable, error.to_string()).hint(
        "nothing is done without its recording: make room, or name another folder with --record-dir",
    )
}

/// How a command is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Each of its sessions by itself.
    Sessions,
    /// As a whole: its words, its events, its end.
    Action,
    Nothing,
}

fn kind(command: &Command) -> (&'static str, Kind) {
    match command {
        Command::Exec(args) if args.is_detached() => ("exec", Kind::Action),
        Command::Run(args) if args.is_detached() => ("run", Kind::Action),
        Command::Login(_) => ("login", Kind::Sessions),
        Command::Exec(_) => ("exec", Kind::Sessions),
        Command::Script(_) => ("script", Kind::Sessions),
        Command::Op(_) => ("op", Kind::Sessions),
        Command::Run(_) => ("run", Kind::Sessions),
        Command::Runbook(args) if args.explains_rules() => ("runbook check", Kind::Nothing),
        Command::Runbook(_) => ("runbook", Kind::Action),
        Command::Attach(_) => ("attach", Kind::Action),
        Command::Forward(_) => ("forward", Kind::Action),
        Command::Db(_) => ("db", Kind::Action),
        Command::Jobs(_) => ("jobs", Kind::Action),
        Command::Cp(_) => ("cp", Kind::Action),
        Command::Stop(_) => ("stop", Kind::Action),
        Command::Service(_) => ("service", Kind::Action),
        Command::Logs(_) => ("logs", Kind::Nothing),
        Command::Ls(_) => ("ls", Kind::Nothing),
        Command::Config(_) => ("config", Kind::Nothing),
        Command::Describe(_) => ("describe", Kind::Nothing),
        Command::Doctor(args) if args.changes() => ("doctor", Kind::Action),
        Command::Doctor(_) => ("doctor", Kind::Nothing),
        Command::Record(_) => ("record", Kind::Nothing),
        Command::Plugin(_) => ("plugin", Kind::Nothing),
        Command::Sandbox(_) => ("sandbox", Kind::Nothing),
        Command::Completion(_) => ("completion", Kind::Nothing),
        Command::Help(_) => ("help", Kind::Nothing),
        Command::Version => ("version", Kind::Nothing),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
