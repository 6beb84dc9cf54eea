//! `bowline run` on many targets: one fresh task of each.

use bowline::fleet::FreshTask;
use bowline::run::RunOptions;

use super::report::Report;
use super::{Changes, RunArgs};
use crate::commands::{Context, fleet};
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// Starts a task of each target and sees them all through.
pub(super) async fn run(
    args: &RunArgs,
    context: &Context,
    report: Report,
) -> Result<ExitCode, CommandError> {
    check(args)?;
    let changes = Changes::read(args)?;
    let container = context.global.target_options().container.is_some();
    let complete = |fresh: &mut FreshTask| {
        fresh.is_chosen |= container || !args.command.is_empty();
        changes.complete(args, &mut fresh.plan)
    };
    let record = match args.dry_run {
        true => None,
        false => context.recording("run")?,
    };
    let task = fleet::Task {
        args: &args.fleet,
        deed: fleet::Deed::Run(Box::new(fleet::Runs {
            targets: &args.targets,
            wish: args.network.wish(),
            options: RunOptions {
                record,
                ..args.follow.options(args.timeout)
            },
            complete: &complete,
            dry_run: args.dry_run,
        })),
        what: shell_words::join(&args.command),
        json: report == Report::Json,
    };
    fleet::run(task, context).await
}

/// What is for one task.
fn check(args: &RunArgs) -> Result<(), CommandError> {
    let single = [
        (
            "--rm -it",
            args.rm,
            "a shell is for one task: name one target",
        ),
        (
            "-d",
            args.detach,
            "leave it out: the tasks are followed, with --max many at a time",
        ),
        (
            "--count",
            args.count > 1,
            "leave it out: each target stands for one task",
        ),
        (
            "--client-token",
            args.overrides.has_token(),
            "leave it out: each task has a token of its own, and --save-failed keeps those that were not answered",
        ),
    ];
    match single.into_iter().find(|(_, given, _)| *given) {
        Some((option, _, hint)) => {
            let text = format!("{option} is for one target, and many are meant");
            Err(CommandError::usage(text).hint(hint))
        }
        None => Ok(()),
    }
}
