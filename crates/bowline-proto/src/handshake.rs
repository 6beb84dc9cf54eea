//! Version and session type negotiation, either role. Encryption is refused for now.
//!
//! The agent asks, the client answers once, the agent completes. Terminal sessions without a KMS key have no
//! handshake at all.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The session types an agent can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionType {
    /// The default shell.
    StandardStream,
    /// One command on a terminal; what ECS Exec uses.
    InteractiveCommands,
    /// One command without a terminal.
    NonInteractiveCommands,
    /// Port forwarding.
    Port,
}

impl SessionType {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::StandardStream => "Standard_Stream",
            Self::InteractiveCommands => "InteractiveCommands",
            Self::NonInteractiveCommands => "NonInteractiveCommands",
            Self::Port => "Port",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [
            Self::StandardStream,
            Self::InteractiveCommands,
            Self::NonInteractiveCommands,
            Self::Port,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == name)
    }
}

/// The agent's request, always its first stream message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandshakeRequest {
    /// Four parts as a rule.
    pub agent_version: String,
    /// To be answered in order.
    #[serde(deserialize_with = "null_is_default")]
    pub requested_client_actions: Vec<RequestedAction>,
}

/// One thing an agent wants from the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RequestedAction {
    /// `SessionType` or `KMSEncryption`.
    pub action_type: String,
    /// Depends on the type.
    #[serde(default)]
    pub action_parameters: Value,
}

/// The client's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandshakeResponse {
    /// Four parts; decides features on the agent's side.
    pub client_version: String,
    /// One for each requested action.
    #[serde(deserialize_with = "null_is_default")]
    pub processed_client_actions: Vec<ProcessedAction>,
    /// `None` when all went well.
    #[serde(default)]
    pub errors: Option<Vec<String>>,
}

/// How one action went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessedAction {
    /// As requested.
    pub action_type: String,
    /// Anything but success makes the agent end the session.
    pub action_status: ActionStatus,
    /// Depends on the type.
    #[serde(default)]
    pub action_result: Value,
    /// Empty after success.
    #[serde(default)]
    pub error: String,
}

/// The outcome of an action, a number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub enum ActionStatus {
    /// 1
    Success,
    /// 2
    Failed,
    /// 3
    Unsupported,
    /// Anything else.
    Other(i64),
}

impl From<i64> for ActionStatus {
    fn from(value: i64) -> Self {
        match value {
            1 => Self::Success,
            2 => Self::Failed,
            3 => Self::Unsupported,
            other => Self::Other(other),
        }
    }
}

impl From<ActionStatus> for i64 {
    fn from(status: ActionStatus) -> Self {
        match status {
            ActionStatus::Success => 1,
            ActionStatus::Failed => 2,
            ActionStatus::Unsupported => 3,
            ActionStatus::Other(other) => other,
        }
    }
}

/// The agent's last word of the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandshakeComplete {
    /// Nanoseconds.
    #[serde(default)]
    pub handshake_time_to_complete: i64,
    /// For people to read; usually empty.
    #[serde(default)]
    pub customer_message: String,
}

impl HandshakeRequest {
    /// A request for one session type, without encryption.
    #[must_use]
    pub fn new(agent_version: &str, session_type: &SessionType, properties: &Value) -> Self {
        Self {
            agent_version: agent_version.to_owned(),
            requested_client_actions: vec![RequestedAction {
                action_type: "SessionType".to_owned(),
                action_parameters: serde_json::json!({
                    "SessionType": session_type.as_str(),
                    "Properties": properties,
                }),
            }],
        }
    }

    /// The session type asked for, if this end knows it.
    #[must_use]
    pub fn session_type(&self) -> Option<SessionType> {
        let action = self
            .requested_client_actions
            .iter()
            .find(|action| action.action_type == "SessionType")?;
        SessionType::parse(action.action_parameters.get("SessionType")?.as_str()?)
    }

    /// The client's answer: every action, in order. Unknown ones are answered as unsupported.
    #[must_use]
    pub fn answer(&self, client_version: &str) -> HandshakeResponse {
        let actions: Vec<ProcessedAction> =
            self.requested_client_actions.iter().map(process).collect();
        let errors: Vec<String> = actions
            .iter()
            .filter(|action| !action.error.is_empty())
            .map(|action| action.error.clone())
            .collect();
        HandshakeResponse {
            client_version: client_version.to_owned(),
            processed_client_actions: actions,
            errors: (!errors.is_empty()).then_some(errors),
        }
    }
}

fn process(action: &RequestedAction) -> ProcessedAction {
    let (action_status, error) = match action.action_type.as_str() {
        "SessionType" => {
            let name = action
                .action_parameters
                .get("SessionType")
                .and_then(Value::as_str)
                .unwrap_or_default();
            match SessionType::parse(name) {
                Some(_) => (ActionStatus::Success, String::new()),
                None => (ActionStatus::Failed, format!("unknown session type {name}")),
            }
        }
        other => (
            ActionStatus::Unsupported,
            format!("{other} is not supported"),
        ),
    };
    ProcessedAction {
        action_type: action.action_type.clone(),
        action_status,
        action_result: Value::Null,
        error,
    }
}

/// Go writes an empty list as `null`.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_session_type_fails_and_an_unknown_action_is_unsupported() {
        let request: HandshakeRequest = serde_json::from_str(
            r#"{"AgentVersion":"3.3.0.0","RequestedClientActions":[
                {"ActionType":"SessionType","ActionParameters":{"SessionType":"Foo"}},
                {"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k"}}]}"#,
        )
        .unwrap();
        let answer = request.answer("1.2.764.0");
        let statuses: Vec<_> = answer
            .processed_client_actions
            .iter()
            .map(|a| a.action_status)
            .collect();
        assert_eq!(statuses, [ActionStatus::Failed, ActionStatus::Unsupported]);
        assert_eq!(answer.errors.map(|e| e.len()), Some(2));
    }
}
