//! `bowline runbook compare`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bowline::Client;
use bowline::runbook::remote::{self, Follow};
use bowline::runbook::{Children, Occurrence, RunbookRun, ScriptPolicy, refusals};
use bowline_runbook::{Event, Execution, Options, Status};
use clap::Args;
use serde::Serialize;

use super::parameters::ParameterArgs;
use super::run::begin;
use super::submit::{accepted, forget, unusable, values};
use super::{checked, read};
use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;

/// Run a runbook here and by the service, and show both side by side
///
/// First here, then as a temporary document of the account, with the same parameters: what
/// the runbook does is done twice. Exit code 0 if all statuses are the same, 4 if not.
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
    #[arg(long, value_parser = duration::parse, value_name = "TIME", default_value = "2s")]
    poll_interval: Duration,
}

/// How a run ended.
#[derive(Debug, Default)]
struct Outcome {
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
    let mut problems = refusals(&document, &scripts);
    for step in document.all_steps() {
        use bowline_runbook::Action;
        if matches!(step.action, Some(Action::Approve | Action::Pause)) {
            problems.push(format!(
                "step {}: nobody is asked in a comparison",
                step.name.name
            ));
        }
    }
    if !problems.is_empty() {
        return Err(unusable(problems.join("\n")).hint("nothing was done"));
    }
    let given = args.parameters.given()?;
    let texts = values(Some(&document), &given)?;
    let client = context.client().await?;
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
    let children = Children {
        folder: args.runbook_dir.clone(),
        ..Children::default()
    };
    context.printer.note("running it here");
    let here = RunbookRun::new(client.clone(), execution, scripts, now).with_children(children);
    let local = local(here).await?;
    if accepted(&args.file, &source, context).is_none() {
        return Ok(ExitCode::Findings);
    }
    context.printer.note("letting the service run it");
    let registered = remote::register(&client, &source, None).await?;
    let remote = remote_run(&client, &registered, &texts, args.poll_interval).await;
    if registered.is_temporary {
        forget(&client, &registered, context).await;
    }
    let remote = remote?;
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

async fn local(mut run: RunbookRun) -> Result<Outcome, CommandError> {
    let mut outcome = Outcome::default();
    while let Some(occurrence) = run.next().await {
        match occurrence {
            Occurrence::Event(event) => outcome.note(event),
            _ => run.cancel(),
        }
    }
    Ok(outcome)
}

async fn remote_run(
    client: &Client,
    registered: &remote::Registered,
    texts: &BTreeMap<String, Vec<String>>,
    interval: Duration,
) -> Result<Outcome, CommandError> {
    let id = remote::start(client, registered, texts).await?;
    let mut follow = Follow::new(client.clone(), &id, Some(interval), false);
    let mut outcome = Outcome::default();
    while let Some(event) = follow.next().await? {
        outcome.note(event);
    }
    Ok(outcome)
}

impl Outcome {
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
