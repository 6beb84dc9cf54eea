//! Scenarios in which something that ECS Exec needs is missing.

use serde_json::{Value, json};

use super::ScenarioError;
use crate::network::Flaw;

/// Something that ECS Exec needs and does not have, or that deserves a look.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prerequisite {
    /// The service has ECS Exec, its tasks are older than that.
    ExecEnabledLater,
    /// The service is on Fargate's platform version 1.3.0, which has no ECS Exec.
    OldPlatform,
    /// The container's root file system is read-only.
    ReadOnlyRoot,
    /// No init process reaps what sessions leave behind.
    NoInitProcess,
    /// The task has no role.
    NoTaskRole,
    /// The task's role may not do this (`*` for any text).
    RoleDenied(String),
    /// The caller may not do this (`*` for any text).
    CallerDenied(String),
    /// The container's environment has access keys.
    CredentialsInEnvironment,
    /// The container's environment has a proxy that is not there.
    ProxyInEnvironment,
    /// Two containers share one process namespace.
    PidModeTask,
    /// All sessions of every container are taken.
    SessionsFull,
    /// The clock of the API is ahead by so many seconds.
    ClockAhead(i64),
    /// The subnet has no way out.
    NoRoute,
    /// The subnet has no way out but endpoints for other services.
    NoEndpoint,
    /// The security group of the endpoint lets nobody in.
    EndpointClosed,
    /// The endpoint does not answer to the service's own name.
    EndpointWithoutDns,
    /// The security group of the tasks lets nothing out.
    EgressClosed,
}

/// Each form with its meaning.
pub(super) const FORMS: [(&str, &str); 17] = [
    (
        "exec-enabled-later",
        "tasks are older than their service's ECS Exec",
    ),
    (
        "old-platform",
        "tasks run on Fargate's platform version 1.3.0",
    ),
    ("read-only-root", "the root file system is read-only"),
    ("no-init-process", "no init process in the container"),
    ("no-task-role", "the task has no role"),
    (
        "role-denied[=ACTION]",
        "the task's role lacks ssmmessages:*, or this (repeatable)",
    ),
    (
        "caller-denied[=ACTION]",
        "the caller may not ecs:ExecuteCommand, or this (repeatable)",
    ),
    (
        "credentials-in-environment",
        "the container has access keys in its environment",
    ),
    (
        "proxy-in-environment",
        "the container has a proxy that leads nowhere",
    ),
    (
        "pid-mode-task",
        "a second container in the same process namespace",
    ),
    ("sessions-full", "both sessions of each container are taken"),
    (
        "clock-ahead=SECONDS",
        "AWS's clock is ahead of this machine's",
    ),
    ("no-route", "the subnet has no way out"),
    (
        "no-endpoint",
        "the subnet has endpoints, but not for Session Manager",
    ),
    (
        "endpoint-closed",
        "the endpoint's security group lets nobody in",
    ),
    ("endpoint-without-dns", "the endpoint has no private DNS"),
    (
        "egress-closed",
        "the tasks' security group lets nothing out",
    ),
];

