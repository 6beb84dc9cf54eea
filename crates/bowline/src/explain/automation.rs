//! The calls of runbooks that the service runs.

use super::When::{Always, If};
use super::deed::{On, Table};

/// What is done with runbooks that the service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Automation {
    /// Have one run.
    Submit {
        /// Which.
        document: Submitted,
        /// Whether its execution is followed to its end.
        follows: bool,
    },
    /// Follow an execution.
    Follow,
    /// Stop one.
    Stop,
    /// Answer one that waits for somebody.
    Signal {
        /// By going on after a pause, for which the step that waits is looked up.
        resumes: bool,
    },
}

/// The document of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// One that is there.
    There(String),
    /// One that a file becomes, under this name.
    Named(String),
    /// One that a file becomes for a single run.
    Temporary {
        /// It is left there.
        kept: bool,
    },
}

impl Table<'_> {
    pub(super) fn automation(&mut self, automation: &Automation) {
        match automation {
            Automation::Submit { document, follows } => self.submit(document, *follows),
            Automation::Follow => self.follow_execution(),
            Automation::Stop => {
                let on = self.executions();
                self.add("ssm:StopAutomationExecution", Always, "stops it", on);
            }
            Automation::Signal { resumes } => {
                if *resumes {
                    self.look_at_execution("which step waits");
                }
                let on = self.executions();
                self.add("ssm:SendAutomationSignal", Always, "answers it", on);
            }
        }
    }

    fn submit(&mut self, document: &Submitted, follows: bool) {
        let name = match document {
            Submitted::There(name) | Submitted::Named(name) => name,
            Submitted::Temporary { .. } => "bowline-*",
        };
        let documents = || self.documents(name);
        let (own, definition) = (documents(), documents());
        let mut add = |action: &str, when, why: &str| {
            self.add(action, when, why, On::Plain(own.clone()));
        };
        match document {
            Submitted::There(_) => add("ssm:GetDocument", Always, "the parameters it takes"),
            Submitted::Named(_) => {
                add("ssm:CreateDocument", Always, "the file becomes a document");
                let there = "there is a document of this name";
                add("ssm:UpdateDocument", If, there);
                let same = "a version of it is the same";
                add("ssm:ListDocumentVersions", If, same);
                add("ssm:GetDocument", If, same);
            }
            Submitted::Temporary { .. } => {
                add("ssm:CreateDocument", Always, "the file becomes a document");
            }
        }
        if !matches!(document, Submitted::There(_)) {
            add("ssm:DescribeDocument", Always, "whether it is usable");
        }
        let definitions = self
            .place
            .arn("ssm", &format!("automation-definition/{name}:*"));
        let on = definition.into_iter().chain([definitions]).collect();
        self.add(
            "ssm:StartAutomationExecution",
            Always,
            "runs the runbook",
            On::Plain(on),
        );
        match follows {
            true => self.follow_execution(),
            false => {
                let on = self.executions();
                let why = "an interrupt comes while it starts";
                self.add("ssm:StopAutomationExecution", If, why, on);
            }
        }
        if let Submitted::Temporary { kept } = document {
            let (when, why) = match follows && !kept {
                true => (Always, "the document goes with the run"),
                false => (If, "the document does not become usable"),
            };
            self.add("ssm:DeleteDocument", when, why, On::Plain(own));
        }
    }

    fn follow_execution(&mut self) {
        self.look_at_execution("follows the execution");
        let on = self.executions();
        self.add("ssm:StopAutomationExecution", If, "it is interrupted", on);
    }

    fn look_at_execution(&mut self, why: &str) {
        let on = self.executions();
        self.add("ssm:GetAutomationExecution", Always, why, on);
        let (on, why) = (self.executions(), "the execution has many steps");
        self.add("ssm:DescribeAutomationStepExecutions", If, why, on);
    }

    fn executions(&self) -> On {
        On::Plain(vec![self.place.arn("ssm", "automation-execution/*")])
    }

    /// The document of this name, or of this ARN. AWS's own have no account.
    fn documents(&self, name: &str) -> Vec<String> {
        vec![match name {
            name if name.starts_with("arn:") => name.to_owned(),
            name if name.starts_with("AWS") => self.place.document(name),
            name => self.place.arn("ssm", &format!("document/{name}")),
        }]
    }
}
