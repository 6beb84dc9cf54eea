//! The profiles of the AWS configuration files, and which one is used.

use aws_config::profile::{self, ProfileSet};
use aws_types::os_shim_internal::{Env, Fs};

use super::config::{ClientOptions, ConnectError};
use super::error::last_causes;
use crate::target::suggest;

/// The AWS configuration files and the profile that is used.
pub(super) struct Profiles {
    pub(super) set: ProfileSet,
    pub(super) selected: String,
}

impl Profiles {
    /// # Errors
    /// If a profile is named that does not exist; `default` need not.
    pub(super) async fn load(options: &ClientOptions) -> Result<Self, ConnectError> {
        let variable = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        let named = options
            .profile
            .clone()
            .or_else(|| variable("AWS_PROFILE"))
            .or_else(|| options.default_profile.clone());
        let set = profile::load(&Fs::real(), &Env::real(), &Default::default(), None)
            .await
            .map_err(|error| ConnectError::ProfileFiles {
                reason: last_causes(&error),
            })?;
        match named {
            Some(name) if name != "default" && set.get_profile(&name).is_none() => {
                let mut candidates: Vec<String> = set.profiles().map(str::to_owned).collect();
                candidates.sort();
                let near = suggest::near(&name, candidates.iter().map(String::as_str));
                let file = |name, usual: &str| variable(name).unwrap_or_else(|| usual.to_owned());
                Err(ConnectError::UnknownProfile {
                    name,
                    files: vec![
                        file("AWS_CONFIG_FILE", "~/.aws/config"),
                        file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
                    ],
                    suggestions: near,
                    candidates,
                })
            }
            named => Ok(Self {
                set,
                selected: named.unwrap_or_else(|| "default".to_owned()),
            }),
        }
    }
}

/// The names of all profiles there are.
pub(crate) async fn names() -> Result<Vec<String>, ConnectError> {
    let profiles = Profiles::load(&ClientOptions::default()).await?;
    let mut names: Vec<String> = profiles.set.profiles().map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// The region that a profile names, and the profile, for showing it.
pub(crate) async fn profile_region(profile: Option<&str>) -> Option<(String, String)> {
    let options = ClientOptions {
        profile: profile.map(str::to_owned),
        ..ClientOptions::default()
    };
    let profiles = Profiles::load(&options).await.ok()?;
    let region = profiles
        .set
        .get_profile(&profiles.selected)?
        .get("region")?;
    Some((
        region.to_owned(),
        format!(
            "profile {} of the AWS configuration files",
            profiles.selected
        ),
    ))
}
