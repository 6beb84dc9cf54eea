//! The document in a state file, and the world made of it again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::logs::{self, Group};
use crate::automation::documents::{Documents, KeptDocument};
use crate::functions::Function;
use crate::iam::Iam;
use crate::network::Network;
use crate::state::definition::{Outline, TaskDefinition};
use crate::state::service::{CircuitBreaker, Deployment, Service, ServiceStatus};
use crate::state::store::Stores;
use crate::state::task::Launch;
use crate::state::{Cluster, Shared, StrategyItem, Tag, World};

/// What is in the file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    families: BTreeMap<String, Vec<Definition>>,
    clusters: Vec<ClusterForm>,
    stores: Stores,
    functions: Vec<Function>,
    documents: Vec<KeptDocument>,
    /// Objects in base64, by bucket and key.
    buckets: BTreeMap<String, BTreeMap<String, String>>,
    iam: Iam,
    network: Network,
    groups: Vec<Group>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    document: Value,
    active: bool,
    registered: SystemTime,
    tags: Vec<Tag>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterForm {
    name: String,
    active: bool,
    capacity_providers: Vec<String>,
    default_strategy: Vec<StrategyItem>,
    configuration: Option<Value>,
    settings: Vec<Value>,
    tags: Vec<Tag>,
    services: Vec<ServiceForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceForm {
    name: String,
    family: String,
    revision: usize,
    desired: usize,
    exec: bool,
    by_launch_type: bool,
    launch_type: String,
    capacity_provider: Option<String>,
    platform_version: String,
    network: Option<Value>,
    created: SystemTime,
    breaker: CircuitBreaker,
    tags: Vec<Tag>,
    lazy: bool,
}

impl Form {
    /// What there is at present in the sandbox's own account and region.
    pub(super) fn of(shared: &Shared) -> Self {
        let documents = shared.automation.documents().keep();
        let groups = logs::of(&shared.logs.groups());
        let world = shared.world();
        let definitions = |revisions: &Vec<Arc<TaskDefinition>>| {
            revisions.iter().map(|it| Definition::of(it)).collect()
        };
        let buckets = world.buckets.iter().map(|(bucket, objects)| {
            let objects = objects.iter();
            let objects = objects.map(|(key, bytes)| (key.clone(), BASE64.encode(bytes)));
            (bucket.clone(), objects.collect())
        });
        Self {
            families: world
                .definitions
                .iter()
                .map(|(family, revisions)| (family.clone(), definitions(revisions)))
                .collect(),
            clusters: world.clusters.values().map(ClusterForm::of).collect(),
            stores: world.stores.clone(),
            functions: world.functions.values().map(|it| (**it).clone()).collect(),
            documents,
            buckets: buckets.collect(),
            iam: world.iam.clone(),
            network: world.network.clone(),
            groups,
        }
    }
}

impl Definition {
    fn of(definition: &TaskDefinition) -> Self {
        Self {
            document: definition.document.clone(),
            active: definition.active,
            registered: definition.registered_at,
            tags: definition.tags.clone(),
        }
    }

    fn made(self, family: &str, revision: usize) -> Result<TaskDefinition, String> {
        let outline: Outline = serde_json::from_value(self.document.clone())
            .map_err(|error| format!("family {family}: {error}"))?;
        Ok(TaskDefinition {
            family: family.to_owned(),
            revision,
            active: self.active,
            registered_at: self.registered,
            document: self.document,
            outline,
            tags: self.tags,
        })
    }
}

impl ClusterForm {
    fn of(cluster: &Cluster) -> Self {
        let services = cluster.services.values();
        Self {
            name: cluster.name.clone(),
            active: cluster.active,
            capacity_providers: cluster.capacity_providers.clone(),
            default_strategy: cluster.default_strategy.clone(),
            configuration: cluster.configuration.clone(),
            settings: cluster.settings.clone(),
            tags: cluster.tags.clone(),
            services: services.filter_map(ServiceForm::of).collect(),
        }
    }

    fn made(self, world: &World) -> Result<Cluster, String> {
        let mut services = BTreeMap::new();
        for service in self.services {
            services.insert(service.name.clone(), service.made(world)?);
        }
        Ok(Cluster {
            active: self.active,
            capacity_providers: self.capacity_providers,
            default_strategy: self.default_strategy,
            configuration: self.configuration,
            settings: self.settings,
            tags: self.tags,
            services,
            ..Cluster::new(&self.name)
        })
    }
}

impl ServiceForm {
    /// `None` of one that is being deleted.
    fn of(service: &Service) -> Option<Self> {
        let active = service.status == ServiceStatus::Active;
        let primary = service.deployments.first().filter(|_| active)?;
        Some(Self {
            name: service.name.clone(),
            family: primary.definition.family.clone(),
            revision: primary.definition.revision,
            desired: service.desired_count,
            exec: service.exec_enabled,
            by_launch_type: service.by_launch_type,
            launch_type: service.launch.launch_type.to_owned(),
            capacity_provider: service.launch.capacity_provider.clone(),
            platform_version: service.launch.platform_version.clone(),
            network: service.network.clone(),
            created: service.created_at,
            breaker: service.breaker,
            tags: service.tags.clone(),
            lazy: service.lazy,
        })
    }

    fn made(self, world: &World) -> Result<Service, String> {
        let revisions = world.definitions.get(&self.family);
        let definition = revisions.and_then(|all| all.get(self.revision.checked_sub(1)?));
        let definition = definition.ok_or_else(|| {
            let Self {
                name,
                family,
                revision,
                ..
            } = &self;
            format!("service {name} has no task definition {family}:{revision}")
        })?;
        Ok(Service {
            name: self.name,
            status: ServiceStatus::Active,
            desired_count: self.desired,
            exec_enabled: self.exec,
            by_launch_type: self.by_launch_type,
            launch: Launch {
                launch_type: match self.launch_type.as_str() {
                    "EC2" => "EC2",
                    "EXTERNAL" => "EXTERNAL",
                    _ => "FARGATE",
                },
                capacity_provider: self.capacity_provider,
                platform_version: self.platform_version,
            },
            network: self.network,
            created_at: self.created,
            breaker: self.breaker,
            deployments: vec![Deployment::new(Arc::clone(definition))],
            events: VecDeque::new(),
            tags: self.tags,
            lazy: self.lazy,
            steady: false,
            failures: 0,
            not_before: None,
            over_since: None,
        })
    }
}

/// What was kept, found good: a world without tasks.
pub(crate) struct Kept {
    world: World,
    documents: Vec<KeptDocument>,
    groups: Vec<Group>,
}

impl Kept {
    /// Reads the document.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let form: Form = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut world = World::default();
        world.stores = form.stores;
        world.iam = form.iam;
        world.network = form.network;
        for (family, revisions) in form.families {
            let made = revisions.into_iter().enumerate();
            let made = made.map(|(index, it)| it.made(&family, index + 1).map(Arc::new));
            let made = made.collect::<Result<Vec<_>, _>>()?;
            world.definitions.insert(family, made);
        }
        for cluster in form.clusters {
            let made = cluster.made(&world)?;
            world.clusters.insert(made.name.clone(), made);
        }
        for function in form.functions {
            world
                .functions
                .insert(function.name.clone(), Arc::new(function));
        }
        for (bucket, objects) in form.buckets {
            let objects = objects.into_iter().map(|(key, text)| {
                let bytes = BASE64.decode(text).map_err(|error| error.to_string())?;
                Ok((key, bytes.into()))
            });
            let objects = objects.collect::<Result<BTreeMap<_, _>, String>>()?;
            world.buckets.insert(bucket, objects);
        }
        Documents::default().restore(&form.documents)?;
        Ok(Self {
            world,
            documents: form.documents,
            groups: form.groups,
        })
    }

    /// Puts it in place of what the world has.
    pub(crate) fn restore(&self, shared: &Shared) {
        // Once only, but read() may be asked for again after a start that failed.
        let again = |cluster: &Cluster| ClusterForm::of(cluster).made(&self.world);
        shared.change(|world| {
            world.definitions.clone_from(&self.world.definitions);
            world.stores = self.world.stores.clone();
            world.functions.clone_from(&self.world.functions);
            world.buckets.clone_from(&self.world.buckets);
            world.iam = self.world.iam.clone();
            world.network = self.world.network.clone();
            let clusters = self.world.clusters.values().filter_map(|it| again(it).ok());
            world.clusters = clusters.map(|it| (it.name.clone(), it)).collect();
        });
        if let Err(error) = shared.automation.documents().restore(&self.documents) {
            tracing::warn!(%error, "documents are not there again");
        }
        logs::restore(&self.groups, &mut shared.logs.groups());
    }
}
