//! The options of a command on many targets.

use std::path::PathBuf;
use std::time::Duration;

use bowline::fleet::{Limits, MaxFailures, Paces, PlaceOptions, USUAL_RATE};
use bowline::run::RunPattern;
use bowline::target::TargetPattern;
use clap::Args;

use crate::commands::Context;
use crate::error::CommandError;

/// Where to run it and how much at once: the same for exec, script, op and run.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Many targets")]
pub(crate) struct FleetArgs {
    /// Every task that the targets mean, not only the newest of each
    #[arg(long)]
    pub(super) all: bool,
    /// These accounts, with --role in each: ids, names, patterns, @group of the configuration, or all of the organization
    #[arg(
        long,
        value_name = "NAME|@GROUP",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub(super) accounts: Vec<String>,
    /// The role to assume in each account, by its name
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) role: Option<String>,
    /// These profiles: names, patterns, @group of the configuration
    #[arg(
        long,
        value_name = "GLOB|@GROUP",
        value_delimiter = ',',
        conflicts_with = "accounts",
        hide_short_help = true
    )]
    pub(super) profiles: Vec<String>,
    /// These regions, or all that the account has
    #[arg(
        long,
        value_name = "REGION|all",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub(super) regions: Vec<String>,
    /// Targets at once
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = positive, hide_short_help = true)]
    pub(super) max: usize,
    /// Targets at once in one account
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = positive, hide_short_help = true)]
    pub(super) max_per_account: usize,
    /// So many at a time, and the next ones when all of these have ended
    #[arg(long, value_name = "N", value_parser = positive, hide_short_help = true)]
    pub(super) batch: Option<usize>,
    /// One after the other
    #[arg(long, conflicts_with = "batch", hide_short_help = true)]
    pub(super) serial: bool,
    /// Start no more after the first failure
    #[arg(long, conflicts_with = "max_fail", hide_short_help = true)]
    pub(super) fail_fast: bool,
    /// Start no more when more than so many have failed
    #[arg(long, value_name = "N|PERCENT%", value_parser = max_failures, hide_short_help = true)]
    pub(super) max_fail: Option<MaxFailures>,
    /// Sessions or tasks started in a second, in one account and region
    #[arg(long, value_name = "N", default_value_t = USUAL_RATE, value_parser = rate, hide_short_help = true)]
    pub(super) rate: f64,
    /// Write what failed to this file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) save_failed: Option<PathBuf>,
    /// Only what failed before, from such a file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) retry_failed: Option<PathBuf>,
    /// Show equal outputs once, and how the others differ
    #[arg(long)]
    pub(super) group: bool,
    /// Write each target's streams to files in this folder
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(super) out_dir: Option<PathBuf>,
}

impl FleetArgs {
    /// Whether a command line means many targets.
    pub(crate) fn is_asked(&self, targets: &[TargetPattern]) -> bool {
        targets.len() > 1 || targets.iter().any(TargetPattern::is_many) || self.means_many()
    }

    /// The same for tasks to be started.
    pub(crate) fn is_asked_to_run(&self, targets: &[RunPattern]) -> bool {
        targets.len() > 1 || targets.iter().any(RunPattern::is_many) || self.means_many()
    }

    fn means_many(&self) -> bool {
        self.all
            || !self.accounts.is_empty()
            || !self.profiles.is_empty()
            || !self.regions.is_empty()
            || self.retry_failed.is_some()
            || self.group
            || self.out_dir.is_some()
            || self.save_failed.is_some()
    }

    /// Whether a target may be left out.
    pub(crate) fn names_its_places(&self) -> bool {
        self.all || self.retry_failed.is_some()
    }

    /// What cannot be meant.
    pub(super) fn check(&self, names_targets: bool) -> Result<(), CommandError> {
        if !self.accounts.is_empty() && self.role.is_none() {
            return Err(
                CommandError::usage("--accounts needs a role to assume in each of them")
                    .hint("add --role NAME"),
            );
        }
        if self.accounts.is_empty() && self.role.is_some() && self.retry_failed.is_none() {
            return Err(
                CommandError::usage("--role is for --accounts, and none are named")
                    .hint("add --accounts all, or @group, names or ids"),
            );
        }
        let placed = self.all || names_targets || !self.accounts.is_empty();
        if self.retry_failed.is_some()
            && (placed || !self.profiles.is_empty() || !self.regions.is_empty())
        {
            return Err(CommandError::usage(
                "--retry-failed says itself where to run: leave out targets, accounts, profiles and regions",
            ));
        }
        if self.group && self.out_dir.is_some() {
            return Err(CommandError::usage(
                "--group and --out-dir exclude each other",
            ));
        }
        Ok(())
    }

    pub(super) fn limits(&self, time_limit: Option<Duration>) -> Limits {
        Limits {
            max: if self.serial { 1 } else { self.max },
            max_per_account: self.max_per_account,
            batch: self.batch,
            max_failures: match self.fail_fast {
                true => Some(MaxFailures::Count(0)),
                false => self.max_fail,
            },
            time_limit,
            ..Limits::default()
        }
    }

    pub(super) fn places(&self, context: &Context) -> PlaceOptions {
        PlaceOptions {
            accounts: self.accounts.clone(),
            profiles: self.profiles.clone(),
            role: self.role.clone(),
            regions: self.regions.clone(),
            rate: self.rate,
            known: context.config.accounts.clone(),
            groups: context.config.groups.clone(),
            paces: Paces::default(),
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a number from 1 on is needed".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.1 to 1000 is needed".to_owned()),
    }
}

fn max_failures(text: &str) -> Result<MaxFailures, String> {
    let wrong = || "a number of targets or a percentage is needed, as in 3 or 10%".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse() {
            Ok(percent @ 0..=100) => Ok(MaxFailures::Percent(percent)),
            _ => Err(wrong()),
        },
        None => text.parse().map(MaxFailures::Count).map_err(|_| wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_or_a_part_of_all() {
        assert_eq!(max_failures("3"), Ok(MaxFailures::Count(3)));
        assert_eq!(max_failures("10%"), Ok(MaxFailures::Percent(10)));
        for text in ["", "%", "101%", "-1", "x"] {
            assert!(max_failures(text).is_err(), "{text}");
        }
    }
}
