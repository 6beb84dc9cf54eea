//! The data key of an encrypted session: asked of KMS when the agent names its key.

use std::future::Future;
use std::pin::Pin;

use super::connect::ChannelError;
use crate::Client;
use crate::aws::kms::GeneratedKey;

/// A key on its way.
pub(super) type Fetching = Pin<Box<dyn Future<Output = Result<GeneratedKey, ChannelError>> + Send>>;

/// What a session's key is bound to. The agent decrypts it with the same context, so that no other session's key
/// serves (data-channel specification §6.3).
pub(super) struct Keys {
    client: Client,
    session_id: String,
    target: String,
}

impl Keys {
    pub(super) fn new(client: &Client, session_id: &str, target: &str) -> Self {
        Self {
            client: client.clone(),
            session_id: session_id.to_owned(),
            target: target.to_owned(),
        }
    }

    /// Asks for a key under the KMS key that the agent named, bound to its challenge if it sent one.
    pub(super) fn fetch(&self, key_id: String, challenge: Option<String>) -> Fetching {
        let client = self.client.clone();
        let (session_id, target) = (self.session_id.clone(), self.target.clone());
        Box::pin(async move {
            if target.is_empty() {
                let reason =
                    "the session is to be encrypted, and its target is not known".to_owned();
                return Err(ChannelError::Handshake { reason });
            }
            let mut context = vec![
                ("aws:ssm:SessionId", session_id.as_str()),
                ("aws:ssm:TargetId", target.as_str()),
            ];
            if let Some(challenge) = &challenge {
                context.push(("aws:ssm:RandomChallenge", challenge));
            }
            client
                .generate_data_key(&key_id, &context)
                .await
                .map_err(|refusal| ChannelError::NoKey {
                    refusal: Box::new(refusal),
                })
        })
    }
}

/// Waits for the key; the caller knows that one is on its way.
pub(super) async fn fetched(key: &mut Option<Fetching>) -> Result<GeneratedKey, ChannelError> {
    match key {
        Some(fetching) => fetching.await,
        None => std::future::pending().await,
    }
}
