//! The beginning of sessions that have a handshake: without a terminal, or encrypted.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use bowline_proto::{DataKey, Event, HandshakeRequest, SessionType};

use super::line::{Line, Turn};
use super::{AgentOptions, Job};
use crate::identifiers;
use crate::kms::{Context, Kms, KmsError};

/// What an encrypted session needs: the agent calls KMS itself.
#[derive(Clone)]
pub(crate) struct Encryption {
    /// As the cluster's configuration names it.
    pub(crate) key: String,
    /// The target's name, part of the encryption context.
    pub(crate) target: String,
    pub(crate) kms: Arc<Kms>,
}

impl Encryption {
    /// The key's ARN. One that does not exist is named as it was configured; the client finds out.
    pub(crate) fn arn(&self) -> String {
        match self.kms.describe(&self.key) {
            Ok(key) => self.kms.arn(&key.id),
            Err(_) => self.key.clone(),
        }
    }
}

/// The agent's side of a handshake.
pub(super) struct Handshake {
    session_id: String,
    encryption: Option<Encryption>,
    challenge: String,
}

impl Handshake {
    /// What to ask the client for; terminal sessions without encryption ask nothing.
    pub(super) fn new(
        job: &Job,
        kind: &SessionType,
        options: &AgentOptions,
    ) -> (Option<Self>, Option<HandshakeRequest>) {
        if job.encryption.is_none() && *kind != SessionType::NonInteractiveCommands {
            return (None, None);
        }
        let (handshake, request) = Self::with_properties(job, kind, options, &Value::Null);
        (Some(handshake), Some(request))
    }

    /// The same for sessions that always have one, with the document's properties for the client to see.
    pub(super) fn with_properties(
        job: &Job,
        kind: &SessionType,
        options: &AgentOptions,
        properties: &Value,
    ) -> (Self, HandshakeRequest) {
        let challenge = STANDARD.encode(identifiers::random::<16>());
        let mut request = HandshakeRequest::new(&options.version, kind, properties);
        if let Some(encryption) = &job.encryption {
            request = request.with_encryption(&encryption.arn(), Some(&challenge));
        }
        let handshake = Self {
            session_id: job.session_id.clone(),
            encryption: job.encryption.clone(),
            challenge,
        };
        (handshake, request)
    }

    /// Serves the line until data can flow, and says the client's version. The error is the text of `channel_closed`.
    pub(super) async fn shake(
        &self,
        line: &mut Line,
        cancel: &CancellationToken,
    ) -> Result<Option<String>, String> {
        loop {
            line.transmit();
            while let Some(event) = line.session.poll_event() {
                match event {
                    Event::Established { version, .. } => return Ok(version),
                    Event::Refused(reason) => return Err(failure(&reason)),
                    Event::Closed { .. } => return Err(String::new()),
                    Event::KeyOffered {
                        ciphertext,
                        challenge_acknowledged,
                    } => {
                        let now = line.clock.now();
                        match self.decrypt(&ciphertext, challenge_acknowledged) {
                            Ok(key) => line.session.provide_key(now, &key, &ciphertext),
                            Err(reason) => line.session.refuse_key(now, &reason),
                        }
                        line.transmit();
                    }
                    _ => {}
                }
            }
            if line.turn(None, cancel).await != Turn::Served {
                return Err(String::new());
            }
        }
    }

    /// `kms:Decrypt`, as the task role calls it.
    fn decrypt(&self, ciphertext: &[u8], acknowledged: bool) -> Result<DataKey, String> {
        let Some(encryption) = &self.encryption else {
            return Err("no key was asked for".to_owned());
        };
        let mut context = Context::from([
            ("aws:ssm:SessionId".to_owned(), self.session_id.clone()),
            ("aws:ssm:TargetId".to_owned(), encryption.target.clone()),
        ]);
        if acknowledged {
            context.insert("aws:ssm:RandomChallenge".to_owned(), self.challenge.clone());
        }
        let plain = encryption
            .kms
            .decrypt(ciphertext, &context, Some(&encryption.key));
        match plain {
            Ok((plain, _)) => DataKey::from_slice(&plain)
                .ok_or_else(|| format!("the data key has {} bytes, not 64", plain.len())),
            Err(error) => Err(format!(
                "Fetching data key failed: Unable to decrypt data key: {}",
                code(&error)
            )),
        }
    }
}

/// In the words of the agent (data-channel specification §2.2).
fn failure(reason: &str) -> String {
    format!("\n----------ERROR-------\nEncountered error while initiating handshake. {reason}\n\n")
}

fn code(error: &KmsError) -> &'static str {
    match error {
        KmsError::NotFound(_) => "NotFoundException",
        KmsError::Disabled(_) => "DisabledException",
        KmsError::IncorrectKey => "IncorrectKeyException",
        _ => "InvalidCiphertextException",
    }
}
