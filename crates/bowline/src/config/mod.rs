//! Layered settings: flag > environment > project file > user file > AWS configuration > built in, each value with
//! where it came from.
//!
//! A project file comes with a checkout, so it may say where the project's things are and nothing that could do harm:
//! `schema` lists what it may not set. Guards only ever add up.

mod alias;
mod error;
mod file;
mod guard;
mod locate;
mod origin;
mod record;
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use self::alias::Expanded;
pub use self::error::ConfigError;
pub use self::guard::{Colour, Confirm, Guard, GuardedPlace};
pub use self::locate::{Files, locate};
pub use self::origin::{Origin, Setting};
pub use self::record::RecordSettings;
pub use self::schema::{EngineName, ForwardSet, OutputForm, json_schema};
use crate::operation::Operation;
use crate::target::{ClusterName, ContainerName, TargetSpec};

/// What has a default. Every layer fills in what it knows.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Defaults {
    /// The current cluster.
    pub cluster: Option<Setting<ClusterName>>,
    /// The target of verbs that are given none.
    pub target: Option<Setting<TargetSpec>>,
    /// The container, if the target names none.
    pub container: Option<Setting<ContainerName>>,
    /// The shell of a login.
    pub shell: Option<Setting<String>>,
    /// The form of listings.
    pub output: Option<Setting<OutputForm>>,
    /// The engine of an exec.
    pub engine: Option<Setting<EngineName>>,
    /// The AWS region.
    pub region: Option<Setting<String>>,
    /// The profile of the AWS configuration files.
    pub profile: Option<Setting<String>>,
    /// One endpoint for every service.
    pub endpoint_url: Option<Setting<String>>,
    /// The host of data channels.
    pub stream_host: Option<Setting<String>>,
}

/// The configuration of one command.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// The defaults of all layers as one.
    pub defaults: Defaults,
    /// Words that stand for targets.
    pub aliases: BTreeMap<String, Setting<TargetSpec>>,
    /// Forwards that go up and down together.
    pub forwards: BTreeMap<String, Setting<ForwardSet>>,
    /// All guards, of the user's file and of the project's.
    pub guards: Vec<Setting<Guard>>,
    /// Named operations; a project's goes before the user's own of the same name.
    pub operations: BTreeMap<String, Setting<Operation>>,
    /// Accounts by names, for fleets.
    pub accounts: BTreeMap<String, String>,
    /// Groups of accounts or profiles, by name.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Whether and how sessions are recorded.
    pub record: RecordSettings,
    /// The files that were looked for.
    pub files: Files,
}

/// A look-up of environment variables; an empty one counts as not set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Joins all layers. `flags` is the first of them, `directory` is where the search for a project file begins.
    pub fn load(
        flags: Defaults,
        environment: Environment<'_>,
        directory: Option<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let files = locate(environment, directory)?;
        let user = files.user.as_deref().map(file::read_user).transpose()?;
        let project = files
            .project
            .as_deref()
            .map(file::read_project)
            .transpose()?;
        let (mut user, project) = (user.unwrap_or_default(), project.unwrap_or_default());

        // Whatever of AWS's own variables is set is nearer than a file of ours.
        let set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
        if [
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_ECS",
            "AWS_ENDPOINT_URL_SSM",
        ]
        .into_iter()
        .any(set)
        {
            user.defaults.endpoint_url = None;
        }
        let defaults = flags
            .or(origin::of_environment(environment)?)
            .or(project.defaults)
            .or(user.defaults);
        let mut aliases = user.aliases;
        aliases.extend(project.aliases);
        alias::check(&aliases)?;
        let mut forwards = user.forwards;
        forwards.extend(project.forwards);
        let mut operations = user.operations;
        operations.extend(project.operations);
        let (mut accounts, mut groups) = (project.accounts, project.groups);
        accounts.extend(user.accounts);
        groups.extend(user.groups);
        let guards = user.guards.into_iter().chain(project.guards).collect();
        Ok(Self {
            defaults,
            aliases,
            forwards,
            guards,
            operations,
            accounts,
            groups,
            record: RecordSettings::join([user.record, project.record]),
            files,
        })
    }

    /// Flags alone: for a private sandbox, which has nothing to do with configured targets.
    pub fn of_flags(flags: Defaults) -> Self {
        Self {
            defaults: flags,
            ..Self::default()
        }
    }

    /// The target that an alias stands for; any other target as it is.
    pub fn expand(&self, target: &TargetSpec) -> Expanded {
        alias::expand(&self.aliases, target)
    }

    /// What the guards ask for in a place, or `None` where there is none: the strictest that fits.
    pub fn guard(&self, place: &GuardedPlace<'_>) -> Option<&Setting<Guard>> {
        self.guards
            .iter()
            .rev()
            .filter(|guard| guard.value.covers(place))
            .max_by_key(|guard| guard.value.confirm)
    }
}

impl Defaults {
    /// The same, with what is absent taken from a lower layer.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        Self {
            cluster: self.cluster.or(lower.cluster),
            target: self.target.or(lower.target),
            container: self.container.or(lower.container),
            shell: self.shell.or(lower.shell),
            output: self.output.or(lower.output),
            engine: self.engine.or(lower.engine),
            region: self.region.or(lower.region),
            profile: self.profile.or(lower.profile),
            endpoint_url: self.endpoint_url.or(lower.endpoint_url),
            stream_host: self.stream_host.or(lower.stream_host),
        }
    }
}

/// Reads one file as the user's or the project's, and says whether it is right.
pub fn check(files: &Files) -> Vec<Result<PathBuf, ConfigError>> {
    let user = files
        .user
        .as_deref()
        .map(|path| file::read_user(path).map(|_| path.to_owned()));
    let project = files.project.as_deref();
    let project = project.map(|path| file::read_project(path).map(|_| path.to_owned()));
    user.into_iter().chain(project).collect()
}

/// The region of a profile (`AWS_PROFILE`'s, else `default`'s, if none is named) and where it is, for showing it.
pub async fn aws_region(profile: Option<&str>) -> Option<(String, String)> {
    crate::aws::profiles::profile_region(profile).await
}

#[cfg(test)]
mod tests;
