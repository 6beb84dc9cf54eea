//! AWS Organizations: the accounts there are.

use serde_json::{Value, json};

use crate::api::ApiError;
use crate::landscape::Landscape;

/// Answers one operation. All accounts fit on one page.
pub(super) fn call(landscape: &Landscape, operation: &str) -> Result<Value, ApiError> {
    if operation != "ListAccounts" {
        return Err(ApiError::unknown_operation());
    }
    let own = &landscape.home.account;
    let accounts: Vec<Value> = landscape
        .members()
        .map(|member| {
            json!({
                "Id": member.id,
                "Arn": format!("arn:{}:organizations::{}:account/o-sandbox/{}", own.partition, own.id, member.id),
                "Name": member.name,
                "Email": format!("{}@example.com", member.name),
                "Status": "ACTIVE",
                "JoinedMethod": "CREATED",
            })
        })
        .collect();
    Ok(json!({ "Accounts": accounts }))
}
