//! STS: who am I, and roles of other accounts.

use super::query::{Form, tag};
use crate::api::ApiError;
use crate::landscape::Landscape;
use crate::state::Shared;

/// Answers one query-protocol request: the operation's name and the inside of its result.
pub(crate) fn call(
    landscape: &Landscape,
    shared: &Shared,
    body: &[u8],
) -> Result<(String, String), ApiError> {
    let action = operation(body);
    match action {
        "GetCallerIdentity" => Ok((action.to_owned(), caller_identity(shared))),
        "AssumeRole" => {
            assume_role(landscape, &Form::parse(body)).map(|result| (action.to_owned(), result))
        }
        "" => Err(ApiError::new("MissingAction", "the request has no Action")),
        _ => Err(ApiError::new(
            "InvalidAction",
            "the sandbox does not know this action of STS",
        )),
    }
}

/// The name of the operation that a form asks for; empty if it names none.
pub(crate) fn operation(body: &[u8]) -> &str {
    std::str::from_utf8(body)
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("Action="))
        .unwrap_or_default()
}

fn assume_role(landscape: &Landscape, form: &Form) -> Result<String, ApiError> {
    let arn = form.need("RoleArn")?;
    let session = form.need("RoleSessionName")?;
    let assumed = landscape.assume(arn)?;
    let expires = jiff::Timestamp::try_from(assumed.expires)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default();
    let keys = &assumed.credentials;
    let token = keys.session_token.as_deref().unwrap_or_default();
    let credentials = tag("AccessKeyId", &keys.access_key_id)
        + &tag("SecretAccessKey", &keys.secret_access_key)
        + &tag("SessionToken", token)
        + &tag("Expiration", &expires);
    let user = tag("AssumedRoleId", &format!("AROASANDBOXSANDBOX234:{session}"))
        + &tag("Arn", &assumed.account.caller());
    Ok(format!(
        "<Credentials>{credentials}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser>"
    ))
}

/// GetCallerIdentity by its members.
pub(crate) fn identity(shared: &Shared) -> serde_json::Value {
    serde_json::json!({
        "Arn": shared.account.caller(),
        "UserId": USER_ID,
        "Account": shared.account.id,
    })
}

fn caller_identity(shared: &Shared) -> String {
    format!(
        "<Arn>{}</Arn><UserId>{}</UserId><Account>{}</Account>",
        shared.account.caller(),
        USER_ID,
        shared.account.id
    )
}

/// Users' ids begin with AIDA.
const USER_ID: &str = "AIDASANDBOXSANDBOX234";
