//! `bowline doctor`: why a container cannot be entered, and what mends it.

pub(super) mod hint;
pub(super) mod mend;
mod text;

use std::time::Duration;

use bowline::doctor::{Report, Scope};
use bowline::target::TargetSpec;
use bowline::{Client, ResolvedTarget};
use clap::Args;

use super::Context;
use crate::cli::OutputFormat;
use crate::duration;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::output::json;

/// For all calls of one look together.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// Find out why a container cannot be entered, and what mends it
///
/// Looks at the task, its role, its network, its containers and the caller with
/// read-only calls. What no API shows, and what the caller may not look at, is
/// unknown and never a problem. Exit code 4 says that something keeps, or may
/// keep, you out.
///
/// Examples:
///   bowline doctor web           every container of the newest task of web
///   bowline doctor prod/web/app  this container
///   bowline doctor web --fix     also mend it, one change at a time, each asked for
///   bowline doctor web -o json   all checks as one JSON document
///
/// The JSON has `cluster`, `taskId`, `serviceName` and `checks`; each check has
/// `id`, `container`, `state` (problem, unknown, ok), `severity` (blocks, may-block,
/// note), `what`, `how`, `fix` and `requests` (`call` and `input`). What does not
/// apply is absent. Members and ids are only ever added.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct DoctorArgs {
    /// A service, task or container; not needed where there is only one
    target: Option<TargetSpec>,
    /// Offer the smallest change that mends the likeliest cause, make it, and look again
    #[arg(long)]
    fix: bool,
    /// Make the changes without asking
    #[arg(long, requires = "fix")]
    yes: bool,
    /// How long to wait for a change to take effect (90s, 5m)
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME", requires = "fix")]
    wait: Duration,
}

/// Looks, and mends if asked to.
pub async fn run(args: DoctorArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let format = context.global.output.unwrap_or(OutputFormat::Table);
    if !matches!(
        format,
        OutputFormat::Table | OutputFormat::Wide | OutputFormat::Json
    ) {
        return Err(
            CommandError::usage("doctor prints a table, or one document with -o json")
                .hint("use -o table, -o wide or -o json"),
        );
    }
    if args.fix {
        mend::check_terminal(args.yes)?;
    }
    let client = context.client().await?;
    let patient = Patient {
        client: &client,
        context,
        target: args.target.as_ref(),
    };
    let (mut target, mut report) = patient.look().await?;
    if args.fix {
        (target, report) = mend::mend(&patient, target, report, args.yes, args.wait).await?;
    }
    let document = match format {
        OutputFormat::Json => json::document(&report)?,
        _ => text::render(&target, &report, format == OutputFormat::Wide, args.fix),
    };
    context.printer.document(&document)?;
    Ok(match report.has_problems() {
        true => ExitCode::Findings,
        false => ExitCode::Success,
    })
}

/// What is looked at, again and again while it is mended.
struct Patient<'a> {
    client: &'a Client,
    context: &'a Context,
    target: Option<&'a TargetSpec>,
}

impl Patient<'_> {
    async fn look(&self) -> Result<(ResolvedTarget, Report), CommandError> {
        let options = self.context.global.target_options();
        let target = match self.target {
            Some(target) => self.client.resolve(target, &options).await?,
            None => self.client.resolve_only(&options).await?,
        };
        let named = options.container.is_some()
            || self.target.is_some_and(|target| target.container.is_some());
        let scope = if named { Scope::Container } else { Scope::Task };
        let report = self.client.diagnose(&target, scope, LOOK_LIMIT).await?;
        Ok((target, report))
    }
}
