//! `bowline runbook run`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bowline::Client;
use bowline::runbook::{
    Children, Occurrence, RunbookRun, ScriptPolicy, below, new_id, refusals, stored,
};
use bowline_runbook::{
    Answer, Document, Execution, Given, Options, Parameters, Reference, Request, Status,
    Surroundings, Work,
};
use clap::Args;
use serde_json::Value;

use super::folder::RunFolder;
use super::interrupts::Interrupts;
use super::parameters::{self, ParameterArgs};
use super::progress::Progress;
use super::{checked, read};
use crate::commands::Context;
use crate::duration;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::prompt;

/// Run a runbook here, with your credentials
///
/// The document is checked first, and refused before its first step if something in
/// it cannot be done here. Progress is shown at a terminal; otherwise, and with
/// -o ndjson, stdout gets one JSON event a line. Exit code 0 for Success, 1 Failed,
/// 124 TimedOut, 130 Cancelled. Ctrl-C cancels the run and follows its onCancel; a
/// second one leaves at once. `--resume ID` goes on with a run that was broken off
/// or failed.
///
/// Examples:
///   bowline runbook run deploy.yaml --param Cluster=prod
///   bowline runbook run deploy.yaml --params values.yaml --allow-scripts
///   bowline runbook run --resume 0d5f3c1e-…
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct RunArgs {
    /// The runbook; - is stdin
    #[arg(required_unless_present = "resume")]
    file: Option<PathBuf>,
    #[command(flatten)]
    parameters: ParameterArgs,
    /// Let the runbook's scripts run on this machine, with your credentials
    #[arg(long)]
    allow_scripts: bool,
    /// Where the files of the runbook are
    #[arg(long, value_name = "DIR")]
    attachments: Option<PathBuf>,
    /// The folder with the runbooks that steps of this one run, as NAME.yaml or NAME.json; others are
    /// read from the account
    #[arg(long, value_name = "DIR")]
    runbook_dir: Option<PathBuf>,
    /// The file of a runbook that steps of this one run
    #[arg(long = "map", value_name = "NAME=FILE", value_parser = mapped)]
    mapped: Vec<(String, PathBuf)>,
    /// Use your own credentials and not the assumeRole of the runbook
    #[arg(long)]
    no_assume_role: bool,
    /// Go on with this run, at the step where it stopped
    #[arg(long, value_name = "ID", conflicts_with_all = ["file", "param", "params"])]
    resume: Option<String>,
    /// Answer the approval of this step; again for more approvals
    #[arg(long, value_name = "STEP[=NAME]")]
    approve: Vec<String>,
    /// Reject at this step
    #[arg(long, value_name = "STEP")]
    reject: Vec<String>,
    /// Go on at every pause without being asked
    #[arg(long)]
    auto_resume: bool,
    /// Look at what is waited for this often (2s); otherwise after 2 s, growing to 15 s
    #[arg(long, value_parser = duration::interval, value_name = "TIME")]
    poll_interval: Option<Duration>,
    /// The pause before a second attempt, doubled each time
    #[arg(long, value_parser = duration::parse, value_name = "TIME", default_value = "1s")]
    retry_delay: Duration,
    /// Sleep this many times shorter, for rehearsals
    #[arg(long, value_name = "TIMES", default_value_t = 1)]
    fast_sleep: u32,
    /// Cap timeoutSeconds as the service does
    #[arg(long)]
    service_limits: bool,
}

