//! `bowline describe`: everything about one thing.

use bowline::model::{ServiceDetail, TaskDefinition, TaskDetail};
use bowline::target::{ClusterName, ContainerName, ContainerPart, Selector, TargetSpec};
use bowline::{Client, TargetError};
use clap::{Args, ValueEnum};

use super::ls::target_or_options;
use super::{Context, with_whole_ids};
use crate::cli::OutputFormat;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::View;
use crate::output::description::{About, Description};
use crate::output::query::QueryArgs;

/// Describe a service, task, family or cluster
///
/// A service comes with its deployments, tasks and events, a task with its
/// containers, agents and why it stopped; both with what their definition says:
/// images, commands, environment, ports, mounts and logs. Values that look like
/// secrets are masked; what ECS reads from a secret store is never fetched.
///
/// Examples:
///   bowline describe web                 service web (or a task, or a family)
///   bowline describe task 0a1b2c3d       by its whole id also one that has stopped
///   bowline describe family web:3        one revision of a task definition
///   bowline describe cluster             the current cluster
///   bowline describe web --query 'services[0].deployments[].rolloutState'
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct DescribeArgs {
    /// cluster, service, task or family, then its name; or, instead, a target
    #[arg(value_name = "KIND|TARGET")]
    first: Option<String>,
    /// What to describe
    #[arg(value_name = "NAME|TARGET")]
    second: Option<String>,
    /// Show the values of variables that look like secrets
    #[arg(long)]
    show_values: bool,
    #[command(flatten)]
    query: QueryArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    #[value(alias = "clusters")]
    Cluster,
    #[value(alias = "services")]
    Service,
    #[value(alias = "tasks")]
    Task,
    #[value(alias = "families", alias = "definition")]
    Family,
}

/// Describes what is asked for.
pub async fn run(args: DescribeArgs, context: &Context) -> Result<ExitCode, CommandError> {
    args.query.check(context.global.output)?;
    let (kind, name) = args.meaning()?;
    let client = context.client().await?;
    let look = Look { client, context };
    let mut description = match (kind, name) {
        (Some(Kind::Cluster), name) => look.cluster(name).await?,
        (Some(Kind::Family), Some(name)) => look.family(name).await?,
        (Some(Kind::Family), None) => {
            return Err(CommandError::usage("a family has to be named")
                .hint("write `bowline describe family NAME`"));
        }
        (Some(Kind::Service), name) => {
            let target = name.map(|name| of_kind(name, Kind::Service)).transpose()?;
            look.service(target_or_options(target, context)?.as_ref())
                .await?
        }
        (Some(Kind::Task), name) => {
            let target = name.map(|name| of_kind(name, Kind::Task)).transpose()?;
            look.tasks(target_or_options(target, context)?.as_ref())
                .await?
        }
        (None, name) => {
            let target = name.map(parse).transpose()?.map(with_whole_ids);
            look.whatever(target_or_options(target, context)?.as_ref())
                .await?
        }
    };
    if !args.show_values {
        description
            .tasks
            .iter_mut()
            .flatten()
            .for_each(TaskDetail::mask);
        description
            .task_definitions
            .iter_mut()
            .flatten()
            .for_each(TaskDefinition::mask);
    }
    let text = match &args.query.query {
        Some(query) => query.apply(&description)?,
        None => {
            let format = context.global.output.unwrap_or(OutputFormat::Table);
            description.render(format, View::of_stdout())?
        }
    };
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

impl DescribeArgs {
    /// The first word is a kind if it is one, else the target.
    fn meaning(&self) -> Result<(Option<Kind>, Option<&str>), CommandError> {
        let Some(first) = self.first.as_deref() else {
            return Ok((None, None));
        };
        match (Kind::from_str(first, false), self.second.as_deref()) {
            (Ok(kind), second) => Ok((Some(kind), second)),
            (Err(_), None) => Ok((None, Some(first))),
            (Err(_), Some(_)) => Err(CommandError::usage(format!(
                "{first:?} is nothing that can be described"
            ))
            .hint("describe a cluster, service, task or family")),
        }
    }
}

fn parse(text: &str) -> Result<TargetSpec, CommandError> {
    text.parse()
        .map_err(|error| CommandError::new(ErrorKind::Usage, error))
}

/// The target that `name` is after the word for its kind. Of a name that could be anything it makes that kind.
fn of_kind(name: &str, kind: Kind) -> Result<TargetSpec, CommandError> {
    let mut target = parse(name)?;
    if let Selector::Any(name) = &target.selector {
        let name = name.as_str();
        let selector = match kind {
            Kind::Task => name.parse().map(Selector::Task),
            _ => name.parse().map(Selector::Service),
        };
        target.selector = selector.map_err(|error| CommandError::new(ErrorKind::Usage, error))?;
    }
    Ok(target)
}

/// One look at the account.
struct Look<'a> {
    client: Client,
    context: &'a Context,
}

