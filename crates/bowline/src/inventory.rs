//! Looking closely at clusters, services, tasks and definitions, and stopping or restarting them.

use crate::aws::ecs::{TaskFilter, last_part};
use crate::aws::error::AwsError;
use crate::client::Client;
use crate::model::{ClusterDetail, ServiceDetail, Task, TaskDefinition, TaskDetail};
use crate::target::{ArnKind, ClusterName, Selector, TargetError, TargetOptions, TargetSpec, near};

impl Client {
    /// A cluster with its configuration and tags; `None` if there is none of the name.
    pub async fn cluster_detail(
        &self,
        cluster: &ClusterName,
    ) -> Result<Option<ClusterDetail>, AwsError> {
        self.ecs().cluster_detail(cluster.as_str()).await
    }

    /// A service with deployments, events and tags; `None` if the cluster has none of the name.
    pub async fn service_detail(
        &self,
        cluster: &ClusterName,
        service: &str,
    ) -> Result<Option<ServiceDetail>, AwsError> {
        let found = self.ecs().service_detail(cluster.as_str(), service).await?;
        // Deleted ones are described for a while; nothing can be done with them.
        Ok(found.filter(|found| found.service.status.as_deref() != Some("INACTIVE")))
    }

    /// A task with overrides and tags, also one that has stopped within the last hour.
    pub async fn task_detail(
        &self,
        cluster: &ClusterName,
        task: &str,
    ) -> Result<Option<TaskDetail>, AwsError> {
        let task = [task.to_owned()];
        let found = self.ecs().task_details(cluster.as_str(), &task).await?;
        Ok(found.into_iter().next())
    }

    /// The tasks of a service that are not stopping, newest first.
    pub async fn service_tasks(
        &self,
        cluster: &ClusterName,
        service: &str,
    ) -> Result<Vec<TaskDetail>, AwsError> {
        let filter = TaskFilter::Service(service);
        let arns = self.ecs().task_arns(cluster.as_str(), filter).await?;
        let mut tasks = self.ecs().task_details(cluster.as_str(), &arns).await?;
        // Some emulators ignore the filter.
        tasks.retain(|task| task.task.service_name.as_deref() == Some(service));
        tasks.sort_by(|a, b| {
            let key = |task: &TaskDetail| (task.task.started_at, task.task.task_id.clone());
            key(b).cmp(&key(a))
        });
        Ok(tasks)
    }

    /// A task definition by ARN, `family:revision`, or family (its newest active revision).
    pub async fn task_definition(&self, name: &str) -> Result<Option<TaskDefinition>, AwsError> {
        self.ecs().task_definition(name).await
    }

    /// Asks ECS to stop a task. It returns at once; the containers have their stop timeout to end.
    pub async fn stop_task(
        &self,
        cluster: &ClusterName,
        task: &str,
        reason: Option<&str>,
    ) -> Result<Task, AwsError> {
        self.ecs().stop_task(cluster.as_str(), task, reason).await
    }

    /// Starts a new deployment of a service as it is. The answer's primary deployment is the new one;
    /// [`ServiceDetail::rollout`] says how far it is.
    pub async fn force_new_deployment(
        &self,
        cluster: &ClusterName,
        service: &str,
    ) -> Result<ServiceDetail, AwsError> {
        self.ecs()
            .force_new_deployment(cluster.as_str(), service)
            .await
    }

