//! Where a value came from, and the layer of the environment.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::ConfigError;
use super::{Defaults, Environment};

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// An option of the command line, such as `--cluster`.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// The project's file.
    Project {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The user's file.
    User {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl<T> Setting<T> {
    /// A value with its origin.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

impl Origin {
    /// One word for programs: `flag`, `environment`, `project` or `user`.
    pub fn layer(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::Project { .. } => "project",
            Self::User { .. } => "user",
        }
    }

    /// Whether the user asked for this very command, and not for all: with a flag or a variable of ours.
    pub fn is_explicit(&self) -> bool {
        match self {
            Self::Flag(_) => true,
            Self::Environment(name) => name.starts_with("BOWLINE_"),
            Self::Project { .. } | Self::User { .. } => false,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::Project { path, line } | Self::User { path, line } => {
                write!(f, "{}:{line}", path.display())
            }
        }
    }
}

/// What the environment says.
pub(super) fn of_environment(environment: Environment<'_>) -> Result<Defaults, ConfigError> {
    Ok(Defaults {
        cluster: one(environment, &["BOWLINE_CLUSTER"])?,
        target: one(environment, &["BOWLINE_TARGET"])?,
        container: one(environment, &["BOWLINE_CONTAINER"])?,
        shell: one(environment, &["BOWLINE_SHELL"])?,
        output: one(environment, &["BOWLINE_OUTPUT"])?,
        engine: one(environment, &["BOWLINE_ENGINE"])?,
        region: one(
            environment,
            &["BOWLINE_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"],
        )?,
        profile: one(environment, &["BOWLINE_PROFILE", "AWS_PROFILE"])?,
        endpoint_url: one(environment, &["BOWLINE_ENDPOINT"])?,
        stream_host: one(environment, &["BOWLINE_STREAM_HOST"])?,
    })
}

/// The first of these variables that is set; an empty one is not.
fn one<T>(
    environment: Environment<'_>,
    names: &[&'static str],
) -> Result<Option<Setting<T>>, ConfigError>
where
    T: FromStr<Err: fmt::Display>,
{
    for name in names {
        let Some(text) = environment(name).filter(|text| !text.is_empty()) else {
            continue;
        };
        let value = text
            .parse()
            .map_err(|error: T::Err| ConfigError::Environment {
                name,
                reason: error.to_string(),
            })?;
        return Ok(Some(Setting::new(value, Origin::Environment(name))));
    }
    Ok(None)
}
