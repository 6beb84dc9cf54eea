//! The document in a tree: its grammar, and what breaks it.

use std::collections::{HashMap, HashSet};

use bowline_services::nearest;

use super::fields::Fields;
use super::{Document, Named, OnFailure, OutputDeclaration, Parameter, Step};
use crate::action::{Action, Tier};
use crate::finding::{Code, Finding, Severity};
use crate::node::{Entry, Kind, Node};
use crate::reference::{is_name, references};
use crate::value::Type;

/// Files that a document may have attached.
const MOST_FILES: usize = 5;

/// Reads the document; what is wrong with its grammar goes to `findings`.
pub(crate) fn parse(root: &Node, text: &str, findings: &mut Vec<Finding>) -> Document {
    let mut fields = Fields::new(root, "the runbook", None, findings);
    if root.as_map().is_none() {
        return Document::default();
    }
    fields.only(
        &[
            "schemaVersion",
            "description",
            "assumeRole",
            "parameters",
            "variables",
            "mainSteps",
            "outputs",
            "files",
        ],
        &[
            "templateInformation",
            "executableRunBooks",
            "emergencyChange",
        ],
    );
    schema_version(&mut fields, root);
    let description = fields.prose("description");
    let assume_role = role(&mut fields);
    let outputs = outputs(&mut fields);
    let files = files(&mut fields);
    let parameters = parameters(fields.map("parameters"), "parameter", fields.findings());
    let variables = parameters_of_variables(&mut fields);
    let nodes = fields.list("mainSteps");
    match fields.get("mainSteps") {
        None => fields.error(1, root.span, "the runbook has no mainSteps"),
        // Designs are published like this; they are refused when they are to run.
        Some(node) if node.as_list().is_some_and(<[Node]>::is_empty) => {
            fields.say(
                Severity::Warning,
                1,
                node.span,
                "the runbook has no steps",
                None,
            );
        }
        Some(_) => {}
    }
    let mut names = HashSet::new();
    let steps = steps(nodes, &mut names, fields.findings());
    Document {
        description,
        assume_role,
        parameters,
        variables,
        steps,
        outputs,
        files,
        allowed: allowed(text),
    }
}

fn schema_version(fields: &mut Fields<'_, '_>, root: &Node) {
    let Some(node) = fields.get("schemaVersion") else {
        return fields.error(
            1,
            root.span,
            "this is not an Automation runbook: schemaVersion '0.3' is missing",
        );
    };
    match &node.kind {
        Kind::Text(version) if version == "0.3" => {}
        Kind::Float(version) if (version - 0.3).abs() < f64::EPSILON => {
            let message = "schemaVersion is a number; the service wants the string '0.3'";
            let suggestion = Some("put quotes around it".to_owned());
            fields.say(Severity::Warning, 1, node.span, message, suggestion);
        }
        _ => {
            let message = format!(
                "schemaVersion {} is not an Automation runbook; they have '0.3'",
                node.value()
            );
            fields.error(1, node.span, message);
        }
    }
}

fn role(fields: &mut Fields<'_, '_>) -> Option<Named> {
    let role = fields.text("assumeRole")?;
    if role.name.replace(' ', "").contains("{{ssm:") {
        fields.error(
            12,
            role.span,
            "assumeRole cannot be a reference to the Parameter Store",
        );
    }
    Some(role)
}

fn outputs(fields: &mut Fields<'_, '_>) -> Vec<Named> {
    let mut outputs = Vec::new();
    for node in fields.list("outputs") {
        match node.as_str() {
            Some(text) => outputs.push(Named {
                name: text.to_owned(),
                span: node.span,
            }),
            None => fields.error(
                1,
                node.span,
                format!(
                    "an output of the runbook is written step.Output, and this is {}",
                    node.noun()
                ),
            ),
        }
    }
    outputs
}

