//! The containers of a fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

use super::accounts::{Place, Problem};
use crate::target::several::{again, several};
use crate::target::{EcsArn, TargetPattern};
use crate::{ResolvedTarget, TargetError, TargetOptions};

/// Places that are searched at once; each keeps its own pace.
const AT_ONCE: usize = 32;
/// So much of a task's id tells it from others, mostly.
const SHORT_ID: usize = 8;

/// One container of a fleet.
#[derive(Debug)]
pub struct FleetTarget {
    /// Where it is.
    pub place: Arc<Place>,
    /// The container.
    pub target: ResolvedTarget,
    /// What tells it from the others: `demo/web/3f2a9c01`, with the place in front if there are several.
    pub label: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Selection {
    /// The containers, in a lasting order.
    pub targets: Vec<FleetTarget>,
    /// Places that could not be searched.
    pub problems: Vec<Problem>,
    /// Places without any match.
    pub empty: usize,
}

/// A container that failed, as a file keeps it for another try.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Its label.
    pub target: String,
    /// The task's ARN.
    pub task_arn: String,
    /// The container.
    pub container: String,
    /// The region.
    pub region: String,
    /// The account, where a role was assumed in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The profile it is reached with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl FleetTarget {
    /// As a file keeps it.
    pub fn failed(&self) -> Failed {
        Failed {
            target: self.label.clone(),
            task_arn: self.target.task.arn.clone(),
            container: self.target.container.clone(),
            region: self.place.region().to_owned(),
            account: self.place.account.clone(),
            role: self.place.role.clone(),
            profile: self.place.profile.clone(),
        }
    }
}

/// Finds what the patterns mean, in all places: one task of each service, or `every` task.
///
/// # Errors
/// What is wrong with the only place there is; in several places each has its [`Problem`].
pub async fn select(
    places: &[Arc<Place>],
    patterns: &[TargetPattern],
    options: &TargetOptions,
    every: bool,
) -> Result<Selection, TargetError> {
    let search = |place: Arc<Place>| async move {
        let mut found = Vec::new();
        for pattern in patterns {
            let some = several(&place.client, pattern, options, every).await;
            match some {
                Ok(some) => found.extend(some),
                // Not every service is everywhere.
                Err(error) if places.len() > 1 && is_absence(&error) => {}
                Err(error) => return (place, Err(error)),
            }
        }
        (place, Ok(found))
    };
    let answers = stream::iter(places.iter().cloned().map(search)).buffered(AT_ONCE);
    gathered(answers.collect().await, places.len() == 1)
}

/// Finds the containers of an earlier run again.
///
/// # Errors
/// As with [`select`]; an ARN that is none is left out.
pub async fn reselect(places: &[Arc<Place>], failed: &[Failed]) -> Result<Selection, TargetError> {
    let search = |place: Arc<Place>| async move {
        let here = failed.iter().filter(|one| {
            one.region == place.region()
                && one.account == place.account
                && one.profile == place.profile
        });
        let pairs: Vec<(EcsArn, String)> = here
            .filter_map(|one| Some((one.task_arn.parse().ok()?, one.container.clone())))
            .collect();
        let found = match pairs.is_empty() {
            true => Ok(Vec::new()),
            false => again(&place.client, &pairs).await,
        };
        (place, found)
    };
    let answers = stream::iter(places.iter().cloned().map(search)).buffered(AT_ONCE);
    gathered(answers.collect().await, places.len() == 1)
}

type Answer = (Arc<Place>, Result<Vec<ResolvedTarget>, TargetError>);

fn gathered(answers: Vec<Answer>, only: bool) -> Result<Selection, TargetError> {
    let mut selection = Selection::default();
    for (place, found) in answers {
        match found {
            Err(error) if only => return Err(error),
            Err(error) => selection.problems.push(Problem {
                place: place.to_string(),
                reason: error.to_string(),
            }),
            Ok(found) if found.is_empty() => selection.empty += 1,
            Ok(found) => {
                for target in found {
                    selection.targets.push(FleetTarget {
                        place: Arc::clone(&place),
                        label: String::new(),
                        target,
                    });
                }
            }
        }
    }
    unrepeated(&mut selection.targets);
    label(&mut selection.targets, only);
    Ok(selection)
}

/// Two patterns may mean the same container.
fn unrepeated(targets: &mut Vec<FleetTarget>) {
    let mut seen = std::collections::BTreeSet::new();
    targets.retain(|one| {
        let place = (one.place.key(), one.target.task.arn.clone());
        seen.insert((place, one.target.container.clone()))
    });
}

/// Gives each target a label of its own: with more of the task's id, and the container, only where that is needed.
fn label(targets: &mut [FleetTarget], only: bool) {
    let plain = |one: &FleetTarget, length: usize, container: bool| {
        let target = &one.target;
        let id = target.task.id.get(..length).unwrap_or(&target.task.id);
        let mut label = match only {
            true => String::new(),
            false => format!("{}:", one.place.to_string().replace(' ', ":")),
        };
        label.push_str(&target.cluster.name);
        for part in [target.service.as_deref(), Some(id)].into_iter().flatten() {
            label.push('/');
            label.push_str(part);
        }
        if container {
            label.push('/');
            label.push_str(&target.container);
        }
        label
    };
    let mut forms = vec![(SHORT_ID, false), (SHORT_ID, true), (usize::MAX, true)].into_iter();
    let mut open: Vec<usize> = (0..targets.len()).collect();
    while let Some((length, container)) = forms.next().filter(|_| !open.is_empty()) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for index in &open {
            let label = plain(&targets[*index], length, container);
            *counts.entry(label.clone()).or_default() += 1;
            targets[*index].label = label;
        }
        open.retain(|index| counts[&targets[*index].label] > 1);
    }
}

fn is_absence(error: &TargetError) -> bool {
    matches!(
        error,
        TargetError::NotFound { .. }
            | TargetError::NoTask { .. }
            | TargetError::NoCluster { .. }
            | TargetError::ClusterNotFound { .. }
    )
}