impl Look<'_> {
    async fn cluster(&self, name: Option<&str>) -> Result<Description, CommandError> {
        let name = name.map(|name| name.rsplit('/').next().unwrap_or(name));
        let name: Option<ClusterName> = name
            .map(str::parse)
            .transpose()
            .map_err(|error| CommandError::new(ErrorKind::Usage, error))?;
        let given = name.as_ref().or(self.context.global.cluster.as_ref());
        let cluster = self.client.current_cluster(given).await?;
        let Some(found) = self.client.cluster_detail(&cluster).await? else {
            // Listing it fails with the names there are.
            self.client.services(&cluster).await?;
            return Err(CommandError::new(
                ErrorKind::NotFound,
                format!("cluster {cluster} was not found"),
            ));
        };
        Ok(Description {
            cluster: Some(cluster.to_string()),
            clusters: Some(vec![found]),
            ..Description::default()
        })
    }

    async fn family(&self, name: &str) -> Result<Description, CommandError> {
        let name = name.strip_prefix("family:").unwrap_or(name);
        match self.client.task_definition(name).await? {
            Some(found) => Ok(of_family(found)),
            None => Err(CommandError::new(
                ErrorKind::NotFound,
                format!(
                    "task definition {name} was not found in {}",
                    self.client.region()
                ),
            )
            .hint("`bowline ls services` shows the definitions that are used")),
        }
    }

    async fn service(&self, target: Option<&TargetSpec>) -> Result<Description, CommandError> {
        let options = self.context.global.target_options();
        let (cluster, service) = self.client.find_service(target, &options).await?;
        self.found_service(cluster, service, target).await
    }

    async fn found_service(
        &self,
        cluster: ClusterName,
        service: ServiceDetail,
        target: Option<&TargetSpec>,
    ) -> Result<Description, CommandError> {
        let name = service.service.service_name.clone();
        let definition = service.service.task_definition.clone();
        let (tasks, mut definitions) = tokio::try_join!(
            self.client.service_tasks(&cluster, &name),
            self.definitions(definition.as_deref()),
        )?;
        narrow(&mut definitions, self.container(target))?;
        Ok(Description {
            cluster: Some(cluster.to_string()),
            services: Some(vec![service]),
            tasks: Some(tasks),
            task_definitions: Some(definitions),
            about: About::Service,
            ..Description::default()
        })
    }

    /// The one task that is meant, or the best of several.
    async fn tasks(&self, target: Option<&TargetSpec>) -> Result<Description, CommandError> {
        let mut options = self.context.global.target_options();
        let (cluster, id) = match target {
            Some(target) => {
                // They are the target already, if they were given.
                (options.task, options.service) = (None, None);
                let found = self.client.matching_tasks(target, &options).await?;
                let count = found.tasks.len();
                let best = found.tasks.into_iter().next();
                let best =
                    best.ok_or_else(|| nothing(&target.to_string(), found.cluster.as_str()))?;
                if count > 1 {
                    let note = format!("task {} is the newest of {count}", best.task_id);
                    self.context.printer.note(&note);
                }
                (found.cluster, best.task_id)
            }
            None => {
                let found = self.client.resolve_only(&options).await?;
                let cluster = found
                    .cluster
                    .name
                    .parse()
                    .map_err(|error| CommandError::new(ErrorKind::Usage, error))?;
                (cluster, found.task.id)
            }
        };
        self.one_task(&cluster, &id, self.container(target)).await
    }

    async fn one_task(
        &self,
        cluster: &ClusterName,
        id: &str,
        container: Option<&ContainerName>,
    ) -> Result<Description, CommandError> {
        let task = self.client.task_detail(cluster, id).await?;
        let mut task = task.ok_or_else(|| nothing(&format!("task {id}"), cluster.as_str()))?;
        let mut definitions = self
            .definitions(task.task.task_definition_arn.as_deref())
            .await?;
        narrow(&mut definitions, container)?;
        if let Some(container) = container {
            task.task
                .containers
                .retain(|c| c.name == container.as_str());
        }
        let service = match task.task.service_name.as_deref() {
            Some(service) => self.client.service_detail(cluster, service).await?,
            None => None,
        };
        Ok(Description {
            cluster: Some(cluster.to_string()),
            services: service.map(|service| vec![service]),
            tasks: Some(vec![task]),
            task_definitions: Some(definitions),
            about: About::Task,
            ..Description::default()
        })
    }

    /// A service, else a task, else a family.
    async fn whatever(&self, target: Option<&TargetSpec>) -> Result<Description, CommandError> {
        let Some(target) = target else {
            return self.service(None).await;
        };
        let name = match &target.selector {
            Selector::Any(name) => name.as_str(),
            Selector::Service(_) => return self.service(Some(target)).await,
            Selector::Family(name) => return self.family(name.as_str()).await,
            Selector::Arn(arn) if arn.kind == bowline::target::ArnKind::Service => {
                return self.service(Some(target)).await;
            }
            _ => return self.tasks(Some(target)).await,
        };
        let options = bowline::TargetOptions {
            cluster: self.context.global.cluster.clone(),
            ..Default::default()
        };
        let not_found = match self.client.find_service(Some(target), &options).await {
            Ok((cluster, service)) => {
                return self.found_service(cluster, service, Some(target)).await;
            }
            Err(error @ TargetError::NotFound { .. }) => CommandError::from(error),
            Err(error) => return Err(error.into()),
        };
        match self.client.matching_tasks(target, &options).await {
            Ok(found) => {
                if let [task] = &found.tasks[..]
                    && task.task_id.starts_with(name)
                {
                    return self
                        .one_task(&found.cluster, &task.task_id, self.container(Some(target)))
                        .await;
                }
            }
            Err(TargetError::NotFound { .. } | TargetError::NoTask { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        match self.client.task_definition(name).await? {
            Some(found) => Ok(of_family(found)),
            None => Err(not_found),
        }
    }

    async fn definitions(
        &self,
        arn: Option<&str>,
    ) -> Result<Vec<TaskDefinition>, bowline::AwsError> {
        match arn {
            Some(arn) => Ok(self
                .client
                .task_definition(arn)
                .await?
                .into_iter()
                .collect()),
            None => Ok(Vec::new()),
        }
    }

    fn container<'c>(&'c self, target: Option<&'c TargetSpec>) -> Option<&'c ContainerName> {
        let of_target = target.and_then(|target| target.container.as_ref());
        of_target.map_or(self.context.global.container.as_ref(), ContainerPart::name)
    }
}

fn of_family(definition: TaskDefinition) -> Description {
    Description {
        task_definitions: Some(vec![definition]),
        about: About::Family,
        ..Description::default()
    }
}

/// Only the container that was named.
fn narrow(
    definitions: &mut [TaskDefinition],
    container: Option<&ContainerName>,
) -> Result<(), CommandError> {
    let Some(container) = container else {
        return Ok(());
    };
    for definition in definitions {
        let names: Vec<String> = definition
            .container_definitions
            .iter()
            .map(|c| c.name.clone())
            .collect();
        definition
            .container_definitions
            .retain(|c| c.name == container.as_str());
        if definition.container_definitions.is_empty() {
            let error = format!("{} has no container {container}", definition.family);
            return Err(CommandError::new(ErrorKind::NotFound, error)
                .hint(format!("its containers are {}", names.join(", "))));
        }
    }
    Ok(())
}

fn nothing(what: &str, cluster: &str) -> CommandError {
    CommandError::new(
        ErrorKind::NotFound,
        format!("{what} was not found in cluster {cluster}"),
    )
}
