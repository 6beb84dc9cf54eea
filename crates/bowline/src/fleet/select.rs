//! The containers of a fleet.

use std::fmt::Display;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

use super::accounts::{Place, Problem};
use super::target::{Aim, FleetTarget, label, unrepeated};
use crate::target::several::{again, several};
use crate::target::{EcsArn, TargetPattern};
use crate::{ResolvedTarget, TargetError, TargetOptions};

/// Places that are searched at once; each keeps its own pace.
pub(super) const AT_ONCE: usize = 32;

/// What was found.
#[derive(Debug, Default)]
pub struct Selection {
    /// The targets, in a lasting order.
    pub targets: Vec<FleetTarget>,
    /// Places that could not be searched.
    pub problems: Vec<Problem>,
    /// Places without any match.
    pub empty: usize,
    /// Containers of an earlier run whose tasks run no more.
    pub gone: usize,
}

/// What a file keeps for another try.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Again {
    /// A container.
    Target(Failed),
    /// A task that was to be started.
    Run(FailedRun),
    /// A place that could not be searched.
    Place(FailedPlace),
}

/// A place that could not be searched, as a file keeps it for another try.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedPlace {
    /// As it is shown.
    pub place: String,
    /// The region; none means the profile's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The account, where a role is to be assumed in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The profile it is reached with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What was looked for.
    pub patterns: Vec<String>,
    /// The cluster of patterns without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The container of patterns without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Every task of it.
    pub every: bool,
    /// A task was to be started of each, in place of a command in one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run: bool,
}

/// A task that was to be started, as a file keeps it for another try.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedRun {
    /// Its label.
    pub target: String,
    /// What to run: `service:demo/web/app`, `family:demo/job:7`.
    pub run: String,
    /// The region.
    pub region: String,
    /// The account, where a role is to be assumed in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The profile it is reached with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Of a request that was not answered: with the same token it starts no second task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
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
    /// As a file keeps it. `is_open` says that a task may have been started that nobody knows of: another try is for
    /// that one, not for a second.
    pub fn again(&self, is_open: bool) -> Again {
        let place = self.place.again();
        let region = self.place.region().to_owned();
        match &self.aim {
            Aim::Container(target) => Again::Target(Failed {
                target: self.label.clone(),
                task_arn: target.task.arn.clone(),
                container: target.container.clone(),
                region,
                account: place.account,
                role: place.role,
                profile: place.profile,
            }),
            Aim::Fresh(fresh) => {
                let unknown = is_open && fresh.task_arn().is_none();
                Again::Run(FailedRun {
                    target: self.label.clone(),
                    run: fresh.again(),
                    client_token: unknown.then(|| fresh.plan.request.client_token.clone()),
                    region,
                    account: place.account,
                    role: place.role,
                    profile: place.profile,
                })
            }
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
        (place, Ok(aims(found)))
    };
    let answers = stream::iter(places.iter().cloned().map(search)).buffered(AT_ONCE);
    let looked_for: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    gathered(answers.collect().await, places.len() == 1, |place| {
        let mut again = place.again();
        again.look_for(&looked_for, options, every);
        vec![Again::Place(again)]
    })
}

