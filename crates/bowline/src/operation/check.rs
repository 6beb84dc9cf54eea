//! What is wrong with the declaration of an operation, found when the configuration is read.

use std::collections::BTreeSet;

use regex::Regex;

use super::{Operation, Parameter, ParameterType, Part, Via, is_name, parts, time};
use crate::target::TargetSpec;

/// Programs that read a word as a program of their own.
const SHELLS: [&str; 11] = [
    "sh", "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "tcsh", "yash", "zsh",
];
/// And others that do with `-c` or `-e`.
const INTERPRETERS: [&str; 9] = [
    "busybox", "eval", "lua", "node", "perl", "php", "python", "ruby", "ssh",
];
/// Names of verbs of `op`.
const RESERVED: [&str; 3] = ["ls", "list", "show"];

impl Operation {
    /// What is wrong with it, if anything is.
    pub(crate) fn problem(&self, name: &str) -> Option<String> {
        self.checked(name).err()
    }

    fn checked(&self, name: &str) -> Result<(), String> {
        if !is_name(name) {
            return Err(format!(
                "{name:?} is no name for an operation: a letter, then letters, digits, '-' and '_'"
            ));
        }
        if RESERVED.contains(&name) {
            return Err(format!("an operation cannot be called {name}"));
        }
        if let Some(target) = &self.target {
            target
                .parse::<TargetSpec>()
                .map_err(|error| error.to_string())?;
        }
        if let Some(timeout) = &self.timeout {
            time(timeout)?;
        }
        let mut used = BTreeSet::new();
        let words: Vec<Vec<Part>> = self
            .command
            .iter()
            .map(|word| parts(word))
            .collect::<Result<_, _>>()?;
        match words.first().map(Vec::as_slice) {
            Some([Part::Text(program)]) if !program.is_empty() => {}
            Some(_) => {
                return Err("the command's first word has to be a program, not a value".to_owned());
            }
            None => return Err("the command is empty".to_owned()),
        }
        for (at, word) in words.iter().enumerate() {
            for part in word {
                let Part::Value(value) = part else {
                    continue;
                };
                if !self.param.contains_key(value) {
                    return Err(format!(
                        "the command uses {{{value}}}, and there is no such parameter"
                    ));
                }
                if self.is_program(at) {
                    return Err(format!(
                        "{{{value}}} stands within a program for {}: a value could break out there; hand it over as an \
                         argument of its own and use \"$1\"",
                        self.command
                            .first()
                            .map_or("", |first| first.rsplit('/').next().unwrap_or(first))
                    ));
                }
                used.insert(value.as_str());
            }
        }
        for (name, parameter) in &self.param {
            if !is_name(name) {
                return Err(format!(
                    "{name:?} is no name for a parameter: a letter, then letters, digits, '-' and '_'"
                ));
            }
            if !used.contains(name.as_str()) {
                return Err(format!("parameter {name} is not used by the command"));
            }
            parameter
                .checked(self.via)
                .map_err(|problem| format!("parameter {name}: {problem}"))?;
        }
        Ok(())
    }

    /// Whether an interpreter before it takes this word for a program.
    fn is_program(&self, at: usize) -> bool {
        let before = &self.command[..at];
        let interprets = before.iter().any(|word| {
            let name = word.rsplit('/').next().unwrap_or(word);
            let name = name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '.');
            SHELLS.contains(&name) || INTERPRETERS.contains(&name)
        });
        let flag = |word: &String| {
            let letters = word.strip_prefix('-');
            letters.is_some_and(|letters| {
                !letters.starts_with('-') && letters.ends_with(['c', 'e', 'r'])
            })
        };
        let ssh = before
            .first()
            .is_some_and(|first| matches!(first.rsplit('/').next(), Some("ssh" | "eval")));
        interprets && (before.last().is_some_and(flag) || ssh)
    }
}

