//! Published runbooks, which are not part of this project: `BOWLINE_CORPUS=DIR` says where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bowline::runbook::{ScriptPolicy, refusals};
use bowline_runbook::check;
use serde_json::Value;
use tempfile::TempDir;

use super::offline;

/// Every step of every document is in its plan, and what would be refused is what only the service can do.
#[test]
fn published_runbooks_are_planned() {
    let Some(folder) = std::env::var_os("BOWLINE_CORPUS").map(PathBuf::from) else {
        println!("not run: BOWLINE_CORPUS names no folder of published runbooks");
        return;
    };
    let mut files = Vec::new();
    collect(&folder.join("runbooks"), &mut files);
    assert!(files.len() >= 195, "{} files", files.len());
    let scripts = ScriptPolicy {
        allowed: true,
        ..ScriptPolicy::default()
    };
    let home = TempDir::new().unwrap();
    let mut by_list: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for path in &files {
        let report = check(&std::fs::read_to_string(path).unwrap());
        let is_empty = report
            .document
            .as_ref()
            .is_some_and(|it| it.steps.is_empty());
        let wanted = match (report.has_errors(), is_empty) {
            (true, _) => 4,
            (false, true) => 2,
            (false, false) => 0,
        };
        let words = ["plan", "--offline", "-o", "json", path.to_str().unwrap()];
        let planned = offline(home.path(), &words).code(wanted);
        let list = path.strip_prefix(folder.join("runbooks")).unwrap();
        let list = list.iter().next().unwrap().to_string_lossy().into_owned();
        let count = by_list.entry(list).or_default();
        count.0 += 1;
        let Some(document) = report.document.filter(|_| wanted == 0) else {
            continue;
        };
        let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
        let steps = plan["steps"].as_array().unwrap().iter();
        let shown: BTreeSet<&str> = steps.map(|it| it["step"].as_str().unwrap()).collect();
        let steps: BTreeSet<&str> = document
            .all_steps()
            .map(|it| it.name.name.as_str())
            .collect();
        assert_eq!(shown, steps, "{}", path.display());
        let refused = refusals(&document, &scripts);
        for refusal in &refused {
            let reason = refusal.split(": ").nth(1).unwrap_or_default().to_owned();
            *reasons.entry(reason).or_default() += 1;
        }
        count.1 += usize::from(refused.is_empty());
    }
    let (all, run): (usize, usize) = by_list
        .values()
        .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    println!("{run} of {all} run here; by list: {by_list:#?}; refused steps: {reasons:#?}");
    // The others have no steps or errors, or start executions in several places.
    assert!(run * 10 >= all * 7, "{run} of {all}");
    let known = ["TargetLocations"];
    assert!(
        reasons.keys().all(|it| known.contains(&it.as_str())),
        "{reasons:?}"
    );
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}