fn files(fields: &mut Fields<'_, '_>) -> Vec<(Named, Option<String>)> {
    let entries = fields.map("files");
    if let Some(entry) = entries.get(MOST_FILES) {
        fields.error(
            1,
            entry.key_span,
            format!("a runbook has at most {MOST_FILES} files"),
        );
    }
    let files = entries.iter().map(|entry| {
        let sum = entry
            .value
            .get("checksums")
            .and_then(|sums| sums.get("sha256"));
        let name = Named {
            name: entry.key.clone(),
            span: entry.key_span,
        };
        (name, sum.and_then(Node::as_str).map(str::to_owned))
    });
    files.collect()
}

fn parameters_of_variables(fields: &mut Fields<'_, '_>) -> Vec<Parameter> {
    parameters(fields.map("variables"), "variable", fields.findings())
}

fn parameters(entries: &[Entry], what: &str, findings: &mut Vec<Finding>) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for entry in entries {
        let name = &entry.key;
        let mut fields = Fields::new(&entry.value, format!("{what} {name}"), None, findings);
        let fits = match what {
            "parameter" => {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
            }
            _ => is_name(name),
        };
        if !fits {
            let message = format!("the {what} name {name} has to be letters and digits");
            let suggestion = name
                .contains("${")
                .then(|| "fill in the template before it is checked".to_owned());
            fields.say(Severity::Error, 2, entry.key_span, message, suggestion);
        }
        parameters.push(parameter(entry, &mut fields));
    }
    parameters
}

fn parameter(entry: &Entry, fields: &mut Fields<'_, '_>) -> Parameter {
    fields.only(
        &[
            "type",
            "description",
            "displayType",
            "default",
            "allowedValues",
            "allowedPattern",
            "minItems",
            "maxItems",
            "minChars",
            "maxChars",
            "minValue",
            "maxValue",
        ],
        &[],
    );
    let name = Named {
        name: entry.key.clone(),
        span: entry.key_span,
    };
    let declared = fields.text("type");
    let kind = declared.as_ref().and_then(|it| Type::parse(&it.name));
    match (&declared, kind) {
        (None, _) => fields.error(1, entry.key_span, format!("{} has no type", entry.key)),
        (Some(declared), None) => {
            let near = nearest(&declared.name, Type::ALL.map(Type::name));
            let suggestion = match near {
                Some(near) => format!("did you mean {near}?"),
                None => format!("types are {}", Type::ALL.map(Type::name).join(", ")),
            };
            let message = format!("there is no type {}", declared.name);
            fields.say(Severity::Error, 1, declared.span, message, Some(suggestion));
        }
        _ => {}
    }
    let kind = kind.unwrap_or(Type::String);
    for key in ["minValue", "maxValue"] {
        if let Some(node) = fields.get(key) {
            let message = format!(
                "{key} is not documented; it is enforced here and may not be by the service"
            );
            fields.say(Severity::Warning, 66, node.span, message, None);
        }
    }
    let default = fields.get("default").cloned();
    if let Some(default) = &default {
        check_default(fields, kind, default);
    }
    let allowed = fields.get("allowedValues").is_some().then(|| {
        let values = fields.list("allowedValues");
        values.iter().map(Node::value).collect()
    });
    Parameter {
        name,
        kind,
        description: fields.prose("description"),
        default,
        allowed,
        pattern: fields.text("allowedPattern"),
        items: (fields.number("minItems", 0), fields.number("maxItems", 0)),
        chars: (fields.number("minChars", 0), fields.number("maxChars", 0)),
        range: (
            fields.number("minValue", i64::MIN),
            fields.number("maxValue", i64::MIN),
        ),
    }
}

fn check_default(fields: &mut Fields<'_, '_>, kind: Type, default: &Node) {
    let refers = default
        .as_str()
        .is_some_and(|text| !references(text).is_empty());
    let value = default.value();
    let fits = match (&default.kind, kind) {
        _ if refers || kind.holds(&value) => true,
        (Kind::Text(text), Type::Integer) => crate::value::decimal(text).is_some(),
        (Kind::Text(text), Type::StringMap | Type::MapList) => {
            let parsed = serde_json::from_str(text).ok();
            text.is_empty() || parsed.is_some_and(|value| kind.holds(&value))
        }
        // Lists of numbers and the like are read as lists of their texts.
        (Kind::List(items), Type::StringList) => {
            let plain = |item: &Node| !matches!(item.kind, Kind::List(_) | Kind::Map(_));
            items.iter().all(plain)
        }
        _ => false,
    };
    if !fits {
        let message = format!("the default has to be a {kind}, and is {}", default.noun());
        fields.error(21, default.span, message);
    }
}

