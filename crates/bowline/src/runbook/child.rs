//! Runbooks that steps of runbooks run: from files, or from the account.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bowline_runbook::{
    Action, CallFailure, Child, Document, Execution, Given, Options, Parameters, Reference,
    Severity, Surroundings, check,
};

use super::{Children, RunbookRun, ScriptPolicy, new_id, refusals, remote, stored};
use crate::Client;
use crate::aws::regions;

/// Runbooks within runbooks. \[X\]
const DEPTH_LIMIT: usize = 5;
/// Runbooks that are looked at before a run.
const BELOW_LIMIT: usize = 50;

/// What a child has of the run above it.
pub(super) struct Above {
    pub(super) children: Children,
    pub(super) scripts: ScriptPolicy,
    pub(super) options: Options,
    /// The documents that are run, the nearest last.
    pub(super) documents: Vec<String>,
}

/// A run of the child, which has not made a step yet.
pub(super) async fn open(
    client: Client,
    child: Child,
    above: Above,
) -> Result<RunbookRun, CallFailure> {
    let Above {
        children,
        scripts,
        options,
        mut documents,
    } = above;
    let name = child.document;
    if documents.contains(&name) || documents.len() >= DEPTH_LIMIT {
        return Err(refused(format!(
            "{name} runs itself, or there are more than {DEPTH_LIMIT} runbooks within runbooks"
        )));
    }
    documents.push(name.clone());
    let text = text(&client, &children, &name, child.version.as_deref()).await?;
    let report = check(&text);
    let errors: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.message.as_str())
        .collect();
    let document = match report.document {
        Some(document) if errors.is_empty() => Arc::new(document),
        _ => return Err(refused(format!("{name}: {}", errors.join("; ")))),
    };
    let scripts = scripts.of(&document);
    let problems = refusals(&document, &scripts);
    if !problems.is_empty() {
        return Err(refused(format!("{name}: {}", problems.join("; "))));
    }
    let given: BTreeMap<String, Given> = child
        .parameters
        .into_iter()
        .map(|(name, value)| (name, Given::Value(value)))
        .collect();
    let surroundings = Surroundings {
        execution_id: new_id(),
        region: client.region().to_owned(),
        partition: regions::partition(client.region()).to_owned(),
        account: None,
    };
    let store = stored(&client, &Parameters::stored(&document, &given))
        .await
        .map_err(super::failure)?;
    let read = |name: &str| {
        let value = store.get(name).cloned();
        value.ok_or_else(|| format!("{name} was not read"))
    };
    let system = |reference: &Reference| surroundings.stands_for(reference);
    let values = Parameters::new(&document, &given, &system, &read)
        .map_err(|problems| refused(format!("{name}: {}", problems.join("; "))))?;
    let now = jiff::Timestamp::now();
    let execution = Execution::new(document, values, surroundings, options, now);
    let mut run = RunbookRun::new(client, execution, scripts, now).with_children(children);
    run.documents = documents;
    Ok(run)
}

/// The runbooks that steps of a document run, and those below them, by name: as far as their names are written in the
/// documents and they can be read. What is missing here fails its step.
pub async fn below(
    client: &Client,
    document: &Document,
    children: &Children,
) -> Vec<(String, Document)> {
    let mut found: Vec<(String, Document)> = Vec::new();
    let mut left = named(document);
    while let Some((name, version)) = left.pop() {
        if found.len() >= BELOW_LIMIT || found.iter().any(|it| it.0 == name) {
            continue;
        }
        let text = text(client, children, &name, version.as_deref()).await;
        if let Some(document) = text.ok().and_then(|text| check(&text).document) {
            left.extend(named(&document));
            found.push((name, document));
        }
    }
    found
}

/// Names and versions of the runbooks that steps run, where they are written.
fn named(document: &Document) -> Vec<(String, Option<String>)> {
    let steps = document.all_steps();
    let named = steps
        .filter(|step| step.action == Some(Action::ExecuteAutomation))
        .filter_map(|step| {
            let text = |name: &str| step.input(name)?.as_str().map(str::to_owned);
            let name = text("DocumentName").filter(|name| !name.contains("{{"))?;
            Some((name, text("DocumentVersion")))
        });
    named.collect()
}

async fn text(
    client: &Client,
    children: &Children,
    name: &str,
    version: Option<&str>,
) -> Result<String, CallFailure> {
    match file(children, name) {
        Some(path) => std::fs::read_to_string(&path)
            .map_err(|error| refused(format!("{}: {error}", path.display()))),
        None => remote::text(client, name, version)
            .await
            .map_err(super::failure),
    }
}

/// The file of a document: named, or in the folder by its name.
fn file(children: &Children, name: &str) -> Option<PathBuf> {
    if let Some(path) = children.files.get(name) {
        return Some(path.clone());
    }
    let folder = children.folder.as_ref()?;
    let is_plain = !name.contains(['/', '\\']) && !name.starts_with('.');
    let paths = ["yaml", "yml", "json"].map(|end| folder.join(format!("{name}.{end}")));
    paths.into_iter().find(|path| is_plain && path.is_file())
}

fn refused(message: String) -> CallFailure {
    CallFailure {
        message,
        ..CallFailure::default()
    }
}
