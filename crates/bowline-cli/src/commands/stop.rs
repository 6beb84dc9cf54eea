//! `bowline stop`: one task is stopped.

use bowline::TargetError;
use bowline::model::Task;
use bowline::target::TargetSpec;
use clap::Args;

use super::guard;
use super::ls::target_or_options;
use super::{Context, with_whole_ids};
use crate::confirm::confirm;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::listing::Listing;
use crate::output::query::QueryArgs;
use crate::output::{View, age};

/// Stop a task
///
/// ECS sends SIGTERM to its containers, and SIGKILL after their stop timeout (30
/// seconds unless the definition says otherwise). A service starts a new task in its
/// place. On a terminal it asks first; elsewhere --yes is needed.
///
/// Examples:
///   bowline stop 0a1b2c3d --reason 'leaks memory'
///   bowline stop web --yes          if service web has just one task
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct StopArgs {
    /// The task; a service or family if it has just one
    #[arg(value_name = "TARGET")]
    target: Option<TargetSpec>,
    /// Why, for the task's stopped reason and the events
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    query: QueryArgs,
}

/// Stops a task.
pub async fn run(args: StopArgs, context: &Context) -> Result<ExitCode, CommandError> {
    args.query.check(context.global.output)?;
    let target = target_or_options(args.target.clone(), context)?;
    let target = target.ok_or_else(|| {
        CommandError::usage("what shall be stopped has to be named")
            .hint("name a task, or a service that has just one; `bowline ls tasks` shows them")
    })?;
    let target = with_whole_ids(target);
    let client = context.client().await?;
    let options = bowline::TargetOptions {
        cluster: context.global.cluster.clone(),
        ..Default::default()
    };
    let found = client.matching_tasks(&target, &options).await?;
    let cluster = found.cluster.clone();
    let task = only(found.tasks, &target, cluster.as_str())?;
    let service = match task.service_name.as_deref() {
        Some(service) => client.service_detail(&cluster, service).await?,
        None => None,
    };

    let mut what = vec![format!(
        "stop {}",
        described(&task, cluster.as_str(), client.region())
    )];
    if let Some(service) = service.filter(|service| service.service.desired_count > 0) {
        let service = service.service;
        what.push(format!(
            "service {} wants {} and will start a new one",
            service.service_name,
            tasks(service.desired_count),
        ));
    }
    let place = guard::account(&task.task_arn);
    guard::check_place(
        context,
        place,
        cluster.as_str(),
        &format!("task {}", task.task_id),
    )
    .await?;
    confirm(context, &what, "Stop it?").await?;
    let stopped = client
        .stop_task(&cluster, &task.task_id, args.reason.as_deref())
        .await
        .map_err(CommandError::refused)?;
    context
        .printer
        .note(&format!("task {} is stopping", stopped.task_id));
    let listing = Listing {
        cluster: Some(cluster.to_string()),
        tasks: Some(vec![stopped]),
        ..Listing::default()
    };
    match (&args.query.query, context.global.output) {
        (Some(query), _) => context.printer.document(&query.apply(&listing)?)?,
        (None, Some(format)) => context
            .printer
            .document(&listing.render(format, View::of_stdout())?)?,
        // What was done has been said already.
        (None, None) => {}
    }
    Ok(ExitCode::Success)
}

/// Of several tasks none is stopped: the wrong one would be gone for good.
fn only(mut tasks: Vec<Task>, target: &TargetSpec, cluster: &str) -> Result<Task, CommandError> {
    if let [task] = &tasks[..]
        && task.is_stopping()
    {
        let how = match task.last_status.as_deref() {
            Some("STOPPED") => "has stopped",
            _ => "is stopping",
        };
        let text = format!("task {} {how} already", task.task_id);
        return Err(CommandError::new(ErrorKind::Failed, text));
    }
    tasks.retain(|task| !task.is_stopping());
    match tasks.len() {
        1 => Ok(tasks.remove(0)),
        0 => Err(TargetError::NoTask {
            target: target.to_string(),
            cluster: cluster.to_owned(),
            detail: Some("it has no task that is not stopping already".to_owned()),
        }
        .into()),
        _ => Err(TargetError::Ambiguous {
            target: target.to_string(),
            cluster: cluster.to_owned(),
            candidates: tasks.into_iter().map(|task| task.task_id).collect(),
        }
        .into()),
    }
}

fn described(task: &Task, cluster: &str, region: &str) -> String {
    let service = task
        .service_name
        .as_ref()
        .map(|service| format!(" of service {service}"));
    let family = || task.family().map(|family| format!(" of family {family}"));
    let of = service.or_else(family).unwrap_or_default();
    let started = task
        .started_at
        .map(|at| age::since(Some(at.as_second()), age::now()));
    let started = started
        .map(|age| format!(", running for {age}"))
        .unwrap_or_default();
    format!(
        "task {}{of} in cluster {cluster} ({region}){started}",
        task.task_id
    )
}

/// `1 task`, `2 tasks`.
fn tasks(count: i32) -> String {
    match count {
        1 => "1 task".to_owned(),
        _ => format!("{count} tasks"),
    }
}
