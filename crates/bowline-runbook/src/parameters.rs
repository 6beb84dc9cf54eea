//! The values that a run is started with.

use std::collections::BTreeMap;

use fancy_regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use crate::document::{Document, Parameter};
use crate::reference::{Reference, references, whole};
use crate::value::{Type, decimal, embedded, integer};

/// Steps of the matcher for one text; patterns come from strangers.
const PATTERN_STEPS: usize = 100_000;

/// What was given for a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// Texts of a command line: one each time that it was named.
    Texts(Vec<String>),
    /// A value of a file.
    Value(Value),
}

/// Values by name, and names of the Parameter Store that have to be asked for before the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// The values. Parameters without one are absent.
    pub values: BTreeMap<String, Value>,
}

impl Parameters {
    /// Checks what was given against the declarations, and adds the defaults. `system` gives what `global:` and
    /// `automation:` references in defaults stand for, and `stored` what `ssm:` references do.
    ///
    /// # Errors
    /// All that is wrong, one line each; nothing may run then.
    pub fn new(
        document: &Document,
        given: &BTreeMap<String, Given>,
        system: &dyn Fn(&Reference) -> Option<String>,
        stored: &dyn Fn(&str) -> Result<Value, String>,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        for name in given.keys() {
            if document.parameter(name).is_none() {
                let names = document.parameters.iter().map(|it| it.name.name.as_str());
                problems.push(match bowline_services::nearest(name, names) {
                    Some(near) => format!("there is no parameter {name}; did you mean {near}?"),
                    None => format!("there is no parameter {name}"),
                });
            }
        }
        let mut values = BTreeMap::new();
        for parameter in &document.parameters {
            let name = parameter.name.name.clone();
            match (given.get(&name), &parameter.default) {
                (Some(given), _) => match supplied(parameter, given) {
                    Ok(value) => {
                        problems.extend(violations(parameter, &value));
                        values.insert(name, value);
                    }
                    Err(problem) => problems.push(format!("parameter {name}: {problem}")),
                },
                (None, Some(default)) => {
                    match defaulted(document, parameter, &default.value(), system, stored) {
                        Ok(value) => drop(values.insert(name, value)),
                        Err(problem) => problems.push(format!("parameter {name}: {problem}")),
                    }
                }
                (None, None) => {
                    problems.push(format!("parameter {name} has no default and was not given"));
                }
            }
        }
        match problems.is_empty() {
            true => Ok(Self { values }),
            false => Err(problems),
        }
    }

    /// The names of the Parameter Store that defaults refer to, of parameters that were not given.
    pub fn stored(document: &Document, given: &BTreeMap<String, Given>) -> Vec<String> {
        let open = document
            .parameters
            .iter()
            .filter(|it| !given.contains_key(&it.name.name));
        let mut names = Vec::new();
        for default in open.filter_map(|it| it.default.as_ref()) {
            default.each_text(&mut |_, text| {
                for found in references(text) {
                    if let Reference::Stored(name) = found.reference {
                        names.push(name);
                    }
                }
            });
        }
        names
    }
}

/// A pattern of the service, which is Java's: it may look ahead and behind.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text)
        .backtrack_limit(PATTERN_STEPS)
        .build();
    built.map_err(|error| error.to_string())
}

/// Whether a text has a part that matches. \[X\] The service may want the whole of it to match.
fn matches(pattern: &Regex, text: &str) -> Result<bool, String> {
    let found = pattern.is_match(text);
    found.map_err(|_| "its allowedPattern is too complex to be tried".to_owned())
}

