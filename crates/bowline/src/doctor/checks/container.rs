//! One container: its agent, its definition, its sessions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Looked, join};
use crate::aws::call::{list, text};
use crate::doctor::facts::{Facts, Unknown};
use crate::doctor::fix;
use crate::doctor::{Check, Severity};

/// An agent is up sooner than this, also with a cold image.
const STARTING: i64 = 120;

pub(super) fn agent(facts: &Facts, _: usize, name: &str) -> Vec<Check> {
    const LOOK: Looked = Looked::new("agent", 20, "managedAgents in ecs:DescribeTasks");
    if !facts.is_enabled() {
        let why = Unknown::new("there is none without ECS Exec");
        return LOOK.unknown("the exec agent", &why);
    }
    let container = facts.container(name);
    let status = container.and_then(|container| text(container, "lastStatus"));
    if status != Some("RUNNING") {
        return LOOK.problem(
            Severity::Blocks,
            format!(
                "container {name} is {}, and only a RUNNING one can be entered",
                status.unwrap_or("not reported")
            ),
            "wait until it runs, or choose another task",
            Vec::new(),
        );
    }
    let agent = facts.agent(name);
    let young = facts.age.is_none_or(|age| age < STARTING);
    match agent.and_then(|agent| text(agent, "lastStatus")) {
        Some("RUNNING") => LOOK.ok(format!("the exec agent of container {name} runs")),
        Some("STOPPED") => {
            let reason = agent.and_then(|agent| text(agent, "reason"));
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            LOOK.problem(
                Severity::Blocks,
                format!("the exec agent of container {name} has stopped{reason}"),
                "replace the task; ECS starts an agent again a few times only",
                fix::redeploy(facts),
            )
        }
        _ if young => LOOK.problem(
            Severity::Blocks,
            format!("the exec agent of container {name} is still starting"),
            "wait, or let exec wait longer with --wait",
            Vec::new(),
        ),
        Some(_) => LOOK.problem(
            Severity::Blocks,
            format!(
                "the exec agent of container {name} has been starting for more than two minutes"
            ),
            "replace the task",
            fix::redeploy(facts),
        ),
        None => LOOK.problem(
            Severity::Blocks,
            format!("ECS reports no exec agent for container {name}"),
            "replace the task",
            fix::redeploy(facts),
        ),
    }
}

/// Where the agent writes; volumes there make up for a read-only root.
const AGENT_FOLDERS: [&str; 3] = [
    "/managed-agents",
    "/var/lib/amazon/ssm",
    "/var/log/amazon/ssm",
];

pub(super) fn read_only(facts: &Facts, _: usize, name: &str) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "read-only-root",
        3,
        "readonlyRootFilesystem in ecs:DescribeTaskDefinition",
    );
    let definition = match facts.container_definition(name) {
        Ok(definition) => definition,
        Err(why) => return LOOK.unknown("whether the root file system is writable", &why),
    };
    if definition["readonlyRootFilesystem"] != true {
        return LOOK.ok("the root file system is writable");
    }
    let writable = |folder: &&str| {
        list(definition, "mountPoints")
            .iter()
            .any(|mount| text(mount, "containerPath") == Some(folder) && mount["readOnly"] != true)
    };
    if AGENT_FOLDERS.iter().all(writable) {
        return LOOK.ok("the root file system is read-only, with volumes where the agent writes");
    }
    LOOK.problem(
        Severity::Blocks,
        format!(
            "the root file system of container {name} is read-only, and the exec agent has to write"
        ),
        "set readonlyRootFilesystem to false and deploy that",
        fix::revise(facts, |definition| {
            fix::container(definition, name)["readonlyRootFilesystem"] = json!(false);
        }),
    )
}

/// What the agent takes for its credentials.
const CREDENTIALS: [&str; 3] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_ACCESS_KEY",
];

