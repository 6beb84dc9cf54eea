//! Published runbooks, which are not part of this project: `BOWLINE_CORPUS=DIR` says where they are. Errors are those
//! that the folder's README expects and no others.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "how long a check takes is measured, not decided by"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bowline_runbook::{Report, Severity, check};

/// For all documents in one process, in an optimised build.
const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn published_runbooks_have_the_errors_that_are_known() {
    let Some(folder) = std::env::var_os("BOWLINE_CORPUS").map(PathBuf::from) else {
        println!("not run: BOWLINE_CORPUS names no folder of published runbooks");
        return;
    };
    let expected = expected(&fs::read_to_string(folder.join("README.md")).unwrap());
    let mut files = Vec::new();
    collect(&folder.join("runbooks"), &mut files);
    assert!(files.len() >= 195, "{} files", files.len());
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|path| {
            let name = path.strip_prefix(folder.join("runbooks")).unwrap();
            (
                name.to_string_lossy().into_owned(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect();
    let started = Instant::now();
    let reports: Vec<(&str, Report)> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), check(text)))
        .collect();
    let took = started.elapsed();
    let mut wrong = Vec::new();
    let mut warnings = BTreeMap::new();
    for (name, report) in &reports {
        let mut missing = expected.get(*name).cloned().unwrap_or_default();
        for finding in &report.findings {
            if finding.severity != Severity::Error {
                *warnings.entry(finding.code.to_string()).or_insert(0) += 1;
                continue;
            }
            let said = format!(
                "{} {} {}",
                finding.code,
                finding.message,
                finding.suggestion.as_deref().unwrap_or_default()
            );
            let place = missing.iter().position(|(code, words)| {
                said.starts_with(code)
                    && words
                        .iter()
                        .all(|word| said.contains(word) || finding.step.as_deref() == Some(word))
            });
            match place {
                Some(place) => drop(missing.remove(place)),
                None => wrong.push(format!(
                    "{name}:{}:{}: {said}",
                    finding.span.line, finding.span.column
                )),
            }
        }
        wrong.extend(
            missing
                .iter()
                .map(|it| format!("{name}: not found: {it:?}")),
        );
    }
    println!(
        "{} documents in {took:?}; warnings and notes: {warnings:?}",
        reports.len()
    );
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cfg!(debug_assertions) || took < LIMIT, "{took:?}");
}

type Expected = Vec<(&'static str, Vec<String>)>;

/// The rows of the table of expected findings: the code and the words that the finding has to name.
fn expected(readme: &str) -> BTreeMap<String, Expected> {
    let mut all: BTreeMap<String, Expected> = BTreeMap::new();
    for line in readme.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, file, kind, detail, _] = cells[..] else {
            continue;
        };
        let words: Vec<String> = detail
            .split(" / ")
            .filter(|it| *it != "None")
            .map(str::to_owned)
            .collect();
        let (code, words) = match kind {
            "unknown-action" => ("RB003", words),
            "param-name" | "step-name" => ("RB002", words),
            "unknown-branch-target" => ("RB004", words),
            "output-unknown-step" => ("RB041", vec![detail.split('.').next().unwrap().to_owned()]),
            _ => continue,
        };
        all.entry(file.to_owned()).or_default().push((code, words));
    }
    assert!(
        all.len() >= 4,
        "the table of expected findings cannot be read"
    );
    all
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}
