//! IAM as far as the sandbox has it: who there is, their policies, and what those allow.
//!
//! Conditions are not evaluated: a statement with any counts as if it had none. There are no groups, boundaries or
//! organisation policies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::identifiers::Account;

/// All users and roles.
#[derive(Clone, Default, Deserialize, Serialize)]
pub(crate) struct Iam {
    principals: BTreeMap<String, Principal>,
}

/// A user or a role.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Principal {
    pub(crate) id: String,
    /// Who may take a role on.
    pub(crate) trust: Option<Value>,
    /// Inline policies by name.
    pub(crate) policies: BTreeMap<String, Value>,
}

/// What policies say about an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    /// Nobody allows it.
    ImplicitDeny,
    /// A statement forbids it.
    ExplicitDeny,
}

impl Decision {
    /// In the words of SimulatePrincipalPolicy.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::ImplicitDeny => "implicitDeny",
            Self::ExplicitDeny => "explicitDeny",
        }
    }
}

/// What the demo task's role may do: run the exec agent, and log and encrypt its sessions.
const TASK_ACTIONS: [&str; 12] = [
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "kms:Decrypt",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "s3:PutObject",
    "s3:GetEncryptionConfiguration",
    "s3:GetBucketLocation",
];

/// The demo world's roles: of its tasks, and of who starts them.
pub(crate) const DEMO_TASK: &str = "demo-task";
pub(crate) const DEMO_EXECUTION: &str = "demo-execution";

impl Iam {
    /// The caller, who may do everything but `caller_denied`, and the demo tasks' roles without `role_denied`.
    pub(crate) fn demo(
        account: &Account,
        caller_denied: &[String],
        role_denied: &[String],
    ) -> Self {
        let mut iam = Self::default();
        let mut statements = vec![json!({ "Effect": "Allow", "Action": "*", "Resource": "*" })];
        if !caller_denied.is_empty() {
            statements.push(json!({ "Effect": "Deny", "Action": caller_denied, "Resource": "*" }));
        }
        let caller = Principal {
            id: "AIDASANDBOXSANDBOX234".to_owned(),
            trust: None,
            policies: BTreeMap::from([("demo".to_owned(), document(&Value::from(statements)))]),
        };
        iam.principals.insert(account.caller(), caller);
        let allowed: Vec<&str> = TASK_ACTIONS
            .into_iter()
            .filter(|action| !role_denied.iter().any(|denied| matches(denied, action)))
            .collect();
        let task = json!([{ "Effect": "Allow", "Action": allowed, "Resource": "*" }]);
        iam.create_role(account, DEMO_TASK, tasks_may_take_it(), Some(&task));
        iam.create_role(account, DEMO_EXECUTION, tasks_may_take_it(), None);
        iam
    }

    /// A role that tasks may take, with the policies of the demo world's role `like`. Nothing happens if there is one of
    /// this ARN, or if it is of another account.
    pub(crate) fn create_task_role(&mut self, account: &Account, arn: &str, like: &str) {
        let Some(name) = arn.strip_prefix(&account.role("")) else {
            return;
        };
        let demo = self.principals.get(&account.role(like));
        let policies = demo.map(|demo| demo.policies.clone()).unwrap_or_default();
        if self.create_role(account, name, tasks_may_take_it(), None)
            && let Some(made) = self.principals.get_mut(arn)
        {
            made.policies = policies;
        }
    }

    /// Adds a role; false if there is one of this name.
    pub(crate) fn create_role(
        &mut self,
        account: &Account,
        name: &str,
        trust: Value,
        statements: Option<&Value>,
    ) -> bool {
        let arn = account.role(name);
        if self.principals.contains_key(&arn) {
            return false;
        }
        let policies = statements.map(|statements| ("demo".to_owned(), document(statements)));
        self.principals.insert(
            arn,
            Principal {
                id: format!("AROA{}", crate::identifiers::base32(17)),
                trust: Some(trust),
                policies: policies.into_iter().collect(),
            },
        );
        true
    }

    /// By ARN.
    pub(crate) fn principal(&self, arn: &str) -> Option<&Principal> {
        self.principals.get(arn)
    }

