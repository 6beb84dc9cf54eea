//! Which tasks a log request is about, at first and later.

use std::collections::HashMap;

use super::request::{LogError, LogRequest};
use crate::aws::ecs::last_part;
use crate::model::Task;
use crate::target::{ArnKind, ClusterName, ContainerPart, Selector, TargetError, TargetSpec};
use crate::{Client, TargetOptions};

/// Finds tasks.
pub(super) struct Discovery {
    client: Client,
    targets: Vec<TargetSpec>,
    options: TargetOptions,
    previous: bool,
}

/// Tasks that were found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tasks: Vec<Task>,
    /// The containers that are wanted, by task ARN; without an entry all are.
    containers: HashMap<String, Vec<String>>,
    pub(super) notes: Vec<String>,
}

impl Found {
    /// Whether a container's output was asked for.
    pub(super) fn wants(&self, task: &Task, container: &str) -> bool {
        let chosen = self.containers.get(&task.task_arn);
        chosen.is_none_or(|names| names.iter().any(|name| name == container))
    }

    /// Takes over what was found later.
    pub(super) fn merge(&mut self, later: Self) {
        self.tasks = later.tasks;
        self.containers.extend(later.containers);
    }

    /// The tasks of one of several targets. What is wrong with one takes nothing away from the others.
    fn tolerate(
        &mut self,
        target: &TargetSpec,
        matching: Result<Vec<Task>, TargetError>,
    ) -> Vec<Task> {
        match matching {
            Ok(tasks) => return tasks,
            Err(TargetError::NoTask { .. }) => {}
            Err(TargetError::NotFound { .. }) => {
                let text = format!("{target} is gone; it is followed again if it comes back");
                self.notes.push(text);
            }
            Err(error) => {
                tracing::warn!(%error, %target, "the tasks of a target could not be looked for");
            }
        }
        Vec::new()
    }

    fn add(&mut self, task: Task, container: Option<&str>) {
        let known = self.tasks.iter().any(|one| one.task_arn == task.task_arn);
        match container {
            Some(name) if !known || self.containers.contains_key(&task.task_arn) => {
                let names = self.containers.entry(task.task_arn.clone()).or_default();
                names.push(name.to_owned());
            }
            Some(_) => {}
            // Once without a container means all.
            None => drop(self.containers.remove(&task.task_arn)),
        }
        if !known {
            self.tasks.push(task);
        }
    }
}

/// The only service, else the only task, of the cluster.
async fn only(client: &Client, options: &TargetOptions) -> Result<Selector, LogError> {
    let cluster = client.current_cluster(options.cluster.as_ref()).await?;
    let services = client.services(&cluster).await?;
    if let [service] = &services[..]
        && let Ok(name) = service.service_name.parse()
    {
        return Ok(Selector::Service(name));
    }
    // Without a service this is the only task; with several it is the error that names them.
    let found = client.resolve_only(options).await?;
    let id = found.task.id.parse();
    // ECS gives no ids that are not ids.
    let no_task = |_| TargetError::NoTask {
        target: "the target".to_owned(),
        cluster: cluster.to_string(),
        detail: None,
    };
    Ok(id.map(Selector::Task).map_err(no_task)?)
}

impl Discovery {
    pub(super) async fn new(client: Client, request: &LogRequest) -> Result<Self, LogError> {
        let mut options = request.options.clone();
        let mut targets = request.targets.clone();
        if targets.is_empty() {
            let by_option = match (options.task.take(), options.service.take()) {
                (Some(task), _) => Selector::Task(task),
                (None, Some(service)) => Selector::Service(service),
                (None, None) => only(&client, &options).await?,
            };
            targets.push(TargetSpec::of(by_option));
        }
        Ok(Self {
            client,
            targets,
            options,
            previous: request.previous,
        })
    }

    /// Whether nothing can join: every target is one task.
    pub(super) fn ends_with_its_tasks(&self) -> bool {
        self.previous
            || self.targets.iter().all(|target| match &target.selector {
                Selector::Task(_) => true,
                Selector::Arn(arn) => arn.kind == ArnKind::Task,
                _ => false,
            })
    }

    /// The tasks to begin with. If none runs, the last that has stopped is better than nothing.
    pub(super) async fn begin(&self) -> Result<Found, LogError> {
        let mut found = Found::default();
        for target in &self.targets {
            let (tasks, note) = self.tasks(target).await?;
            found.notes.extend(note);
            let chosen = self.chosen(target);
            if let (Some(name), Some(task)) = (chosen, tasks.first())
                && !tasks
                    .iter()
                    .any(|task| task.containers.iter().any(|one| one.name == name))
            {
                return Err(LogError::Target(TargetError::ContainerNotFound {
                    task: task.task_id.clone(),
                    name: name.to_owned(),
                    suggestions: Vec::new(),
                    candidates: task.containers.iter().map(|one| one.name.clone()).collect(),
                }));
            }
            for task in tasks {
                found.add(task, chosen);
            }
        }
        Ok(found)
    }

