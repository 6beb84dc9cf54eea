//! The task's role, which the exec agent works with.

use super::{Looked, by_policies, join};
use crate::aws::ecs::last_part;
use crate::doctor::facts::{Facts, Known, Verdict};
use crate::doctor::fix;
use crate::doctor::{Check, Severity};

pub(super) fn present(facts: &Facts) -> Vec<Check> {
    // Before exec-enabled: ECS refuses to turn ECS Exec on for a definition without a role.
    const LOOK: Looked = Looked::new(
        "task-role",
        0,
        "taskRoleArn in ecs:DescribeTasks (overrides) and ecs:DescribeTaskDefinition",
    );
    match facts.role_arn() {
        Ok(Some(role)) => LOOK.ok(format!("the task has the role {}", last_part(role))),
        Ok(None) if facts.is_on_instance() => vec![LOOK.found(
            crate::doctor::State::Unknown,
            "the task has no role; the agent uses its instance's, which is not looked at",
        )],
        Ok(None) => LOOK.problem(
            Severity::Blocks,
            "the task has no role, so the exec agent has nothing to sign with",
            "give the task definition a role that allows ssmmessages:CreateControlChannel, CreateDataChannel, \
             OpenControlChannel and OpenDataChannel",
            fix::new_role(facts),
        ),
        Err(why) => LOOK.unknown("the task's role", &why),
    }
}

pub(super) fn channel(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new("role-channel", 3, "iam:SimulatePrincipalPolicy on the role");
    judge(facts, LOOK, &facts.rights.channel, Severity::Blocks, || {
        "the task's role may open the agent's channels".to_owned()
    })
}

pub(super) fn key(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "role-kms",
        4,
        "iam:SimulatePrincipalPolicy on the role; the key's own policy is not looked at",
    );
    judge(
        facts,
        LOOK,
        &facts.rights.key,
        by_policies(&facts.rights.key),
        || {
            let encrypted =
                matches!(&facts.configuration, Ok(exec) if exec.get("kmsKeyId").is_some());
            match encrypted {
                true => "the task's role may use the key of sessions",
                false => "sessions are not encrypted with a key of yours",
            }
            .to_owned()
        },
    )
}

pub(super) fn logging(facts: &Facts) -> Vec<Check> {
    const LOOK: Looked = Looked::new(
        "role-logging",
        5,
        "iam:SimulatePrincipalPolicy on the role; a bucket's own policy is not looked at",
    );
    let verdict = &facts.rights.logging;
    let severity = match verdict {
        Ok(found) if is_about_buckets(found) => by_policies(verdict),
        _ => Severity::Blocks,
    };
    judge(facts, LOOK, verdict, severity, || {
        "the task's role may log sessions as far as the cluster wants it".to_owned()
    })
}

/// Whether all that is denied could be allowed by the policy of a bucket.
fn is_about_buckets(verdict: &Verdict) -> bool {
    let mut denied = verdict.denied.iter();
    !verdict.denied.is_empty() && denied.all(|action| action.starts_with("s3:"))
}

fn judge(
    facts: &Facts,
    look: Looked,
    verdict: &Known<Verdict>,
    severity: Severity,
    fine: impl FnOnce() -> String,
) -> Vec<Check> {
    let Ok(Some(role)) = facts.role_arn() else {
        // The check of the role itself says what there is to say.
        return Vec::new();
    };
    let name = last_part(role);
    match verdict {
        Err(why) => look.unknown(&format!("what role {name} may do"), why),
        Ok(verdict) if verdict.nobody => look.problem(
            severity,
            format!("the task's role {name} does not exist"),
            "make the role again, or give the task definition another one",
            Vec::new(),
        ),
        Ok(verdict) if verdict.denied.is_empty() => look.ok(fine()),
        Ok(verdict) => {
            let denied = join(&verdict.denied);
            if verdict.explicit {
                return look.problem(
                    severity,
                    format!("a policy forbids {denied} to the task's role {name}"),
                    "remove the statement with Effect Deny; allowing it elsewhere does not help",
                    Vec::new(),
                );
            }
            look.problem(
                severity,
                format!("the task's role {name} does not allow {denied}"),
                format!("allow {denied} in a policy of role {name}"),
                fix::allow(name, look.id, &verdict.denied, &resource(facts, look.id)),
            )
        }
    }
}

/// The narrowest resource that serves.
fn resource(facts: &Facts, id: &str) -> String {
    let key = facts.configuration.as_ref().ok();
    let key = key.and_then(|exec| exec.get("kmsKeyId")?.as_str());
    match key {
        Some(key) if id == "role-kms" && key.starts_with("arn:") => key.to_owned(),
        _ => "*".to_owned(),
    }
}
