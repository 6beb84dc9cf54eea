//! The calls of a walk: what each asks, what its answer shows, and which calls follow from it.

use std::sync::Arc;

use super::{Extent, Place, Row};
use crate::aws::ecs::{Page, ServiceWithEvents, last_part};
use crate::aws::error::AwsError;
use crate::client::Client;
use crate::model::{Cluster, Task};

/// One call that has to be made.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Clusters {
        after: Option<String>,
    },
    DescribeClusters {
        arns: Vec<String>,
    },
    Services {
        cluster: Arc<str>,
        after: Option<String>,
    },
    Tasks {
        cluster: Arc<str>,
        after: Option<String>,
    },
    DescribeTasks {
        cluster: Arc<str>,
        arns: Vec<String>,
    },
    DescribeServices {
        cluster: Arc<str>,
        names: Vec<String>,
    },
}

/// What a call has led to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    pub(super) calls: Vec<Call>,
    /// Parts of which nothing more will come.
    pub(super) complete: Vec<Extent>,
}

impl Call {
    /// Names of clusters and services make a picker useful soonest. Of the cluster that matters most everything comes
    /// before the services of the next one.
    pub(super) fn stage(&self, matters_most: bool) -> u8 {
        match self {
            Self::DescribeServices { .. } => 0,
            Self::Clusters { .. } => 1,
            _ if matters_most => 2,
            Self::DescribeClusters { .. } => 3,
            Self::Services { .. } => 4,
            Self::Tasks { .. } | Self::DescribeTasks { .. } => 5,
        }
    }

    pub(super) fn cluster(&self) -> Option<&Arc<str>> {
        match self {
            Self::Clusters { .. } | Self::DescribeClusters { .. } => None,
            Self::Services { cluster, .. }
            | Self::Tasks { cluster, .. }
            | Self::DescribeTasks { cluster, .. }
            | Self::DescribeServices { cluster, .. } => Some(cluster),
        }
    }

    pub(super) fn about_tasks(&self) -> Option<&Arc<str>> {
        match self {
            Self::Tasks { cluster, .. } | Self::DescribeTasks { cluster, .. } => Some(cluster),
            _ => None,
        }
    }

    pub(super) async fn make(&self, client: &Client) -> Result<Found, AwsError> {
        let ecs = client.ecs();
        Ok(match self {
            Self::Clusters { after } => clusters_listed(ecs.clusters_page(after.clone()).await?),
            Self::DescribeClusters { arns } => {
                clusters_described(&ecs.describe_clusters_once(arns.clone()).await?)
            }
            Self::Services { cluster, after } => {
                let page = ecs.services_page(cluster, after.clone()).await?;
                services_listed(cluster, page)
            }
            Self::Tasks { cluster, after } => {
                tasks_listed(cluster, ecs.tasks_page(cluster, after.clone()).await?)
            }
            Self::DescribeTasks { cluster, arns } => {
                let tasks = ecs.describe_tasks_once(cluster, arns.clone()).await?;
                tasks_described(cluster, &tasks)
            }
            Self::DescribeServices { cluster, names } => {
                let services = ecs.describe_services_once(cluster, names.clone()).await?;
                services_described(cluster, services)
            }
        })
    }
}

fn clusters_listed(page: Page) -> Found {
    let rows = page.arns.iter().map(|arn| last_part(arn));
    let rows = rows.map(|name| seen(Row::at(Place::new(name, None, None, None))));
    let rows = rows.collect();
    let complete = Vec::from_iter(page.next.is_none().then_some(Extent::Clusters));
    // Asked for no cluster at all, ECS would describe the one called `default`.
    let describe = (!page.arns.is_empty()).then_some(Call::DescribeClusters { arns: page.arns });
    let next = page.next.map(|next| Call::Clusters { after: Some(next) });
    Found {
        calls: describe.into_iter().chain(next).collect(),
        rows,
        complete,
    }
}

/// An empty part costs no call.
fn clusters_described(clusters: &[Cluster]) -> Found {
    let mut found = Found::default();
    for cluster in clusters {
        found.rows.push(seen(Row::of_cluster(cluster)));
        let name: Arc<str> = cluster.cluster_name.as_str().into();
        if cluster.active_services_count > 0 {
            found.calls.push(Call::Services {
                cluster: Arc::clone(&name),
                after: None,
            });
        } else {
            found.complete.push(Extent::Services(name.to_string()));
        }
        if cluster.running_tasks_count + cluster.pending_tasks_count > 0 {
            found.calls.push(Call::Tasks {
                cluster: name,
                after: None,
            });
        } else {
            found.complete.push(Extent::Tasks(name.to_string()));
        }
    }
    found
}

fn services_listed(cluster: &Arc<str>, page: Page) -> Found {
    let rows = page.arns.iter().map(|arn| Place {
        cluster: Arc::clone(cluster),
        service: Some(last_part(arn).into()),
        task: None,
        container: None,
    });
    let rows = rows.map(|place| seen(Row::at(place))).collect();
    let extent = Extent::Services(cluster.to_string());
    Found {
        rows,
        complete: Vec::from_iter(page.next.is_none().then_some(extent)),
        calls: Vec::from_iter(page.next.map(|next| Call::Services {
            cluster: Arc::clone(cluster),
            after: Some(next),
        })),
    }
}

/// Their ids alone say nothing to anybody: the rows come with the descriptions.
fn tasks_listed(cluster: &Arc<str>, page: Page) -> Found {
    let describe = (!page.arns.is_empty()).then_some(Call::DescribeTasks {
        cluster: Arc::clone(cluster),
        arns: page.arns,
    });
    let next = page.next.map(|next| Call::Tasks {
        cluster: Arc::clone(cluster),
        after: Some(next),
    });
    Found {
        calls: describe.into_iter().chain(next).collect(),
        ..Found::default()
    }
}

fn tasks_described(cluster: &Arc<str>, tasks: &[Task]) -> Found {
    let there = tasks.iter().filter(|task| !task.is_stopping());
    let rows = there.flat_map(|task| Row::of_task(cluster, task));
    Found {
        rows: rows.map(seen).collect(),
        ..Found::default()
    }
}

fn services_described(cluster: &Arc<str>, services: Vec<ServiceWithEvents>) -> Found {
    let rows = services.into_iter();
    let rows = rows.map(|found| seen(Row::of_service(cluster, &found.service, found.events)));
    Found {
        rows: rows.collect(),
        ..Found::default()
    }
}

fn seen(row: Row) -> Row {
    Row { seen: true, ..row }
}