pub(super) fn credentials(facts: &Facts, _: usize, name: &str) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "credentials-in-environment",
        6,
        "environment and secrets in ecs:DescribeTaskDefinition and ecs:DescribeTasks (overrides)",
    );
    let set = match variables(facts, name) {
        Ok(set) => set,
        Err(why) => return LOOK.unknown("the container's environment", &why),
    };
    let found: Vec<String> = CREDENTIALS
        .iter()
        .filter(|key| set.contains_key(**key))
        .map(|key| (*key).to_owned())
        .collect();
    if found.is_empty() {
        return LOOK.ok("no access keys stand in the environment");
    }
    LOOK.problem(
        Severity::MayBlock,
        format!(
            "the environment of container {name} has {}, which the exec agent takes in place of the task's role",
            join(&found)
        ),
        "remove them and deploy that; the task's role serves the application too",
        fix::revise(facts, |definition| {
            let container = fix::container(definition, name);
            for member in ["environment", "secrets"] {
                if let Some(list) = container.get_mut(member).and_then(Value::as_array_mut) {
                    list.retain(|one| !text(one, "name").is_some_and(|n| CREDENTIALS.contains(&n)));
                }
            }
        }),
    )
}

pub(super) fn proxy(facts: &Facts, _: usize, name: &str) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "proxy-in-environment",
        9,
        "environment in ecs:DescribeTaskDefinition and ecs:DescribeTasks (overrides)",
    );
    let set = match variables(facts, name) {
        Ok(set) => set,
        Err(why) => return LOOK.unknown("the container's environment", &why),
    };
    let found = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"]
        .into_iter()
        .find(|variable| set.contains_key(*variable));
    let Some(variable) = found else {
        return LOOK.ok("no proxy stands in the environment");
    };
    let suffix = crate::aws::regions::dns_suffix(&facts.region);
    let host = format!("ssmmessages.{}.{suffix}", facts.region);
    let exempt = ["NO_PROXY", "no_proxy"]
        .into_iter()
        .find_map(|exempt| Some((exempt, set.get(exempt)?)));
    match exempt {
        Some((exempt, Variable::Stored)) => {
            let why = Unknown(format!("{exempt} comes from a secret"));
            return LOOK.unknown(
                &format!("whether the exec agent uses the proxy of {variable}"),
                &why,
            );
        }
        Some((exempt, Variable::Plain(hosts))) if is_exempt(&host, hosts) => {
            return LOOK.ok(format!(
                "{exempt} lets the exec agent pass by the proxy of {variable}"
            ));
        }
        _ => {}
    }
    LOOK.problem(
        Severity::MayBlock,
        format!(
            "the environment of container {name} has {variable}, and the exec agent uses that proxy"
        ),
        format!("let the proxy pass {host}, or name that host in NO_PROXY"),
        Vec::new(),
    )
}

/// Whether `NO_PROXY` names the host: itself or a domain of it, perhaps with a port, or `*`. The agent's reading is that
/// of Go: `domain` is the domain and what is below it, `.domain` and `*.domain` what is below it only.
fn is_exempt(host: &str, no_proxy: &str) -> bool {
    no_proxy.split(',').map(str::trim).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let entry = entry.strip_suffix(":443").unwrap_or(&entry);
        if entry == "*" {
            return true;
        }
        let (domain, itself) = match entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')) {
            Some(domain) => (domain, false),
            None => (entry, true),
        };
        match host.strip_suffix(domain) {
            Some("") => itself && !domain.is_empty(),
            Some(below) => below.ends_with('.') && !domain.is_empty(),
            None => false,
        }
    })
}

pub(super) fn pid_mode(facts: &Facts, _: usize, name: &str) -> Vec<Check> {
    const LOOK: Looked = Looked::new("pid-mode", 7, "pidMode in ecs:DescribeTaskDefinition");
    let definition = match &facts.definition {
        Ok(definition) => definition,
        Err(why) => return LOOK.unknown("whether the containers share their processes", why),
    };
    let others = list(definition, "containerDefinitions").len();
    if text(definition, "pidMode") != Some("task") || others < 2 {
        return LOOK.ok("the container has its processes to itself");
    }
    let agent = facts
        .agent(name)
        .and_then(|agent| text(agent, "lastStatus"));
    let (severity, what) = match agent {
        Some("RUNNING") => (
            Severity::Note,
            format!("pidMode is task, so of all containers only {name} can be entered"),
        ),
        _ => (
            Severity::Blocks,
            format!(
                "pidMode is task, so only one container of the task can be entered, and that is not {name}"
            ),
        ),
    };
    LOOK.problem(
        severity,
        what,
        "leave pidMode out of the task definition and deploy that",
        fix::revise(facts, |definition| {
            if let Some(definition) = definition.as_object_mut() {
                definition.remove("pidMode");
            }
        }),
    )
}

