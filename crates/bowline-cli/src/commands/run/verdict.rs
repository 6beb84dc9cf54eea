//! What the end of one or several tasks is for a shell.

use bowline::run::{Cause, RunReport};

use super::follow::Ended;
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;

/// One task: its code. Several: their common code, else 5.
pub(in crate::commands) fn verdict(
    report: RunReport,
    context: &Context,
) -> Result<Ended, CommandError> {
    if report.timed_out {
        let text = "the task was stopped because its time was up";
        return Err(
            CommandError::new(ErrorKind::TimedOut, text).hint("give it more time with --timeout")
        );
    }
    match &report.results[..] {
        [(task, outcome)] if report.failures.is_empty() => match outcome.shell_code() {
            Some(code) => {
                if let Some(text) = &outcome.text {
                    context.printer.note(text);
                }
                Ok(Ended {
                    code: ExitCode::Remote(code),
                    report: Some(report),
                })
            }
            None => {
                let text = outcome.text.clone();
                let text = text.unwrap_or_else(|| "the exit code is not known".to_owned());
                let error = CommandError::new(ErrorKind::Unavailable, text);
                Err(match hint(outcome.cause) {
                    Some(hint) => error.hint(hint),
                    None => error.hint(format!(
                        "`bowline logs task:{}` shows what it wrote",
                        task.task_id
                    )),
                })
            }
        },
        results => {
            let mut codes = Vec::new();
            for (task, outcome) in results {
                let id = &task.task_id;
                let code = outcome.shell_code();
                codes.push(code);
                match (&outcome.text, code) {
                    (Some(text), _) => context.printer.note(&format!("task {id}: {text}")),
                    (None, Some(code)) => context
                        .printer
                        .note(&format!("task {id} ended with {code}")),
                    (None, None) => {}
                }
            }
            let common = codes.first().copied().flatten();
            let same = codes.iter().all(|code| *code == common);
            let code = match common {
                Some(code) if same && report.failures.is_empty() => ExitCode::Remote(code),
                _ => {
                    let bad = codes.iter().filter(|code| **code != Some(0)).count();
                    let all = codes.len() + report.failures.len();
                    let bad = bad + report.failures.len();
                    context
                        .printer
                        .note(&format!("{bad} of {all} tasks failed"));
                    ExitCode::SomeFailed
                }
            };
            Ok(Ended {
                code,
                report: Some(report),
            })
        }
    }
}

fn hint(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::PullFailed => Some(
            "check the image's name, the execution role, and the task's way out: a public subnet needs \
             --assign-public-ip, a private one a NAT gateway or endpoints",
        ),
        Cause::StartFailed => Some(
            "check the command, the secrets and log group of the definition, and the execution role",
        ),
        Cause::UserStopped => Some("the command had not ended by itself when somebody stopped it"),
        Cause::SpotInterrupted => Some("run it again, or use --capacity-provider FARGATE"),
        Cause::Infrastructure => Some("run it again"),
        _ => None,
    }
}
