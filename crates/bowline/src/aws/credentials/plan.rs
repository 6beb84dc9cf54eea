//! The way from a profile to credentials: a base, and roles to assume one after the other.
//!
//! The rules are those of the SDKs: after the first profile of a chain static keys win over everything else, and a
//! profile that is its own source, or has a `credential_source`, is its own base.

use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::Credentials as SdkCredentials;

use super::problem::CredentialProblem;
use super::role::Role;

/// How a profile gets its credentials.
#[derive(Debug)]
pub(super) struct Plan {
    /// The profile that the base is in.
    pub(super) base_profile: String,
    pub(super) base: Base,
    /// In the order in which they are assumed.
    pub(super) roles: Vec<Role>,
}

/// What is at the beginning.
#[derive(Debug)]
pub(super) enum Base {
    Keys(SdkCredentials),
    Environment,
    Container,
    Metadata,
    Sso { session: Option<String> },
    Login,
    Process { program: String },
    WebIdentity,
}

impl Plan {
    /// The way of a profile; `None` if it has no credentials at all.
    pub(super) fn of(set: &ProfileSet, name: &str) -> Result<Option<Self>, CredentialProblem> {
        let wrong = |profile: &str, reason: String| CredentialProblem::Profile {
            profile: profile.to_owned(),
            reason,
        };
        let mut visited: Vec<String> = Vec::new();
        let mut roles = Vec::new();
        let mut name = name.to_owned();
        loop {
            let Some(profile) = set.get_profile(&name) else {
                return match visited.last() {
                    None => Ok(None),
                    Some(from) => Err(wrong(
                        from,
                        format!("its source_profile {name} is not in the AWS configuration files"),
                    )),
                };
            };
            if visited.contains(&name) {
                visited.push(name);
                return Err(wrong(
                    &visited[0],
                    format!(
                        "its chain of source_profile never ends: {}",
                        visited.join(" → ")
                    ),
                ));
            }
            visited.push(name.clone());
            let planned = |base, roles: Vec<Role>| Self {
                base_profile: name.clone(),
                base,
                roles: roles.into_iter().rev().collect(),
            };
            if visited.len() > 1
                && let Some(keys) = keys(profile)
            {
                return Ok(Some(planned(Base::Keys(keys), roles)));
            }
            let role = Role::of(profile).map_err(|reason| wrong(&name, reason))?;
            let Some(role) = role else {
                let base = base(set, profile).map_err(|reason| wrong(&name, reason))?;
                return match (base, visited.len()) {
                    (Some(base), _) => Ok(Some(planned(base, roles))),
                    (None, 1) => Ok(None),
                    (None, _) => Err(wrong(
                        &visited[0],
                        format!("its source_profile {name} has no credentials"),
                    )),
                };
            };
            roles.push(role);
            match (
                profile.get("source_profile"),
                profile.get("credential_source"),
            ) {
                (Some(_), Some(_)) => {
                    return Err(wrong(
                        &name,
                        "it has both source_profile and credential_source".to_owned(),
                    ));
                }
                (None, None) => {
                    return Err(wrong(
                        &name,
                        "it has a role_arn, and neither source_profile nor credential_source"
                            .to_owned(),
                    ));
                }
                (Some(source), None) if source != name => name = source.to_owned(),
                _ => {
                    let base = base(set, profile).map_err(|reason| wrong(&name, reason))?;
                    let base = base.ok_or_else(|| {
                        wrong(
                            &name,
                            "it is its own source_profile and has no keys".to_owned(),
                        )
                    })?;
                    return Ok(Some(planned(base, roles)));
                }
            }
        }
    }

    /// Whether somebody may be asked something on the way.
    pub(super) fn may_ask(&self) -> bool {
        matches!(self.base, Base::Process { .. }) || self.roles.iter().any(Role::needs_code)
    }

    /// Whether the profile's credentials come from SSO, and by which session.
    pub(super) fn sso_session(&self) -> Option<&str> {
        match &self.base {
            Base::Sso { session } => session.as_deref(),
            _ => None,
        }
    }
}

fn base(set: &ProfileSet, profile: &Profile) -> Result<Option<Base>, String> {
    if let Some(source) = profile.get("credential_source") {
        return match source.to_ascii_lowercase().as_str() {
            "environment" => Ok(Some(Base::Environment)),
            "ecscontainer" => Ok(Some(Base::Container)),
            "ec2instancemetadata" => Ok(Some(Base::Metadata)),
            _ => Err(format!(
                "its credential_source {source} is none of Environment, EcsContainer and Ec2InstanceMetadata"
            )),
        };
    }
    if profile.get("web_identity_token_file").is_some() && profile.get("role_arn").is_some() {
        return Ok(Some(Base::WebIdentity));
    }
    if let Some(base) = sso(set, profile)? {
        return Ok(Some(base));
    }
    if profile.get("login_session").is_some() {
        return Ok(Some(Base::Login));
    }
    if let Some(command) = profile.get("credential_process") {
        // The rest of the line may hold secrets.
        let program = command.split_whitespace().next().unwrap_or_default();
        return Ok(Some(Base::Process {
            program: program.trim_matches('"').to_owned(),
        }));
    }
    let (id, secret) = (
        profile.get("aws_access_key_id"),
        profile.get("aws_secret_access_key"),
    );
    match (id, secret) {
        (Some(_), None) => Err("it has aws_access_key_id and no aws_secret_access_key".to_owned()),
        (None, Some(_)) => Err("it has aws_secret_access_key and no aws_access_key_id".to_owned()),
        _ => Ok(keys(profile).map(Base::Keys)),
    }
}

fn sso(set: &ProfileSet, profile: &Profile) -> Result<Option<Base>, String> {
    let own = [
        "sso_account_id",
        "sso_role_name",
        "sso_start_url",
        "sso_region",
    ];
    let session = profile.get("sso_session");
    if session.is_none() && own.iter().all(|key| profile.get(key).is_none()) {
        return Ok(None);
    }
    let mut missing: Vec<&str> = own[..2]
        .iter()
        .copied()
        .filter(|key| profile.get(key).is_none())
        .collect();
    match session {
        None => missing.extend(own[2..].iter().filter(|key| profile.get(key).is_none())),
        Some(name) => {
            let section = set.sso_session(name).ok_or_else(|| {
                format!("its sso_session {name} is not in the AWS configuration files")
            })?;
            missing.extend(own[2..].iter().filter(|key| section.get(key).is_none()));
        }
    }
    match missing.is_empty() {
        true => Ok(Some(Base::Sso {
            session: session.map(str::to_owned),
        })),
        false => Err(format!("its SSO settings lack {}", missing.join(", "))),
    }
}

fn keys(profile: &Profile) -> Option<SdkCredentials> {
    let (id, secret) = (
        profile.get("aws_access_key_id")?,
        profile.get("aws_secret_access_key")?,
    );
    let token = profile.get("aws_session_token").map(str::to_owned);
    Some(SdkCredentials::new(id, secret, token, None, "profile"))
}
