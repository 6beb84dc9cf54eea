//! What the caller and the task's role may do, by simulation.
//!
//! A simulation knows identity policies, boundaries and organisation policies, not the policies of resources, and no
//! conditions but those it is told the values of. A denial with a value missing is therefore not known.

use serde_json::{Value, json};

use super::Asker;
use crate::aws::call::{list, text};
use crate::aws::ecs::last_part;
use crate::doctor::facts::{Caller, Known, Rights, Unknown, Verdict};

/// What the resources are named by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) partition: &'a str,
    pub(super) region: &'a str,
    pub(super) account: &'a str,
    pub(super) cluster_arn: &'a str,
    pub(super) task_arn: &'a str,
    pub(super) container: &'a str,
}

impl Place<'_> {
    fn arn(&self, service: &str, resource: &str) -> String {
        let Self {
            partition,
            region,
            account,
            ..
        } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }

    /// Values for the conditions that ECS documents for ExecuteCommand.
    fn context(&self) -> Value {
        let entry = |name: &str, value: &str| json!({ "ContextKeyName": name, "ContextKeyType": "string", "ContextKeyValues": [value] });
        json!([
            entry("ecs:container-name", self.container),
            entry("ecs:cluster", self.cluster_arn),
            entry("aws:RequestedRegion", self.region),
        ])
    }
}

/// On how many of the resources an action has to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    All,
    /// The service's own choice of resource is not documented well enough to insist on one.
    Any,
}

/// What the caller may do.
pub(super) struct CallerRights {
    execute: Known<Verdict>,
    open: Known<Verdict>,
    sessions: Known<Verdict>,
    start: Known<Verdict>,
    key: Known<Verdict>,
}

impl CallerRights {
    pub(super) fn with(self, role: RoleRights) -> Rights {
        Rights {
            execute: self.execute,
            open: self.open,
            sessions: self.sessions,
            start: self.start,
            caller_key: self.key,
            channel: role.channel,
            logging: role.logging,
            key: role.key,
        }
    }
}

/// What the task's role may do.
pub(super) struct RoleRights {
    channel: Known<Verdict>,
    logging: Known<Verdict>,
    key: Known<Verdict>,
}

impl RoleRights {
    pub(super) fn unknown(why: &Unknown) -> Self {
        let rights = Rights::unknown(why);
        Self {
            channel: rights.channel,
            logging: rights.logging,
            key: rights.key,
        }
    }
}

pub(super) async fn of_caller(
    asker: &Asker,
    caller: &Known<Caller>,
    configuration: &Known<Value>,
    place: &Place<'_>,
) -> CallerRights {
    let (caller, source) = match caller {
        Ok(caller) => (caller, source(asker, caller).await),
        Err(why) => return nothing(why),
    };
    let source = match source {
        Ok(Some(source)) => source,
        // The root user may do everything.
        Ok(None) => {
            let all = || Ok(Verdict::default());
            return CallerRights {
                execute: all(),
                open: all(),
                sessions: all(),
                start: all(),
                key: all(),
            };
        }
        Err(why) => return nothing(&why),
    };
    let context = place.context();
    let ask = |actions: &'static [&'static str], resources: Vec<String>, needed| {
        let (source, context) = (source.clone(), context.clone());
        async move { simulate(asker, &source, actions, resources, &context, needed).await }
    };
    // Session ids begin with `ecs-execute-command-`, or with the user's name where SSM makes them.
    let user = caller.user_id.rsplit(':').next().unwrap_or_default();
    let own_sessions = vec![
        place.arn("ssm", "session/ecs-execute-command-0"),
        place.arn("ssm", &format!("session/{}-0", caller.user_id)),
        place.arn("ssm", &format!("session/{user}-0")),
    ];
    let key = configuration.as_ref().map(|exec| text(exec, "kmsKeyId"));
    let (execute, open, sessions, start, key) = tokio::join!(
        ask(
            &["ecs:ExecuteCommand"],
            vec![place.cluster_arn.to_owned(), place.task_arn.to_owned()],
            Needed::All
        ),
        ask(
            &["ssmmessages:OpenDataChannel"],
            own_sessions.clone(),
            Needed::Any
        ),
        ask(
            &["ssm:ResumeSession", "ssm:TerminateSession"],
            own_sessions,
            Needed::Any
        ),
        ask(
            &["ssm:StartSession"],
            vec![place.task_arn.to_owned()],
            Needed::All
        ),
        async {
            match key {
                Ok(Some(key)) => {
                    let key = vec![key_arn(key, place)];
                    ask(&["kms:GenerateDataKey"], key, Needed::All).await
                }
                Ok(None) => Ok(Verdict::default()),
                Err(why) => Err(why.clone()),
            }
        },
    );
    CallerRights {
        execute,
        open,
        sessions,
        start,
        key,
    }
}

