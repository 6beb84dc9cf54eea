//! From what a user says to the request: which definition, like which service, in which network, which container.

use std::fmt;
use std::str::FromStr;

use super::definition::TaskDefinition;
use super::request::{
    AwsvpcConfiguration, NetworkConfiguration, RunRequest, ServiceSettings, StrategyItem,
};
use crate::aws::ecs::last_part;
use crate::target::{
    ArnKind, ClusterName, ContainerName, ContainerPart, FamilyName, ParseTargetError, Selector,
    in_cluster,
};
use crate::{AwsError, Client, TargetError, TargetOptions, TargetSpec};

/// What to run: a service's definition, or a family's.
///
/// ```text
/// web                      the definition of service web, else the newest of family web
/// service:prod/web/app     the same, in a cluster, with the container for the command
/// family:job  family:job:7 the newest revision of a family, or this one
/// arn:aws:ecs:…:task-definition/job:7
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunTarget {
    /// A task definition.
    Definition {
        /// The cluster to run it in.
        cluster: Option<ClusterName>,
        /// `family`, `family:revision` or an ARN.
        name: String,
        /// The container for the command.
        container: Option<ContainerName>,
    },
    /// Something in a cluster.
    Spec(TargetSpec),
}

/// What else a user may say about where and how to run.
#[derive(Clone, Debug, Default)]
pub struct RunWish {
    /// Run it as this service runs its tasks.
    pub like: Option<String>,
    /// Subnets, in place of the service's.
    pub subnets: Vec<String>,
    /// Security groups, in place of the service's.
    pub security_groups: Vec<String>,
    /// Whether the task gets a public address.
    pub assign_public_ip: Option<bool>,
    /// A launch type, in place of the service's.
    pub launch_type: Option<String>,
    /// Capacity providers, in place of the service's.
    pub providers: Vec<StrategyItem>,
    /// A Fargate platform version, in place of the service's.
    pub platform_version: Option<String>,
}

/// A request that is ready, and what it was made from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunPlan {
    /// The request; its overrides are still empty.
    pub request: RunRequest,
    /// The cluster's name.
    pub cluster: ClusterName,
    /// The service whose definition it is; none for a family.
    pub service: Option<String>,
    /// Its definition.
    pub definition: TaskDefinition,
    /// The container that a command is for.
    pub container: String,
    /// Choices that were made for the user and are worth a line on stderr.
    pub notes: Vec<String>,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No service is of a pattern.
    #[error("no service of cluster {cluster} matches {pattern}")]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// The cluster, or a pattern of clusters.
        cluster: String,
    },
    /// The target is a task.
    #[error("{target} is a task, and run starts a new one")]
    Task {
        /// The target.
        target: String,
    },
    /// There is neither a service nor a family of this name.
    #[error(
        "there is neither a service {name} in cluster {cluster} nor a task definition family {name}"
    )]
    NotFound {
        /// The name.
        name: String,
        /// The cluster.
        cluster: String,
        /// Its services.
        candidates: Vec<String>,
    },
    /// There is no such service.
    #[error("there is no service {name} in cluster {cluster}")]
    NoService {
        /// The name.
        name: String,
        /// The cluster.
        cluster: String,
        /// Its services.
        candidates: Vec<String>,
    },
    /// No target was given and the cluster does not have exactly one service.
    #[error(
        "no target is given and cluster {cluster} has {}",
        services(candidates)
    )]
    Ambiguous {
        /// The cluster.
        cluster: String,
        /// Its services.
        candidates: Vec<String>,
    },
    /// The definition needs subnets and nothing says which.
    #[error("{definition} needs a network (awsvpc), and nothing says which")]
    NoNetwork {
        /// `family:revision`.
        definition: String,
        /// Services whose network could be taken.
        candidates: Vec<String>,
    },
    /// The definition has no container of that name.
    #[error("{definition} has no container {name}")]
    NoContainer {
        /// `family:revision`.
        definition: String,
        /// The name.
        name: String,
        /// Its containers.
        candidates: Vec<String>,
    },
    /// The cluster could not be found or chosen.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

impl FromStr for RunTarget {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        if text.starts_with("arn:") && text.contains(":task-definition/") {
            return Ok(Self::Definition {
                cluster: None,
                name: text.to_owned(),
                container: None,
            });
        }
        let Some(path) = text.strip_prefix("family:") else {
            return text.parse().map(Self::Spec);
        };
        // Only the name may have a revision behind it.
        let parts: Vec<&str> = path.split('/').collect();
        let (cluster, name, container) = match parts[..] {
            [name] => (None, name, None),
            [cluster, name] => (Some(cluster), name, None),
            [cluster, name, container] => (Some(cluster), name, Some(container)),
            _ => {
                return Err(ParseTargetError::TooManyParts {
                    text: text.to_owned(),
                });
            }
        };
        let family = match name.rsplit_once(':') {
            Some((family, revision)) if revision.parse::<u32>().is_ok() => family,
            _ => name,
        };
        family.parse::<FamilyName>()?;
        Ok(Self::Definition {
            cluster: cluster.map(str::parse).transpose()?,
            name: name.to_owned(),
            container: container.map(str::parse).transpose()?,
        })
    }
}