/// Finds the containers of an earlier run again, and searches the places that could not be searched then.
///
/// # Errors
/// As with [`select`]; an ARN that is none is left out.
pub async fn reselect(
    places: &[Arc<Place>],
    entries: &[Again],
    options: &TargetOptions,
) -> Result<Selection, TargetError> {
    let several_places = places.len() > 1;
    let search = |place: Arc<Place>| async move {
        let here = entries.iter().filter(|one| one.is_in(&place));
        let mut pairs: Vec<(EcsArn, String)> = Vec::new();
        let mut searches: Vec<&FailedPlace> = Vec::new();
        for one in here {
            match one {
                Again::Target(one) => {
                    if let Ok(arn) = one.task_arn.parse() {
                        pairs.push((arn, one.container.clone()));
                    }
                }
                Again::Place(one) => searches.push(one),
                Again::Run(_) => {}
            }
        }
        let found = match pairs.is_empty() {
            true => Ok(Vec::new()),
            false => again(&place.client, &pairs).await,
        };
        let mut found = match found {
            Ok(found) => found,
            Err(error) => return (place, 0, Err(error)),
        };
        let gone = pairs.len().saturating_sub(found.len());
        for one in searches {
            let patterns = one.patterns.iter().filter_map(|it| it.parse().ok());
            let options = TargetOptions {
                cluster: one.cluster.as_ref().and_then(|it| it.parse().ok()),
                container: one.container.as_ref().and_then(|it| it.parse().ok()),
                ..options.clone()
            };
            for pattern in patterns.collect::<Vec<TargetPattern>>() {
                match several(&place.client, &pattern, &options, one.every).await {
                    Ok(some) => found.extend(some),
                    Err(error) if several_places && is_absence(&error) => {}
                    Err(error) => return (place, gone, Err(error)),
                }
            }
        }
        (place, gone, Ok(aims(found)))
    };
    let answers = stream::iter(places.iter().cloned().map(search)).buffered(AT_ONCE);
    let answers: Vec<_> = answers.collect().await;
    // Of a place that cannot be searched nobody knows what runs no more.
    let gone = answers.iter().filter(|(_, _, found)| found.is_ok());
    let gone = gone.map(|(_, gone, _)| gone).sum();
    let answers = answers
        .into_iter()
        .map(|(place, _, found)| (place, found))
        .collect();
    let mut selection = gathered(answers, places.len() == 1, |place| {
        let here = entries.iter().filter(|one| one.is_in(place));
        here.cloned().collect()
    })?;
    selection.gone = gone;
    Ok(selection)
}

impl FailedPlace {
    /// Says what was looked for there.
    pub fn look_for(&mut self, patterns: &[String], options: &TargetOptions, every: bool) {
        self.patterns = patterns.to_vec();
        self.cluster = options.cluster.as_ref().map(ToString::to_string);
        self.container = options.container.as_ref().map(ToString::to_string);
        self.every = every;
    }
}

impl Again {
    /// Whether a task was to be started.
    pub fn is_run(&self) -> bool {
        match self {
            Self::Target(_) => false,
            Self::Run(_) => true,
            Self::Place(one) => one.run,
        }
    }

    pub(super) fn is_in(&self, place: &Place) -> bool {
        let (region, account, profile) = match self {
            Self::Target(one) => (Some(&one.region), &one.account, &one.profile),
            Self::Run(one) => (Some(&one.region), &one.account, &one.profile),
            Self::Place(one) => (one.region.as_ref(), &one.account, &one.profile),
        };
        region.is_none_or(|region| region == place.region())
            && *account == place.account
            && *profile == place.profile
    }
}

/// What was found in a place.
pub(super) type Answer<E> = (Arc<Place>, Result<Vec<Aim>, E>);

/// Everything that was found; with an error in the `only` place there is that error.
pub(super) fn gathered<E: Display>(
    answers: Vec<Answer<E>>,
    only: bool,
    again: impl Fn(&Place) -> Vec<Again>,
) -> Result<Selection, E> {
    let mut selection = Selection::default();
    for (place, found) in answers {
        match found {
            Err(error) if only => return Err(error),
            Err(error) => selection.problems.push(Problem {
                place: place.to_string(),
                reason: error.to_string(),
                again: again(&place),
            }),
            Ok(found) if found.is_empty() => selection.empty += 1,
            Ok(found) => {
                for aim in found {
                    selection.targets.push(FleetTarget {
                        place: Arc::clone(&place),
                        label: String::new(),
                        aim,
                    });
                }
            }
        }
    }
    unrepeated(&mut selection.targets);
    label(&mut selection.targets, only);
    Ok(selection)
}

fn aims(found: Vec<ResolvedTarget>) -> Vec<Aim> {
    let aims = found.into_iter().map(|one| Aim::Container(Box::new(one)));
    aims.collect()
}

pub(super) fn is_absence(error: &TargetError) -> bool {
    matches!(
        error,
        TargetError::NotFound { .. }
            | TargetError::NoTask { .. }
            | TargetError::NoCluster { .. }
            | TargetError::ClusterNotFound { .. }
    )
}
