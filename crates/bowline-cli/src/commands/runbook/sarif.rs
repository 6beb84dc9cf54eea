//! Findings as SARIF 2.1.0, which code scanners read.

use bowline_runbook::{Code, Severity};
use serde_json::{Value, json};

use super::check::Checked;

pub(super) fn log(all: &[Checked<'_>]) -> Value {
    let rules: Vec<Value> = Code::all()
        .map(|code| {
            json!({
                "id": code,
                "shortDescription": { "text": code.title() },
                "fullDescription": { "text": code.explanation() },
            })
        })
        .collect();
    let results: Vec<Value> = all.iter().flat_map(results).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "bowline", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results,
        }],
    })
}

fn results<'a>(checked: &'a Checked<'_>) -> impl Iterator<Item = Value> + 'a {
    let uri = checked
        .path
        .to_string_lossy()
        .replace('\\', "/")
        .replace(' ', "%20");
    checked.findings.iter().map(move |finding| {
        let level = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let message = match &finding.suggestion {
            Some(suggestion) => format!("{}; {suggestion}", finding.message),
            None => finding.message.clone(),
        };
        let span = finding.span;
        json!({
            "ruleId": finding.code,
            "level": level,
            "message": { "text": message },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": uri },
                "region": {
                    "startLine": span.line.max(1),
                    "startColumn": span.column.max(1),
                    "byteOffset": span.start,
                    "byteLength": span.end.saturating_sub(span.start),
                },
            } }],
        })
    })
}
