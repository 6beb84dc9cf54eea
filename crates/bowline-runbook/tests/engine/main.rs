//! Runs on a virtual clock with answers that are made up: the scenarios of the service's rules, and the rules one by one.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod example;
mod recipes;
mod rules;
mod scenarios;

use std::collections::HashMap;
use std::sync::Arc;

use bowline_runbook::{
    Answer, CallFailure, Event, Execution, Options, Parameters, Request, Severity, Snapshot,
    Status, Surroundings, Work, check,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Answers a request, by how often its step has asked before. None: it is never answered.
type Script<'a> = Box<dyn FnMut(&Request, usize) -> Option<Answer> + 'a>;

struct Run<'a> {
    execution: Execution,
    script: Script<'a>,
    asked: HashMap<String, usize>,
    requests: Vec<Request>,
    events: Vec<Event>,
    now: Timestamp,
    begun: Timestamp,
}

impl<'a> Run<'a> {
    fn new(text: &str, script: impl FnMut(&Request, usize) -> Option<Answer> + 'a) -> Self {
        Self::with(text, &[], Options::default(), script)
    }

    fn with(
        text: &str,
        given: &[(&str, Value)],
        options: Options,
        script: impl FnMut(&Request, usize) -> Option<Answer> + 'a,
    ) -> Self {
        let report = check(text);
        let errors: Vec<_> = report
            .findings
            .iter()
            .filter(|it| it.severity == Severity::Error)
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
        let document = Arc::new(report.document.unwrap());
        let given = given
            .iter()
            .map(|(name, value)| {
                (
                    (*name).to_owned(),
                    bowline_runbook::Given::Value(value.clone()),
                )
            })
            .collect();
        let parameters =
            Parameters::new(
                &document,
                &given,
                &|_| None,
                &|_| Err("no store".to_owned()),
            )
            .unwrap();
        let begun: Timestamp = "2026-01-31T23:59:58Z".parse().unwrap();
        let execution = Execution::new(document, parameters, surroundings(), options, begun);
        Self {
            execution,
            script: Box::new(script),
            asked: HashMap::new(),
            requests: Vec::new(),
            events: Vec::new(),
            now: begun,
            begun,
        }
    }

    fn resume(
        text: &str,
        snapshot: Snapshot,
        script: impl FnMut(&Request, usize) -> Option<Answer> + 'a,
    ) -> Self {
        let document = Arc::new(check(text).document.unwrap());
        let begun: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let execution = Execution::resume(document, snapshot, Options::default(), begun);
        Self {
            execution,
            script: Box::new(script),
            asked: HashMap::new(),
            requests: Vec::new(),
            events: Vec::new(),
            now: begun,
            begun,
        }
    }

    /// Answers what is asked now.
    fn settle(&mut self) {
        loop {
            while let Some(event) = self.execution.poll_event() {
                self.events.push(event);
            }
            let Some(request) = self.execution.poll_request() else {
                return;
            };
            let count = self.asked.entry(request.step.clone()).or_default();
            let answer = (self.script)(&request, *count);
            *count += 1;
            let id = request.id;
            self.requests.push(request);
            if let Some(answer) = answer {
                self.execution.answer(self.now, id, answer);
            }
        }
    }

    /// Lets time pass up to this many seconds after the beginning, or until the run has ended.
    fn until(&mut self, seconds: i64) -> &mut Self {
        let end = self.begun + SignedDuration::from_secs(seconds);
        self.settle();
        while !self.execution.is_ended() {
            match self.execution.poll_timeout().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = end;
                    break;
                }
            }
            self.execution.handle_timeout(self.now);
            self.settle();
        }
        self.settle();
        self
    }

    fn finish(&mut self) -> &mut Self {
        self.until(10_000_000);
        assert!(
            self.execution.is_ended(),
            "the run has not ended: {:?}",
            self.events
        );
        self
    }

    fn cancel(&mut self) -> &mut Self {
        self.execution.cancel(self.now);
        self.settle();
        self
    }

    fn statuses(&self) -> Vec<&'static str> {
        self.execution
            .statuses()
            .map(|(_, status)| status.name())
            .collect()
    }

    fn elapsed(&self) -> i64 {
        self.now.duration_since(self.begun).as_secs()
    }

    fn failure(&self) -> String {
        let last = self.events.iter().rev().find_map(|event| match event {
            Event::RunEnd { failure, .. } => Some(failure.clone().unwrap_or_default()),
            _ => None,
        });
        last.unwrap_or_default()
    }

    fn outputs(&self) -> Value {
        let last = self.events.iter().rev().find_map(|event| match event {
            Event::RunEnd { outputs, .. } => Some(Value::Object(outputs.clone())),
            _ => None,
        });
        last.unwrap_or_default()
    }

    fn jumps(&self) -> Vec<String> {
        let jumps = self.events.iter().filter_map(|event| match event {
            Event::StepJump { to, why, .. } => {
                Some(format!("{}:{why}", to.as_deref().unwrap_or("END")))
            }
            _ => None,
        });
        jumps.collect()
    }

    fn inputs_of(&self, step: &str) -> Vec<Value> {
        let of = self.requests.iter().filter(|it| it.step == step);
        of.filter_map(|it| match &it.work {
            Work::Call { input, .. } => Some(Value::Object(input.clone())),
            Work::Script(script) => Some(script.payload.clone()),
            _ => None,
        })
        .collect()
    }
}

fn surroundings() -> Surroundings {
    Surroundings {
        execution_id: "id-1".to_owned(),
        region: "eu-west-1".to_owned(),
        partition: "aws".to_owned(),
        account: None,
    }
}

fn refused(code: &str) -> Option<Answer> {
    Some(Answer::CallFailed(CallFailure {
        code: Some(code.to_owned()),
        message: "no".to_owned(),
        request_id: Some("r-1".to_owned()),
        is_transient: false,
    }))
}

fn called(value: Value) -> Option<Answer> {
    Some(Answer::Called(value))
}

/// A step that succeeds or fails as `{desired}` is `a` or something else, with more of its keys.
fn step(name: &str, kind: &str, more: &str) -> String {
    let keys = match kind {
        "A" => {
            "action: aws:assertAwsResourceProperty, inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [a]}"
        }
        "F" => {
            "action: aws:assertAwsResourceProperty, inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [b]}"
        }
        "T" => {
            "action: aws:waitForAwsResourceProperty, timeoutSeconds: 2, inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$.nextToken', DesiredValues: [b]}"
        }
        other => other,
    };
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(", {more}")
    };
    format!("- {{name: {name}, {keys}{more}}}\n")
}

fn book(steps: &[(&str, &str, &str)]) -> String {
    let steps: String = steps
        .iter()
        .map(|(name, kind, more)| step(name, kind, more))
        .collect();
    format!("schemaVersion: '0.3'\nmainSteps:\n{steps}")
}

fn a(_: &Request, _: usize) -> Option<Answer> {
    called(json!({ "nextToken": "a" }))
}

fn ends(text: &str, statuses: &[Status], overall: Status) {
    let mut run = Run::new(text, a);
    run.finish();
    let names: Vec<&str> = statuses.iter().map(|it| it.name()).collect();
    assert_eq!(run.statuses(), names);
    assert_eq!(run.execution.status(), overall, "{}", run.failure());
}
