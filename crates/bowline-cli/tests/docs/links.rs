//! Whether links lead somewhere, and the two READMEs say the same.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::root;

/// Markdown of the project, and none of what was built.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                pages(&path, found);
            }
        } else if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
}

/// The anchors of a page's headings, as the usual viewers make them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
            kept.map(|letter| if letter == ' ' { '-' } else { letter })
                .collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let code = Regex::new(r"(?ms)^```.*?^```|`[^`\n]*`").unwrap();
    let mut found = Vec::new();
    pages(&root(), &mut found);
    assert!(found.len() > 25, "{found:?}");
    let mut dead = Vec::new();
    let mut links = 0;
    for page in found {
        let text = fs::read_to_string(&page).unwrap();
        let prose = code.replace_all(&text, "");
        for (_, [target]) in link.captures_iter(&prose).map(|found| found.extract()) {
            if target.starts_with("https://") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let there = path.exists()
                && (anchor.is_empty()
                    || anchors(&fs::read_to_string(&path).unwrap())
                        .iter()
                        .any(|known| known == anchor));
            if !there {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert_eq!(dead, [] as [String; 0]);
    assert!(links > 60, "{links}");
}

/// What has to be the same in both languages: the structure, the commands, and where links lead.
fn skeleton(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut code = false;
    let link = Regex::new(r"\]\(([^)#\s]+)\)").unwrap();
    for line in text.lines() {
        let fence = line.starts_with("```");
        if code || fence {
            parts.push(line.to_owned());
        } else if line.starts_with('#') {
            parts.push("#".repeat(line.len() - line.trim_start_matches('#').len()));
        } else if let Some((_, command)) = line.split_once(" | `bowline") {
            parts.push(command.to_owned());
        } else {
            let links = link.captures_iter(line).map(|found| found[1].to_owned());
            parts.extend(links.filter(|to| !to.starts_with("README")));
        }
        code ^= fence;
    }
    parts
}

#[test]
fn the_japanese_readme_keeps_step() {
    let english = skeleton(&fs::read_to_string(root().join("README.md")).unwrap());
    let japanese = skeleton(&fs::read_to_string(root().join("README.ja.md")).unwrap());
    assert!(english.len() > 80, "{english:?}");
    assert_eq!(english, japanese);
}
