//! `bowline runbook submit`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bowline::Client;
use bowline::runbook::remote::{self, Registered};
use bowline_runbook::{Document, Given, Parameters, Severity, texts};
use clap::Args;
use serde_json::Value;

use super::follow::{Ended, watch};
use super::interrupts::Interrupts;
use super::parameters::{self, ParameterArgs};
use super::progress::Progress;
use super::read;
use super::text;
use crate::commands::Context;
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;

/// Let the service run a runbook, and follow it
///
/// The file becomes a document of the account: with --name, a new one or a new version
/// of the one there is; otherwise a temporary one, which goes at the end of the run unless
/// you say --keep. --document runs one that is there already. What is shown and the exit
/// codes are those of a local run. Ctrl-C cancels the execution; a second one leaves it.
///
/// Examples:
///   bowline runbook submit deploy.yaml --param Cluster=prod
///   bowline runbook submit deploy.yaml --name Deploy --detach
///   bowline runbook submit --document AWS-RestartEC2Instance --param InstanceId=i-0123456789abcdef0
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct SubmitArgs {
    /// The runbook; - is stdin
    #[arg(required_unless_present = "document")]
    file: Option<PathBuf>,
    /// Run this document of the account
    #[arg(long, value_name = "NAME[:VERSION]", conflicts_with_all = ["file", "name", "keep"])]
    document: Option<String>,
    /// Keep the file as the document of this name
    #[arg(long)]
    name: Option<String>,
    /// Keep the temporary document
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    parameters: ParameterArgs,
    /// Start it, print its id, and leave
    #[arg(long)]
    detach: bool,
    /// Look at the execution this often
    #[arg(long, value_parser = duration::interval, value_name = "TIME", default_value = "2s")]
    poll_interval: Duration,
}

pub(super) async fn run(args: SubmitArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let given = args.parameters.given()?;
    let (client, values, source) = match &args.document {
        Some(named) => {
            let client = context.client().await?;
            let (name, version) = split(named);
            let text = remote::text(&client, name, version).await?;
            let document = bowline_runbook::check(&text).document;
            let registered = Registered {
                name: name.to_owned(),
                version: version.map(str::to_owned),
                is_temporary: false,
            };
            (
                client,
                values(document.as_ref(), &given)?,
                Source::There(registered),
            )
        }
        None => {
            let path = args.file.clone().unwrap_or_default();
            let text = read(&path)?;
            let Some(document) = accepted(&path, &text, context) else {
                return Ok(ExitCode::Findings);
            };
            let values = values(Some(&document), &given)?;
            let source = Source::Text(text, args.name.clone());
            (context.client().await?, values, source)
        }
    };
    let mut interrupts = Interrupts::new()?;
    let begun = begun(
        &client,
        &source,
        &values,
        !args.keep,
        &mut interrupts,
        context,
    )
    .await?;
    let Some(Begun { id, registered }) = begun else {
        return Ok(interrupts.code());
    };
    let goes = registered.is_temporary && !args.keep;
    if args.detach {
        if goes {
            context.printer.note(&format!(
                "the document {} stays; remove it when the execution has ended",
                registered.name
            ));
        }
        context.printer.document(&format!("{id}\n"))?;
        return Ok(ExitCode::Success);
    }
    let mut progress = Progress::new(context, None);
    let ended = watch(
        &client,
        &id,
        args.poll_interval,
        context.global.verbose > 0,
        &mut interrupts,
        &mut progress,
    )
    .await;
    progress.clear();
    if goes && !matches!(ended, Ok(Ended::Left)) {
        forget(&client, &registered, context).await;
    }
    Ok(ended?.code(&interrupts))
}

/// What the service runs.
pub(super) enum Source {
    /// A document of the account.
    There(Registered),
    /// A text, and the name that it is kept by.
    Text(String, Option<String>),
}

/// An execution that has begun.
pub(super) struct Begun {
    pub(super) id: String,
    pub(super) registered: Registered,
}

