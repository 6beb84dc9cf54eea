//! Events as JSON lines; docs/reference/output.md describes them.

use std::time::Duration;

use base64::Engine as _;
use bowline::fleet::{FleetEvent, FleetTarget, FreshTask, Outcome, Problem, Stream as Output};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::show::Pieces;
use super::summary::Summary;
use crate::writer::Stream;

/// Grows when a member changes its meaning or goes away; new members do not count.
const SCHEMA: u32 = 1;

pub(super) fn begin(targets: &[FleetTarget], problems: &[Problem]) -> Pieces {
    let problems: Vec<Value> = problems
        .iter()
        .map(|problem| json!({"place": problem.place, "reason": problem.reason}))
        .collect();
    let first = json!({
        "type": "fleet",
        "schema": SCHEMA,
        "targets": targets.len(),
        "problems": problems,
    });
    [piece(&first)].into()
}

pub(super) fn event(event: &FleetEvent, targets: &[FleetTarget]) -> Pieces {
    let label = |target: &usize| targets[*target].label.as_str();
    let value = match event {
        FleetEvent::Starting { .. } => return Pieces::new(),
        FleetEvent::Started { target, session_id } => {
            json!({"type": "started", "target": label(target), "sessionId": session_id})
        }
        FleetEvent::Launched { target, task_arn } => {
            json!({"type": "started", "target": label(target), "taskArn": task_arn})
        }
        FleetEvent::Output {
            target,
            stream,
            bytes,
        } => {
            let kind = match stream {
                Output::Stdout => "stdout",
                Output::Stderr => "stderr",
            };
            let mut value = json!({"type": kind, "target": label(target)});
            match std::str::from_utf8(bytes) {
                Ok(text) => value["text"] = text.into(),
                Err(_) => {
                    value["base64"] = base64::engine::general_purpose::STANDARD
                        .encode(bytes)
                        .into();
                }
            }
            value
        }
        FleetEvent::Notice { target, text } => {
            json!({"type": "notice", "target": label(target), "text": text})
        }
        FleetEvent::Again { target, reason } => {
            json!({"type": "again", "target": label(target), "reason": reason})
        }
        FleetEvent::Ended {
            target,
            outcome,
            elapsed,
        } => ended(&targets[*target], outcome, *elapsed),
        _ => return Pieces::new(),
    };
    [piece(&value)].into()
}

/// Everything there is to know of a target's end.
pub(super) fn ended(one: &FleetTarget, outcome: &Outcome, elapsed: Duration) -> Value {
    let mut value = json!({
        "type": "ended",
        "target": one.label,
        "region": one.place.region(),
        "cluster": one.cluster(),
        "container": one.container(),
        "outcome": outcome.as_str(),
        "elapsedSeconds": (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
    });
    let definition = one.fresh().map(|fresh| &fresh.plan.definition);
    let optional = [
        ("account", one.place.account.as_deref()),
        ("profile", one.place.profile.as_deref()),
        ("service", one.service()),
        ("taskArn", one.task_arn()),
        (
            "taskDefinition",
            definition.map(|it| it.task_definition_arn.as_str()),
        ),
    ];
    for (name, member) in optional {
        if let Some(member) = member {
            value[name] = member.into();
        }
    }
    match outcome {
        Outcome::Exit(code) => value["code"] = (*code).into(),
        Outcome::Unreachable(reason) | Outcome::Unknown(reason) => {
            value["reason"] = reason.as_str().into();
        }
        _ => {}
    }
    value
}

/// What RunTask would be asked for, and where.
pub(super) fn request(one: &FleetTarget, fresh: &FreshTask) -> Value {
    let mut value = json!({"target": one.label, "region": one.place.region()});
    for (name, member) in [
        ("account", &one.place.account),
        ("profile", &one.place.profile),
    ] {
        if let Some(member) = member {
            value[name] = member.as_str().into();
        }
    }
    value["request"] = json!(fresh.plan.request);
    value
}

pub(super) fn end(summary: &Summary, elapsed: Duration) -> Pieces {
    let counts: Map<String, Value> = summary
        .counts()
        .into_iter()
        .map(|(count, word)| (word.to_owned(), count.into()))
        .collect();
    let last = json!({
        "type": "summary",
        "counts": counts,
        "gone": summary.gone(),
        "elapsedSeconds": (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
    });
    [piece(&last)].into()
}

fn piece(value: &Value) -> (Stream, Bytes) {
    (Stream::Stdout, format!("{value}\n").into())
}
