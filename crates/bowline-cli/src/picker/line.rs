//! One row as the list shows it and as the query sees it.

use bowline::inventory::{Counts, Row, RowKind};
use bowline::model::Readiness;

/// A row's texts for matching, and its rank when matches are equal.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// `cluster/service/container`, for a task of no service its family in place of the service.
    pub(super) path: String,
    /// The task's id.
    pub(super) id: Option<String>,
    /// How recently it was picked: 0 is the last, `NEVER` otherwise.
    pub(super) recency: u16,
    /// Whether it is outside the cluster that is meant when none is named.
    pub(super) elsewhere: bool,
}

/// The recency of what was never picked.
pub(super) const NEVER: u16 = u16::MAX;

impl Line {
    pub(super) fn of(row: &Row, current: Option<&str>) -> Self {
        let place = &row.place;
        let mut path = place.cluster.to_string();
        let group = match (&place.service, &place.task) {
            (Some(service), _) => Some(&**service),
            (None, Some(_)) => row.family(),
            (None, None) => None,
        };
        for part in group.into_iter().chain(place.container.as_deref()) {
            path.push('/');
            path.push_str(part);
        }
        Self {
            path,
            id: place.task.as_deref().map(str::to_owned),
            recency: NEVER,
            elsewhere: current.is_some_and(|current| current != &*place.cluster),
        }
    }

    #[cfg(test)]
    pub(super) fn for_test(path: &str, id: Option<&str>) -> Self {
        Self {
            path: path.to_owned(),
            id: id.map(str::to_owned),
            recency: NEVER,
            elsewhere: false,
        }
    }
}

/// What kind of thing a row is, in a word.
pub(super) fn kind(row: &Row) -> &'static str {
    match row.kind() {
        RowKind::Cluster => "cluster",
        RowKind::Service => "service",
        RowKind::Task => "task",
        RowKind::Container => "container",
    }
}

/// The state of a row in a few characters: what keeps one out comes before all else.
pub(super) fn state(row: &Row) -> String {
    let status = row.status.as_deref().unwrap_or_default();
    match (&row.exec, &row.counts) {
        (Some(Readiness::NotEnabled), _) => "exec off".to_owned(),
        (Some(Readiness::AgentStopped(_)), _) => "agent stopped".to_owned(),
        (Some(Readiness::Pending(_)), _) if status == "RUNNING" => "starting".to_owned(),
        (Some(Readiness::Ready), _) if row.health.as_deref() == Some("UNHEALTHY") => {
            "UNHEALTHY".to_owned()
        }
        (Some(Readiness::Ready), _) => "ready".to_owned(),
        (_, Some(counts)) => match counts.pending {
            0 => tasks(counts),
            pending => format!("{} +{pending}", running(counts)),
        },
        _ => status.to_owned(),
    }
}

/// Whether a command could be run there, as far as one knows.
pub(super) fn is_hopeless(row: &Row) -> bool {
    matches!(
        row.exec,
        Some(Readiness::NotEnabled | Readiness::AgentStopped(_))
    )
}

/// `3/3 running`, `12 running, 1 pending`
pub(super) fn tasks(counts: &Counts) -> String {
    match counts.pending {
        0 => running(counts),
        pending => format!("{}, {pending} pending", running(counts)),
    }
}

fn running(counts: &Counts) -> String {
    match counts.desired {
        Some(desired) => format!("{}/{desired} running", counts.running),
        None => format!("{} running", counts.running),
    }
}