impl Parameter {
    fn checked(&self, via: Via) -> Result<(), String> {
        let kind = self.kind.as_str();
        let only = |given: bool, key: &str, of: ParameterType| match given && self.kind != of {
            true => Err(format!("{key} is for type {}, not {kind}", of.as_str())),
            false => Ok(()),
        };
        only(self.pattern.is_some(), "pattern", ParameterType::String)?;
        only(
            self.max_length.is_some(),
            "max_length",
            ParameterType::String,
        )?;
        only(self.min.is_some(), "min", ParameterType::Int)?;
        only(self.max.is_some(), "max", ParameterType::Int)?;
        only(!self.values.is_empty(), "values", ParameterType::Enum)?;
        only(
            !self.values_from.is_empty(),
            "values_from",
            ParameterType::Enum,
        )?;
        if let Some(pattern) = &self.pattern {
            Regex::new(pattern).map_err(|error| {
                format!(
                    "the pattern is none: {}",
                    error.to_string().replace('\n', " ")
                )
            })?;
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            return Err(format!("min {min} is more than max {max}"));
        }
        match self.kind {
            ParameterType::Enum if self.values.is_empty() == self.values_from.is_empty() => {
                return Err("an enum has either values or values_from".to_owned());
            }
            ParameterType::File if via == Via::Run => {
                return Err(
                    "a file can only be copied to a container that is there (via = \"exec\")"
                        .to_owned(),
                );
            }
            _ => {}
        }
        if let Some(default) = &self.default
            && self.values_from.is_empty()
        {
            self.value(default, &self.values)
                .map_err(|problem| format!("its default {problem}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::operation::Operation;

    fn problem(toml: &str) -> Option<String> {
        toml::from_str::<Operation>(toml).unwrap().problem("backup")
    }

    #[test]
    fn declarations_that_cannot_be_right_are_found() {
        for (toml, expected) in [
            ("command = []", "the command is empty"),
            (
                "command = ['{x}']\nparam.x = {}",
                "first word has to be a program",
            ),
            ("command = ['a', '{x}']", "there is no such parameter"),
            ("command = ['a']\nparam.x = {}", "parameter x is not used"),
            ("command = ['a', '{']", "single brace"),
            ("command = ['a', '{x y}']", "is no parameter"),
            (
                "command = ['/bin/sh', '-c', 'b {x}']\nparam.x = {}",
                "could break out",
            ),
            (
                "command = ['env', 'A=1', 'bash', '-ec', '{x}']\nparam.x = {}",
                "could break out",
            ),
            (
                "command = ['python3', '-c', 'f(\"{x}\")']\nparam.x = {}",
                "could break out",
            ),
            (
                "command = ['perl', '-e', '{x}']\nparam.x = {}",
                "could break out",
            ),
            (
                "command = ['ssh', 'host', 'rm {x}']\nparam.x = {}",
                "could break out",
            ),
            (
                "command = ['a', '{x}']\nparam.x = {pattern = '('}",
                "the pattern is none",
            ),
            (
                "command = ['a', '{x}']\nparam.x = {type = 'int', min = 3, max = 2}",
                "min 3 is more",
            ),
            (
                "command = ['a', '{x}']\nparam.x = {type = 'int', default = 'y'}",
                "its default",
            ),
            (
                "command = ['a', '{x}']\nparam.x = {type = 'enum'}",
                "either values or values_from",
            ),
            (
                "command = ['a', '{x}']\nparam.x = {type = 'int', pattern = 'a'}",
                "pattern is for type string",
            ),
            ("timeout = '5'\ncommand = ['a']", "is no time"),
            ("target = 'a b'\ncommand = ['a']", "may hold only"),
            (
                "via = 'run'\ncommand = ['a', '{x}']\nparam.x = {type = 'file'}",
                "only be copied",
            ),
        ] {
            let found = problem(toml).unwrap_or_default();
            assert!(found.contains(expected), "{toml}: {found:?}");
        }
        let right =
            "command = ['sh', '-c', 'b \"$1\"', 'sh', '{x}', 'awk {{print}}']\nparam.x = {}";
        assert_eq!(problem(right), None);
    }
}
