//! The tasks that a fleet starts: one for each target, and for each service that a pattern means, in each place.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::accounts::{Place, Problem};
use super::select::{AT_ONCE, Again, FailedRun, Selection, gathered, is_absence};
use super::target::{Aim, FleetTarget, FreshTask, label, unrepeated};
use crate::TargetOptions;
use crate::run::{PlanError, RunPattern, RunTarget, RunWish};

/// Tasks of an earlier run that are planned again at once, in one place.
const AGAIN_AT_ONCE: usize = 8;

/// Makes the requests for what the patterns mean, in all places; without a pattern what [`Client::plan_run`] takes
/// then. Overrides are still empty, and nothing is started.
///
/// # Errors
/// What is wrong in the only place there is; in several places each has its [`Problem`].
///
/// [`Client::plan_run`]: crate::Client::plan_run
pub async fn plan(
    places: &[Arc<Place>],
    patterns: &[RunPattern],
    wish: &RunWish,
    options: &TargetOptions,
) -> Result<Selection, PlanError> {
    let several = places.len() > 1;
    let search = |place: Arc<Place>| async move {
        let found = planned(&place, patterns, wish, options, several).await;
        (place, found)
    };
    let answers = stream::iter(places.iter().cloned().map(search)).buffered(AT_ONCE);
    let looked_for: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    gathered(answers.collect().await, !several, |place| {
        let mut again = place.again();
        again.look_for(&looked_for, options, false);
        again.run = true;
        vec![Again::Place(again)]
    })
}

/// Makes the requests of an earlier run again. What cannot be made is a [`Problem`].
pub async fn replan(
    places: &[Arc<Place>],
    entries: &[Again],
    wish: &RunWish,
    options: &TargetOptions,
) -> Selection {
    let several = places.len() > 1;
    let here = places.iter().flat_map(|place| {
        let entries = entries.iter().filter(|one| one.is_in(place));
        entries.map(move |entry| (place, entry))
    });
    let searched = here.map(|(place, entry)| async move {
        let found = match entry {
            Again::Run(one) => once_more(place, one, wish, options).await,
            Again::Place(one) => {
                let patterns = one.patterns.iter().filter_map(|it| it.parse().ok());
                let patterns: Vec<RunPattern> = patterns.collect();
                let options = TargetOptions {
                    cluster: one.cluster.as_ref().and_then(|it| it.parse().ok()),
                    container: one.container.as_ref().and_then(|it| it.parse().ok()),
                    ..options.clone()
                };
                planned(place, &patterns, wish, &options, several).await
            }
            Again::Target(_) => Ok(Vec::new()),
        };
        (place, entry, found)
    });
    let mut answers = stream::iter(searched).buffered(AGAIN_AT_ONCE.max(places.len().min(AT_ONCE)));
    let mut selection = Selection::default();
    while let Some((place, entry, found)) = answers.next().await {
        match found {
            Ok(found) => {
                selection.empty += usize::from(found.is_empty());
                let found = found.into_iter().map(|aim| FleetTarget {
                    place: Arc::clone(place),
                    label: String::new(),
                    aim,
                });
                selection.targets.extend(found);
            }
            Err(error) => selection.problems.push(Problem {
                place: match entry {
                    Again::Run(one) => one.target.clone(),
                    _ => place.to_string(),
                },
                reason: error.to_string(),
                again: vec![entry.clone()],
            }),
        }
    }
    drop(answers);
    unrepeated(&mut selection.targets);
    label(&mut selection.targets, !several);
    selection
}

async fn planned(
    place: &Place,
    patterns: &[RunPattern],
    wish: &RunWish,
    options: &TargetOptions,
    several: bool,
) -> Result<Vec<Aim>, PlanError> {
    let mut found = Vec::new();
    if patterns.is_empty() {
        let plans = place.client.plan_runs(None, wish, options).await?;
        let chosen = options.container.is_some();
        found.extend(plans.into_iter().map(|plan| aim(plan, None, chosen)));
    }
    for pattern in patterns {
        let plans = place.client.plan_runs(Some(pattern), wish, options).await;
        let family = match pattern {
            RunPattern::One(RunTarget::Definition { name, .. }) => Some(name.as_str()),
            _ => None,
        };
        let chosen = pattern.names_container() || options.container.is_some();
        match plans {
            Ok(plans) => found.extend(plans.into_iter().map(|plan| aim(plan, family, chosen))),
            // Not every service or family is everywhere.
            Err(error) if several && is_nowhere(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

async fn once_more(
    place: &Place,
    one: &FailedRun,
    wish: &RunWish,
    options: &TargetOptions,
) -> Result<Vec<Aim>, PlanError> {
    let Ok(pattern) = one.run.parse::<RunPattern>() else {
        return Ok(Vec::new());
    };
    let mut found = planned(place, &[pattern], wish, options, false).await?;
    for aim in &mut found {
        if let (Aim::Fresh(fresh), Some(token)) = (aim, &one.client_token) {
            fresh.plan.request.client_token.clone_from(token);
        }
    }
    Ok(found)
}

fn aim(plan: crate::run::RunPlan, family: Option<&str>, chosen: bool) -> Aim {
    Aim::Fresh(Box::new(FreshTask::new(plan, family, chosen)))
}

fn is_nowhere(error: &PlanError) -> bool {
    match error {
        PlanError::NotFound { .. } | PlanError::NoService { .. } | PlanError::NoMatch { .. } => {
            true
        }
        PlanError::Target(error) => is_absence(error),
        // ECS has no other word for a family that there is not.
        PlanError::Aws(error) => {
            error.is("ClientException") && &*error.operation == "ecs:DescribeTaskDefinition"
        }
        _ => false,
    }
}
