//! The file of what failed, for another try.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bowline::fleet::{Failed, FleetTarget, Outcome, PlaceOptions};

use super::options::FleetArgs;
use super::summary::Summary;
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};

/// Writes it where that is asked for; after a run without failures it is empty.
pub(super) fn save(
    args: &FleetArgs,
    targets: &[FleetTarget],
    summary: &Summary,
    context: &Context,
) -> Result<(), CommandError> {
    let Some(file) = &args.save_failed else {
        return Ok(());
    };
    let text = text(targets, summary)?;
    fs::write(file, &text).map_err(|error| unwritten(file, &error))?;
    if !text.is_empty() {
        let file = file.display();
        context
            .printer
            .note(&format!("try these again with --retry-failed {file}"));
    }
    Ok(())
}

/// What did not go well, one JSON object a line.
pub(super) fn text(targets: &[FleetTarget], summary: &Summary) -> Result<String, CommandError> {
    let failed = targets
        .iter()
        .enumerate()
        .filter(|(index, _)| !summary.outcome(*index).is_some_and(Outcome::is_good));
    let mut text = String::new();
    for (_, one) in failed {
        let line = serde_json::to_string(&one.failed())
            .map_err(|error| CommandError::new(ErrorKind::Unavailable, error))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

pub(super) fn read(file: &Path) -> Result<Vec<Failed>, CommandError> {
    let shown = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| CommandError::usage(format!("cannot read {shown}: {error}")))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let entries: Result<Vec<Failed>, CommandError> = lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                CommandError::usage(format!("{shown} line {}: {error}", number + 1))
                    .hint("such a file is written with --save-failed")
            })
        })
        .collect();
    match entries? {
        entries if entries.is_empty() => Err(CommandError::usage(format!(
            "{shown} holds nothing that failed"
        ))),
        entries => Ok(entries),
    }
}

/// Account, role and profile.
type Key<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

/// Where the entries are: each kind of place with all of its accounts, profiles and regions.
pub(super) fn places(args: &FleetArgs, entries: &[Failed], context: &Context) -> Vec<PlaceOptions> {
    let mut wishes: BTreeMap<Key<'_>, Vec<String>> = BTreeMap::new();
    for entry in entries {
        let role = args.role.as_deref().or(entry.role.as_deref());
        let key = (entry.account.as_deref(), role, entry.profile.as_deref());
        let regions = wishes.entry(key).or_default();
        if !regions.contains(&entry.region) {
            regions.push(entry.region.clone());
        }
    }
    let wishes = wishes
        .into_iter()
        .map(|((account, role, profile), regions)| PlaceOptions {
            accounts: account.map(str::to_owned).into_iter().collect(),
            profiles: profile.map(str::to_owned).into_iter().collect(),
            role: role.map(str::to_owned),
            regions,
            ..args.places(context)
        });
    wishes.collect()
}

pub(super) fn unwritten(file: &Path, error: &std::io::Error) -> CommandError {
    let text = format!("cannot write {}: {error}", file.display());
    CommandError::new(ErrorKind::Unavailable, text)
}
