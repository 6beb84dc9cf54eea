//! Values for an operation: checked, and put into its command.

use std::collections::BTreeMap;

use regex::Regex;

use super::{LONGEST, Operation, Parameter, ParameterType, Part, parts};
use crate::files::shown;

/// Values that an error lists.
const LISTED: usize = 20;

/// An operation with values for all its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// The words of the command.
    pub argv: Vec<String>,
    /// The value of each parameter.
    pub values: BTreeMap<String, String>,
}

/// Why values do not fit an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadValue {
    /// There is no such parameter.
    #[error("there is no parameter {name}")]
    Unknown {
        /// Its name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// It has no default, and was not given.
    #[error("parameter {name} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// The value is not one that the parameter takes.
    #[error("parameter {name} {problem}")]
    Bad {
        /// Its name.
        name: String,
        /// What is wrong, with the value fit to be shown.
        problem: String,
    },
}

impl Operation {
    /// Takes values; the defaults stand in for what is not given. `choices` has what the commands of enums printed.
    pub fn bind(
        &self,
        given: &BTreeMap<String, String>,
        choices: &BTreeMap<String, Vec<String>>,
    ) -> Result<Bound, BadValue> {
        if let Some(name) = given.keys().find(|name| !self.param.contains_key(*name)) {
            return Err(BadValue::Unknown {
                name: shown(name.as_bytes()),
                known: self.param.keys().cloned().collect(),
            });
        }
        let mut values = BTreeMap::new();
        for (name, parameter) in &self.param {
            let value = given.get(name).or(parameter.default.as_ref());
            let value = value.ok_or_else(|| BadValue::Missing { name: name.clone() })?;
            let choices = match parameter.values_from.is_empty() {
                true => &parameter.values,
                false => choices.get(name).unwrap_or(&parameter.values),
            };
            let checked = parameter.value(value, choices);
            checked.map_err(|problem| BadValue::Bad {
                name: name.clone(),
                problem,
            })?;
            values.insert(name.clone(), value.clone());
        }
        let argv = self.words(&values)?;
        for (word, text) in self.command.iter().zip(&argv) {
            if text.starts_with('-') {
                self.may_begin_with_a_dash(word, &values)?;
            }
        }
        Ok(Bound { argv, values })
    }

    /// The command with these values in it; each stays within its word.
    pub fn words(&self, values: &BTreeMap<String, String>) -> Result<Vec<String>, BadValue> {
        let word = |word: &String| {
            let parts = parts(word).map_err(|problem| BadValue::Bad {
                name: String::new(),
                problem,
            })?;
            let mut text = String::new();
            for part in parts {
                match part {
                    Part::Text(part) => text.push_str(&part),
                    Part::Value(name) => match values.get(&name) {
                        Some(value) => text.push_str(value),
                        None => return Err(BadValue::Missing { name }),
                    },
                }
            }
            Ok(text)
        };
        self.command.iter().map(word).collect()
    }

    /// Of a word that begins with a dash: whether the operation wants it to. A dash that is not of its own making comes
    /// from the first value that has one, or from text behind values that are empty.
    fn may_begin_with_a_dash(
        &self,
        word: &str,
        values: &BTreeMap<String, String>,
    ) -> Result<(), BadValue> {
        let mut empty: Option<String> = None;
        for part in parts(word).unwrap_or_default() {
            let name = match part {
                Part::Text(_) => break,
                Part::Value(name) => name,
            };
            let Some((parameter, value)) = self.param.get(&name).zip(values.get(&name)) else {
                break;
            };
            let free = parameter.allow_dash
                || matches!(parameter.kind, ParameterType::Int | ParameterType::File);
            match (value.is_empty(), free) {
                (false, true) => return Ok(()),
                (false, false) => {
                    let problem = format!(
                        "is \"{}\", which the command could take for an option; allow_dash = true allows it",
                        shown(value.as_bytes())
                    );
                    return Err(BadValue::Bad { name, problem });
                }
                (true, false) if empty.is_none() => empty = Some(name),
                (true, _) => {}
            }
        }
        empty.map_or(Ok(()), |name| {
            let problem = "is empty, and what is left of its word begins with a dash: the command could take it for \
                           an option; allow_dash = true allows it"
                .to_owned();
            Err(BadValue::Bad { name, problem })
        })
    }
}

