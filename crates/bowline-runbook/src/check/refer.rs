//! References: what they name, and whether that has a value by then.

use std::ops::Range;

use bowline_services::nearest;

use super::Checker;
use super::flow::Follows;
use super::typing::output_type;
use crate::action::Action;
use crate::document::{Parameter, Step};
use crate::finding::Severity;
use crate::node::Node;
use crate::reference::{Reference, nested, references};
use crate::source::Span;

const GLOBALS: [&str; 5] = ["ACCOUNT_ID", "REGION", "AWS_PARTITION", "DATE", "DATE_TIME"];

impl Checker<'_> {
    /// All references in an input of a step. In a script only what is declared counts.
    pub(super) fn references(&mut self, step: &Step, node: &Node, in_script: bool) {
        let mut texts = Vec::new();
        node.each_text(&mut |node, text| texts.push((node, text)));
        for (node, text) in texts {
            if let Some(range) = nested(text).filter(|_| !in_script) {
                let span = within(node, text, &range);
                self.error(
                    14,
                    span,
                    step,
                    "a reference inside of a reference is never resolved",
                );
                continue;
            }
            for found in references(text) {
                let span = within(node, text, &found.range);
                match in_script {
                    true if self.is_declared(&found.reference) => {
                        let message = format!(
                            "{{{{ {} }}}} is put into the script's source",
                            found.reference
                        );
                        self.warn(50, span, step, message)
                            .suggest("hand it over in InputPayload and read it from the handler's first argument");
                    }
                    true => {}
                    false => self.reference(step, &found.reference, span),
                }
            }
        }
    }

    fn is_declared(&self, reference: &Reference) -> bool {
        match reference {
            Reference::Parameter(name) => self.document.parameter(name).is_some(),
            Reference::Variable(name) => self.document.variable(name).is_some(),
            Reference::Output { step, output } => {
                let step = self.document.step(step);
                step.is_some_and(|step| output_type(step, output).is_some())
            }
            Reference::Global(name) => GLOBALS.contains(&name.as_str()),
            Reference::Automation(name) => name == "EXECUTION_ID",
            Reference::Stored(_) => false,
        }
    }

    fn reference(&mut self, step: &Step, reference: &Reference, span: Span) {
        let document = self.document;
        match reference {
            Reference::Parameter(name) if document.parameter(name).is_none() => {
                let names = document.parameters.iter().map(|it| it.name.name.as_str());
                let message = format!("there is no parameter {name}");
                let suggestion = match document.variable(name) {
                    Some(_) => Some(format!("write {{{{ variable:{name} }}}}")),
                    None => mean(name, names),
                };
                self.error(10, span, step, message).suggestion = suggestion;
            }
            Reference::Variable(name) if document.variable(name).is_none() => {
                let names = document.variables.iter().map(|it| it.name.name.as_str());
                let suggestion = mean(name, names);
                self.error(10, span, step, format!("there is no variable {name}"))
                    .suggestion = suggestion;
            }
            Reference::Global(name) if !GLOBALS.contains(&name.as_str()) => {
                let suggestion = mean(name, GLOBALS);
                self.error(10, span, step, format!("there is no global:{name}"))
                    .suggestion = suggestion;
            }
            Reference::Automation(name) if name != "EXECUTION_ID" => {
                self.error(10, span, step, format!("there is no automation:{name}"))
                    .suggest("automation: has EXECUTION_ID");
            }
            Reference::Stored(name) => {
                self.error(
                    12,
                    span,
                    step,
                    format!("{{{{ssm:{name}}}}} is not allowed in a step"),
                )
                .suggest("declare a parameter with this as its default, and use the parameter");
            }
            Reference::Output {
                step: source,
                output,
            } => self.output(step, source, output, span),
            _ => {}
        }
    }

    fn output(&mut self, step: &Step, source: &str, output: &str, span: Span) {
        let Some(from) = self.document.step(source) else {
            // Inside of a loop, `loop` is the loop.
            if source == "loop" && matches!(output, "CurrentIteration" | "CurrentIteratorValue") {
                return;
            }
            let suggestion = mean(source, self.graph.names.iter().map(String::as_str));
            self.error(10, span, step, format!("there is no step {source}"))
                .suggestion = suggestion;
            return;
        };
        if from.action.is_some() && output_type(from, output).is_none() {
            let declared = from.outputs.iter().map(|it| it.name.name.as_str());
            let fixed = from.action.map_or(&[][..], |action| action.facts().outputs);
            let names: Vec<&str> = declared
                .chain(fixed.iter().map(|(name, _)| *name))
                .collect();
            let suggestion =
                mean(output, names.iter().copied()).unwrap_or_else(|| match names.is_empty() {
                    true => "declare it in the step's outputs".to_owned(),
                    false => format!("it has {}; declare others in its outputs", names.join(", ")),
                });
            self.error(
                10,
                span,
                step,
                format!("the step {source} has no output {output}"),
            )
            .suggest(suggestion);
            return;
        }
        let places = (self.graph.place(source), self.graph.place(&step.name.name));
        let (Some(earlier), Some(later)) = places else {
            return;
        };
        // What is never reached has its own finding.
        if !self.graph.reach([0], None).contains(&later) {
            return;
        }
        // A loop looks at its condition after its body.
        let is_of_body = step.body.iter().any(|inner| inner.name.name == source);
        if is_of_body && step.action == Some(Action::Loop) {
            return;
        }
        match self.graph.follows(earlier, later) {
            Follows::Always => {}
            Follows::Never if source == step.name.name => {
                self.error(
                    11,
                    span,
                    step,
                    "the step refers to an output of its own, which has no value yet",
                );
            }
            Follows::Never => {
                let message = format!(
                    "{source} cannot have run successfully before {}",
                    step.name.name
                );
                self.error(11, span, step, message)
                    .suggest("no way through the steps leads from there to here");
            }
            Follows::Sometimes => {
                let message = format!(
                    "on some ways here {source} has not run, and {source}.{output} has no value"
                );
                self.warn(11, span, step, message);
            }
        }
    }

    /// Parameters: what their defaults refer to, and whether their patterns can be read.
    pub(super) fn parameters(&mut self) {
        for parameter in self
            .document
            .parameters
            .iter()
            .chain(&self.document.variables)
        {
            self.parameter(parameter);
        }
        if let Some(role) = &self.document.assume_role {
            for found in references(&role.name) {
                if let Reference::Parameter(name) = &found.reference
                    && self.document.parameter(name).is_none()
                {
                    let message = format!("there is no parameter {name}");
                    self.say(Severity::Error, 10, role.span, None, message);
                }
            }
        }
    }

    fn parameter(&mut self, parameter: &Parameter) {
        if let Some(pattern) = &parameter.pattern
            && let Err(error) = crate::parameters::pattern(&pattern.name)
        {
            let message = format!("allowedPattern cannot be read: {error}");
            self.say(Severity::Warning, 1, pattern.span, None, message);
        }
        let Some(default) = &parameter.default else {
            return;
        };
        let mut texts = Vec::new();
        default.each_text(&mut |node, text| texts.push((node, text)));
        for (node, text) in texts {
            for found in references(text) {
                let span = within(node, text, &found.range);
                let message = match &found.reference {
                    Reference::Parameter(name) if self.document.parameter(name).is_some() => {
                        format!(
                            "the default refers to the parameter {name}, which is documented as unsupported; it is resolved one level deep"
                        )
                    }
                    Reference::Parameter(name) => {
                        format!("{{{{ {name} }}}} in a default is text and nothing else")
                    }
                    Reference::Output { .. } | Reference::Variable(_) => {
                        format!(
                            "{{{{ {} }}}} has no value when parameters are read",
                            found.reference
                        )
                    }
                    _ => continue,
                };
                self.say(Severity::Warning, 13, span, None, message);
            }
        }
    }
}

fn mean<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    nearest(wanted, names).map(|near| format!("did you mean {near}?"))
}

/// The place of a part of a text. Where the text is not written plainly in its line, the whole of it.
pub(super) fn within(node: &Node, text: &str, range: &Range<usize>) -> Span {
    let width = node.span.end.saturating_sub(node.span.start);
    if text.contains('\n') {
        return node.span;
    }
    let quotes = match width.checked_sub(text.len()) {
        Some(extra) if extra == 0 || extra == 2 => extra / 2,
        _ => return node.span,
    };
    let before = text.get(..range.start).map_or(0, |it| it.chars().count());
    Span {
        start: node.span.start + quotes + range.start,
        end: node.span.start + quotes + range.end,
        line: node.span.line,
        column: node.span.column + quotes + before,
    }
}
