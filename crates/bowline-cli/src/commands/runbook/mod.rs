//! `bowline runbook`: SSM Automation documents, checked, planned, run here and by the service.

mod check;
mod compare;
mod folder;
mod follow;
mod interrupts;
mod parameters;
mod plan;
mod progress;
mod run;
mod sarif;
mod submit;
mod text;

use std::io::Read as _;
use std::path::Path;

use bowline_runbook::{Document, Report, Severity};
use clap::{Args, Subcommand};

pub(super) use self::submit::split as name_and_version;
use super::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;

/// Check, plan and run SSM Automation runbooks
///
/// A runbook is a document of schemaVersion 0.3, YAML or JSON. `check` finds what
/// is wrong with it, types included, without AWS; `plan` says what it would do;
/// `run` does it here, with your credentials; `submit` lets the service do it.
///
/// Example: bowline runbook check deploy.yaml
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct RunbookArgs {
    #[command(subcommand)]
    command: RunbookCommand,
}

#[derive(Debug, Subcommand)]
enum RunbookCommand {
    Check(check::CheckArgs),
    Plan(plan::PlanArgs),
    Run(Box<run::RunArgs>),
    Submit(submit::SubmitArgs),
    Follow(follow::FollowArgs),
    Stop(follow::StopArgs),
    Signal(follow::SignalArgs),
    Compare(compare::CompareArgs),
}

impl RunbookArgs {
    /// Whether its `--explain` is about rules of `check`, and not about calls.
    pub(crate) fn explains_rules(&self) -> bool {
        matches!(self.command, RunbookCommand::Check(_))
    }
}

/// Runs one of its commands.
pub async fn run(args: RunbookArgs, context: &Context) -> Result<ExitCode, CommandError> {
    match args.command {
        RunbookCommand::Check(args) => check::run(&args, context),
        RunbookCommand::Plan(args) => plan::run(args, context).await,
        RunbookCommand::Run(args) => run::run(*args, context).await,
        RunbookCommand::Submit(args) => submit::run(args, context).await,
        RunbookCommand::Follow(args) => follow::follow(args, context).await,
        RunbookCommand::Stop(args) => follow::stop(args, context).await,
        RunbookCommand::Signal(args) => follow::answer(args, context).await,
        RunbookCommand::Compare(args) => compare::run(args, context).await,
    }
}

/// The text of a file, or of stdin for `-`.
pub(super) fn read(path: &Path) -> Result<String, CommandError> {
    let text = match path.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .read_to_string(&mut text)
                .map(|_| text)
        }
        false => std::fs::read_to_string(path),
    };
    text.map_err(|error| CommandError::usage(format!("{}: {error}", path.display())))
}

/// A document that may be planned and run: errors are shown, and end the command with the code of `check`.
fn checked(
    path: &Path,
    text: &str,
    context: &Context,
) -> Result<Result<Document, ExitCode>, CommandError> {
    let report = bowline_runbook::check(text);
    if report.has_errors() {
        let errors = report
            .findings
            .iter()
            .filter(|it| it.severity == Severity::Error);
        for finding in errors {
            context
                .printer
                .note(text::finding(path, text, finding).trim_end());
        }
        context
            .printer
            .note("nothing was done: the runbook has errors");
        return Ok(Err(ExitCode::Findings));
    }
    let warnings = report
        .findings
        .iter()
        .filter(|it| it.severity == Severity::Warning)
        .count();
    if warnings > 0 {
        context.printer.note(&format!(
            "{}; `bowline runbook check` shows them",
            text::count(warnings, "warning")
        ));
    }
    let Report { document, .. } = report;
    let document = document.filter(|document| !document.steps.is_empty());
    match document {
        Some(document) => Ok(Ok(document)),
        None => Err(CommandError::new(
            ErrorKind::Usage,
            "the runbook has no steps",
        )),
    }
}
