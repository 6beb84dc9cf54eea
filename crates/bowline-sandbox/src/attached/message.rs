//! What is said on a control channel: sessions to start and to end, and that they have ended.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use bowline_proto::{DigestCheck, Flags, Frame, IdSource, MessageType};

use crate::agent::Job;
use crate::clock::Clock;
use crate::sessions::SessionKind;

/// The agent's word that a session is over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Completion {
    pub(super) task_id: String,
    #[serde(default)]
    pub(super) topic: String,
    /// Why, if the command could not be started or the client did not do its part.
    #[serde(default)]
    pub(super) output: String,
}

/// Asks for a session. What is wanted is a document within a text within a document.
pub(super) fn start(job: &Job) -> Bytes {
    let content = json!({
        "DocumentName": job.document,
        "DocumentContent": document(job),
        "SessionId": job.session_id,
        "SessionOwner": job.owner,
        "RunAsUser": "",
        "Parameters": {},
    });
    let payload = json!({
        "TaskId": job.session_id,
        "Topic": "aws.ssm.interactiveShell",
        "SchemaVersion": 1,
        "Content": content.to_string(),
    });
    frame("interactive_shell", |_| payload)
}

/// Ends a session: the command is killed, and no output follows.
pub(super) fn stop(session_id: &str) -> Bytes {
    frame("channel_closed", |id| {
        json!({
            "MessageType": "channel_closed",
            "MessageId": id,
            "DestinationId": "",
            "SessionId": session_id,
            "SchemaVersion": 1,
            "CreatedDate": "",
        })
    })
}

/// Reads a message of an agent: its last word of a session, and the answer that it waits for.
pub(super) fn completion(message: &Bytes) -> Option<(Completion, Bytes)> {
    let read = Frame::decode(message, DigestCheck::Ignore).ok()?;
    if read.message_type.as_str() != "agent_task_complete" {
        return None;
    }
    let completion: Completion = serde_json::from_slice(&read.payload).ok()?;
    let answer = json!({
        "SchemaVersion": 1,
        "MessageId": read.id.to_string(),
        "TaskId": completion.task_id,
        "Topic": completion.topic,
    });
    Some((completion, frame("agent_task_acknowledge", |_| answer)))
}

/// The session document, with all values in place. The agent compares nothing with what AWS's own documents say.
fn document(job: &Job) -> Value {
    let (kind, properties) = match &job.kind {
        SessionKind::Interactive { command } => ("InteractiveCommands", commands(command, None)),
        SessionKind::NonInteractive { command, separate } => {
            ("NonInteractiveCommands", commands(command, Some(*separate)))
        }
        SessionKind::Shell => ("Standard_Stream", Value::Null),
        SessionKind::Port(request) => ("Port", request.properties()),
    };
    let key = job.encryption.as_ref().map(|encryption| encryption.arn());
    let mut document = json!({
        "schemaVersion": "1.0",
        "description": "",
        "sessionType": kind,
        "inputs": {
            "s3BucketName": "", "s3KeyPrefix": "", "s3EncryptionEnabled": false,
            "cloudWatchLogGroupName": "", "cloudWatchEncryptionEnabled": false, "cloudWatchStreamingEnabled": false,
            "kmsKeyId": key.unwrap_or_default(),
            "runAsEnabled": false, "runAsDefaultUser": "",
            "shellProfile": { "linux": "", "windows": "" },
        },
    });
    if !properties.is_null() {
        document["properties"] = properties;
    }
    document
}

fn commands(command: &str, separate: Option<bool>) -> Value {
    // Elevated, in ECS, means HOME=/root: here that would be the home of whoever runs the sandbox.
    let mut linux = json!({ "commands": command, "runAsElevated": false });
    if let Some(separate) = separate {
        linux["separateOutputStream"] = separate.into();
    }
    let none = json!({ "commands": "", "runAsElevated": false });
    json!({ "linux": linux, "windows": none, "macos": none })
}

fn frame(kind: &str, payload: impl FnOnce(String) -> Value) -> Bytes {
    let clock = Clock::start();
    let id = IdSource::new(clock.seed()).next_id();
    let payload = payload(id.to_string()).to_string();
    let message_type = match kind {
        "channel_closed" => MessageType::ChannelClosed,
        other => MessageType::Other(other.into()),
    };
    let frame = Frame {
        message_type,
        schema_version: 1,
        created_millis: clock.now().as_millis(),
        sequence: 0,
        flags: Flags::NONE,
        id,
        payload_type: 0,
        payload: payload.into(),
    };
    frame.encode()
}