impl Parameter {
    /// Whether a value is one that this takes; the error is what is wrong with it. Of an enum whose values are not
    /// known yet every one is taken.
    pub(super) fn value(&self, value: &str, choices: &[String]) -> Result<(), String> {
        if value.contains('\0') {
            return Err("has a NUL, which no argument can have".to_owned());
        }
        let longest = self.max_length.unwrap_or(LONGEST);
        if value.len() > longest {
            return Err(format!("has {} bytes, and may have {longest}", value.len()));
        }
        let quoted = shown(value.as_bytes());
        match self.kind {
            ParameterType::String | ParameterType::File => {
                if let Some(pattern) = &self.pattern {
                    // As a whole, whatever its alternatives are.
                    let whole = Regex::new(&format!("^(?:{pattern})\\z"))
                        .map_err(|error| error.to_string())?;
                    if !whole.is_match(value) {
                        return Err(format!("is \"{quoted}\", which does not match {pattern}"));
                    }
                }
            }
            ParameterType::Int => {
                let number: i64 = value
                    .parse()
                    .map_err(|_| format!("is \"{quoted}\", which is no whole number"))?;
                // `+5` and `007` would reach the command as they are.
                if number.to_string() != value {
                    return Err(format!("is \"{quoted}\"; write {number}"));
                }
                if self.min.is_some_and(|min| number < min)
                    || self.max.is_some_and(|max| number > max)
                {
                    let bound = |bound: Option<i64>| {
                        bound.map_or_else(String::new, |bound| bound.to_string())
                    };
                    return Err(format!(
                        "is {number}, and has to be in {}..{}",
                        bound(self.min),
                        bound(self.max)
                    ));
                }
            }
            ParameterType::Enum => {
                if !choices.is_empty() && !choices.iter().any(|choice| choice == value) {
                    let mut listed: Vec<String> = choices
                        .iter()
                        .take(LISTED)
                        .map(|choice| shown(choice.as_bytes()))
                        .collect();
                    if choices.len() > LISTED {
                        listed.push(format!("and {} more", choices.len() - LISTED));
                    }
                    return Err(format!(
                        "is \"{quoted}\"; it is one of {}",
                        listed.join(", ")
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operation(toml: &str) -> Operation {
        toml::from_str(toml).unwrap()
    }

    fn bound(operation: &Operation, values: &[(&str, &str)]) -> Result<Bound, String> {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        operation
            .bind(&values, &BTreeMap::new())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_checked_by_their_types() {
        let operation = operation(
            "command = ['a', '{s}', '{n}', '--mode={m}']
             param.s = {pattern = 'a|b+', default = 'a'}
             param.n = {type = 'int', min = -2, max = 10, default = '1'}
             param.m = {type = 'enum', values = ['full', 'quick'], default = 'full'}",
        );
        let ok = bound(&operation, &[("s", "bbb"), ("n", "-2"), ("m", "quick")]).unwrap();
        assert_eq!(ok.argv, ["a", "bbb", "-2", "--mode=quick"]);
        assert_eq!(
            bound(&operation, &[]).unwrap().argv,
            ["a", "a", "1", "--mode=full"]
        );
        for (name, value, expected) in [
            ("s", "ab", "does not match"),
            ("s", "a\n", "does not match"),
            ("s", "xa", "does not match"),
            ("n", "11", "has to be in -2..10"),
            ("n", "+5", "write 5"),
            ("n", "007", "write 7"),
            ("n", "1;id", "no whole number"),
            ("n", "99999999999999999999", "no whole number"),
            ("m", "Full", "it is one of full, quick"),
            ("x", "1", "there is no parameter x"),
        ] {
            let error = bound(&operation, &[(name, value)]).unwrap_err();
            assert!(error.contains(expected), "{value:?}: {error}");
        }
    }

    #[test]
    fn a_value_is_no_option_unless_it_may_be() {
        let strict = operation("command = ['rm', '{x}']\nparam.x = {}");
        assert!(
            bound(&strict, &[("x", "-rf")])
                .unwrap_err()
                .contains("option")
        );
        let inside = operation("command = ['rm', 'file-{x}']\nparam.x = {}");
        assert_eq!(
            bound(&inside, &[("x", "-rf")]).unwrap().argv,
            ["rm", "file--rf"]
        );
        let free = operation("command = ['rm', '{x}']\nparam.x = {allow_dash = true}");
        assert_eq!(bound(&free, &[("x", "-rf")]).unwrap().argv, ["rm", "-rf"]);
        assert!(bound(&free, &[("x", "a\0b")]).is_err());
        assert!(bound(&free, &[]).unwrap_err().contains("x is missing"));
    }

    #[test]
    fn an_empty_value_does_not_make_room_for_an_option() {
        let two = operation("command = ['rm', '{a}{b}']\nparam.a = {}\nparam.b = {}");
        let error = bound(&two, &[("a", ""), ("b", "-rf")]).unwrap_err();
        assert!(error.starts_with("parameter b is \"-rf\""), "{error}");
        assert!(error.contains("option"));
        let dated = operation("command = ['rm', '{a}-{b}']\nparam.a = {}\nparam.b = {}");
        let error = bound(&dated, &[("a", ""), ("b", "rf")]).unwrap_err();
        assert!(error.starts_with("parameter a is empty"), "{error}");
        let own = operation("command = ['rm', '-{a}{b}']\nparam.a = {}\nparam.b = {}");
        assert_eq!(
            bound(&own, &[("a", ""), ("b", "-f")]).unwrap().argv,
            ["rm", "--f"],
            "a dash of the operation's own"
        );
        assert_eq!(
            bound(&two, &[("a", "x"), ("b", "-rf")]).unwrap().argv,
            ["rm", "x-rf"]
        );
        let choice = "command = ['rm', '{a}{b}']\nparam.a = {}\nparam.b = {type = 'enum', values = ['-rf', 'x']";
        let strict = operation(&format!("{choice}}}"));
        assert!(bound(&strict, &[("a", ""), ("b", "-rf")]).is_err());
        let free = operation(&format!("{choice}, allow_dash = true}}"));
        assert_eq!(
            bound(&free, &[("a", ""), ("b", "-rf")]).unwrap().argv,
            ["rm", "-rf"]
        );
        let number =
            operation("command = ['nice', '{a}{n}']\nparam.a = {}\nparam.n = {type = 'int'}");
        assert_eq!(
            bound(&number, &[("a", ""), ("n", "-5")]).unwrap().argv,
            ["nice", "-5"]
        );
    }

    proptest! {
        #[test]
        fn a_value_stays_in_its_word_whatever_it_is(value in any::<String>()) {
            let operation = operation("command = ['a', 'x{v}y', '{v}', 'z']\nparam.v = {allow_dash = true, max_length = 100000}");
            match bound(&operation, &[("v", &value)]) {
                Ok(bound) => {
                    prop_assert_eq!(&bound.argv, &["a".to_owned(), format!("x{value}y"), value, "z".to_owned()]);
                }
                Err(_) => prop_assert!(value.contains('\0')),
            }
        }
    }
}