fn steps(nodes: &[Node], names: &mut HashSet<String>, findings: &mut Vec<Finding>) -> Vec<Step> {
    nodes
        .iter()
        .filter_map(|node| step(node, names, findings))
        .collect()
}

fn step(node: &Node, names: &mut HashSet<String>, findings: &mut Vec<Finding>) -> Option<Step> {
    let name = node.get("name").and_then(Node::as_str).map(str::to_owned);
    let what = format!("step {}", name.as_deref().unwrap_or("without a name"));
    let mut fields = Fields::new(node, what, name, findings);
    node.as_map()?;
    fields.only(
        &[
            "name",
            "action",
            "inputs",
            "description",
            "outputs",
            "maxAttempts",
            "timeoutSeconds",
            "onFailure",
            "onCancel",
            "isEnd",
            "isCritical",
            "nextStep",
        ],
        &[],
    );
    let Some(name) = fields.text("name") else {
        if node.get("name").is_none() {
            fields.error(2, node.span, "the step has no name");
        }
        return None;
    };
    if !is_name(&name.name) {
        let message = format!(
            "the step name {} has to be letters, digits and underscores",
            name.name
        );
        let suggestion = name
            .name
            .contains("${")
            .then(|| "fill in the template before it is checked".to_owned());
        fields.say(Severity::Error, 2, name.span, message, suggestion);
    }
    if !names.insert(name.name.clone()) {
        fields.error(2, name.span, format!("there is another step {}", name.name));
    }
    let action = action(&mut fields, &name);
    if node.get("inputs").is_none() && action.is_some_and(|it| it != Action::Pause) {
        fields.say(
            Severity::Warning,
            20,
            name.span,
            "the step has no inputs",
            None,
        );
    }
    let timeout_span = fields.get("timeoutSeconds").map(|node| node.span);
    let (on_failure, writes_on_failure) = on_failure(&mut fields);
    let mut step = Step {
        action,
        description: fields.prose("description"),
        inputs: fields.map("inputs").to_vec(),
        outputs: declarations(&mut fields),
        max_attempts: fields
            .number("maxAttempts", 1)
            .and_then(|it| u32::try_from(it).ok())
            .unwrap_or(1),
        timeout: fields
            .number("timeoutSeconds", 1)
            .and_then(|it| u64::try_from(it).ok()),
        on_failure,
        writes_on_failure,
        on_cancel: on_cancel(&mut fields, action),
        is_end: fields.boolean("isEnd").unwrap_or(false),
        is_critical: fields.boolean("isCritical"),
        next: fields.text("nextStep"),
        body: Vec::new(),
        span: node.span,
        timeout_span,
        name,
    };
    if let (true, Some(next)) = (step.is_end, &step.next) {
        let message = format!("the step ends the run and goes on to {} as well", next.name);
        let suggestion = Some("take out isEnd or nextStep".to_owned());
        fields.say(Severity::Error, 5, next.span, message, suggestion);
    }
    if action == Some(Action::Loop)
        && let Some(body) = step.input("Steps").and_then(Node::as_list)
    {
        step.body = steps(body, names, findings);
    }
    let is_known_elsewhere = action.is_none_or(|action| action.tier() == Tier::Remote);
    if let Some(message) = step.obstacle().filter(|_| !is_known_elsewhere) {
        findings.push(Finding {
            code: Code(70),
            severity: Severity::Warning,
            span: step.name.span,
            step: Some(step.name.name.clone()),
            message,
            suggestion: None,
        });
    }
    Some(step)
}

