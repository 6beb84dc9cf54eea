//! `bowline runbook compare`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bowline::runbook::{Children, Occurrence, RunbookRun, ScriptPolicy, below, refusals};
use bowline_runbook::{Action, Document, Event, Execution, Options, Status};
use clap::Args;
use serde::Serialize;

use super::follow::{Ended, Viewer, watch};
use super::interrupts::Interrupts;
use super::parameters::ParameterArgs;
use super::run::{begin, of_all, refuse};
use super::submit::{Begun, Source, accepted, begun, forget, values};
use super::{checked, read};
use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::printer::Printer;

/// Run a runbook here and by the service, and show both side by side
///
/// First here, then as a temporary document of the account, with the same parameters: what
/// the runbook does is done twice. Exit code 0 if all statuses are the same, 4 if not.
/// Ctrl-C cancels the run at work, and the document goes; a second one leaves at once.
///
/// Example: bowline runbook compare deploy.yaml --param Cluster=test
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct CompareArgs {
    /// The runbook; - is stdin
    file: PathBuf,
    #[command(flatten)]
    parameters: ParameterArgs,
    /// Let the runbook's scripts run on this machine, with your credentials
    #[arg(long)]
    allow_scripts: bool,
    /// The folder with the runbooks that steps of this one run
    #[arg(long, value_name = "DIR")]
    runbook_dir: Option<PathBuf>,
    /// Look at what is waited for this often
    #[arg(long, value_parser = duration::interval, value_name = "TIME", default_value = "2s")]
    poll_interval: Duration,
}

/// How a run ended.
struct Outcome {
    printer: Printer,
    status: Status,
    steps: BTreeMap<String, Status>,
    failure: Option<String>,
}

#[derive(Serialize)]
struct Row {
    /// None for the whole run.
    step: Option<String>,
    local: Status,
    remote: Status,
    same: bool,
}

pub(super) async fn run(args: CompareArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let source = read(&args.file)?;
    let document = match checked(&args.file, &source, context)? {
        Ok(document) => Arc::new(document),
        Err(code) => return Ok(code),
    };
    let scripts = ScriptPolicy {
        allowed: args.allow_scripts,
        ..ScriptPolicy::default()
    };
    let scripts = scripts.of(&document);
    refuse(&problems(&document, &scripts))?;
    let given = args.parameters.given()?;
    let texts = values(Some(&document), &given)?;
    let client = context.client().await?;
    let children = Children {
        folder: args.runbook_dir.clone(),
        ..Children::default()
    };
    let below = below(&client, &document, &children).await;
    refuse(&of_all(&below, |it| problems(it, &scripts)))?;
    let (parameters, surroundings) = begin(&client, &document, &given).await?;
    let options = Options {
        poll_interval: Some(args.poll_interval),
        service_limits: true,
        ..Options::default()
    };
    let now = jiff::Timestamp::now();
    let execution = Execution::new(
        Arc::clone(&document),
        parameters,
        surroundings,
        options,
        now,
    );
    let mut interrupts = Interrupts::new()?;
    context.printer.note("running it here");
    let here = RunbookRun::new(client.clone(), execution, scripts, now).with_children(children);
    let Some(local) = local(here, &mut interrupts, context).await else {
        return Ok(interrupts.code());
    };
    if accepted(&args.file, &source, context).is_none() {
        return Ok(ExitCode::Findings);
    }
    context.printer.note("letting the service run it");
    let source = Source::Text(source, None);
    let begun = begun(&client, &source, &texts, true, &mut interrupts, context).await?;
    let Some(Begun { id, registered }) = begun else {
        return Ok(interrupts.code());
    };
    let mut remote = Outcome::new(context);
    let interval = args.poll_interval;
    let ended = watch(&client, &id, interval, false, &mut interrupts, &mut remote).await;
    if registered.is_temporary && !matches!(ended, Ok(Ended::Left)) {
        forget(&client, &registered, context).await;
    }
    if matches!(ended?, Ended::Left | Ended::So(Status::Cancelled)) {
        return Ok(interrupts.code());
    }
    let names = document
        .steps
        .iter()
        .map(|step| Some(step.name.name.clone()));
    let rows: Vec<Row> = names
        .chain([None])
        .map(|step| {
            let of = |outcome: &Outcome| match &step {
                Some(step) => outcome.steps.get(step).copied().unwrap_or_default(),
                None => outcome.status,
            };
            let (local, remote) = (of(&local), of(&remote));
            let same = local == remote;
            Row {
                step,
                local,
                remote,
                same,
            }
        })
        .collect();
    show(&rows, context)?;
    for (whose, failure) in [("here", &local.failure), ("the service", &remote.failure)] {
        if let Some(failure) = failure {
            context.printer.note(&format!("{whose}: {failure}"));
        }
    }
    Ok(match rows.iter().all(|row| row.same) {
        true => ExitCode::Success,
        false => ExitCode::Findings,
    })
}