pub(super) async fn of_role(
    asker: &Asker,
    role: &str,
    definition: &Known<Value>,
    configuration: &Known<Value>,
    place: &Place<'_>,
) -> RoleRights {
    let context = json!([]);
    let everywhere = || vec!["*".to_owned()];
    let (channel, logging, key) = tokio::join!(
        simulate(
            asker,
            role,
            &CHANNEL_ACTIONS,
            everywhere(),
            &context,
            Needed::All
        ),
        async {
            let exec = configuration.as_ref().map_err(Clone::clone)?;
            let mut verdict = Verdict::default();
            for (actions, resource) in logging(exec, definition, place)? {
                let asked = simulate(asker, role, actions, vec![resource], &context, Needed::All);
                let more = asked.await?;
                verdict.denied.extend(more.denied);
                verdict.explicit |= more.explicit;
                verdict.nobody |= more.nobody;
            }
            Ok(verdict)
        },
        async {
            match configuration.as_ref().map(|exec| text(exec, "kmsKeyId")) {
                Ok(Some(key)) => {
                    let key = vec![key_arn(key, place)];
                    simulate(asker, role, &["kms:Decrypt"], key, &context, Needed::All).await
                }
                Ok(None) => Ok(Verdict::default()),
                Err(why) => Err(why.clone()),
            }
        },
    );
    RoleRights {
        channel,
        logging,
        key,
    }
}

fn nothing(why: &Unknown) -> CallerRights {
    let rights = Rights::unknown(why);
    CallerRights {
        execute: rights.execute,
        open: rights.open,
        sessions: rights.sessions,
        start: rights.start,
        key: rights.caller_key,
    }
}

/// Whose policies count: a session of a role has the role's. `None` for the root user.
async fn source(asker: &Asker, caller: &Caller) -> Known<Option<String>> {
    let resource = caller.arn.rsplit(':').next().unwrap_or_default();
    if resource == "root" {
        return Ok(None);
    }
    if resource.starts_with("user/") {
        return Ok(Some(caller.arn.clone()));
    }
    let Some(session) = resource.strip_prefix("assumed-role/") else {
        return Err(Unknown(format!(
            "policies of {} cannot be simulated",
            caller.arn
        )));
    };
    // The ARN of a session lacks the role's path.
    let name = session.split('/').next().unwrap_or_default();
    let answer = asker
        .ask("iam", "GetRole", json!({ "RoleName": name }))
        .await?;
    match text(&answer["Role"], "Arn") {
        Some(arn) => Ok(Some(arn.to_owned())),
        None => Err(Unknown(format!("iam:GetRole has no ARN of role {name}"))),
    }
}

async fn simulate(
    asker: &Asker,
    principal: &str,
    actions: &[&str],
    resources: Vec<String>,
    context: &Value,
    needed: Needed,
) -> Known<Verdict> {
    let input = json!({
        "PolicySourceArn": principal,
        "ActionNames": actions,
        "ResourceArns": resources,
        "ContextEntries": context,
    });
    let call = asker
        .api
        .call("iam", "SimulatePrincipalPolicy", &input, asker.deadline);
    match call.await {
        Ok(answer) => judge(&answer, actions, needed),
        Err(error) if error.is("NoSuchEntity") => Ok(Verdict {
            nobody: true,
            ..Verdict::default()
        }),
        Err(error) => Err(super::why(&error)),
    }
}

fn judge(answer: &Value, actions: &[&str], needed: Needed) -> Known<Verdict> {
    let mut verdict = Verdict::default();
    for action in actions {
        let mut decisions = Vec::new();
        for result in list(answer, "EvaluationResults") {
            if !text(result, "EvalActionName").is_some_and(|name| name.eq_ignore_ascii_case(action))
            {
                continue;
            }
            let each = list(result, "ResourceSpecificResults");
            if each.is_empty() {
                decisions.push(decision(result, "EvalDecision"));
            }
            decisions.extend(each.iter().map(|one| decision(one, "EvalResourceDecision")));
        }
        if decisions.is_empty() {
            return Err(Unknown(format!("the simulation said nothing of {action}")));
        }
        let allowed = |decision: &Decision| *decision == Decision::Allowed;
        let enough = match needed {
            Needed::All => decisions.iter().all(allowed),
            Needed::Any => decisions.iter().any(allowed),
        };
        if enough {
            continue;
        }
        if decisions.contains(&Decision::Unsure) {
            return Err(Unknown(format!(
                "the policies allow {action} under conditions that a simulation cannot judge"
            )));
        }
        verdict.denied.push((*action).to_owned());
        verdict.explicit |= decisions.contains(&Decision::Forbidden);
    }
    Ok(verdict)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Allowed,
    NotAllowed,
    Forbidden,
    /// It depends on values that the simulation was not told.
    Unsure,
}