/// Reads one; `None` if no scenario of this file has the name.
pub(super) fn parse(
    name: &str,
    value: Option<&str>,
) -> Option<Result<Prerequisite, ScenarioError>> {
    let wrong = |reason: &str| ScenarioError::Value {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let action = |usual: &str| value.unwrap_or(usual).to_owned();
    let prerequisite = match name {
        "role-denied" => Prerequisite::RoleDenied(action("ssmmessages:*")),
        "caller-denied" => Prerequisite::CallerDenied(action("ecs:ExecuteCommand")),
        "clock-ahead" => match value.and_then(|value| value.trim_end_matches('s').parse().ok()) {
            Some(seconds @ -86_400..=86_400) => Prerequisite::ClockAhead(seconds),
            _ => {
                return Some(Err(wrong(
                    "a number of seconds up to a day is needed, as in clock-ahead=1200",
                )));
            }
        },
        _ => {
            let plain = without_value(name)?;
            if value.is_some() {
                return Some(Err(wrong("it takes no value")));
            }
            plain
        }
    };
    Some(Ok(prerequisite))
}

fn without_value(name: &str) -> Option<Prerequisite> {
    Some(match name {
        "exec-enabled-later" => Prerequisite::ExecEnabledLater,
        "old-platform" => Prerequisite::OldPlatform,
        "read-only-root" => Prerequisite::ReadOnlyRoot,
        "no-init-process" => Prerequisite::NoInitProcess,
        "no-task-role" => Prerequisite::NoTaskRole,
        "credentials-in-environment" => Prerequisite::CredentialsInEnvironment,
        "proxy-in-environment" => Prerequisite::ProxyInEnvironment,
        "pid-mode-task" => Prerequisite::PidModeTask,
        "sessions-full" => Prerequisite::SessionsFull,
        "no-route" => Prerequisite::NoRoute,
        "no-endpoint" => Prerequisite::NoEndpoint,
        "endpoint-closed" => Prerequisite::EndpointClosed,
        "endpoint-without-dns" => Prerequisite::EndpointWithoutDns,
        "egress-closed" => Prerequisite::EgressClosed,
        _ => return None,
    })
}

/// What of these is wrong with a sandbox.
#[derive(Debug, Default)]
pub(crate) struct Prerequisites {
    all: Vec<Prerequisite>,
}

impl Prerequisite {
    /// It changes what the demo world's service and its tasks are, and nothing of other worlds.
    pub(super) fn is_about_the_demo_world(&self) -> bool {
        match self {
            Self::ExecEnabledLater
            | Self::OldPlatform
            | Self::ReadOnlyRoot
            | Self::NoInitProcess
            | Self::NoTaskRole
            | Self::CredentialsInEnvironment
            | Self::ProxyInEnvironment
            | Self::PidModeTask
            // Tasks of world files have roles of their own, with no policies that could lack something.
            | Self::RoleDenied(_) => true,
            Self::CallerDenied(_)
            | Self::SessionsFull
            | Self::ClockAhead(_)
            | Self::NoRoute
            | Self::NoEndpoint
            | Self::EndpointClosed
            | Self::EndpointWithoutDns
            | Self::EgressClosed => false,
        }
    }
}

impl Prerequisites {
    pub(super) fn add(&mut self, prerequisite: Prerequisite) {
        self.all.push(prerequisite);
    }

    pub(crate) fn has(&self, prerequisite: &Prerequisite) -> bool {
        self.all.contains(prerequisite)
    }

    /// What the role of the tasks may not do.
    pub(crate) fn role_denied(&self) -> Vec<String> {
        let denied = self
            .all
            .iter()
            .filter_map(|prerequisite| match prerequisite {
                Prerequisite::RoleDenied(action) => Some(action.clone()),
                _ => None,
            });
        denied.collect()
    }

    /// What the caller may not do.
    pub(crate) fn caller_denied(&self) -> Vec<String> {
        let denied = self
            .all
            .iter()
            .filter_map(|prerequisite| match prerequisite {
                Prerequisite::CallerDenied(action) => Some(action.clone()),
                _ => None,
            });
        denied.collect()
    }

    /// Seconds that the clock of the API is ahead.
    pub(crate) fn clock_ahead(&self) -> i64 {
        let ahead = self
            .all
            .iter()
            .rev()
            .find_map(|prerequisite| match prerequisite {
                Prerequisite::ClockAhead(seconds) => Some(*seconds),
                _ => None,
            });
        ahead.unwrap_or_default()
    }

    /// What is wrong with the network; the last one counts.
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        self.all.iter().rev().find_map(|prerequisite| {
            Some(match prerequisite {
                Prerequisite::NoRoute => Flaw::NoRoute,
                Prerequisite::NoEndpoint => Flaw::NoEndpoint,
                Prerequisite::EndpointClosed => Flaw::EndpointClosed,
                Prerequisite::EndpointWithoutDns => Flaw::EndpointWithoutDns,
                Prerequisite::EgressClosed => Flaw::EgressClosed,
                _ => return None,
            })
        })
    }

    /// Puts what is wrong with it into the definition of the demo service's tasks.
    pub(crate) fn spoil(&self, definition: &mut Value) {
        for prerequisite in &self.all {
            let container = &mut definition["containerDefinitions"][0];
            match prerequisite {
                Prerequisite::ReadOnlyRoot => container["readonlyRootFilesystem"] = json!(true),
                Prerequisite::NoInitProcess => container["linuxParameters"] = json!({}),
                Prerequisite::CredentialsInEnvironment => {
                    container["environment"] = json!([
                        { "name": "AWS_ACCESS_KEY_ID", "value": "AKIAEXAMPLEEXAMPLE12" },
                        { "name": "AWS_SECRET_ACCESS_KEY", "value": "example" },
                    ]);
                }
                Prerequisite::ProxyInEnvironment => {
                    container["environment"] =
                        json!([{ "name": "HTTPS_PROXY", "value": "http://proxy.invalid:3128" }]);
                }
                Prerequisite::NoTaskRole => {
                    if let Some(definition) = definition.as_object_mut() {
                        definition.remove("taskRoleArn");
                    }
                }
                Prerequisite::PidModeTask => {
                    let mut second = container.clone();
                    second["name"] = json!("sidecar");
                    second["image"] = json!("bowline/demo-sidecar:latest");
                    second["command"] = json!(["sleep", "86400"]);
                    second["essential"] = json!(false);
                    second["portMappings"] = json!([]);
                    definition["pidMode"] = json!("task");
                    if let Some(all) = definition["containerDefinitions"].as_array_mut() {
                        all.push(second);
                    }
                }
                _ => {}
            }
        }
    }
}