/// Makes the document, where there is none yet, and starts an execution of it. Nothing, and no document either that
/// goes with the run, if an interrupt came before that; an execution that was just started is stopped.
pub(super) async fn begun(
    client: &Client,
    source: &Source,
    values: &BTreeMap<String, Vec<String>>,
    goes: bool,
    interrupts: &mut Interrupts,
    context: &Context,
) -> Result<Option<Begun>, CommandError> {
    let (registered, interrupted) = match source {
        Source::There(registered) => (registered.clone(), false),
        Source::Text(text, name) => {
            let work = remote::register(client, text, name.as_deref());
            let Some((registered, interrupted)) = interrupts.through(context, work).await else {
                return Ok(None);
            };
            (registered?, interrupted)
        }
    };
    let goes = registered.is_temporary && goes;
    let started = match interrupted {
        true => None,
        false => {
            let work = remote::start(client, &registered, values);
            interrupts.through(context, work).await
        }
    };
    if let Some((Ok(id), false)) = started {
        return Ok(Some(Begun { id, registered }));
    }
    if let Some((Ok(id), true)) = &started {
        remote::stop(client, id, false).await?;
        context
            .printer
            .note(&format!("the execution {id} is being cancelled"));
    }
    if goes {
        forget(client, &registered, context).await;
    }
    match started {
        Some((Err(error), _)) => Err(error.into()),
        _ => Ok(None),
    }
}

/// Parameters as the service takes them: those that were given, as lists of texts.
pub(super) fn values(
    document: Option<&Document>,
    given: &BTreeMap<String, Given>,
) -> Result<BTreeMap<String, Vec<String>>, CommandError> {
    let Some(document) = document else {
        let raw = given.iter().map(|(name, given)| {
            let given = match given {
                Given::Texts(texts) => texts.clone(),
                Given::Value(value) => texts(value),
            };
            (name.clone(), given)
        });
        return Ok(raw.collect());
    };
    // The service reads its Parameter Store itself.
    let stored = |_: &str| Ok(Value::from(""));
    let known = Parameters::new(document, given, &|_| None, &stored)
        .map_err(|problems| parameters::refused(&problems))?;
    let named = known.values.iter().filter(|it| given.contains_key(it.0));
    Ok(named
        .map(|(name, value)| (name.clone(), texts(value)))
        .collect())
}

/// The document, unless it has errors that the service would find too. Actions that only it has are none.
pub(super) fn accepted(
    path: &std::path::Path,
    source: &str,
    context: &Context,
) -> Option<Document> {
    let report = bowline_runbook::check(source);
    let is_ours = |message: &str| message.contains("is not supported locally");
    let errors: Vec<_> = report
        .findings
        .iter()
        .filter(|it| it.severity == Severity::Error && !is_ours(&it.message))
        .collect();
    for finding in &errors {
        context
            .printer
            .note(text::finding(path, source, finding).trim_end());
    }
    if errors.is_empty() {
        return report.document;
    }
    context
        .printer
        .note("nothing was done: the runbook has errors");
    None
}

/// Removes the temporary document.
pub(super) async fn forget(client: &Client, registered: &Registered, context: &Context) {
    if let Err(error) = remote::remove(client, &registered.name).await {
        context.printer.note(&format!(
            "the temporary document {} could not be removed: {error}",
            registered.name
        ));
    }
}

/// Name and version; an ARN has colons of its own.
pub(in crate::commands) fn split(named: &str) -> (&str, Option<&str>) {
    match named.rsplit_once(':') {
        Some((name, version))
            if version.starts_with('$') || version.bytes().all(|it| it.is_ascii_digit()) =>
        {
            (name, Some(version))
        }
        _ => (named, None),
    }
}

impl Ended {
    /// The code of the command.
    pub(super) fn code(&self, interrupts: &Interrupts) -> ExitCode {
        use bowline_runbook::Status;
        match self {
            Self::Left | Self::So(Status::Cancelled) => interrupts.code(),
            Self::So(Status::Success) => ExitCode::Success,
            Self::So(Status::TimedOut) => ExitCode::TimedOut,
            Self::So(_) => ExitCode::Failed,
        }
    }
}

/// Something of the service that cannot be used.
pub(super) fn unusable(message: String) -> CommandError {
    CommandError::new(ErrorKind::Usage, message)
}
