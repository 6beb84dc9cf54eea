//! Types that are known before anything runs, and the table of them.

use serde::Serialize;

use super::api::{Called, called};
use crate::action::{Action, Takes};
use crate::document::{Document, Step};
use crate::node::{Kind, Node};
use crate::reference::{Reference, references, whole};
use crate::value::Type;

/// What is known of a value's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Static {
    Known(Type),
    /// A number with a fraction.
    Double,
    /// A list of something else than texts or maps.
    List,
    Unknown,
}

impl Static {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Known(kind) => kind.name(),
            Self::Double => "Double",
            Self::List => "list",
            Self::Unknown => "any",
        }
    }
}

/// The type of what a reference stands for; unknown where it names nothing.
pub(crate) fn type_of(document: &Document, reference: &Reference) -> Static {
    let known = match reference {
        Reference::Parameter(name) => document.parameter(name).map(|it| it.kind),
        Reference::Variable(name) => document.variable(name).map(|it| it.kind),
        Reference::Global(_) | Reference::Automation(_) => Some(Type::String),
        Reference::Stored(_) => None,
        Reference::Output { step, output } if step == "loop" && document.step("loop").is_none() => {
            Action::Loop
                .fixed_output(output)
                .filter(|kind| *kind == Type::Integer)
        }
        Reference::Output { step, output } => document
            .step(step)
            .and_then(|step| output_type(step, output)),
    };
    known.map_or(Static::Unknown, Static::Known)
}

/// The type of a step's output, if it is known to have it.
pub(crate) fn output_type(step: &Step, output: &str) -> Option<Type> {
    let declared = step.outputs.iter().find(|it| it.name.name == output);
    match declared {
        Some(declared) => Some(declared.kind),
        None => step.action?.fixed_output(output),
    }
}

/// The type of what stands in an input.
pub(crate) fn static_type(document: &Document, node: &Node) -> Static {
    match &node.kind {
        Kind::Null => Static::Unknown,
        Kind::Boolean(_) => Static::Known(Type::Boolean),
        Kind::Integer(_) => Static::Known(Type::Integer),
        Kind::Float(_) => Static::Double,
        Kind::Map(_) => Static::Known(Type::StringMap),
        Kind::Text(text) => match whole(text) {
            Some(reference) => type_of(document, &reference),
            None => Static::Known(Type::String),
        },
        Kind::List(items) => list_type(document, items),
    }
}

fn list_type(document: &Document, items: &[Node]) -> Static {
    let mut found = None;
    for item in items {
        let kind = match static_type(document, item) {
            // A reference to a list gives its elements.
            Static::Known(Type::String | Type::StringList) => Type::StringList,
            Static::Known(Type::StringMap | Type::MapList) => Type::MapList,
            Static::Unknown => continue,
            _ => return Static::List,
        };
        if *found.get_or_insert(kind) != kind {
            return Static::List;
        }
    }
    found.map_or(Static::Unknown, Static::Known)
}

/// The table of `runbook check --types`.
#[derive(Clone, Debug, Serialize)]
pub struct Types {
    /// The parameters, and the inputs that use them.
    pub parameters: Vec<Row>,
    /// The steps.
    pub steps: Vec<StepTypes>,
}

/// The types of a step.
#[derive(Clone, Debug, Serialize)]
pub struct StepTypes {
    /// The step.
    pub step: String,
    /// Its action.
    pub action: String,
    /// Its inputs: what is wanted, and what is there.
    pub inputs: Vec<Row>,
    /// Its outputs: where they come from.
    pub outputs: Vec<Row>,
}

/// A name, its type, and a second fact.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The type that is there, for an input; `fixed`, `declared` or `implicit` for an output; the uses of a parameter.
    pub detail: String,
}

impl Types {
    /// All types of a document.
    pub fn of(document: &Document) -> Self {
        let parameters = document.parameters.iter().map(|parameter| {
            let name = &parameter.name.name;
            let uses: Vec<String> = document
                .all_steps()
                .flat_map(|step| uses(step, name))
                .collect();
            row(name, parameter.kind.name(), &uses.join(", "))
        });
        Self {
            parameters: parameters.collect(),
            steps: document
                .all_steps()
                .map(|step| step_types(document, step))
                .collect(),
        }
    }
}

fn uses(step: &Step, parameter: &str) -> Vec<String> {
    let used = step.inputs.iter().filter(|entry| {
        let mut found = false;
        entry.value.each_text(&mut |_, text| {
            let is = |it: &Reference| matches!(it, Reference::Parameter(name) if name == parameter);
            found |= references(text).iter().any(|it| is(&it.reference));
        });
        found
    });
    used.map(|entry| format!("{}.{}", step.name.name, entry.key))
        .collect()
}

fn step_types(document: &Document, step: &Step) -> StepTypes {
    let known = step.action.map_or(&[][..], |action| action.facts().inputs);
    let operation = called(step).ok();
    let inputs = step
        .inputs
        .iter()
        .filter(|entry| !entry.value.is_null())
        .map(|entry| {
            let fixed = known.iter().find(|input| input.name == entry.key);
            let wanted = match (fixed.map(|input| input.takes), &operation) {
                (Some(Takes::One(kind)), _) => kind.name().to_owned(),
                (Some(Takes::Either(one, other)), _) => format!("{one} or {other}"),
                (None, Some(call)) => call.wants(&entry.key).unwrap_or_else(|| "?".to_owned()),
                _ => "any".to_owned(),
            };
            row(
                &entry.key,
                &wanted,
                static_type(document, &entry.value).name(),
            )
        });
    let declared = step
        .outputs
        .iter()
        .map(|it| (it.name.name.as_str(), it.kind, "declared"));
    let fixed = step.action.map_or(&[][..], |action| action.facts().outputs);
    let implicit = fixed.iter().map(|(name, kind)| match *name {
        "Output" | "OutputPayload" => (*name, *kind, "implicit"),
        _ => (*name, *kind, "fixed"),
    });
    let is_new = |name: &str| !step.outputs.iter().any(|it| it.name.name == name);
    let outputs = declared.chain(implicit.filter(|it| is_new(it.0)));
    StepTypes {
        step: step.name.name.clone(),
        action: step.action.map_or("?", Action::name).to_owned(),
        inputs: inputs.collect(),
        outputs: outputs
            .map(|(name, kind, from)| row(name, kind.name(), from))
            .collect(),
    }
}

impl Called {
    /// What a member of the operation's input takes, in the words of runbooks.
    fn wants(&self, member: &str) -> Option<String> {
        let shape = self.service.shape(self.operation.input?);
        let member = shape.member(member)?;
        Some(super::api::noun(self.service, member.shape))
    }
}

fn row(name: &str, kind: &str, detail: &str) -> Row {
    Row {
        name: name.to_owned(),
        kind: kind.to_owned(),
        detail: detail.to_owned(),
    }
}
