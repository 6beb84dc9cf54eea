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
use crate::confirm;
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::json;
use crate::picker::{self, Found, PickArgs};

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
/// note), `what`, `how`, `fix` and `requests` (`call` and `input`, where values that
/// look like secrets are masked). What does not apply is absent. Members and ids are
/// only ever added.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct DoctorArgs {
    /// A service, task or container; not needed where there is only one
    target: Option<TargetSpec>,
    #[command(flatten)]
    pick: PickArgs,
    /// Offer the smallest change that mends the likeliest cause, make it, and look again
    #[arg(long)]
    fix: bool,
    /// How long to wait for a change to take effect (90s, 5m)
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME", requires = "fix")]
    wait: Duration,
}

impl DoctorArgs {
    /// Whether it may mend what it finds.
    pub(crate) fn changes(&self) -> bool {
        self.fix
    }

    /// The target, and what is asked about it.
    pub(crate) fn question(&self) -> (Option<&TargetSpec>, &PickArgs) {
        (self.target.as_ref(), &self.pick)
    }
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
        confirm::check(context, "make changes")?;
    }
    let client = context.client().await?;
    let typed = args.target.as_ref();
    let asked = picker::resolve(&client, typed, &args.pick, "look at it", context);
    let mut target = match asked.await? {
        Found::Target(target) => *target,
        Found::Left(code) => return Ok(code),
    };
    let patient = Patient::new(&client, context, context.target(typed), &target)?;
    let mut report = patient.examine(&target).await?;
    if args.fix {
        (target, report) = mend::mend(&patient, target, report, args.wait).await?;
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
    /// Finds it again once its task was replaced.
    target: TargetSpec,
    scope: Scope,
}

impl<'a> Patient<'a> {
    /// What was `found`; without `given` it is the service or task that this belongs to.
    fn new(
        client: &'a Client,
        context: &'a Context,
        given: Option<TargetSpec>,
        found: &ResolvedTarget,
    ) -> Result<Self, CommandError> {
        let named = context.global.container.is_some()
            || given
                .as_ref()
                .is_some_and(|given| given.container.is_some());
        let target = match given {
            Some(given) => given,
            None => name(found).parse().map_err(|_| {
                CommandError::new(ErrorKind::Failed, format!("{found} cannot be named"))
            })?,
        };
        Ok(Self {
            client,
            context,
            target,
            scope: if named { Scope::Container } else { Scope::Task },
        })
    }

    async fn look(&self) -> Result<(ResolvedTarget, Report), CommandError> {
        let options = self.context.global.target_options();
        let target = self.client.resolve(&self.target, &options).await?;
        let report = self.examine(&target).await?;
        Ok((target, report))
    }

    async fn examine(&self, target: &ResolvedTarget) -> Result<Report, CommandError> {
        Ok(self.client.diagnose(target, self.scope, LOOK_LIMIT).await?)
    }
}

/// A container as it is typed; by its service if it has one, so that it outlives the task.
fn name(target: &ResolvedTarget) -> String {
    let cluster = &target.cluster.name;
    let container = &target.container;
    match &target.service {
        Some(service) => format!("{cluster}/{service}/{container}"),
        None => format!("{cluster}/task:{}/{container}", target.task.id),
    }
}