pub(super) async fn run(args: RunArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let (path, source, kept) = match &args.resume {
        Some(id) => {
            let folder = RunFolder::open(id)?;
            let (source, state) = folder.load()?;
            (PathBuf::from(id), source, Some((folder, state)))
        }
        None => {
            let path = args.file.clone().unwrap_or_default();
            let source = read(&path)?;
            (path, source, None)
        }
    };
    let document = match checked(&path, &source, context)? {
        Ok(document) => document,
        Err(code) => return Ok(code),
    };
    let scripts = ScriptPolicy {
        allowed: args.allow_scripts,
        attachments: args.attachments.clone(),
        ..ScriptPolicy::default()
    };
    let scripts = scripts.of(&document);
    refuse(&problems(&document, &scripts, &args))?;
    let options = Options {
        retry_delay: args.retry_delay,
        poll_interval: args.poll_interval,
        fast_sleep: args.fast_sleep.max(1),
        service_limits: args.service_limits,
    };
    let given = match kept.is_none() {
        true => given(&args, &document).await?,
        false => BTreeMap::new(),
    };
    let client = context.client().await?;
    let children = Children {
        files: args.mapped.iter().cloned().collect(),
        folder: args.runbook_dir.clone(),
    };
    let below = below(&client, &document, &children).await;
    refuse(&of_all(&below, |it| problems(it, &scripts, &args)))?;
    let document = Arc::new(document);
    let now = jiff::Timestamp::now();
    let (folder, execution) = match kept {
        Some((folder, state)) => (
            folder,
            Execution::resume(Arc::clone(&document), state, options, now),
        ),
        None => {
            let (values, surroundings) = begin(&client, &document, &given).await?;
            let folder = RunFolder::create(&surroundings.execution_id, &source)?;
            (
                folder,
                Execution::new(Arc::clone(&document), values, surroundings, options, now),
            )
        }
    };
    let state = execution.snapshot();
    let role = document.role(&state.parameters);
    let client = match role.filter(|_| !args.no_assume_role) {
        Some(role) => {
            let session = format!("bowline-{}", state.surroundings.execution_id);
            client.assuming(&role, &session).await?
        }
        None => client,
    };
    let run = RunbookRun::new(client, execution, scripts, now).with_children(children);
    drive(run, &args, context, &folder).await
}

/// The values of a new run, and what its system references stand for.
pub(super) async fn begin(
    client: &Client,
    document: &Document,
    given: &BTreeMap<String, Given>,
) -> Result<(Parameters, Surroundings), CommandError> {
    let surroundings = Surroundings {
        execution_id: new_id(),
        region: client.region().to_owned(),
        partition: bowline::regions::partition(client.region()).to_owned(),
        account: None,
    };
    let store = stored(client, &Parameters::stored(document, given)).await?;
    let read = |name: &str| {
        store
            .get(name)
            .cloned()
            .ok_or_else(|| format!("{name} was not read"))
    };
    let system = |reference: &Reference| surroundings.stands_for(reference);
    let values =
        Parameters::new(document, given, &system, &read).map_err(|it| parameters::refused(&it))?;
    Ok((values, surroundings))
}

/// What of a document cannot be done here.
fn problems(document: &Document, scripts: &ScriptPolicy, args: &RunArgs) -> Vec<String> {
    let mut problems = refusals(document, scripts);
    if !prompt::can_ask() {
        for step in document.all_steps() {
            let name = &step.name.name;
            let named = |list: &[String]| list.iter().any(|it| it.split('=').next() == Some(name));
            match step.action {
                Some(bowline_runbook::Action::Approve)
                    if !named(&args.approve) && !named(&args.reject) =>
                {
                    problems.push(format!("step {name}: nobody can be asked to approve; say --approve {name} or --reject {name}"));
                }
                Some(bowline_runbook::Action::Pause) if !args.auto_resume => {
                    problems.push(format!(
                        "step {name}: nobody can be asked to go on; say --auto-resume"
                    ));
                }
                _ => {}
            }
        }
    }
    problems
}

/// The same of the runbooks that steps run.
pub(super) fn of_all(
    below: &[(String, Document)],
    problems: impl Fn(&Document) -> Vec<String>,
) -> Vec<String> {
    let of = |(name, document): &(String, Document)| {
        let problems = problems(document).into_iter();
        let named: Vec<String> = problems.map(|it| format!("runbook {name}: {it}")).collect();
        named
    };
    below.iter().flat_map(of).collect()
}

/// What cannot be done here ends the command before the first step.
pub(super) fn refuse(problems: &[String]) -> Result<(), CommandError> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(CommandError::usage(problems.join("\n")).hint("nothing was done")),
    }
}

/// What was given, and what the person at the terminal is asked for.
async fn given(
    args: &RunArgs,
    document: &Document,
) -> Result<BTreeMap<String, Given>, CommandError> {
    let mut given = args.parameters.given()?;
    if !prompt::can_ask() {
        return Ok(given);
    }
    for name in parameters::missing(document, &given) {
        let what = document
            .parameter(name)
            .and_then(|it| it.description.as_deref());
        let question = match what {
            Some(what) => format!("{name} ({what}): "),
            None => format!("{name}: "),
        };
        let answer = prompt::ask(question)
            .await
            .map_err(|reason| CommandError::usage(format!("parameter {name}: {reason}")))?;
        given.insert(name.to_owned(), Given::Texts(vec![answer]));
    }
    Ok(given)
}

