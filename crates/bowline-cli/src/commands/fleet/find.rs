//! What a fleet is for: accounts and regions, then the containers in them or the tasks to be started.

use std::path::Path;

use bowline::fleet::{self, Again, Aim, Places, Problem, Selection};
use bowline::run::{PlanError, RunPattern, RunTarget};
use bowline::target::TargetPattern;
use bowline::{TargetOptions, TargetSpec};

use super::{Deed, Runs, Task, failed};
use crate::commands::Context;
use crate::error::CommandError;

/// Everything that is meant, in all places.
pub(super) async fn find(task: &Task<'_>, context: &Context) -> Result<Selection, CommandError> {
    let mut selection = match &task.args.retry_failed {
        Some(file) => again(task, file, context).await?,
        None => first(task, context).await?,
    };
    if let Deed::Run(runs) = &task.deed {
        for one in &mut selection.targets {
            if let Aim::Fresh(fresh) = &mut one.aim {
                let completed = (runs.complete)(fresh);
                completed.map_err(|error| error.about(&one.label))?;
            }
        }
    }
    Ok(selection)
}

/// What the file of an earlier run holds.
async fn again(task: &Task<'_>, file: &Path, context: &Context) -> Result<Selection, CommandError> {
    let home = context.client().await?;
    let options = context.global.client_options();
    let target_options = context.global.target_options();
    let entries = failed::read(file, matches!(task.deed, Deed::Run(_)))?;
    let mut all = Places::default();
    for wish in failed::places(task.args, &entries, context) {
        let some = fleet::places(&home, &options, &wish.places).await?;
        all.places.extend(some.places);
        all.problems
            .extend(some.problems.into_iter().map(|problem| Problem {
                again: wish.entries.clone(),
                ..problem
            }));
    }
    let mut selection = match &task.deed {
        Deed::Exec { .. } => fleet::reselect(&all.places, &entries, &target_options).await?,
        Deed::Run(runs) => fleet::replan(&all.places, &entries, &runs.wish, &target_options).await,
    };
    if selection.gone > 0 {
        context.printer.note(&format!(
            "{} tasks of {} run no more",
            selection.gone,
            file.display()
        ));
    }
    selection.problems.extend(all.problems);
    Ok(selection)
}

/// What the command line says.
async fn first(task: &Task<'_>, context: &Context) -> Result<Selection, CommandError> {
    let home = context.client().await?;
    let options = context.global.client_options();
    let target_options = context.global.target_options();
    let places = fleet::places(&home, &options, &task.args.places(context)).await?;
    let (mut selection, looked_for) = match &task.deed {
        Deed::Exec { targets, .. } => {
            let patterns = patterns(targets, context);
            let all = task.args.all;
            let selection = match patterns.is_empty() {
                false => fleet::select(&places.places, &patterns, &target_options, all).await?,
                true => only(&places, context).await?,
            };
            (selection, words(&patterns))
        }
        Deed::Run(runs) => {
            let patterns = run_patterns(runs, task.args.all, context)?;
            let named = runs.wish.like.is_some() || target_options.service.is_some();
            if patterns.is_empty() && !named {
                one_place(&places)?;
            }
            let planned = fleet::plan(&places.places, &patterns, &runs.wish, &target_options);
            let misplaced = task.what.is_empty() && patterns.len() > 1;
            let planned = planned.await.map_err(|error| {
                let unknown = matches!(error, PlanError::NotFound { .. });
                let error = CommandError::from(error);
                match unknown && misplaced {
                    true => error.hint("a command stands behind `--`"),
                    false => error,
                }
            });
            (planned?, words(&patterns))
        }
    };
    let is_run = matches!(task.deed, Deed::Run(_));
    for mut problem in places.problems {
        for again in &mut problem.again {
            if let Again::Place(place) = again {
                place.look_for(&looked_for, &target_options, task.args.all && !is_run);
                place.run = is_run;
            }
        }
        selection.problems.push(problem);
    }
    Ok(selection)
}

fn words<T: ToString>(patterns: &[T]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

/// The targets of the command line, with aliases replaced; else the configured one, or that of the options.
fn patterns(targets: &[TargetPattern], context: &Context) -> Vec<TargetPattern> {
    let given = targets.iter().map(|pattern| match pattern.one() {
        Some(spec) => context
            .target(Some(spec))
            .map_or_else(|| pattern.clone(), Into::into),
        None => pattern.clone(),
    });
    let given: Vec<TargetPattern> = given.collect();
    if !given.is_empty() {
        return given;
    }
    let global = &context.global;
    let by_option = match (&global.task, &global.service) {
        (Some(task), _) => Some(format!("task:{task}")),
        (None, Some(service)) => Some(format!("service:{service}")),
        (None, None) => None,
    };
    let by_option = by_option.and_then(|text| text.parse().ok());
    by_option
        .or_else(|| context.target(None).map(Into::into))
        .into_iter()
        .collect()
}

/// The same for tasks to be started. Nothing means what it means for one task: --like, --service, or the only service.
fn run_patterns(
    runs: &Runs<'_>,
    all: bool,
    context: &Context,
) -> Result<Vec<RunPattern>, CommandError> {
    if let Some(pattern) = runs.targets.iter().find(|one| one.means_every_container()) {
        let text = format!("{pattern} means every container, and a command is for one of them");
        return Err(CommandError::usage(text).hint("name a container, or leave it out"));
    }
    if all && !runs.targets.is_empty() {
        let text = "--all means every service of the cluster, and targets are named";
        return Err(CommandError::usage(text).hint(
            "leave out --all, or the targets: each target, and each service that a pattern matches, stands for one \
             fresh task",
        ));
    }
    if all {
        let every = "*".parse::<RunPattern>();
        return every
            .map(|every| vec![every])
            .map_err(|error| CommandError::usage(error.to_string()));
    }
    let spec = |spec: &TargetSpec| context.target(Some(spec)).map(RunPattern::from);
    let given = runs.targets.iter().map(|pattern| match pattern.one() {
        Some(RunTarget::Spec(one)) => spec(one).unwrap_or_else(|| pattern.clone()),
        _ => pattern.clone(),
    });
    let given: Vec<RunPattern> = given.collect();
    let named = runs.wish.like.is_some() || context.global.service.is_some();
    if !given.is_empty() || named {
        return Ok(given);
    }
    Ok(context
        .target(None)
        .map(RunPattern::from)
        .into_iter()
        .collect())
}

fn one_place(places: &Places) -> Result<(), CommandError> {
    match &places.places[..] {
        [_] => Ok(()),
        _ => Err(
            CommandError::usage("several accounts or regions need a target")
                .hint("name one; '*' means every service of the current cluster"),
        ),
    }
}

/// The tasks of the only service there is, as everywhere without a target.
async fn only(places: &Places, context: &Context) -> Result<Selection, CommandError> {
    one_place(places)?;
    let Some(place) = places.places.first() else {
        return Ok(Selection::default());
    };
    let one = place
        .client
        .resolve_only(&context.global.target_options())
        .await?;
    let text = match &one.service {
        Some(service) => format!("service:{}/{service}", one.cluster.name),
        None => format!("task:{}/{}", one.cluster.name, one.task.id),
    };
    let pattern: TargetPattern = text
        .parse()
        .map_err(|error| CommandError::usage(format!("{error}")))?;
    let options = TargetOptions {
        container: context.global.container.clone(),
        ..TargetOptions::default()
    };
    Ok(fleet::select(&places.places, &[pattern], &options, true).await?)
}