/// Sessions that ECS serves at once in a container.
const SESSION_LIMIT: usize = 2;

pub(super) fn sessions(facts: &Facts, index: usize, name: &str) -> Vec<Check> {
    const LOOK: Looked = Looked::new("session-limit", 2, "ssm:DescribeSessions");
    let sessions = match facts.sessions.get(index) {
        Some(Ok(sessions)) => sessions,
        Some(Err(why)) => return LOOK.unknown("how many sessions are active", why),
        None => return Vec::new(),
    };
    if sessions.len() < SESSION_LIMIT {
        return LOOK.ok(match sessions.len() {
            0 => "no session is active in the container".to_owned(),
            count => format!("{count} of {SESSION_LIMIT} sessions is active in the container"),
        });
    }
    let oldest = sessions
        .iter()
        .min_by(|a, b| started(a).total_cmp(&started(b)));
    let oldest = oldest.and_then(|session| text(session, "SessionId"));
    let owner = |session: &Value| text(session, "Owner").unwrap_or("somebody").to_owned();
    let owners: BTreeSet<String> = sessions.iter().map(owner).collect();
    let owners: Vec<String> = owners.into_iter().collect();
    LOOK.problem(
        Severity::Blocks,
        format!(
            "{} sessions are active in container {name} (of {}), and a further one stays silent",
            sessions.len(),
            join(&owners)
        ),
        "end one of them; the oldest one is offered",
        oldest.map(fix::end_session).into_iter().collect(),
    )
}

pub(super) fn init_process(facts: &Facts, _: usize, name: &str) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "init-process",
        30,
        "linuxParameters.initProcessEnabled in ecs:DescribeTaskDefinition",
    );
    if facts.is_windows() {
        return Vec::new();
    }
    let definition = match facts.container_definition(name) {
        Ok(definition) => definition,
        Err(why) => return LOOK.unknown("whether the container has an init process", &why),
    };
    if definition["linuxParameters"]["initProcessEnabled"] == true {
        return LOOK.ok("the container has an init process");
    }
    LOOK.problem(
        Severity::Note,
        format!(
            "container {name} has no init process; what sessions leave behind stays as zombies"
        ),
        "set linuxParameters.initProcessEnabled to true and deploy that",
        fix::revise(facts, |definition| {
            fix::container(definition, name)["linuxParameters"]["initProcessEnabled"] = json!(true);
        }),
    )
}

fn started(session: &Value) -> f64 {
    session["StartDate"].as_f64().unwrap_or(f64::MAX)
}

/// What a variable of a container's environment is.
#[derive(Clone, Copy)]
enum Variable<'f> {
    Plain(&'f str),
    /// ECS reads it from a store.
    Stored,
}

/// A container's environment, from wherever; a variable that is empty counts as absent.
fn variables<'f>(facts: &'f Facts, name: &str) -> Result<BTreeMap<&'f str, Variable<'f>>, Unknown> {
    let definition = facts.container_definition(name)?;
    let overrides = list(&facts.task["overrides"], "containerOverrides")
        .iter()
        .filter(|change| text(change, "name") == Some(name))
        .flat_map(|change| list(change, "environment"));
    let stored = list(definition, "secrets")
        .iter()
        .filter_map(|variable| Some((text(variable, "name")?, Variable::Stored)));
    // The last one counts.
    let plain = list(definition, "environment").iter().chain(overrides);
    let plain = plain.filter_map(|variable| {
        let value = text(variable, "value").unwrap_or_default();
        Some((text(variable, "name")?, Variable::Plain(value)))
    });
    let mut all: BTreeMap<_, _> = stored.chain(plain).collect();
    all.retain(|_, variable| !matches!(variable, Variable::Plain("")));
    Ok(all)
}