async fn drive(
    mut run: RunbookRun,
    args: &RunArgs,
    context: &Context,
    folder: &RunFolder,
) -> Result<ExitCode, CommandError> {
    let mut interrupts = Interrupts::new()?;
    let mut progress = Progress::new(context, Some(folder.path()));
    let mut approvals = args.approve.clone();
    let mut cancelled = false;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        // Signals first: a run with much to tell must not hide them. `next` keeps everything in the run.
        let occurrence = tokio::select! {
            biased;
            () = interrupts.next() => None,
            occurrence = run.next() => Some(occurrence),
            _ = tick.tick() => {
                progress.tick();
                continue;
            }
        };
        match occurrence {
            None if cancelled => {
                progress.clear();
                context.printer.note(&format!("left at once; what was begun may go on. `bowline runbook run --resume {}` goes on with the run", folder.id()));
                return Ok(interrupts.code());
            }
            None => {
                cancelled = true;
                progress.note("cancelling; once more leaves at once");
                run.cancel();
            }
            Some(Some(Occurrence::Event(event))) => {
                folder.note(&event)?;
                folder.keep(&run.snapshot())?;
                progress.show(&event);
            }
            Some(Some(Occurrence::Asked(request))) => {
                progress.clear();
                let answer = tokio::select! {
                    answer = answered(&request, args, &mut approvals) => answer,
                    () = interrupts.next() => {
                        cancelled = true;
                        progress.note("\ncancelling; once more leaves at once");
                        None
                    }
                };
                match answer {
                    Some(answer) => run.answer(request.id, answer),
                    None => run.cancel(),
                }
            }
            Some(Some(_)) => {}
            Some(None) => break,
        }
    }
    let state = run.snapshot();
    // Going on needs the outputs as they are; where nothing is left to do, secrets do not stay on the disk.
    let state = match state.next.is_some() {
        true => state,
        false => state.masked(),
    };
    folder.keep(&state)?;
    progress.clear();
    Ok(match run.status() {
        Status::Success => ExitCode::Success,
        Status::TimedOut => ExitCode::TimedOut,
        Status::Cancelled => interrupts.code(),
        _ => {
            progress.note(&format!(
                "`bowline runbook run --resume {}` tries again at the step that failed",
                folder.id()
            ));
            ExitCode::Failed
        }
    })
}

/// The answer to an approval or a pause: of the command line, else of the person at the terminal.
async fn answered(
    request: &Request,
    args: &RunArgs,
    approvals: &mut Vec<String>,
) -> Option<Answer> {
    let step = request.step.as_str();
    match &request.work {
        Work::Pause if args.auto_resume => Some(Answer::Resumed),
        Work::Pause => {
            let answer = prompt::ask(format!("{step} is paused; Enter goes on, q cancels: "))
                .await
                .ok()?;
            (!answer.eq_ignore_ascii_case("q")).then_some(Answer::Resumed)
        }
        Work::Approval {
            message, approvers, ..
        } => {
            let user = || std::env::var("USER").unwrap_or_else(|_| "local".to_owned());
            if args.reject.iter().any(|it| it == step) {
                return Some(Answer::Rejected { by: user() });
            }
            let named = approvals
                .iter()
                .position(|it| it.split('=').next() == Some(step));
            if let Some(place) = named {
                let text = approvals.remove(place);
                let by = text.split_once('=').map(|it| it.1.to_owned());
                let first = approvers.first().cloned().unwrap_or_default();
                return Some(Answer::Approved {
                    by: by.unwrap_or(first),
                });
            }
            let question = format!(
                "{step}: {message}\napprovers: {}\napprove? [y/N] ",
                approvers.join(", ")
            );
            let answer = prompt::ask(question).await.ok()?;
            Some(
                match matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
                    true => Answer::Approved { by: user() },
                    false => Answer::Rejected { by: user() },
                },
            )
        }
        _ => None,
    }
}

fn mapped(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("a runbook and its file are written NAME=FILE".to_owned()),
    }
}

/// Keeps the type of values in one place.
pub(super) type Outputs = serde_json::Map<String, Value>;