    /// By ARN, to be changed.
    pub(crate) fn principal_mut(&mut self, arn: &str) -> Option<&mut Principal> {
        self.principals.get_mut(arn)
    }

    /// What the policies of a user or role say; nobody allows anything to one that does not exist.
    pub(crate) fn decide(&self, arn: &str, action: &str, resource: &str) -> Decision {
        let policies = self.principals.get(arn).map(|found| &found.policies);
        let statements = policies
            .into_iter()
            .flat_map(BTreeMap::values)
            .flat_map(statements_of)
            .filter(|statement| {
                covers(statement, "Action", action) && covers(statement, "Resource", resource)
            });
        let mut decision = Decision::ImplicitDeny;
        for statement in statements {
            match statement["Effect"].as_str() {
                Some("Deny") => return Decision::ExplicitDeny,
                Some("Allow") => decision = Decision::Allowed,
                _ => {}
            }
        }
        decision
    }

    /// Whether the sandbox's caller may do this to anything.
    pub(crate) fn caller_may(&self, account: &Account, action: &str) -> bool {
        self.decide(&account.caller(), action, "*") == Decision::Allowed
    }
}

/// AWS's sentence for a caller who may not.
pub(crate) fn refusal(account: &Account, action: &str) -> String {
    format!(
        "User: {} is not authorized to perform: {action} on resource: * with an explicit deny in an identity-based policy",
        account.caller()
    )
}

fn document(statements: &Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn tasks_may_take_it() -> Value {
    document(&json!([{
        "Effect": "Allow",
        "Principal": { "Service": "ecs-tasks.amazonaws.com" },
        "Action": "sts:AssumeRole",
    }]))
}

fn statements_of(policy: &Value) -> Vec<&Value> {
    match &policy["Statement"] {
        Value::Array(statements) => statements.iter().collect(),
        statement => vec![statement],
    }
}

/// Whether `Action` or `NotAction` (or `Resource`) of a statement cover a name.
fn covers(statement: &Value, member: &str, name: &str) -> bool {
    let within = |value: &Value| match value {
        Value::Array(patterns) => patterns
            .iter()
            .filter_map(Value::as_str)
            .any(|pattern| matches(pattern, name)),
        Value::String(pattern) => matches(pattern, name),
        _ => false,
    };
    match statement.get(format!("Not{member}")) {
        Some(excluded) => !within(excluded),
        None => within(&statement[member]),
    }
}

/// `*` and `?` in a pattern stand for any text and any character; case plays no part.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    // The last star seen, and how far the text had come then.
    let (mut at, mut star, mut place, mut retry) = (0, None, 0, 0);
    while place < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some(at);
                retry = place;
                at += 1;
            }
            Some(&c) if c == '?' || c == text[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some(star) => {
                    at = star + 1;
                    retry += 1;
                    place = retry;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_iam() {
        for (pattern, text) in [
            ("*", "ecs:X"),
            ("ECS:exec*", "ecs:ExecuteCommand"),
            ("a*b*c", "a-b-b-c"),
            ("a?c", "abc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("ecs:*", "iam:X"), ("a?c", "ac"), ("", "x"), ("a*b", "abc")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_deny_wins_and_nothing_is_allowed_by_itself() {
        let account = Account::new("us-east-1");
        let denied = ["ecs:ExecuteCommand".to_owned()];
        let iam = Iam::demo(&account, &denied, &["ssmmessages:Open*".to_owned()]);
        let caller = |action| iam.decide(&account.caller(), action, "*");
        assert_eq!(caller("ecs:ListTasks"), Decision::Allowed);
        assert_eq!(caller("ecs:ExecuteCommand"), Decision::ExplicitDeny);
        let role = account.role(DEMO_TASK);
        let role = |action| iam.decide(&role, action, "*");
        assert_eq!(role("ssmmessages:CreateDataChannel"), Decision::Allowed);
        assert_eq!(role("ssmmessages:OpenDataChannel"), Decision::ImplicitDeny);
        let nobody = iam.decide("arn:x", "ecs:ListTasks", "*");
        assert_eq!(nobody, Decision::ImplicitDeny);
    }
}