fn decision(result: &Value, member: &str) -> Decision {
    let unsure = !list(result, "MissingContextValues").is_empty();
    match text(result, member) {
        Some("allowed") => Decision::Allowed,
        _ if unsure => Decision::Unsure,
        Some("explicitDeny") => Decision::Forbidden,
        _ => Decision::NotAllowed,
    }
}

/// The key may be an id, an alias or an ARN.
fn key_arn(key: &str, place: &Place<'_>) -> String {
    match key {
        _ if key.starts_with("arn:") => key.to_owned(),
        _ if key.starts_with("alias/") => place.arn("kms", key),
        _ => place.arn("kms", &format!("key/{key}")),
    }
}

type Asked = (&'static [&'static str], String);

/// What logging by the cluster's configuration needs, on which resource.
fn logging(exec: &Value, definition: &Known<Value>, place: &Place<'_>) -> Known<Vec<Asked>> {
    let group = |name: &str| place.arn("logs", &format!("log-group:{name}:*"));
    let mut needed: Vec<Asked> = Vec::new();
    match text(exec, "logging") {
        Some("OVERRIDE") => {
            let log = &exec["logConfiguration"];
            if let Some(name) = text(log, "cloudWatchLogGroupName") {
                needed.push((&LOG_ACTIONS, group(name)));
                needed.push((
                    &["logs:DescribeLogGroups"],
                    place.arn("logs", "log-group:*"),
                ));
            }
            if let Some(bucket) = text(log, "s3BucketName") {
                let bucket = format!("arn:{}:s3:::{}", place.partition, last_part(bucket));
                needed.push((&["s3:PutObject"], format!("{bucket}/*")));
                if log["s3EncryptionEnabled"] == true {
                    needed.push((&["s3:GetEncryptionConfiguration"], bucket));
                }
            }
        }
        Some("DEFAULT") => {
            let definition = definition.as_ref().map_err(Clone::clone)?;
            let log = list(definition, "containerDefinitions")
                .iter()
                .find(|container| text(container, "name") == Some(place.container))
                .and_then(|container| container.pointer("/logConfiguration/options/awslogs-group"));
            if let Some(name) = log.and_then(Value::as_str) {
                needed.push((&LOG_ACTIONS, group(name)));
            }
        }
        _ => {}
    }
    Ok(needed)
}

const CHANNEL_ACTIONS: [&str; 4] = [
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
];

const LOG_ACTIONS: [&str; 3] = [
    "logs:CreateLogStream",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_conditions_is_not_known() {
        let result = |decision: &str, missing: &[&str]| {
            json!({ "EvaluationResults": [{
                "EvalActionName": "ecs:ExecuteCommand",
                "EvalDecision": decision,
                "MissingContextValues": missing,
            }] })
        };
        let judge = |answer: &Value| judge(answer, &["ecs:ExecuteCommand"], Needed::All);
        assert_eq!(judge(&result("allowed", &[])), Ok(Verdict::default()));
        assert!(judge(&result("implicitDeny", &["aws:MultiFactorAuthPresent"])).is_err());
        let denied = judge(&result("explicitDeny", &[])).unwrap();
        assert!(denied.explicit);
        assert_eq!(denied.denied, ["ecs:ExecuteCommand"]);
        assert!(judge(&json!({ "EvaluationResults": "" })).is_err());
    }

    #[test]
    fn each_resource_counts_or_one_is_enough() {
        let answer = json!({ "EvaluationResults": [{
            "EvalActionName": "a:B",
            "EvalDecision": "implicitDeny",
            "ResourceSpecificResults": [
                { "EvalResourceDecision": "allowed" },
                { "EvalResourceDecision": "implicitDeny" },
            ],
        }] });
        assert_eq!(
            judge(&answer, &["a:B"], Needed::All).unwrap().denied,
            ["a:B"]
        );
        assert_eq!(
            judge(&answer, &["a:B"], Needed::Any),
            Ok(Verdict::default())
        );
    }
}