fn action(fields: &mut Fields<'_, '_>, name: &Named) -> Option<Action> {
    let Some(named) = fields.text("action") else {
        let suggestion = Some("add an action such as aws:executeAwsApi".to_owned());
        fields.say(
            Severity::Error,
            3,
            name.span,
            format!("the step {} has no action", name.name),
            suggestion,
        );
        return None;
    };
    let action = Action::parse(&named.name);
    match action.map(Action::tier) {
        None => {
            let near = nearest(&named.name, Action::ALL.map(Action::name));
            let suggestion = near.map(|near| format!("did you mean {near}?"));
            fields.say(
                Severity::Error,
                3,
                named.span,
                format!("there is no action {}", named.name),
                suggestion,
            );
        }
        Some(Tier::Remote) => {
            let message = format!(
                "step {}: action {} is not supported locally",
                name.name, named.name
            );
            let suggestion = Some("`runbook submit` lets the service run it".to_owned());
            fields.say(Severity::Error, 3, named.span, message, suggestion);
        }
        Some(Tier::Runs) => {}
    }
    action
}

fn on_failure(fields: &mut Fields<'_, '_>) -> (OnFailure, bool) {
    let Some(named) = fields.text("onFailure") else {
        return (OnFailure::Abort, false);
    };
    let route = match named.name.as_str() {
        "Abort" => OnFailure::Abort,
        "Continue" => OnFailure::Continue,
        other => match other.strip_prefix("step:") {
            Some(step) => OnFailure::Step(Named {
                name: step.trim().to_owned(),
                span: named.span,
            }),
            None => {
                let message = format!("onFailure {other} is neither Abort, Continue nor step:NAME");
                let suggestion = is_name(other).then(|| format!("write step:{other}"));
                fields.say(Severity::Error, 4, named.span, message, suggestion);
                OnFailure::Abort
            }
        },
    };
    (route, true)
}

fn on_cancel(fields: &mut Fields<'_, '_>, action: Option<Action>) -> Option<Named> {
    let named = fields.text("onCancel")?;
    if matches!(action, Some(Action::Loop | Action::UpdateVariable)) {
        fields.error(
            6,
            named.span,
            "onCancel is not allowed on loop and updateVariable steps",
        );
    }
    if named.name == "Abort" {
        return None;
    }
    let Some(step) = named.name.strip_prefix("step:") else {
        let message = format!("onCancel {} is neither Abort nor step:NAME", named.name);
        let suggestion = is_name(&named.name).then(|| format!("write step:{}", named.name));
        fields.say(Severity::Error, 4, named.span, message, suggestion);
        return None;
    };
    Some(Named {
        name: step.trim().to_owned(),
        span: named.span,
    })
}

fn declarations(fields: &mut Fields<'_, '_>) -> Vec<OutputDeclaration> {
    let mut outputs = Vec::new();
    for node in fields.list("outputs") {
        let mut fields = Fields::new(node, "an output", fields_step(fields), fields.findings());
        if node.as_map().is_none() {
            continue;
        }
        fields.only(&["Name", "Selector", "Type"], &[]);
        let (name, selector) = (fields.text("Name"), fields.text("Selector"));
        let (Some(name), Some(selector)) = (name, selector) else {
            fields.error(1, node.span, "an output has a Name and a Selector");
            continue;
        };
        let declared = fields.text("Type");
        let kind = declared.as_ref().map(|it| Type::parse(&it.name));
        if let (Some(declared), Some(None)) = (&declared, kind) {
            let near = nearest(&declared.name, Type::ALL.map(Type::name));
            let suggestion = near.map(|near| format!("did you mean {near}?"));
            fields.say(
                Severity::Error,
                1,
                declared.span,
                format!("there is no type {}", declared.name),
                suggestion,
            );
        }
        outputs.push(OutputDeclaration {
            name,
            selector,
            kind: kind.flatten().unwrap_or(Type::String),
            kind_span: declared.map(|it| it.span),
        });
    }
    outputs
}

fn fields_step(fields: &Fields<'_, '_>) -> Option<String> {
    fields.get("name").and_then(Node::as_str).map(str::to_owned)
}

/// `# bowline: allow RB060, RB026`, by line.
fn allowed(text: &str) -> HashMap<usize, Vec<Code>> {
    let mut allowed = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some((_, codes)) = line.split_once("# bowline: allow ") else {
            continue;
        };
        let codes = codes.split([',', ' ']).filter_map(Code::parse).collect();
        allowed.insert(number, codes);
    }
    allowed
}
