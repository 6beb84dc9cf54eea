//! `bowline service events`: what ECS says about a service.

use std::collections::BTreeSet;
use std::time::Duration;

use bowline::model::ServiceEvent;
use bowline::target::TargetSpec;
use clap::Args;
use serde::Serialize;

use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::commands::ls::target_or_options;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::query::QueryArgs;
use crate::output::{json, printable};

/// How often new events are asked for: they are seldom, and the API is everybody's.
const LOOK: Duration = Duration::from_secs(5);
/// The same where the API is this machine's own.
const LOOK_LOCAL: Duration = Duration::from_millis(200);

/// Print the events of a service, oldest first
///
/// ECS keeps the last 100. With --follow new ones are printed as they come, until
/// Ctrl-C.
///
/// Examples:
///   bowline service events web -f
///   bowline service events web --query 'events[-1].message'
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct EventsArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    target: Option<TargetSpec>,
    /// Go on with new ones
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    query: QueryArgs,
}

/// The JSON form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Events<'a> {
    cluster: &'a str,
    service_name: &'a str,
    /// Oldest first.
    events: Vec<&'a ServiceEvent>,
}

pub(super) async fn run(args: EventsArgs, context: &Context) -> Result<ExitCode, CommandError> {
    args.query.check(context.global.output)?;
    let format = context.global.output.unwrap_or(OutputFormat::Table);
    let one_document =
        args.query.query.is_some() || matches!(format, OutputFormat::Json | OutputFormat::Name);
    if args.follow && one_document {
        return Err(
            CommandError::usage("events that go on have no end to make one document of")
                .hint("use -o ndjson or -o table with --follow"),
        );
    }
    let client = context.client().await?;
    let target = target_or_options(args.target.clone(), context)?;
    let options = context.global.target_options();
    let (cluster, mut service) = client.find_service(target.as_ref(), &options).await?;
    let name = service.service.service_name.clone();
    if one_document {
        let events = Events {
            cluster: cluster.as_str(),
            service_name: &name,
            events: service.events.iter().rev().collect(),
        };
        let text = match &args.query.query {
            Some(query) => query.apply(&events)?,
            None if format == OutputFormat::Name => format!("{cluster}/{name}\n"),
            None => json::document(&events)?,
        };
        context.printer.document(&text)?;
        return Ok(ExitCode::Success);
    }

    let pause = if client.endpoint_is_loopback() {
        LOOK_LOCAL
    } else {
        LOOK
    };
    // One listener for the whole time: between two looks nobody would hear a Ctrl-C else.
    let following = async {
        let mut seen = BTreeSet::new();
        loop {
            let mut text = String::new();
            let events = service.events.iter().rev();
            for event in events.filter(|event| seen.insert(event.id.clone())) {
                text.push_str(&line(event, format)?);
            }
            context.printer.document(&text)?;
            if !args.follow {
                if seen.is_empty() {
                    context.printer.note("nothing has happened yet");
                }
                return Ok(ExitCode::Success);
            }
            tokio::time::sleep(pause).await;
            let again = client.service_detail(&cluster, &name).await?;
            service = again.ok_or_else(|| {
                CommandError::new(ErrorKind::Failed, format!("service {name} was deleted"))
            })?;
            // Only what ECS still keeps can come again.
            seen.retain(|id| service.events.iter().any(|event| event.id == *id));
        }
    };
    tokio::select! {
        ended = following => ended,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::Interrupted),
    }
}

fn line(event: &ServiceEvent, format: OutputFormat) -> Result<String, CommandError> {
    if format == OutputFormat::Ndjson {
        return json::line("event", event);
    }
    let at = event
        .created_at
        .and_then(|at| jiff::Timestamp::from_second(at.as_second()).ok());
    let at = at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let message = printable(&event.message);
    Ok(match format {
        OutputFormat::Wide => format!("{at}  {}  {message}\n", event.id),
        _ => format!("{at}  {message}\n"),
    })
}