fn supplied(parameter: &Parameter, given: &Given) -> Result<Value, String> {
    let kind = parameter.kind;
    let texts = match given {
        Given::Value(value) if kind.holds(value) => return Ok(value.clone()),
        // A start call has lists of texts for everything.
        Given::Value(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().map(embedded).collect()
        }
        Given::Value(Value::String(text)) => vec![text.clone()],
        Given::Value(value) => {
            return Err(format!(
                "a {kind} is needed, and this is {}",
                crate::value::type_name(value)
            ));
        }
        Given::Texts(texts) => texts.clone(),
    };
    let one = match &texts[..] {
        [one] => Some(one.as_str()),
        _ => None,
    };
    let single =
        || one.ok_or_else(|| format!("a {kind} takes one value, and {} were given", texts.len()));
    match kind {
        Type::String => Ok(single()?.into()),
        Type::Integer => {
            let text = single()?;
            Ok(decimal(text)
                .ok_or_else(|| format!("{text} is no whole number"))?
                .into())
        }
        Type::Boolean => match single()? {
            "true" | "True" => Ok(true.into()),
            "false" | "False" => Ok(false.into()),
            other => Err(format!("{other} is neither true nor false")),
        },
        Type::StringList => Ok(list(&texts, one)),
        // The service takes a list of maps as one text each.
        Type::MapList
            if texts.len() != 1 || one.is_some_and(|it| it.trim_start().starts_with('{')) =>
        {
            let parsed = texts
                .iter()
                .map(|text| serde_json::from_str::<Value>(text).ok());
            let parsed: Option<Value> = parsed.collect();
            parsed
                .filter(|value| kind.holds(value))
                .ok_or_else(|| format!("a {kind} is given as JSON"))
        }
        Type::StringMap | Type::MapList => {
            let parsed = serde_json::from_str(single()?).ok();
            parsed
                .filter(|value| kind.holds(value))
                .ok_or_else(|| format!("a {kind} is given as JSON"))
        }
    }
}

/// Several texts, or one that is a JSON array or has commas.
fn list(texts: &[String], one: Option<&str>) -> Value {
    let Some(one) = one else {
        return texts.iter().map(|it| Value::from(it.as_str())).collect();
    };
    match serde_json::from_str::<Vec<String>>(one) {
        Ok(items) => items.into_iter().map(Value::from).collect(),
        Err(_) if one.is_empty() => Value::Array(Vec::new()),
        Err(_) => one.split(',').map(|it| Value::from(it.trim())).collect(),
    }
}

/// A default, with what it refers to. References to other parameters are resolved one level deep.
fn defaulted(
    document: &Document,
    parameter: &Parameter,
    default: &Value,
    system: &dyn Fn(&Reference) -> Option<String>,
    stored: &dyn Fn(&str) -> Result<Value, String>,
) -> Result<Value, String> {
    let resolved = match default {
        Value::String(text) => {
            if let Some(Reference::Stored(name)) = whole(text) {
                let value = stored(&name)?;
                return supplied(parameter, &Given::Value(value));
            }
            let mut resolved = text.clone();
            for found in references(text).iter().rev() {
                let value = match &found.reference {
                    Reference::Stored(name) => Some(embedded(&stored(name)?)),
                    Reference::Parameter(name) => document
                        .parameter(name)
                        .and_then(|other| other.default.as_ref())
                        .map(|default| embedded(&default.value())),
                    other => system(other),
                };
                if let Some(value) = value {
                    resolved.replace_range(found.range.clone(), &value);
                }
            }
            Value::from(resolved)
        }
        Value::Object(members) => {
            let mut resolved = Map::new();
            for (name, value) in members {
                resolved.insert(name.clone(), value.clone());
            }
            Value::Object(resolved)
        }
        other => other.clone(),
    };
    match (&resolved, parameter.kind) {
        (Value::String(text), Type::StringMap) if text.is_empty() => Ok(Value::Object(Map::new())),
        (Value::String(text), Type::MapList) if text.is_empty() => Ok(Value::Array(Vec::new())),
        (Value::Array(items), Type::StringList) => {
            Ok(items.iter().map(|it| Value::from(embedded(it))).collect())
        }
        _ => supplied(parameter, &Given::Value(resolved)),
    }
}

