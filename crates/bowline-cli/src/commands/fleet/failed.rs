//! The file of what failed, for another try.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bowline::fleet::{Again, FleetTarget, Outcome, Paces, PlaceOptions, Problem};
use bowline::run::RunPattern;

use super::options::FleetArgs;
use super::summary::Summary;
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};

/// Writes it where that is asked for; after a run without failures it is empty.
pub(super) fn save(
    args: &FleetArgs,
    targets: &[FleetTarget],
    problems: &[Problem],
    summary: &Summary,
    context: &Context,
) -> Result<(), CommandError> {
    let Some(file) = &args.save_failed else {
        return Ok(());
    };
    let text = text(targets, problems, summary)?;
    fs::write(file, &text).map_err(|error| unwritten(file, &error))?;
    if !text.is_empty() {
        let file = file.display();
        context
            .printer
            .note(&format!("try these again with --retry-failed {file}"));
    }
    Ok(())
}

/// What did not go well, one JSON object a line: containers, tasks that were to be started, and places that could not be searched.
pub(super) fn text(
    targets: &[FleetTarget],
    problems: &[Problem],
    summary: &Summary,
) -> Result<String, CommandError> {
    let failed = targets
        .iter()
        .enumerate()
        .filter(|(index, _)| !summary.outcome(*index).is_some_and(Outcome::is_good));
    let failed = failed.map(|(index, one)| {
        let outcome = summary.outcome(index);
        let open = [None, Some("unknown"), Some("interrupted")];
        one.again(open.contains(&outcome.map(Outcome::as_str)))
    });
    let unsearched = problems.iter().flat_map(|problem| problem.again.clone());
    let mut text = String::new();
    for one in failed.chain(unsearched) {
        let line = serde_json::to_string(&one)
            .map_err(|error| CommandError::new(ErrorKind::Unavailable, error))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// What such a file holds: of `run`, or of commands in containers.
pub(super) fn read(file: &Path, is_run: bool) -> Result<Vec<Again>, CommandError> {
    let shown = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| CommandError::usage(format!("cannot read {shown}: {error}")))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let entries: Result<Vec<Again>, CommandError> = lines
        .map(|(number, line)| {
            let wrong = |text: String, hint: &str| {
                CommandError::usage(format!("{shown} line {}: {text}", number + 1)).hint(hint)
            };
            let entry: Again = serde_json::from_str(line).map_err(|error| {
                wrong(
                    error.to_string(),
                    "such a file is written with --save-failed",
                )
            })?;
            if let Again::Run(one) = &entry {
                one.run.parse::<RunPattern>().map_err(|error| {
                    wrong(
                        error.to_string(),
                        "such a file is written with --save-failed",
                    )
                })?;
            }
            match (entry.is_run(), is_run) {
                (true, false) => Err(wrong(
                    "this is of `bowline run`, which starts tasks".to_owned(),
                    "try it again with `bowline run --retry-failed`",
                )),
                (false, true) => Err(wrong(
                    "this is a container, and run starts fresh tasks".to_owned(),
                    "try it again with the command that has written it",
                )),
                _ => Ok(entry),
            }
        })
        .collect();
    match entries? {
        entries if entries.is_empty() => Err(CommandError::usage(format!(
            "{shown} holds nothing that failed"
        ))),
        entries => Ok(entries),
    }
}

/// Account, role and profile, and whether the region is the profile's own.
type Key<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, bool);

/// A kind of place, and the entries that are there.
pub(super) struct Wish {
    pub(super) places: PlaceOptions,
    pub(super) entries: Vec<Again>,
}

/// Where the entries are: each kind of place with all of its accounts, profiles and regions.
pub(super) fn places(args: &FleetArgs, entries: &[Again], context: &Context) -> Vec<Wish> {
    let mut wishes: BTreeMap<Key<'_>, (Vec<String>, Vec<Again>)> = BTreeMap::new();
    for entry in entries {
        let (account, role, profile, region) = match entry {
            Again::Target(one) => (&one.account, &one.role, &one.profile, Some(&one.region)),
            Again::Run(one) => (&one.account, &one.role, &one.profile, Some(&one.region)),
            Again::Place(one) => (&one.account, &one.role, &one.profile, one.region.as_ref()),
        };
        let role = args.role.as_deref().or(role.as_deref());
        let key = (
            account.as_deref(),
            role,
            profile.as_deref(),
            region.is_none(),
        );
        let (regions, here) = wishes.entry(key).or_default();
        if let Some(region) = region.filter(|region| !regions.contains(region)) {
            regions.push(region.clone());
        }
        here.push(entry.clone());
    }
    // Several profiles of one account share its pace.
    let paces = Paces::default();
    let wishes = wishes
        .into_iter()
        .map(|((account, role, profile, _), (regions, entries))| Wish {
            places: PlaceOptions {
                accounts: account.map(str::to_owned).into_iter().collect(),
                profiles: profile.map(str::to_owned).into_iter().collect(),
                role: role.map(str::to_owned),
                regions,
                paces: paces.clone(),
                ..args.places(context)
            },
            entries,
        });
    wishes.collect()
}

pub(super) fn unwritten(file: &Path, error: &std::io::Error) -> CommandError {
    let text = format!("cannot write {}: {error}", file.display());
    CommandError::new(ErrorKind::Unavailable, text)
}
