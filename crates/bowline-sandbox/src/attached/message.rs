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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::image::Place;

    /// The messages of a recorded control channel of the real agent, by their kind.
    fn recorded(kind: &str) -> Vec<Bytes> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path =
            folder.join("../bowline-proto/tests/fixtures/transcripts/agent-control-channel.json");
        let recording: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let events = recording["events"].as_array().unwrap().iter();
        let found: Vec<Bytes> = events
            .filter(|event| event["header"]["message_type"] == kind)
            .map(|event| hex::decode(event["hex"].as_str().unwrap()).unwrap().into())
            .collect();
        assert!(!found.is_empty(), "no {kind} was recorded");
        found
    }

    fn payload(message: &Bytes) -> Value {
        let frame = Frame::decode(message, DigestCheck::Enforce).unwrap();
        serde_json::from_slice(&frame.payload).unwrap()
    }

    #[test]
    fn the_real_agents_last_words_are_understood_and_answered_as_it_wants() {
        for message in recorded("agent_task_complete") {
            let (completion, answer) = completion(&message).unwrap();
            assert!(!completion.task_id.is_empty() && completion.output.is_empty());
            let id = Frame::decode(&message, DigestCheck::Enforce).unwrap().id;
            assert_eq!(payload(&answer)["MessageId"], id.to_string());
        }
        assert!(completion(&recorded("interactive_shell")[0]).is_none());
    }

    #[test]
    fn sessions_are_asked_for_in_a_shape_that_the_real_agent_took() {
        let recorded = payload(&recorded("interactive_shell")[0]);
        let job = Job {
            session_id: "s".to_owned(),
            target: "ecs:c_t_r".to_owned(),
            document: "d".to_owned(),
            owner: "o".to_owned(),
            kind: SessionKind::Interactive {
                command: "sh".to_owned(),
            },
            place: Place {
                environment: Vec::new(),
                directory: "/".into(),
                programs: None,
                simulated: None,
                room: None,
            },
            log: None,
            encryption: None,
        };
        let ours = payload(&start(&job));
        let content =
            |order: &Value| serde_json::from_str(order["Content"].as_str().unwrap()).unwrap();
        assert_holds(&ours, &recorded);
        assert_holds(&content(&ours), &content(&recorded));
    }

    /// Every member of what was recorded is there, with the same type.
    fn assert_holds(ours: &Value, recorded: &Value) {
        let Some(members) = recorded.as_object() else {
            assert_eq!(
                std::mem::discriminant(ours),
                std::mem::discriminant(recorded),
                "{ours} {recorded}"
            );
            return;
        };
        for (name, member) in members {
            // Commands run with the agent's own HOME here.
            if name != "runAsElevated" {
                assert_holds(&ours[name], member);
            }
        }
    }
}