/// Rules for given values; defaults are not held against them (documented examples break their own).
fn violations(parameter: &Parameter, value: &Value) -> Vec<String> {
    let name = &parameter.name.name;
    let mut problems = Vec::new();
    let elements: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    };
    if let Some(allowed) = &parameter.allowed {
        for element in &elements {
            let is_same = |other: &Value| other == *element || embedded(other) == embedded(element);
            if !allowed.iter().any(is_same) {
                let allowed: Vec<String> = allowed.iter().map(embedded).collect();
                problems.push(format!(
                    "parameter {name}: {} is not one of {}",
                    embedded(element),
                    allowed.join(", ")
                ));
            }
        }
    }
    if let Some(Ok(pattern)) = parameter.pattern.as_ref().map(|it| pattern(&it.name)) {
        for text in elements.iter().filter_map(|it| it.as_str()) {
            match matches(&pattern, text) {
                Ok(true) => {}
                Ok(false) => problems.push(format!(
                    "parameter {name}: {text} does not match {}",
                    pattern.as_str()
                )),
                Err(problem) => problems.push(format!("parameter {name}: {problem}")),
            }
        }
    }
    let count = match value {
        Value::Array(items) => Some(items.len()),
        Value::Object(members) => Some(members.len()),
        _ => None,
    };
    let chars = value.as_str().map(|text| text.chars().count());
    let length = |count: Option<usize>| count.and_then(|it| i64::try_from(it).ok());
    for (number, (least, most), what) in [
        (length(count), parameter.items, "elements"),
        (length(chars), parameter.chars, "characters"),
        (integer(value), parameter.range, "as its value"),
    ] {
        let Some(number) = number else { continue };
        if let Some(least) = least.filter(|least| number < *least) {
            problems.push(format!(
                "parameter {name} has {number} {what}; the least is {least}"
            ));
        }
        if let Some(most) = most.filter(|most| number > *most) {
            problems.push(format!(
                "parameter {name} has {number} {what}; the most is {most}"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"
schemaVersion: '0.3'
parameters:
  Name: {type: String, allowedPattern: '^(?!bad)[a-z]+$'}
  Count: {type: Integer, default: '3', minValue: 1, maxValue: 5}
  Flag: {type: Boolean, default: false}
  Ids: {type: StringList, default: [], maxItems: 2, allowedValues: [a, b]}
  Tags: {type: StringMap, default: '{"a": "b"}'}
  Maps: {type: MapList, default: []}
  Region: {type: String, default: 'x-{{ global:REGION }}'}
  Stored: {type: String, default: '{{ssm:/a/b}}'}
  Slow: {type: String, default: '', allowedPattern: '^(\w+\s?)*\1$'}
mainSteps: [{name: a, action: aws:pause, inputs: {}}]
"#;

    fn start(given: &[(&str, &[&str])]) -> Result<BTreeMap<String, Value>, Vec<String>> {
        let document = crate::check(TEXT).document.unwrap();
        let given = given
            .iter()
            .map(|(name, texts)| {
                (
                    (*name).to_owned(),
                    Given::Texts(texts.iter().map(|it| (*it).to_owned()).collect()),
                )
            })
            .collect();
        let system = |_: &Reference| Some("eu-west-1".to_owned());
        Parameters::new(&document, &given, &system, &|name| {
            Ok(json!(format!("stored {name}")))
        })
        .map(|it| it.values)
    }

    #[test]
    fn defaults_and_texts_become_values() {
        let values = start(&[
            ("Name", &["good"]),
            ("Ids", &["a,b"]),
            ("Flag", &["true"]),
            ("Maps", &["[{}]"]),
        ])
        .unwrap();
        assert_eq!(
            Value::Object(values.into_iter().collect()),
            json!({
                "Name": "good", "Count": 3, "Flag": true, "Ids": ["a", "b"], "Tags": { "a": "b" }, "Maps": [{}],
                "Region": "x-eu-west-1", "Stored": "stored /a/b", "Slow": "",
            })
        );
        assert_eq!(
            start(&[("Name", &["x"]), ("Ids", &["a", "b"])]).unwrap()["Ids"],
            json!(["a", "b"])
        );
        assert_eq!(
            start(&[("Name", &["x"]), ("Ids", &["[\"a\"]"])]).unwrap()["Ids"],
            json!(["a"])
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let slow = "x".repeat(40) + "!";
        let problems = start(&[
            ("Nam", &["x"]),
            ("Name", &["badly"]),
            ("Count", &["9"]),
            ("Flag", &["yes"]),
            ("Ids", &["a", "c", "b"]),
            ("Tags", &["[]"]),
            ("Slow", &[&slow]),
        ])
        .unwrap_err();
        insta::assert_snapshot!(problems.join("\n").replace(&slow, "x…!"), @r"
        there is no parameter Nam; did you mean Name?
        parameter Name: badly does not match ^(?!bad)[a-z]+$
        parameter Count has 9 as its value; the most is 5
        parameter Flag: yes is neither true nor false
        parameter Ids: c is not one of a, b
        parameter Ids has 3 elements; the most is 2
        parameter Tags: a StringMap is given as JSON
        parameter Slow: its allowedPattern is too complex to be tried
        ");
        assert_eq!(
            start(&[]).unwrap_err(),
            ["parameter Name has no default and was not given"]
        );
    }
}
