//! What run and attach print: the tasks' lines as they are, or events as JSON lines.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bowline::logs::{LogLine, Writer};
use bowline::run::{RunEvent, RunReport};
use serde_json::{Value, json};

use super::follow::Ended;
use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;

/// Of a task's id, where the whole was said before.
const ID_SHOWN: usize = 8;

/// The two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Report {
    /// Lines to stdout, everything else to stderr.
    Lines,
    /// One JSON object a line, on stdout.
    Json,
}

impl Report {
    pub(in crate::commands) fn new(
        output: Option<OutputFormat>,
        verb: &str,
    ) -> Result<Self, CommandError> {
        match output {
            None => Ok(Self::Lines),
            Some(OutputFormat::Json | OutputFormat::Ndjson) => Ok(Self::Json),
            Some(_) => Err(CommandError::usage(format!(
                "{verb} prints the task's own output, or events with -o json"
            ))),
        }
    }

    /// The bytes of an event for stdout; what is said on stderr is said.
    pub(super) fn event(self, event: &RunEvent, prefix: bool, context: &Context) -> String {
        match self {
            Self::Lines => {
                if let RunEvent::Lines(lines) = event {
                    return text(lines, prefix);
                }
                say(event, context);
                String::new()
            }
            Self::Json => documents(event),
        }
    }

    /// The last JSON line says where the code comes from, so that 125 and 127 are never ambiguous.
    pub(in crate::commands) fn last_line(
        self,
        ended: &Result<Ended, CommandError>,
        file: Option<&Path>,
        context: &Context,
    ) -> Result<(), CommandError> {
        let mut last = match ended {
            Ok(Ended {
                code: ExitCode::Remote(code),
                report: Some(_),
            }) => json!({"type": "exit", "origin": "remote", "code": code}),
            Ok(ended) => json!({"type": "exit", "origin": "bowline", "code": ended.code.value()}),
            Err(error) => json!({
                "type": "exit",
                "origin": "bowline",
                "code": error.exit_code().value(),
                "reason": error.to_string(),
            }),
        };
        if let Ok(Ended {
            report: Some(report),
            ..
        }) = ended
        {
            last["tasks"] = tasks(report);
            if !report.failures.is_empty() {
                last["failures"] = json!(report.failures);
            }
        }
        let last = format!("{last}\n");
        if let Some(file) = file {
            fs::write(file, &last).map_err(|error| {
                CommandError::new(
                    ErrorKind::Unavailable,
                    format!("cannot write {}: {error}", file.display()),
                )
            })?;
        }
        match self {
            Self::Lines => Ok(()),
            Self::Json => context.printer.document(&last),
        }
    }
}

/// Each task with the code of each container: also those outside of 0-255.
fn tasks(report: &RunReport) -> Value {
    let of_task = |(task, outcome): &(bowline::model::Task, bowline::run::Outcome)| {
        let mut value = json!({
            "taskArn": task.task_arn,
            "containers": task.containers,
        });
        for (name, text) in [
            ("stopCode", &task.stop_code),
            ("stoppedReason", &task.stopped_reason),
            ("container", &outcome.container),
            ("reason", &outcome.text),
        ] {
            if let Some(text) = text {
                value[name] = json!(text);
            }
        }
        if let Some(code) = outcome.code {
            value["exitCode"] = json!(code);
        }
        value
    };
    Value::Array(report.results.iter().map(of_task).collect())
}

fn text(lines: &[LogLine], prefix: bool) -> String {
    let mut text = String::new();
    for line in lines {
        if prefix {
            // Writing to a String cannot fail.
            let _ = write!(text, "{} ", who(line));
        }
        text.push_str(&line.message);
        text.push('\n');
    }
    text
}

fn say(event: &RunEvent, context: &Context) {
    match event {
        RunEvent::Launched { tasks, failures } => {
            for task in tasks {
                let status = task.last_status.as_deref().unwrap_or("starting");
                context
                    .printer
                    .note(&format!("task {} is {status}", task.task_id));
            }
            for failure in failures {
                context.printer.warning(&format!(
                    "a task was not started: {} ({})",
                    failure.meaning(),
                    failure.reason
                ));
            }
        }
        RunEvent::Status { task, text } => {
            context
                .printer
                .note(&format!("task {} {text}", short(&task.task_id)));
        }
        RunEvent::Stopping { reason } => context.printer.note(&format!("stopping: {reason}")),
        RunEvent::Notice(text) => context.printer.note(text),
        _ => {}
    }
}

fn documents(event: &RunEvent) -> String {
    let one = |value: &Value| format!("{value}\n");
    match event {
        RunEvent::Lines(lines) => lines.iter().map(|line| one(&log(line))).collect(),
        RunEvent::Launched { tasks, failures } => {
            one(&json!({"type": "launched", "tasks": tasks, "failures": failures}))
        }
        RunEvent::Status { task, text } => one(&json!({
            "type": "status",
            "taskArn": task.task_arn,
            "lastStatus": task.last_status.as_deref().unwrap_or_default(),
            "text": text,
        })),
        RunEvent::Stopping { reason } => one(&json!({"type": "stopping", "reason": reason})),
        RunEvent::Notice(text) => one(&json!({"type": "notice", "text": text})),
        _ => String::new(),
    }
}

/// A line of output as JSON: the same for run and logs.
pub(in crate::commands) fn log(line: &LogLine) -> Value {
    let mut value = json!({
        "type": "log",
        "timestamp": line.time,
        "ingestionTime": line.ingested,
        "message": line.message,
    });
    match &line.writer {
        Writer::Container { task, container } => {
            value["taskId"] = json!(&**task);
            value["container"] = json!(&**container);
        }
        Writer::Shared { stream } => value["logStream"] = json!(&**stream),
        _ => {}
    }
    value
}

/// Who wrote a line, in front of it: `3f2a9c01/app`, or the name of a stream that several write into.
pub(crate) fn who(line: &LogLine) -> String {
    match &line.writer {
        Writer::Container { task, container } => format!("{}/{container}", short(task)),
        Writer::Shared { stream } => stream.to_string(),
        writer => writer.to_string(),
    }
}

/// The beginning of a task's id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..ID_SHOWN).unwrap_or(id)
}
