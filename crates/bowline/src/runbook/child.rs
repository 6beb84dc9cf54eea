//! Runbooks that steps of runbooks run: from files, or from the account.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bowline_runbook::{
    CallFailure, Child, Execution, Given, Options, Parameters, Reference, Severity, Surroundings,
    check,
};

use super::{Children, RunbookRun, ScriptPolicy, new_id, refusals, remote, stored};
use crate::Client;
use crate::aws::regions;

/// Runbooks within runbooks. \[X\]
const DEPTH_LIMIT: usize = 5;

/// A run of the child, which has not made a step yet.
pub(super) async fn open(
    client: Client,
    child: Child,
    children: Children,
    scripts: ScriptPolicy,
    mut documents: Vec<String>,
) -> Result<RunbookRun, CallFailure> {
    let name = child.document;
    if documents.contains(&name) || documents.len() >= DEPTH_LIMIT {
        return Err(refused(format!(
            "{name} runs itself, or there are more than {DEPTH_LIMIT} runbooks within runbooks"
        )));
    }
    documents.push(name.clone());
    let text = match file(&children, &name) {
        Some(path) => std::fs::read_to_string(&path)
            .map_err(|error| refused(format!("{}: {error}", path.display())))?,
        None => remote::text(&client, &name, child.version.as_deref())
            .await
            .map_err(super::failure)?,
    };
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
    let execution = Execution::new(document, values, surroundings, Options::default(), now);
    let mut run = RunbookRun::new(client, execution, scripts, now).with_children(children);
    run.documents = documents;
    Ok(run)
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
