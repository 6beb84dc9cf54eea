//! The one text message of a data channel: it presents the token.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::ProtocolError;
use crate::id::MessageId;
use crate::payload::from_json;

/// The first message after the WebSocket is open, sent as text; there is no answer to it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OpenDataChannel {
    /// `1.0`.
    pub message_schema_version: String,
    /// New for every open.
    pub request_id: String,
    /// The token of StartSession, ExecuteCommand or ResumeSession. Secret.
    pub token_value: String,
    /// The agent's target id; absent from clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_instance_id: Option<String>,
    /// One per process, kept across reconnects; empty from agents.
    #[serde(default)]
    pub client_id: String,
    /// Four parts; absent from agents and from clients before late 2024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_version: Option<String>,
}

impl OpenDataChannel {
    /// What a client sends.
    #[must_use]
    pub fn client(
        token: &str,
        request_id: MessageId,
        client_id: MessageId,
        client_version: &str,
    ) -> Self {
        Self {
            message_schema_version: "1.0".to_owned(),
            request_id: request_id.to_string(),
            token_value: token.to_owned(),
            client_instance_id: None,
            client_id: client_id.to_string(),
            client_version: Some(client_version.to_owned()),
        }
    }

    /// The text of the message.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the text of the message.
    ///
    /// # Errors
    /// When it is not JSON of this shape.
    pub fn decode(text: &str) -> Result<Self, ProtocolError> {
        from_json("open data channel", text.as_bytes())
    }
}

impl fmt::Debug for OpenDataChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenDataChannel")
            .field("request_id", &self.request_id)
            .field("token_value", &"[redacted]")
            .field("client_id", &self.client_id)
            .field("client_version", &self.client_version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_shown() {
        let id = MessageId::from_bytes([1; 16]);
        let open = OpenDataChannel::client("sekret", id, id, "1.2.764.0");
        assert!(!format!("{open:?}").contains("sekret"));
        assert!(open.encode().contains("sekret"));
        assert_eq!(OpenDataChannel::decode(&open.encode()), Ok(open));
    }
}
