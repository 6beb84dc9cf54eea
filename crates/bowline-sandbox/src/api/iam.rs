//! IAM: roles with their inline policies, and the simulation of policies.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::query::{Form, set, tag};
use crate::api::ApiError;
use crate::iam::{self, Decision, Principal};
use crate::identifiers::Account;
use crate::state::Shared;

/// Answers one query-protocol request: the inside of its result.
pub(super) fn call(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    match form.action() {
        "SimulatePrincipalPolicy" => simulate(shared, form),
        "GetRole" => get_role(shared, form),
        "CreateRole" => create_role(shared, form),
        "PutRolePolicy" => put_role_policy(shared, form),
        "GetRolePolicy" => get_role_policy(shared, form),
        "ListRolePolicies" => list_role_policies(shared, form),
        "ListAttachedRolePolicies" => list_attached_role_policies(shared, form),
        "" => Err(ApiError::new("MissingAction", "the request has no Action")),
        _ => Err(ApiError::new(
            "InvalidAction",
            "the sandbox does not know this action of IAM",
        )),
    }
}

fn simulate(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let arn = form.need("PolicySourceArn")?;
    let actions = form.list("ActionNames");
    if actions.is_empty() {
        return Err(ApiError::new(
            "ValidationError",
            "1 validation error detected: Value at 'actionNames' failed to satisfy constraint: Member must not be null",
        ));
    }
    let mut resources = form.list("ResourceArns");
    if resources.is_empty() {
        resources.push("*");
    }
    let world = shared.world();
    if !arn.starts_with("arn:") || world.iam.principal(arn).is_none() {
        let code = if arn.starts_with("arn:") {
            "NoSuchEntity"
        } else {
            "InvalidInput"
        };
        return Err(no_such(code, arn));
    }
    let mut results = Vec::new();
    for action in &actions {
        if !action.contains(':') {
            return Err(ApiError::new(
                "InvalidInput",
                format!("Invalid Action Name {action}"),
            ));
        }
        for resource in &resources {
            let decision = world.iam.decide(arn, action, resource);
            let statements = match decision {
                Decision::ImplicitDeny => "<MatchedStatements/>".to_owned(),
                _ => set(
                    "MatchedStatements",
                    "member",
                    [tag("SourcePolicyId", "demo") + &tag("SourcePolicyType", "IAM Policy")],
                ),
            };
            results.push(
                tag("EvalActionName", action)
                    + &tag("EvalResourceName", resource)
                    + &tag("EvalDecision", decision.as_str())
                    + &statements
                    + "<MissingContextValues/>",
            );
        }
    }
    Ok(set("EvaluationResults", "member", results) + &tag("IsTruncated", "false"))
}

fn get_role(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let world = shared.world();
    let (name, role) = role(&world.iam, &shared.account, form)?;
    Ok(show_role(&shared.account, name, role))
}

fn create_role(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let name = form.need("RoleName")?;
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@-_".contains(&byte))
        || name.len() > 64
    {
        return Err(ApiError::new(
            "ValidationError",
            "The specified value for roleName is invalid.",
        ));
    }
    let trust = document(form, "AssumeRolePolicyDocument")?;
    let account = &shared.account;
    shared.change(|world| {
        if !world.iam.create_role(account, name, trust, None) {
            return Err(ApiError {
                status: http::StatusCode::CONFLICT,
                ..ApiError::new(
                    "EntityAlreadyExists",
                    format!("Role with name {name} already exists."),
                )
            });
        }
        let role = world.iam.principal(&account.role(name));
        Ok(role
            .map(|role| show_role(account, name, role))
            .unwrap_or_default())
    })
}

fn put_role_policy(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let policy = form.need("PolicyName")?.to_owned();
    let document = document(form, "PolicyDocument")?;
    let name = form.need("RoleName")?;
    shared.change(|world| {
        let role = world.iam.principal_mut(&shared.account.role(name));
        let role = role.ok_or_else(|| no_role(name))?;
        role.policies.insert(policy, document);
        Ok(String::new())
    })
}

fn get_role_policy(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let policy = form.need("PolicyName")?;
    let world = shared.world();
    let (name, role) = role(&world.iam, &shared.account, form)?;
    let document = role
        .policies
        .get(policy)
        .ok_or_else(|| no_such("NoSuchEntity", policy))?;
    Ok(tag("RoleName", name)
        + &tag("PolicyName", policy)
        + &tag("PolicyDocument", &encoded(document)))
}

fn list_role_policies(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let world = shared.world();
    let (_, role) = role(&world.iam, &shared.account, form)?;
    let names: Vec<String> = role
        .policies
        .keys()
        .map(|name| super::reply::escape_xml(name))
        .collect();
    Ok(set("PolicyNames", "member", names) + &tag("IsTruncated", "false"))
}

/// Nothing is ever attached here: policies are inline.
fn list_attached_role_policies(shared: &Shared, form: &Form) -> Result<String, ApiError> {
    let world = shared.world();
    role(&world.iam, &shared.account, form)?;
    Ok("<AttachedPolicies/>".to_owned() + &tag("IsTruncated", "false"))
}

fn role<'w, 'f>(
    iam: &'w iam::Iam,
    account: &Account,
    form: &'f Form,
) -> Result<(&'f str, &'w Principal), ApiError> {
    let name = form.need("RoleName")?;
    let role = iam.principal(&account.role(name));
    Ok((name, role.ok_or_else(|| no_role(name))?))
}

fn show_role(account: &Account, name: &str, role: &Principal) -> String {
    let trust = role.trust.as_ref().map(encoded).unwrap_or_default();
    let inside = tag("Path", "/")
        + &tag("RoleName", name)
        + &tag("RoleId", &role.id)
        + &tag("Arn", &account.role(name))
        + &tag("CreateDate", "2026-01-01T00:00:00Z")
        + &tag("AssumeRolePolicyDocument", &trust)
        + &tag("MaxSessionDuration", "3600");
    format!("<Role>{inside}</Role>")
}

/// IAM sends documents percent-encoded.
fn encoded(document: &Value) -> String {
    utf8_percent_encode(&document.to_string(), NON_ALPHANUMERIC).to_string()
}

fn document(form: &Form, name: &str) -> Result<Value, ApiError> {
    let malformed = || {
        ApiError::new(
            "MalformedPolicyDocument",
            "Syntax errors in policy.".to_owned(),
        )
    };
    let document: BTreeMap<String, Value> =
        serde_json::from_str(form.need(name)?).map_err(|_| malformed())?;
    match document.get("Statement") {
        Some(Value::Array(_) | Value::Object(_)) => Ok(Value::from_iter(document)),
        _ => Err(malformed()),
    }
}

fn no_role(name: &str) -> ApiError {
    ApiError {
        status: http::StatusCode::NOT_FOUND,
        ..ApiError::new(
            "NoSuchEntity",
            format!("The role with name {name} cannot be found."),
        )
    }
}

fn no_such(code: &'static str, what: &str) -> ApiError {
    let status = match code {
        "NoSuchEntity" => http::StatusCode::NOT_FOUND,
        _ => http::StatusCode::BAD_REQUEST,
    };
    ApiError {
        status,
        ..ApiError::new(code, format!("{what} does not exist or is not attachable."))
    }
}