impl fmt::Display for RunTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(spec) => spec.fmt(f),
            Self::Definition { name, .. } if name.starts_with("arn:") => f.write_str(name),
            Self::Definition {
                cluster,
                name,
                container,
            } => {
                f.write_str("family:")?;
                if let Some(cluster) = cluster {
                    write!(f, "{cluster}/")?;
                }
                f.write_str(name)?;
                match container {
                    Some(container) => write!(f, "/{container}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Client {
    /// Makes the request for a target. Nothing is started.
    pub async fn plan_run(
        &self,
        target: Option<&RunTarget>,
        wish: &RunWish,
        options: &TargetOptions,
    ) -> Result<RunPlan, PlanError> {
        let in_target = target.and_then(RunTarget::cluster);
        let given = in_target.or_else(|| options.cluster.clone());
        let cluster = self.current_cluster(given.as_ref()).await?;
        let planner = Planner {
            client: self,
            cluster,
        };
        planner.plan(target, wish, options).await
    }
}

impl RunTarget {
    fn cluster(&self) -> Option<ClusterName> {
        match self {
            Self::Definition { cluster, .. } => cluster.clone(),
            Self::Spec(spec) => match &spec.selector {
                Selector::Arn(arn) => arn.cluster.clone(),
                _ => spec.cluster.clone(),
            },
        }
    }

    fn container(&self) -> Option<&ContainerName> {
        match self {
            Self::Definition { container, .. } => container.as_ref(),
            Self::Spec(spec) => spec.container.as_ref().and_then(ContainerPart::name),
        }
    }
}

/// A definition that is to be run.
pub(super) enum Wanted {
    Named(String),
    /// It was looked up to find out whether there is one.
    Described(Box<TaskDefinition>),
}

pub(super) struct Planner<'a> {
    pub(super) client: &'a Client,
    pub(super) cluster: ClusterName,
}

impl Planner<'_> {
    async fn plan(
        self,
        target: Option<&RunTarget>,
        wish: &RunWish,
        options: &TargetOptions,
    ) -> Result<RunPlan, PlanError> {
        let (definition, own) = self.what(target, wish, options).await?;
        let chosen = target.and_then(RunTarget::container);
        let chosen = chosen.or(options.container.as_ref());
        self.complete(definition, own, wish, chosen).await
    }

    /// The request for a definition, which may be that of a service.
    pub(super) async fn complete(
        &self,
        definition: Wanted,
        own: Option<ServiceSettings>,
        wish: &RunWish,
        chosen: Option<&ContainerName>,
    ) -> Result<RunPlan, PlanError> {
        let mut notes = Vec::new();
        let service = own.as_ref().map(|service| service.name.clone());
        let like = match &wish.like {
            Some(like) => Some(self.service(like).await?),
            None => own,
        };
        let definition = match definition {
            Wanted::Named(name) => self.client.ecs().definition(&name).await?,
            Wanted::Described(definition) => *definition,
        };
        let label = format!("{}:{}", definition.family, definition.revision);

        let arn = &definition.task_definition_arn;
        let mut request = RunRequest::new(self.cluster.as_str(), arn);
        if let Some(service) = &like {
            request = request.like(service);
            // ECS refuses exec without a task role; nobody has asked for it here.
            request.enable_execute_command &= definition.task_role_arn.is_some();
        }
        if let Some(launch_type) = &wish.launch_type {
            request = request.on_launch_type(launch_type.clone());
        } else if !wish.providers.is_empty() {
            request = request.on_providers(wish.providers.clone());
        } else if like.is_none() && definition.is_fargate_only() {
            let cluster = self.cluster.as_str();
            if !self.client.ecs().has_default_strategy(cluster).await? {
                // Without this ECS looks for EC2 instances.
                request = request.on_launch_type("FARGATE");
            }
        }
        if wish.platform_version.is_some() {
            request.platform_version.clone_from(&wish.platform_version);
        }
        if definition.needs_network() {
            let given = request.network_configuration.take();
            let network = self.network(given, &label, wish, &mut notes).await?;
            request.network_configuration = Some(network);
        } else {
            request.network_configuration = None;
        }
        let container = container(&definition, &label, chosen, &mut notes)?;
        Ok(RunPlan {
            request,
            cluster: self.cluster.clone(),
            service,
            definition,
            container,
            notes,
        })
    }

    /// The definition, and the service it is of.
    async fn what(
        &self,
        target: Option<&RunTarget>,
        wish: &RunWish,
        options: &TargetOptions,
    ) -> Result<(Wanted, Option<ServiceSettings>), PlanError> {
        let of = |service: ServiceSettings| {
            let name = service.task_definition.clone();
            (Wanted::Named(name), Some(service))
        };
        let spec = match target {
            Some(RunTarget::Definition { name, .. }) => {
                return Ok((Wanted::Named(name.clone()), None));
            }
            Some(RunTarget::Spec(spec)) => spec,
            None if options.task.is_some() => {
                return Err(PlanError::Task {
                    target: "the target".to_owned(),
                });
            }
            None => {
                let named = options.service.as_ref().map(|name| name.as_str());
                return match named.or(wish.like.as_deref()) {
                    Some(name) => self.service(name).await.map(of),
                    None => self.only_service().await.map(of),
                };
            }
        };
        match &spec.selector {
            Selector::Service(name) => self.service(name.as_str()).await.map(of),
            Selector::Arn(arn) if arn.kind == ArnKind::Service => {
                self.service(&arn.name).await.map(of)
            }
            Selector::Family(name) => Ok((Wanted::Named(name.to_string()), None)),
            Selector::Any(name) => {
                if let Some(service) = self.find(name.as_str()).await? {
                    return Ok(of(service));
                }
                match self.client.ecs().definition(name.as_str()).await {
                    Ok(definition) => Ok((Wanted::Described(Box::new(definition)), None)),
                    Err(error) if error.is("ClientException") => Err(PlanError::NotFound {
                        name: name.to_string(),
                        cluster: self.cluster.to_string(),
                        candidates: self.names().await,
                    }),
                    Err(error) => Err(error.into()),
                }
            }
            _ => Err(PlanError::Task {
                target: spec.to_string(),
            }),
        }
    }

    async fn find(&self, name: &str) -> Result<Option<ServiceSettings>, PlanError> {
        let ecs = self.client.ecs();
        let asked = [name.to_owned()];
        let answer = ecs.service_settings(self.cluster.as_str(), &asked).await;
        let found = in_cluster(self.client, &self.cluster, answer).await?;
        Ok(found.into_iter().find(|service| service.name == name))
    }

    async fn service(&self, name: &str) -> Result<ServiceSettings, PlanError> {
        let name = last_part(name);
        match self.find(name).await? {
            Some(service) => Ok(service),
            None => Err(PlanError::NoService {
                name: name.to_owned(),
                cluster: self.cluster.to_string(),
                candidates: self.names().await,
            }),
        }
    }

    async fn only_service(&self) -> Result<ServiceSettings, PlanError> {
        let mut services = self.all().await?;
        match services.len() {
            1 => Ok(services.remove(0)),
            _ => Err(PlanError::Ambiguous {
                cluster: self.cluster.to_string(),
                candidates: services.into_iter().map(|service| service.name).collect(),
            }),
        }
    }

    async fn all(&self) -> Result<Vec<ServiceSettings>, PlanError> {
        let ecs = self.client.ecs();
        let cluster = self.cluster.as_str();
        let listed = ecs.service_arns(cluster).await;
        let arns = in_cluster(self.client, &self.cluster, listed).await?;
        let mut services = ecs.service_settings(cluster, &arns).await?;
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(services)
    }

    /// For a message: without the permission to list, there are none.
    async fn names(&self) -> Vec<String> {
        let listed = self.client.ecs().service_arns(self.cluster.as_str()).await;
        let arns = listed.unwrap_or_default();
        let mut names: Vec<String> = arns.iter().map(|arn| last_part(arn).to_owned()).collect();
        names.sort();
        names.truncate(CANDIDATES_SHOWN);
        names
    }

    /// What is inherited and what is given; failing both, the network of the only service that has one.
    async fn network(
        &self,
        inherited: Option<NetworkConfiguration>,
        label: &str,
        wish: &RunWish,
        notes: &mut Vec<String>,
    ) -> Result<NetworkConfiguration, PlanError> {
        let mut network = match inherited {
            Some(network) => network,
            None if !wish.subnets.is_empty() => NetworkConfiguration::default(),
            None => self.only_network(label, notes).await?,
        };
        let vpc: &mut AwsvpcConfiguration = &mut network.awsvpc_configuration;
        if !wish.subnets.is_empty() {
            vpc.subnets.clone_from(&wish.subnets);
        }
        if !wish.security_groups.is_empty() {
            vpc.security_groups.clone_from(&wish.security_groups);
        }
        if let Some(public) = wish.assign_public_ip {
            let word = if public { "ENABLED" } else { "DISABLED" };
            vpc.assign_public_ip = Some(word.to_owned());
        }
        Ok(network)
    }

    async fn only_network(
        &self,
        label: &str,
        notes: &mut Vec<String>,
    ) -> Result<NetworkConfiguration, PlanError> {
        let mut services = self.all().await?;
        services.retain(|service| service.network.is_some());
        let same = services
            .windows(2)
            .all(|pair| pair[0].network == pair[1].network);
        match services.first() {
            Some(ServiceSettings {
                name,
                network: Some(network),
                ..
            }) if same => {
                let which = match services.len() {
                    1 => format!("service {name}, the only one that has any"),
                    count => format!("all {count} services"),
                };
                notes.push(format!(
                    "{label} runs in the network of {which}, in cluster {}; --like or --subnets choose another",
                    self.cluster
                ));
                Ok(network.clone())
            }
            _ => Err(PlanError::NoNetwork {
                definition: label.to_owned(),
                candidates: services.into_iter().map(|service| service.name).collect(),
            }),
        }
    }
}

