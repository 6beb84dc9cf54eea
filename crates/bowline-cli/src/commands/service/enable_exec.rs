//! `bowline service enable-exec`: ECS Exec for the tasks that a service starts from now on.

use bowline::doctor::enable_exec;
use bowline::target::TargetSpec;
use clap::Args;

use crate::commands::doctor::mend;
use crate::commands::ls::target_or_options;
use crate::commands::{Context, guard};
use crate::confirm;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// Turn ECS Exec on for a service
///
/// Only tasks that start afterwards have it: a running task cannot be changed.
/// `--redeploy` replaces the running ones by a new deployment.
///
/// Examples:
///   bowline service enable-exec web
///   bowline service enable-exec prod/web --redeploy --yes
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct EnableExecArgs {
    /// The service, as NAME or CLUSTER/NAME
    #[arg(value_name = "NAME")]
    target: TargetSpec,
    /// Also replace the running tasks, so that they have it
    #[arg(long)]
    redeploy: bool,
}

/// Shows the request, asks, and makes it.
pub(super) async fn run(args: EnableExecArgs, context: &Context) -> Result<ExitCode, CommandError> {
    confirm::check(context, &format!("change service {}", args.target))?;
    let client = context.client().await?;
    let target = target_or_options(Some(args.target.clone()), context)?;
    let options = context.global.target_options();
    let (cluster, found) = client.find_service(target.as_ref(), &options).await?;
    let service = found.service;
    let name = service.service_name.clone();
    if service.enable_execute_command && !args.redeploy {
        context.printer.note(&format!(
            "service {name} has ECS Exec already; tasks that are older than that need --redeploy"
        ));
        return Ok(ExitCode::Success);
    }
    let place = guard::account(&service.service_arn);
    guard::check_place(context, place, cluster.as_str(), &format!("service {name}")).await?;
    let request = enable_exec(cluster.as_str(), &name, args.redeploy);
    mend::show(context, std::slice::from_ref(&request));
    confirm::confirm(context, &[], "make this change?").await?;
    client.make(&request, None).await?;
    context.printer.note(&match args.redeploy {
        true => format!(
            "service {name} has ECS Exec, and its tasks are being replaced; `bowline ls tasks {name}` shows them"
        ),
        false => format!(
            "service {name} has ECS Exec for the tasks it starts from now on; those that run do not get it (--redeploy \
             replaces them)"
        ),
    });
    Ok(ExitCode::Success)
}
