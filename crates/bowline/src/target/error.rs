//! Why a target could not be resolved, with what the user could have meant.

use crate::aws::error::AwsError;

/// Why a target could not be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// There is no cluster at all.
    #[error("there is no ECS cluster in {region}")]
    NoCluster {
        /// The region that was asked.
        region: String,
    },
    /// The named cluster does not exist.
    #[error("cluster {name} was not found in {region}")]
    ClusterNotFound {
        /// The name.
        name: String,
        /// The region that was asked.
        region: String,
        /// Names near it.
        suggestions: Vec<String>,
        /// The clusters there are.
        candidates: Vec<String>,
    },
    /// No cluster was named, and there are several.
    #[error("no cluster is chosen and {region} has {}: {}", candidates.len(), candidates.join(", "))]
    ClusterAmbiguous {
        /// The region that was asked.
        region: String,
        /// The clusters there are.
        candidates: Vec<String>,
    },
    /// Nothing in the cluster matches.
    #[error("{target} was not found in cluster {cluster}")]
    NotFound {
        /// What was looked for, with its kind.
        target: String,
        /// The cluster's name.
        cluster: String,
        /// What the candidates are: "services", "families" …
        kind: &'static str,
        /// Names near it.
        suggestions: Vec<String>,
        /// What the cluster has.
        candidates: Vec<String>,
    },
    /// Several different things match, and none is the obvious one.
    #[error("{target} is ambiguous in cluster {cluster}: {}", candidates.join(", "))]
    Ambiguous {
        /// What was looked for.
        target: String,
        /// The cluster's name.
        cluster: String,
        /// What matches.
        candidates: Vec<String>,
    },
    /// It exists and has no task.
    #[error("{target} in cluster {cluster} has no running task{}", detail.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    NoTask {
        /// What was looked for, with its kind.
        target: String,
        /// The cluster's name.
        cluster: String,
        /// What ECS says about it.
        detail: Option<String>,
    },
    /// The task is stopping or has stopped.
    #[error("task {task} has stopped: {reason}")]
    TaskStopped {
        /// The task's id.
        task: String,
        /// ECS's reason.
        reason: String,
    },
    /// The task has no container of that name.
    #[error("task {task} has no container {name}")]
    ContainerNotFound {
        /// The task's id.
        task: String,
        /// The name.
        name: String,
        /// Names near it.
        suggestions: Vec<String>,
        /// The containers it has.
        candidates: Vec<String>,
    },
    /// One container is needed, and the target leaves several.
    #[error("task {task} in cluster {cluster} has {} containers: {}", candidates.len(), candidates.join(", "))]
    ContainerAmbiguous {
        /// The task's id.
        task: String,
        /// The cluster's name.
        cluster: String,
        /// The containers it has.
        candidates: Vec<String>,
    },
    /// The task reports no containers yet.
    #[error("task {task} has no containers yet (it is {status})")]
    NoContainer {
        /// The task's id.
        task: String,
        /// Its state.
        status: String,
    },
    /// The ARN belongs to another region.
    #[error("{arn} is in {region}, and calls go to {client_region}")]
    OtherRegion {
        /// The ARN.
        arn: String,
        /// Its region.
        region: String,
        /// Ours.
        client_region: String,
    },
    /// The target says one thing and an option another.
    #[error("the target names {part} {in_target} and the option names {in_option}")]
    Conflict {
        /// Which part.
        part: &'static str,
        /// The target's word.
        in_target: String,
        /// The option's word.
        in_option: String,
    },
    /// A call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
}
