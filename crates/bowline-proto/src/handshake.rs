//! Version, session type and encryption negotiation, either role.
//!
//! The agent asks, the client answers once, the agent completes. Terminal sessions without a KMS key have no
//! handshake at all.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

const SESSION_TYPE: &str = "SessionType";
const ENCRYPTION: &str = "KMSEncryption";

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
                action_type: SESSION_TYPE.to_owned(),
                action_parameters: json!({
                    "SessionType": session_type.as_str(),
                    "Properties": properties,
                }),
            }],
        }
    }

    /// The same, with encryption under a KMS key. Agents from 3.3.808.0 on send a challenge, the base64 of 16 random
    /// bytes.
    #[must_use]
    pub fn with_encryption(mut self, key_id: &str, challenge: Option<&str>) -> Self {
        let mut action_parameters = json!({ "KMSKeyId": key_id });
        if let (Value::Object(parameters), Some(challenge)) = (&mut action_parameters, challenge) {
            parameters.insert("Challenge".to_owned(), challenge.into());
        }
        self.requested_client_actions.push(RequestedAction {
            action_type: ENCRYPTION.to_owned(),
            action_parameters,
        });
        self
    }

    /// The encryption asked for, if any.
    #[must_use]
    pub fn encryption(&self) -> Option<EncryptionRequest> {
        let action = self
            .requested_client_actions
            .iter()
            .find(|action| action.action_type == ENCRYPTION)?;
        let text = |name| {
            let value = action.action_parameters.get(name)?.as_str()?;
            (!value.is_empty()).then(|| value.to_owned())
        };
        Some(EncryptionRequest {
            key_id: text("KMSKeyId").unwrap_or_default(),
            challenge: text("Challenge"),
        })
    }

    /// The session type asked for, if this end knows it.
    #[must_use]
    pub fn session_type(&self) -> Option<SessionType> {
        let action = self
            .requested_client_actions
            .iter()
            .find(|action| action.action_type == SESSION_TYPE)?;
        SessionType::parse(action.action_parameters.get("SessionType")?.as_str()?)
    }

    /// What comes with the session type, such as the port of a port session.
    #[must_use]
    pub fn properties(&self) -> Option<&Value> {
        let action = self
            .requested_client_actions
            .iter()
            .find(|action| action.action_type == SESSION_TYPE)?;
        action.action_parameters.get("Properties")
    }

    /// The client's answer: every action, in order. Unknown ones are answered as unsupported.
    #[must_use]
    pub fn answer(&self, client_version: &str, key: &KeyAnswer<'_>) -> HandshakeResponse {
        let process = |action: &RequestedAction| match action.action_type.as_str() {
            SESSION_TYPE => answer_type(action),
            ENCRYPTION => self.answer_encryption(key),
            other => unsupported(other),
        };
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

    fn answer_encryption(&self, key: &KeyAnswer<'_>) -> ProcessedAction {
        let (action_status, action_result, error) = match key {
            KeyAnswer::Unsupported => return unsupported(ENCRYPTION),
            KeyAnswer::Refused(reason) => (ActionStatus::Failed, Value::Null, (*reason).to_owned()),
            KeyAnswer::Ciphertext(ciphertext) => {
                let mut result = json!({
                    "KMSCipherTextKey": STANDARD.encode(ciphertext),
                    "KMSCipherTextHash": null,
                });
                let challenged = self.encryption().is_some_and(|it| it.challenge.is_some());
                if let (Value::Object(result), true) = (&mut result, challenged) {
                    result.insert("ChallengeAcknowledgement".to_owned(), true.into());
                }
                (ActionStatus::Success, result, String::new())
            }
        };
        ProcessedAction {
            action_type: ENCRYPTION.to_owned(),
            action_status,
            action_result,
            error,
        }
    }
}

/// What an agent wants a session encrypted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionRequest {
    /// The KMS key; an ARN as a rule.
    pub key_id: String,
    /// To be put into the encryption context as `aws:ssm:RandomChallenge`.
    pub challenge: Option<String>,
}

/// A client's answer to the wish for encryption.
#[derive(Clone, Copy, Debug)]
pub enum KeyAnswer<'a> {
    /// The encrypted data key of KMS. With a challenge in the request, it has to be in the key's encryption context.
    Ciphertext(&'a [u8]),
    /// There is none, for this reason.
    Refused(&'a str),
    /// This client knows nothing of encryption.
    Unsupported,
}

/// An accepted data key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OfferedKey {
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) challenge_acknowledged: bool,
}

impl HandshakeResponse {
    /// Makes it a refusal although nothing that was asked for failed.
    pub(crate) fn fail(&mut self, reason: &str) {
        for action in &mut self.processed_client_actions {
            action.action_status = ActionStatus::Failed;
            reason.clone_into(&mut action.error);
        }
        self.errors = Some(vec![reason.to_owned()]);
    }

    /// The data key of an answer that accepts encryption.
    pub(crate) fn offered_key(&self) -> Option<OfferedKey> {
        let action = self
            .processed_client_actions
            .iter()
            .find(|action| action.action_type == ENCRYPTION)?;
        let result = &action.action_result;
        let ciphertext = STANDARD
            .decode(result.get("KMSCipherTextKey")?.as_str()?)
            .ok()
            .filter(|ciphertext| !ciphertext.is_empty())?;
        let acknowledged = result.get("ChallengeAcknowledgement");
        Some(OfferedKey {
            ciphertext,
            challenge_acknowledged: acknowledged.and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

fn answer_type(action: &RequestedAction) -> ProcessedAction {
    let name = action
        .action_parameters
        .get("SessionType")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (action_status, error) = match SessionType::parse(name) {
        Some(_) => (ActionStatus::Success, String::new()),
        None => (ActionStatus::Failed, format!("unknown session type {name}")),
    };
    ProcessedAction {
        action_type: SESSION_TYPE.to_owned(),
        action_status,
        action_result: Value::Null,
        error,
    }
}

fn unsupported(action_type: &str) -> ProcessedAction {
    ProcessedAction {
        action_type: action_type.to_owned(),
        action_status: ActionStatus::Unsupported,
        action_result: Value::Null,
        error: format!("{action_type} is not supported"),
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
        let answer = request.answer("1.2.764.0", &KeyAnswer::Unsupported);
        let statuses: Vec<_> = answer
            .processed_client_actions
            .iter()
            .map(|a| a.action_status)
            .collect();
        assert_eq!(statuses, [ActionStatus::Failed, ActionStatus::Unsupported]);
        assert_eq!(answer.errors.map(|e| e.len()), Some(2));
    }
}