/// What of a document cannot be compared.
fn problems(document: &Document, scripts: &ScriptPolicy) -> Vec<String> {
    let mut problems = refusals(document, scripts);
    for step in document.all_steps() {
        if matches!(step.action, Some(Action::Approve | Action::Pause)) {
            problems.push(format!(
                "step {}: nobody is asked in a comparison",
                step.name.name
            ));
        }
    }
    problems
}

/// How the run here ended; nothing if it was interrupted.
async fn local(
    mut run: RunbookRun,
    interrupts: &mut Interrupts,
    context: &Context,
) -> Option<Outcome> {
    let mut outcome = Outcome::new(context);
    let mut cancelled = false;
    loop {
        let occurrence = tokio::select! {
            biased;
            () = interrupts.next() => None,
            occurrence = run.next() => Some(occurrence),
        };
        match occurrence {
            None if cancelled => {
                let note = "left at once; what was begun may go on";
                context.printer.note(note);
                return None;
            }
            None => {
                cancelled = true;
                context.printer.note("cancelling; once more leaves at once");
                run.cancel();
            }
            Some(Some(Occurrence::Event(event))) => outcome.note(event),
            Some(Some(_)) => run.cancel(),
            Some(None) => return (!cancelled).then_some(outcome),
        }
    }
}

impl Viewer for Outcome {
    fn event(&mut self, event: Event) {
        self.note(event);
    }

    fn note(&mut self, text: &str) {
        self.printer.note(text);
    }
}

impl Outcome {
    fn new(context: &Context) -> Self {
        Self {
            printer: context.printer,
            status: Status::default(),
            steps: BTreeMap::new(),
            failure: None,
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::StepEnd { step, status, .. } => drop(self.steps.insert(step, status)),
            Event::RunEnd {
                status, failure, ..
            } => {
                self.status = status;
                self.failure = failure;
            }
            _ => {}
        }
    }
}

fn show(rows: &[Row], context: &Context) -> Result<(), CommandError> {
    if matches!(
        context.global.output,
        Some(OutputFormat::Json | OutputFormat::Ndjson)
    ) {
        let text = serde_json::to_string_pretty(rows)
            .map_err(|error| CommandError::new(ErrorKind::Unavailable, error))?;
        return context.printer.document(&format!("{text}\n"));
    }
    let name = |row: &Row| row.step.clone().unwrap_or_else(|| "the run".to_owned());
    let width = rows
        .iter()
        .map(|row| name(row).len())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut text = format!("{:width$}  {:10}  {:10}\n", "STEP", "HERE", "SERVICE");
    for row in rows {
        let mark = if row.same { "" } else { "  differs" };
        let _ = writeln!(
            text,
            "{:width$}  {:10}  {:10}{mark}",
            name(row),
            row.local,
            row.remote
        );
    }
    let trimmed: Vec<&str> = text.lines().map(str::trim_end).collect();
    context
        .printer
        .document(&format!("{}\n", trimmed.join("\n")))
}
