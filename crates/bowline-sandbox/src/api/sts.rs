//! STS: who am I.

use crate::api::ApiError;
use crate::state::Shared;

/// Answers one query-protocol request: the operation's name and the inside of its result.
pub(crate) fn call(shared: &Shared, body: &[u8]) -> Result<(String, String), ApiError> {
    let action = operation(body);
    match action {
        "GetCallerIdentity" => Ok((action.to_owned(), caller_identity(shared))),
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