    /// The container that a target or the options name.
    fn chosen<'a>(&'a self, target: &'a TargetSpec) -> Option<&'a str> {
        let by_option = self.options.container.as_ref();
        let of_target = target.container.as_ref();
        let name = of_target.map_or(by_option, ContainerPart::name);
        name.map(|name| name.as_str())
    }

    /// The tasks there are now, and what became of `known` ones.
    pub(super) async fn again(
        &self,
        known: impl Iterator<Item = &Task>,
    ) -> Result<Found, LogError> {
        let mut found = Found::default();
        if !self.ends_with_its_tasks() {
            for target in &self.targets {
                let chosen = self.chosen(target);
                let matching = self.client.matching_tasks(target, &self.options).await;
                let matching = matching.map(|matching| matching.tasks);
                for task in found.tolerate(target, matching) {
                    found.add(task, chosen);
                }
            }
        }
        let mut gone: HashMap<String, Vec<String>> = HashMap::new();
        for task in known {
            if !found.tasks.iter().any(|one| one.task_arn == task.task_arn) {
                let of_cluster = gone.entry(task.cluster_arn.clone()).or_default();
                of_cluster.push(task.task_arn.clone());
            }
        }
        for (cluster, arns) in gone {
            found
                .tasks
                .extend(self.client.ecs().tasks(&cluster, &arns).await?);
        }
        Ok(found)
    }

    async fn tasks(&self, target: &TargetSpec) -> Result<(Vec<Task>, Option<String>), LogError> {
        let mut tasks = Vec::new();
        let mut error = None;
        if !self.previous {
            match self.client.matching_tasks(target, &self.options).await {
                Ok(matching) => tasks = matching.tasks,
                Err(missing @ (TargetError::NoTask { .. } | TargetError::NotFound { .. })) => {
                    error = Some(missing);
                }
                Err(other) => return Err(other.into()),
            }
        }
        if !tasks.is_empty() {
            return Ok((tasks, None));
        }
        let Some(last) = self.last_stopped(target).await? else {
            return Err(match error {
                Some(error) => error.into(),
                None => LogError::NoPrevious {
                    target: target.selector.to_string(),
                },
            });
        };
        let reason = last
            .stopped_reason
            .as_deref()
            .unwrap_or("no reason was given");
        let which = match self.previous {
            true => "this is the last one that has stopped",
            false => "no task runs; this is the last one that has stopped",
        };
        let note = format!("{which}: {} ({reason})", last.task_id);
        Ok((vec![last], Some(note)))
    }

    /// The task of a service or family that stopped last, as far as ECS remembers.
    async fn last_stopped(&self, target: &TargetSpec) -> Result<Option<Task>, LogError> {
        let cluster = match &target.selector {
            Selector::Arn(arn) => arn.cluster.clone(),
            _ => target.cluster.clone(),
        };
        let cluster = cluster.or_else(|| self.options.cluster.clone());
        let cluster = self.client.current_cluster(cluster.as_ref()).await?;
        let (service, family) = match &target.selector {
            Selector::Any(name) => (Some(name.as_str()), Some(name.as_str())),
            Selector::Service(name) => (Some(name.as_str()), None),
            Selector::Family(name) => (None, Some(name.as_str())),
            Selector::Arn(arn) if arn.kind == ArnKind::Service => {
                (Some(last_part(&arn.name)), None)
            }
            // A task that was named is found as it is, stopped or not.
            _ => return Ok(None),
        };
        let mut arns = Vec::new();
        if let Some(service) = service {
            arns = self.stopped(&cluster, Some(service), None).await?;
        }
        if arns.is_empty() && family.is_some() {
            arns = self.stopped(&cluster, None, family).await?;
        }
        let tasks = self.client.ecs().tasks(cluster.as_str(), &arns).await?;
        Ok(tasks.into_iter().max_by_key(|task| task.stopped_at))
    }

    async fn stopped(
        &self,
        cluster: &ClusterName,
        service: Option<&str>,
        family: Option<&str>,
    ) -> Result<Vec<String>, LogError> {
        let ecs = self.client.ecs();
        let listed = ecs
            .stopped_task_arns(cluster.as_str(), service, family)
            .await;
        match listed {
            Err(error) if error.is("ServiceNotFoundException") => Ok(Vec::new()),
            other => Ok(other?),
        }
    }
}
