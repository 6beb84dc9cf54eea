//! `bowline service enable-exec`: ECS Exec for the tasks that a service starts from now on.

use bowline::doctor::enable_exec;
use bowline::target::{Selector, TargetSpec};
use clap::Args;

use crate::commands::Context;
use crate::commands::doctor::mend;
use crate::error::{CommandError, ErrorKind};
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
    name: TargetSpec,
    /// Also replace the running tasks, so that they have it
    #[arg(long)]
    redeploy: bool,
    /// Make the change without asking
    #[arg(long)]
    yes: bool,
}

/// Shows the request, asks, and makes it.
pub(super) async fn run(args: EnableExecArgs, context: &Context) -> Result<ExitCode, CommandError> {
    mend::check_terminal(args.yes)?;
    let name = match &args.name.selector {
        Selector::Any(name) => name.to_string(),
        Selector::Service(name) => name.to_string(),
        _ => {
            return Err(CommandError::usage(format!("{} is no service", args.name)));
        }
    };
    let client = context.client().await?;
    let given = args
        .name
        .cluster
        .as_ref()
        .or(context.global.cluster.as_ref());
    let cluster = client.current_cluster(given).await?;
    let found = client
        .services_named(&cluster, std::slice::from_ref(&name))
        .await?;
    let Some(service) = found.first() else {
        let text = format!("service {name} was not found in cluster {cluster}");
        return Err(CommandError::new(ErrorKind::NotFound, text)
            .hint("`bowline ls services` shows what there is"));
    };
    if service.enable_execute_command && !args.redeploy {
        context.printer.note(&format!(
            "service {name} has ECS Exec already; tasks that are older than that need --redeploy"
        ));
        return Ok(ExitCode::Success);
    }
    let request = enable_exec(cluster.as_str(), &name, args.redeploy);
    mend::show(context, std::slice::from_ref(&request));
    if !mend::confirm(context, args.yes)? {
        context.printer.note("nothing was changed");
        return Ok(ExitCode::Failed);
    }
    client.make(&request).await?;
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
