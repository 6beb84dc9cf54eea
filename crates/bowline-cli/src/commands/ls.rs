//! `bowline ls`: what there is.

use bowline::target::{ClusterName, ContainerPart, Selector, TargetSpec};
use bowline::{Client, TargetOptions};
use clap::{Args, ValueEnum};

use super::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::View;
use crate::output::listing::{ContainerRow, Listing};
use crate::output::query::QueryArgs;

/// List clusters, services, tasks and containers
///
/// Without arguments the services and tasks of the current cluster are shown: the
/// one of --cluster, BOWLINE_CLUSTER or the configuration, else the only one, else
/// `default`.
///
/// Examples:
///   bowline ls                      services and tasks
///   bowline ls tasks web -o wide    the tasks of service web, whole identifiers
///   bowline ls containers -o name   one target per line
///   bowline ls tasks --query 'tasks[?healthStatus==`UNHEALTHY`].taskId'
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct LsArgs {
    /// What to list: clusters, services, tasks or containers; then, or instead, a target
    #[arg(value_name = "KIND|TARGET")]
    first: Option<String>,
    /// Only what belongs to this target
    #[arg(value_name = "TARGET")]
    target: Option<TargetSpec>,
    #[command(flatten)]
    query: QueryArgs,
}

/// What to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    #[value(alias = "cluster")]
    Clusters,
    #[value(alias = "service")]
    Services,
    #[value(alias = "task")]
    Tasks,
    #[value(alias = "container")]
    Containers,
}

/// Lists what is asked for.
pub async fn run(args: LsArgs, context: &Context) -> Result<ExitCode, CommandError> {
    args.query.check(context.global.output)?;
    let (kind, target) = args.meaning()?;
    let target = target_or_options(target, context)?;
    let client = context.client().await?;
    let listing = match (kind, target) {
        (Some(Kind::Clusters), Some(_)) => {
            return Err(CommandError::usage("clusters are listed without a target"));
        }
        (Some(Kind::Clusters), None) => Listing {
            clusters: Some(client.clusters().await?),
            ..Listing::default()
        },
        (kind, Some(target)) => matching(&client, context, kind, &target).await?,
        (kind, None) => whole_cluster(&client, context, kind).await?,
    };
    let text = match &args.query.query {
        Some(query) => query.apply(&listing)?,
        None => listing.render(context.listing_format(), View::of_stdout())?,
    };
    context.printer.document(&text)?;
    if listing.is_empty() {
        context.printer.note("nothing is there yet");
    }
    Ok(ExitCode::Success)
}

impl LsArgs {
    /// The first word is a kind if it is one, else the target. A service that is called like a kind can be
    /// written `service:tasks`.
    fn meaning(&self) -> Result<(Option<Kind>, Option<TargetSpec>), CommandError> {
        let Some(first) = &self.first else {
            return Ok((None, None));
        };
        if let Ok(kind) = Kind::from_str(first, false) {
            return Ok((Some(kind), self.target.clone()));
        }
        if self.target.is_some() {
            return Err(
                CommandError::usage(format!("{first:?} is nothing that can be listed"))
                    .hint("list clusters, services, tasks or containers"),
            );
        }
        let target = first
            .parse()
            .map_err(|error| CommandError::new(ErrorKind::Usage, error))?;
        Ok((None, Some(target)))
    }
}

/// The target after its alias has been replaced, or the one that --task or --service are in place of one.
pub(super) fn target_or_options(
    target: Option<TargetSpec>,
    context: &Context,
) -> Result<Option<TargetSpec>, CommandError> {
    let global = &context.global;
    let target = target.and_then(|target| context.target(Some(&target)));
    let task = global.task.clone().map(Selector::Task);
    let selector = task.or_else(|| global.service.clone().map(Selector::Service));
    match (target, selector) {
        (Some(target), Some(option)) => Err(CommandError::usage(format!(
            "{target} and {option} are both targets: --task and --service stand in place of one"
        ))),
        (target, option) => Ok(target.or_else(|| option.map(TargetSpec::of))),
    }
}

async fn whole_cluster(
    client: &Client,
    context: &Context,
    kind: Option<Kind>,
) -> Result<Listing, CommandError> {
    let given = context.global.cluster.as_ref();
    let cluster = client.current_cluster(given).await?;
    let mut listing = Listing {
        cluster: Some(cluster.as_str().to_owned()),
        ..Listing::default()
    };
    match kind {
        Some(Kind::Services) => listing.services = Some(client.services(&cluster).await?),
        Some(Kind::Containers) => {
            let tasks = client.tasks(&cluster).await?;
            listing.containers = Some(tasks.iter().flat_map(ContainerRow::of).collect());
        }
        Some(_) => listing.tasks = Some(client.tasks(&cluster).await?),
        None => {
            let (services, tasks) =
                tokio::try_join!(client.services(&cluster), client.tasks(&cluster))?;
            listing.services = Some(services);
            listing.tasks = Some(tasks);
        }
    }
    Ok(listing)
}

async fn matching(
    client: &Client,
    context: &Context,
    kind: Option<Kind>,
    target: &TargetSpec,
) -> Result<Listing, CommandError> {
    let options = TargetOptions {
        cluster: context.global.cluster.clone(),
        ..TargetOptions::default()
    };
    let found = client.matching_tasks(target, &options).await?;
    let container = target
        .container
        .as_ref()
        .map_or(context.global.container.as_ref(), ContainerPart::name);
    let mut listing = Listing {
        cluster: Some(found.cluster.to_string()),
        ..Listing::default()
    };
    match kind {
        Some(Kind::Containers) => {
            let rows = found.tasks.iter().flat_map(ContainerRow::of);
            let chosen =
                rows.filter(|row| container.is_none_or(|c| c.as_str() == row.container.name));
            listing.containers = Some(chosen.collect());
        }
        Some(Kind::Services) => {
            listing.services = Some(services_of(client, &found.cluster, &found.services).await?);
        }
        Some(_) => listing.tasks = Some(found.tasks),
        None => {
            let services = services_of(client, &found.cluster, &found.services).await?;
            listing.services = Some(services).filter(|services| !services.is_empty());
            listing.tasks = Some(found.tasks);
        }
    }
    Ok(listing)
}

async fn services_of(
    client: &Client,
    cluster: &ClusterName,
    names: &[String],
) -> Result<Vec<bowline::model::Service>, CommandError> {
    match names.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(client.services_named(cluster, names).await?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(
        first: Option<&str>,
        target: Option<&str>,
    ) -> Result<(Option<Kind>, Option<String>), CommandError> {
        let args = LsArgs {
            first: first.map(str::to_owned),
            target: target.map(|text| text.parse().unwrap()),
            query: QueryArgs::default(),
        };
        args.meaning()
            .map(|(kind, target)| (kind, target.map(|t| t.to_string())))
    }

    #[test]
    fn a_kind_comes_first_or_not_at_all() {
        assert_eq!(meaning(None, None).unwrap(), (None, None));
        assert_eq!(
            meaning(Some("tasks"), None).unwrap(),
            (Some(Kind::Tasks), None)
        );
        assert_eq!(
            meaning(Some("task"), Some("web")).unwrap(),
            (Some(Kind::Tasks), Some("web".into()))
        );
        assert_eq!(
            meaning(Some("prod/web"), None).unwrap(),
            (None, Some("prod/web".into()))
        );
        assert_eq!(
            meaning(Some("service:tasks"), None).unwrap(),
            (None, Some("service:tasks".into()))
        );
        for (first, target) in [("web", Some("api")), ("a b", None)] {
            let error = meaning(Some(first), target).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
        }
    }
}
