//! What is wrong with a runbook, found without running it.

mod api;
mod branch;
mod desired;
mod failure;
mod flow;
mod inputs;
mod outputs;
mod refer;
mod typing;

use crate::document::{self, Document, Step};
use crate::finding::{Code, Finding, Severity};
use crate::reader::read;
use crate::source::Span;

pub use self::flow::{Edge, Graph, Way};
pub use self::typing::{Row, StepTypes, Types};

/// The service and operation that a step calls, as far as its inputs say.
pub(crate) fn call_name(step: &Step) -> Option<String> {
    let call = api::called(step).ok()?;
    Some(format!("{} {}", call.service.name, call.operation.name))
}

/// The type of what a reference stands for.
pub(crate) fn type_name_of(document: &Document, reference: &crate::Reference) -> &'static str {
    typing::type_of(document, reference).name()
}

/// Whether a step is known to have an output.
pub(crate) fn has_output(step: &Step, output: &str) -> bool {
    typing::output_type(step, output).is_some()
}

/// What a check found.
#[derive(Debug)]
pub struct Report {
    /// In the order of the text.
    pub findings: Vec<Finding>,
    /// The document, unless it cannot be read at all.
    pub document: Option<Document>,
}

impl Report {
    /// Whether something in it cannot work.
    pub fn has_errors(&self) -> bool {
        self.findings
            .iter()
            .any(|it| it.severity == Severity::Error)
    }
}

/// Reads a runbook, YAML or JSON, and finds everything that is wrong with it.
///
/// ```
/// let report = bowline_runbook::check("schemaVersion: '0.3'\nmainSteps:\n- name: a\n  action: aws:slep\n");
/// assert_eq!(report.findings[0].code.to_string(), "RB003");
/// assert_eq!(report.findings[0].suggestion.as_deref(), Some("did you mean aws:sleep?"));
/// ```
pub fn check(text: &str) -> Report {
    let root = match read(text) {
        Ok(root) => root,
        Err(error) => {
            let finding = Finding {
                code: Code(1),
                severity: Severity::Error,
                span: error.span,
                step: None,
                message: error.message,
                suggestion: None,
            };
            return Report {
                findings: vec![finding],
                document: None,
            };
        }
    };
    let mut findings = Vec::new();
    let document = document::parse(&root, text, &mut findings);
    let graph = Graph::of(&document);
    let mut checker = Checker {
        document: &document,
        graph: &graph,
        findings,
    };
    checker.all();
    let mut findings = checker.findings;
    findings.retain(|finding| !is_allowed(&document, finding));
    findings.sort_by_key(|finding| (finding.span.start, finding.code));
    findings.dedup();
    Report {
        findings,
        document: Some(document),
    }
}

/// A comment in the line of the finding, or in the first of its step, switches the rule off.
fn is_allowed(document: &Document, finding: &Finding) -> bool {
    let step = finding.step.as_deref().and_then(|name| document.step(name));
    let lines = [Some(finding.span.line), step.map(|step| step.span.line)];
    let mut codes = lines
        .iter()
        .flatten()
        .filter_map(|line| document.allowed.get(line));
    codes.any(|codes| codes.contains(&finding.code))
}

pub(crate) struct Checker<'d> {
    pub(crate) document: &'d Document,
    pub(crate) graph: &'d Graph,
    pub(crate) findings: Vec<Finding>,
}

impl Checker<'_> {
    fn all(&mut self) {
        self.flow();
        self.parameters();
        for step in self.document.all_steps() {
            self.step(step);
            self.failure(step);
        }
        self.document_outputs();
        self.role();
    }

    pub(crate) fn say(
        &mut self,
        severity: Severity,
        code: u16,
        span: Span,
        step: Option<&Step>,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.findings.push_mut(Finding {
            code: Code(code),
            severity,
            span,
            step: step.map(|step| step.name.name.clone()),
            message: crate::value::spelled(message),
            suggestion: None,
        })
    }

    pub(crate) fn error(
        &mut self,
        code: u16,
        span: Span,
        step: &Step,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.say(Severity::Error, code, span, Some(step), message)
    }

    pub(crate) fn warn(
        &mut self,
        code: u16,
        span: Span,
        step: &Step,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.say(Severity::Warning, code, span, Some(step), message)
    }
}

impl Finding {
    /// What mends it.
    pub(crate) fn suggest(&mut self, suggestion: impl Into<String>) {
        self.suggestion = Some(suggestion.into());
    }
}
