//! Words that stand for targets.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::origin::{Origin, Setting};
use crate::target::{Selector, TargetSpec};

/// A target after its alias, if it was one, has been replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The target.
    pub target: TargetSpec,
    /// The alias and where it is defined, when a project's file did that: worth a line on stderr.
    pub note: Option<String>,
}

/// Follows aliases to their end. The map has been checked: there is one.
pub(super) fn expand(
    aliases: &BTreeMap<String, Setting<TargetSpec>>,
    target: &TargetSpec,
) -> Expanded {
    let mut expanded = Expanded {
        target: target.clone(),
        note: None,
    };
    while let Some(alias) = word(&expanded.target).and_then(|word| aliases.get(word)) {
        if matches!(alias.origin, Origin::Project { .. }) {
            expanded.note = Some(format!("{target} is {} ({})", alias.value, alias.origin));
        }
        expanded.target = alias.value.clone();
    }
    expanded
}

/// Refuses aliases that lead back to themselves.
pub(super) fn check(aliases: &BTreeMap<String, Setting<TargetSpec>>) -> Result<(), ConfigError> {
    for (name, first) in aliases {
        let mut names = vec![name.clone()];
        let mut next = Some(first);
        while let Some(word) = next.and_then(|alias| word(&alias.value)) {
            let seen = names.iter().any(|name| name == word);
            names.push(word.to_owned());
            if seen {
                return Err(ConfigError::AliasCycle {
                    names,
                    place: first.origin.to_string(),
                });
            }
            next = aliases.get(word);
        }
    }
    Ok(())
}

/// The target, if it is a single word: only such a one can be an alias.
fn word(target: &TargetSpec) -> Option<&str> {
    match target {
        TargetSpec {
            cluster: None,
            selector: Selector::Any(name),
            container: None,
        } => Some(name.as_str()),
        _ => None,
    }
}