    /// The service a target names, or the options, or the only one of the cluster. Of target and options the target
    /// counts. Services that cannot be found come with those that can.
    pub async fn find_service(
        &self,
        target: Option<&TargetSpec>,
        options: &TargetOptions,
    ) -> Result<(ClusterName, ServiceDetail), TargetError> {
        let arn = target.and_then(|target| match &target.selector {
            Selector::Arn(arn) => Some(arn),
            _ => None,
        });
        if let Some(arn) = arn.filter(|arn| arn.region != self.region()) {
            return Err(TargetError::OtherRegion {
                arn: arn.to_string(),
                region: arn.region.clone(),
                client_region: self.region().to_owned(),
            });
        }
        let cluster = target
            .and_then(|target| target.cluster.as_ref())
            .or_else(|| arn.and_then(|arn| arn.cluster.as_ref()))
            .or(options.cluster.as_ref());
        let cluster = self.current_cluster(cluster).await?;
        let name = match target.map(|target| &target.selector) {
            Some(Selector::Any(name)) => Some(name.as_str()),
            Some(Selector::Service(name)) => Some(name.as_str()),
            Some(Selector::Arn(arn)) if arn.kind == ArnKind::Service => Some(arn.name.as_str()),
            Some(_) => return Err(self.no_service(&cluster, &label(target)).await),
            None => options.service.as_ref().map(|service| service.as_str()),
        };
        let name = match name {
            Some(name) => name.to_owned(),
            None => self.only_service(&cluster).await?,
        };
        let listed = self.service_detail(&cluster, &name).await;
        let found = crate::target::in_cluster(self, &cluster, listed).await?;
        match found {
            Some(service) => Ok((cluster, service)),
            None => Err(self.no_service(&cluster, &name).await),
        }
    }

    async fn only_service(&self, cluster: &ClusterName) -> Result<String, TargetError> {
        let mut names = self.service_names(cluster).await?;
        if names.len() == 1 {
            return Ok(names.remove(0));
        }
        if names.is_empty() {
            return Err(TargetError::NoTask {
                target: "the service".to_owned(),
                cluster: cluster.to_string(),
                detail: Some("the cluster has no services".to_owned()),
            });
        }
        names.truncate(CANDIDATES);
        Err(TargetError::Ambiguous {
            target: "the service".to_owned(),
            cluster: cluster.to_string(),
            candidates: names,
        })
    }

    async fn no_service(&self, cluster: &ClusterName, name: &str) -> TargetError {
        // A caller who may not list gets the plain error.
        let mut candidates = self.service_names(cluster).await.unwrap_or_default();
        let suggestions = near(name, candidates.iter().map(String::as_str));
        candidates.truncate(CANDIDATES);
        TargetError::NotFound {
            target: format!("service {name}"),
            cluster: cluster.to_string(),
            kind: "service",
            suggestions,
            candidates,
        }
    }

    async fn service_names(&self, cluster: &ClusterName) -> Result<Vec<String>, TargetError> {
        let listed = self.ecs().service_arns(cluster.as_str()).await;
        let arns = crate::target::in_cluster(self, cluster, listed).await?;
        let mut names: Vec<String> = arns.iter().map(|arn| last_part(arn).to_owned()).collect();
        names.sort();
        Ok(names)
    }
}

fn label(target: Option<&TargetSpec>) -> String {
    target.map(ToString::to_string).unwrap_or_default()
}

/// More names than this help nobody in an error.
const CANDIDATES: usize = 20;
//! All clusters, services, tasks and containers of an account and region, as rows that arrive while they are listed.
//!
//! [`Client::inventory`](crate::Client::inventory) walks them at a pace that AWS does not mind and sends
//! [events](InventoryEvent); an [`Inventory`] made of them is what a picker shows and what completion offers. It can
//! be kept in a [file](InventoryFile), so that the next one has something to show before the first answer.

mod call;
mod file;
mod load;
#[cfg(test)]
mod load_tests;
mod pace;
mod recents;
mod row;

pub use self::file::InventoryFile;
pub use self::load::{InventoryEvent, InventoryLoad, InventoryOptions, LoadFigures};
pub use self::recents::Recents;
pub use self::row::{Counts, Place, Row, RowKind};

/// Rows in the order of their places, each place once.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    rows: Vec<Row>,
}

/// A part of an inventory that is listed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The clusters.
    Clusters,
    /// The services of a cluster.
    Services(String),
    /// The tasks of a cluster and their containers.
    Tasks(String),
}

impl Inventory {
    /// An inventory of rows in any order; of several at one place the last one stays.
    pub fn of(rows: Vec<Row>) -> Self {
        let mut inventory = Self::default();
        inventory.put(rows);
        inventory
    }

    /// Adds rows and replaces those at the same places.
    pub fn put(&mut self, rows: Vec<Row>) {
        for row in &rows {
            if let Some(position) = self.position(&row.place) {
                self.rows[position].absorb(row);
            }
        }
        let new = rows
            .into_iter()
            .filter(|row| self.position(&row.place).is_none());
        let new: Vec<Row> = new.collect();
        if new.is_empty() {
            return;
        }
        self.rows.extend(new);
        // The sort is stable: of two new rows at one place the later one is the second.
        self.rows.sort_by(|a, b| a.place.cmp(&b.place));
        self.rows.dedup_by(|later, first| {
            let same = later.place == first.place;
            if same {
                std::mem::swap(later, first);
            }
            same
        });
    }