/// The container that a command is for: the one that is named, the only one, or the first essential one.
fn container(
    definition: &TaskDefinition,
    label: &str,
    chosen: Option<&ContainerName>,
    notes: &mut Vec<String>,
) -> Result<String, PlanError> {
    let names: Vec<String> = definition
        .container_definitions
        .iter()
        .map(|container| container.name.clone())
        .collect();
    if let Some(chosen) = chosen {
        return match definition.container(chosen.as_str()) {
            Some(found) => Ok(found.name.clone()),
            None => Err(PlanError::NoContainer {
                definition: label.to_owned(),
                name: chosen.to_string(),
                candidates: names,
            }),
        };
    }
    let essential = definition.essential();
    let first = essential.first().or_else(|| names.first()).cloned();
    let first = first.unwrap_or_default();
    if names.len() > 1 {
        notes.push(format!(
            "the command is for container {first}, the first essential one of {}; choose another with --container",
            names.join(", ")
        ));
    }
    Ok(first)
}

fn services(names: &[String]) -> String {
    match names.len() {
        0 => "no service".to_owned(),
        count => format!("{count}: {}", names.join(", ")),
    }
}

/// How many names a message may list.
const CANDIDATES_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_a_revision_and_everything_prints_back() {
        for (text, cluster, name) in [
            ("family:job", None, "job"),
            ("family:job:7", None, "job:7"),
            ("family:prod/job:7/app", Some("prod"), "job:7"),
            (
                "arn:aws:ecs:r:1:task-definition/job:7",
                None,
                "arn:aws:ecs:r:1:task-definition/job:7",
            ),
        ] {
            let target: RunTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
            match target {
                RunTarget::Definition {
                    cluster: found,
                    name: called,
                    ..
                } => {
                    assert_eq!(found.as_ref().map(ClusterName::as_str), cluster, "{text}");
                    assert_eq!(called, name, "{text}");
                }
                RunTarget::Spec(_) => panic!("{text}"),
            }
        }
        for text in ["web", "service:prod/web", "task:12"] {
            assert!(matches!(text.parse(), Ok(RunTarget::Spec(_))), "{text}");
        }
        for text in [
            "family:",
            "family:a:b",
            "family:job:x",
            "family:a/b/c/d",
            "family:a b:1",
        ] {
            assert!(text.parse::<RunTarget>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_essential_container_gets_the_command_and_that_is_said() {
        let container_named = |name: &str, essential| super::super::ContainerDefinition {
            name: name.to_owned(),
            essential,
            ..Default::default()
        };
        let mut definition = TaskDefinition {
            container_definitions: vec![
                container_named("proxy", false),
                container_named("app", true),
            ],
            ..TaskDefinition::default()
        };
        let mut notes = Vec::new();
        assert_eq!(
            container(&definition, "x:1", None, &mut notes).unwrap(),
            "app"
        );
        assert_eq!(notes.len(), 1);
        let proxy = "proxy".parse().unwrap();
        assert_eq!(
            container(&definition, "x:1", Some(&proxy), &mut notes).unwrap(),
            "proxy"
        );
        let nope = "nope".parse().unwrap();
        let error = container(&definition, "x:1", Some(&nope), &mut notes).unwrap_err();
        assert_eq!(error.to_string(), "x:1 has no container nope");
        definition.container_definitions.truncate(1);
        notes.clear();
        assert_eq!(
            container(&definition, "x:1", None, &mut notes).unwrap(),
            "proxy"
        );
        assert!(notes.is_empty());
    }
}
