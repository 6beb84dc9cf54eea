//! How much there is of everything.

use serde::Serialize;

use crate::sessions::SessionStatus;
use crate::state::Shared;
use crate::state::task::TaskStatus;

/// What a sandbox holds, in numbers, in its own account and region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Census {
    /// Clusters that are active.
    pub clusters: usize,
    /// Services that are not INACTIVE.
    pub services: usize,
    /// Tasks that are not STOPPED.
    pub tasks: usize,
    /// Sessions that live.
    pub sessions: usize,
    /// Families of task definitions.
    pub families: usize,
    /// Lambda functions.
    pub functions: usize,
    /// Parameters.
    pub parameters: usize,
    /// Secrets.
    pub secrets: usize,
    /// Automation documents.
    pub documents: usize,
}

impl Census {
    pub(crate) fn of(shared: &Shared) -> Self {
        let sessions = shared.sessions.list();
        let live = |status: SessionStatus| status != SessionStatus::Terminated;
        let documents = shared.automation.documents().all().count();
        let world = shared.world();
        let clusters = || world.clusters.values().filter(|cluster| cluster.active);
        let services = clusters().flat_map(|cluster| cluster.services.values());
        let inactive = crate::state::service::ServiceStatus::Inactive;
        Self {
            clusters: clusters().count(),
            services: services.filter(|it| it.status != inactive).count(),
            tasks: world
                .tasks()
                .filter(|it| it.status != TaskStatus::Stopped)
                .count(),
            sessions: sessions.iter().filter(|it| live(it.status)).count(),
            families: world.definitions.len(),
            functions: world.functions.len(),
            parameters: world.stores.parameters.len(),
            secrets: world.stores.secrets.len(),
            documents,
        }
    }
}