    /// Drops what was not seen since the last [`Inventory::expect_news`] in a part that has been listed to its end.
    /// A cluster that is gone takes everything in it along.
    pub fn complete(&mut self, extent: &Extent) {
        let gone: Vec<_> = match extent {
            Extent::Clusters => self
                .rows
                .iter()
                .filter(|row| row.kind() == RowKind::Cluster && !row.seen)
                .map(|row| row.place.cluster.clone())
                .collect(),
            _ => Vec::new(),
        };
        self.rows.retain(|row| {
            !gone.contains(&row.place.cluster)
                && (row.seen || !extent.covers(row) || *extent == Extent::Clusters)
        });
    }

    /// From now on every row has to be seen again, or it goes when its part has been listed.
    pub fn expect_news(&mut self) {
        for row in &mut self.rows {
            row.seen = false;
        }
    }

    /// The rows, by cluster, then what the cluster has.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Where the row of a place is.
    pub fn position(&self, place: &Place) -> Option<usize> {
        self.rows.binary_search_by(|row| row.place.cmp(place)).ok()
    }

    /// The row of a place.
    pub fn row(&self, place: &Place) -> Option<&Row> {
        self.position(place).map(|position| &self.rows[position])
    }
}

impl Extent {
    fn covers(&self, row: &Row) -> bool {
        let cluster = &*row.place.cluster;
        match self {
            Self::Clusters => row.kind() == RowKind::Cluster,
            Self::Services(of) => row.kind() == RowKind::Service && cluster == of,
            Self::Tasks(of) => {
                matches!(row.kind(), RowKind::Task | RowKind::Container) && cluster == of
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(inventory: &Inventory) -> Vec<String> {
        let rows = inventory.rows().iter();
        rows.map(|row| row.place.to_string()).collect()
    }

    fn row(cluster: &str, service: Option<&str>, task: Option<&str>) -> Row {
        Row {
            seen: true,
            ..Row::at(Place::new(cluster, service, task, None))
        }
    }

    #[test]
    fn rows_stand_in_the_order_of_their_places_and_once() {
        let mut inventory = Inventory::of(vec![
            row("b", None, None),
            row("a", Some("web"), Some("2")),
            row("a", None, Some("9")),
            row("a", Some("web"), None),
            row("a", None, None),
        ]);
        inventory.put(vec![row("a", Some("api"), None), row("b", None, None)]);
        assert_eq!(
            places(&inventory),
            ["a", "a/api", "a/web", "a/web 2", "a 9", "b"]
        );
    }

    #[test]
    fn what_is_not_seen_again_goes_when_its_part_is_complete() {
        let mut inventory = Inventory::of(vec![
            row("a", None, None),
            row("a", Some("old"), None),
            row("a", Some("web"), None),
            row("a", Some("web"), Some("1")),
            row("b", None, None),
            row("b", Some("web"), None),
        ]);
        inventory.expect_news();
        inventory.put(vec![row("a", None, None), row("a", Some("web"), None)]);
        inventory.complete(&Extent::Services("a".into()));
        assert_eq!(
            places(&inventory),
            ["a", "a/web", "a/web 1", "b", "b/web"],
            "another part, and another cluster, are not touched"
        );
        inventory.complete(&Extent::Clusters);
        assert_eq!(places(&inventory), ["a", "a/web", "a/web 1"]);
        inventory.complete(&Extent::Tasks("a".into()));
        assert_eq!(places(&inventory), ["a", "a/web"]);
    }

    #[test]
    fn a_bare_name_does_not_wipe_what_is_known() {
        let known = Row {
            events: vec!["steady".into()],
            ..row("a", Some("web"), None)
        };
        let mut inventory = Inventory::of(vec![known]);
        inventory.put(vec![row("a", Some("web"), None)]);
        assert_eq!(inventory.rows()[0].events, ["steady"]);
    }
}
