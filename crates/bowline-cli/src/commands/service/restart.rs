//! `bowline service restart`: new tasks in place of all.

use std::collections::BTreeSet;
use std::time::Duration;

use bowline::Client;
use bowline::model::{Deployment, Rollout, ServiceDetail, ServiceEvent};
use bowline::target::{ClusterName, TargetSpec};
use clap::Args;
use tokio::time::Instant;

use crate::commands::Context;
use crate::commands::guard;
use crate::commands::ls::target_or_options;
use crate::confirm::confirm;
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::View;
use crate::output::description::{About, Description};
use crate::output::query::QueryArgs;

/// How often a roll-out is looked at: well below the API's limits also with many who wait.
const LOOK: Duration = Duration::from_secs(3);
/// The same where the API is this machine's own.
const LOOK_LOCAL: Duration = Duration::from_millis(200);

/// Start new tasks in place of all tasks of a service
///
/// It is a new deployment of what the service has, by the service's own rules: new
/// tasks come up before old ones go. On a terminal it asks first; elsewhere --yes is
/// needed. With --wait it ends when the new tasks run (0), when ECS gives the
/// deployment up or another one takes its place (1), or when the time is over (124);
/// the deployment goes on in that last case.
///
/// Examples:
///   bowline service restart web --wait
///   bowline service restart prod/web --yes
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct RestartArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    target: Option<TargetSpec>,
    /// Wait until the new tasks run, with progress on stderr
    #[arg(short, long)]
    wait: bool,
    /// How long to wait at most (90s, 30m)
    #[arg(long, value_parser = duration::parse, default_value = "30m", value_name = "TIME")]
    timeout: Duration,
    #[command(flatten)]
    query: QueryArgs,
}

pub(super) async fn run(args: RestartArgs, context: &Context) -> Result<ExitCode, CommandError> {
    args.query.check(context.global.output)?;
    let client = context.client().await?;
    let target = target_or_options(args.target.clone(), context)?;
    let options = context.global.target_options();
    let found = client.find_service(target.as_ref(), &options).await?;
    let (cluster, service) = found;
    let name = service.service.service_name.clone();
    let definition = service.service.task_definition.as_deref().unwrap_or("-");
    let what = format!(
        "restart service {name} in cluster {cluster} ({}): new tasks of {} in place of its {}",
        client.region(),
        definition.rsplit('/').next().unwrap_or(definition),
        service.service.running_count,
    );
    let place = guard::account(&service.service.service_arn);
    guard::check_place(context, place, cluster.as_str(), &format!("service {name}")).await?;
    confirm(context, &[what], "Restart it?").await?;

    let deadline = Instant::now() + args.timeout;
    let restarted = client
        .force_new_deployment(&cluster, &name)
        .await
        .map_err(CommandError::refused)?;
    let primary = restarted
        .deployments
        .iter()
        .find(|d| d.status.as_deref() == Some("PRIMARY"));
    let id = primary.map(|deployment| deployment.id.clone());
    let id = id.ok_or_else(|| {
        CommandError::new(ErrorKind::Unavailable, "the answer names no deployment")
    })?;
    context
        .printer
        .note(&format!("deployment {id} of service {name} has started"));
    let last = match args.wait {
        false => restarted,
        true => {
            let mut seen: BTreeSet<String> = service
                .events
                .iter()
                .map(|event| event.id.clone())
                .collect();
            let wait = Wait {
                client: &client,
                context,
                cluster: &cluster,
                name: &name,
                id: &id,
            };
            tokio::select! {
                ended = wait.until(deadline, args.timeout, &mut seen) => ended?,
                _ = tokio::signal::ctrl_c() => {
                    let text = "interrupted; the deployment goes on";
                    return Err(CommandError::new(ErrorKind::Interrupted, text));
                }
            }
        }
    };
    show(last, &cluster, &args.query, context)?;
    Ok(ExitCode::Success)
}

fn show(
    service: ServiceDetail,
    cluster: &ClusterName,
    query: &QueryArgs,
    context: &Context,
) -> Result<(), CommandError> {
    let description = Description {
        cluster: Some(cluster.to_string()),
        services: Some(vec![service]),
        about: About::Service,
        ..Description::default()
    };
    match (&query.query, context.global.output) {
        (Some(query), _) => context.printer.document(&query.apply(&description)?),
        (None, Some(format)) => context
            .printer
            .document(&description.render(format, View::of_stdout())?),
        // What was done has been said already.
        (None, None) => Ok(()),
    }
}

/// Somebody waits for a deployment.
struct Wait<'a> {
    client: &'a Client,
    context: &'a Context,
    cluster: &'a ClusterName,
    name: &'a str,
    id: &'a str,
}

impl Wait<'_> {
    async fn until(
        &self,
        deadline: Instant,
        limit: Duration,
        seen: &mut BTreeSet<String>,
    ) -> Result<ServiceDetail, CommandError> {
        let pause = if self.client.endpoint_is_loopback() {
            LOOK_LOCAL
        } else {
            LOOK
        };
        let printer = &self.context.printer;
        let mut said = String::new();
        loop {
            let service = self.client.service_detail(self.cluster, self.name).await?;
            let Some(service) = service else {
                return Err(self.ended("the service was deleted"));
            };
            for event in news(&service, seen) {
                printer.note(&format!("  {}", event.message));
            }
            match service.rollout(self.id) {
                Rollout::Completed => {
                    printer.note(&format!("service {} has new tasks", self.name));
                    return Ok(service);
                }
                Rollout::Failed(reason) => return Err(self.ended(&reason)),
                Rollout::Replaced(by) => {
                    return Err(self.ended(&format!("deployment {by} took its place")));
                }
                Rollout::InProgress(deployment) => {
                    let progress = progress(&deployment);
                    if progress != said {
                        printer.note(&progress);
                        said = progress;
                    }
                }
            }
            if Instant::now() + pause > deadline {
                let text = format!(
                    "deployment {} of service {} is not through after {limit:?}",
                    self.id, self.name
                );
                return Err(CommandError::new(ErrorKind::TimedOut, text).hint(format!(
                    "it goes on: `bowline describe {}/{}` shows how far it is",
                    self.cluster, self.name
                )));
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn ended(&self, reason: &str) -> CommandError {
        let text = format!(
            "deployment {} of service {} failed: {reason}",
            self.id, self.name
        );
        let target = format!("{}/{}", self.cluster, self.name);
        CommandError::new(ErrorKind::Failed, text).hint(format!(
            "`bowline service events {target}` says what happened, `bowline describe {target}` what the tasks are"
        ))
    }
}

/// What happened since the last look, oldest first.
fn news<'s>(service: &'s ServiceDetail, seen: &mut BTreeSet<String>) -> Vec<&'s ServiceEvent> {
    let mut news: Vec<_> = service
        .events
        .iter()
        .filter(|event| seen.insert(event.id.clone()))
        .collect();
    news.reverse();
    news
}

fn progress(deployment: &Deployment) -> String {
    let failed = match deployment.failed_tasks {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    format!(
        "{} of {} new tasks running, {} pending{failed}",
        deployment.running_count, deployment.desired_count, deployment.pending_count
    )
}
