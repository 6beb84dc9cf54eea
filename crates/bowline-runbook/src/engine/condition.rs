//! Conditions of branches and loops: operators, and what they make of values.

use serde_json::Value;

use crate::value::{Type, embedded, integer, type_name};

/// The operators and the type that both of their sides have.
pub(crate) const OPERATORS: [(&str, Type); 11] = [
    ("StringEquals", Type::String),
    ("EqualsIgnoreCase", Type::String),
    ("StartsWith", Type::String),
    ("EndsWith", Type::String),
    ("Contains", Type::String),
    ("NumericEquals", Type::Integer),
    ("NumericGreater", Type::Integer),
    ("NumericLesser", Type::Integer),
    ("NumericGreaterOrEquals", Type::Integer),
    ("NumericLesserOrEquals", Type::Integer),
    ("BooleanEquals", Type::Boolean),
];

/// Evaluates a condition whose references are still in it; `resolve` gives a value for a text, null where it has none.
///
/// # Errors
/// Which operator does not fit which value: the step fails with this.
pub(crate) fn evaluate(
    condition: &Value,
    resolve: &dyn Fn(&Value) -> Value,
) -> Result<bool, String> {
    // Several of them in one condition have to hold together. \[X\]
    let mut logical = None;
    if let Some(inner) = condition.get("Not") {
        logical = Some(!evaluate(inner, resolve)?);
    }
    for (name, all) in [("And", true), ("Or", false)] {
        let Some(inner) = condition.get(name).filter(|_| logical != Some(false)) else {
            continue;
        };
        let list = inner
            .as_array()
            .map_or_else(|| std::slice::from_ref(inner), Vec::as_slice);
        let mut holds = all;
        for inner in list {
            if evaluate(inner, resolve)? != all {
                holds = !all;
                break;
            }
        }
        logical = Some(holds);
    }
    if let Some(holds) = logical {
        return Ok(holds);
    }
    let known = OPERATORS
        .into_iter()
        .find_map(|(name, kind)| Some((name, kind, condition.get(name)?)));
    let Some((name, kind, comparand)) = known else {
        return Err("the condition has no operator".to_owned());
    };
    let variable = condition.get("Variable").unwrap_or(&Value::Null);
    let (left, right) = (resolve(variable), resolve(comparand));
    // What has no value is equal to nothing.
    if left.is_null() || right.is_null() {
        return Ok(false);
    }
    for (value, written) in [(&left, variable), (&right, comparand)] {
        if !kind.holds(value) {
            let written = written
                .as_str()
                .map(|it| it.trim().trim_matches(['{', '}', ' ']))
                .unwrap_or("the value");
            return Err(format!(
                "{name} needs {} {kind} variable; {written} is {} ({})",
                if kind == Type::Integer { "an" } else { "a" },
                Value::from(embedded(value)),
                type_name(value)
            ));
        }
    }
    Ok(compare(name, &left, &right))
}

fn compare(operator: &str, left: &Value, right: &Value) -> bool {
    let (text, other) = (
        left.as_str().unwrap_or_default(),
        right.as_str().unwrap_or_default(),
    );
    let (number, limit) = (integer(left), integer(right));
    match operator {
        "StringEquals" => text == other,
        "EqualsIgnoreCase" => text.to_lowercase() == other.to_lowercase(),
        "StartsWith" => text.starts_with(other),
        "EndsWith" => text.ends_with(other),
        "Contains" => text.contains(other),
        "NumericEquals" => number == limit,
        "NumericGreater" => number > limit,
        "NumericLesser" => number < limit,
        "NumericGreaterOrEquals" => number >= limit,
        "NumericLesserOrEquals" => number <= limit,
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operators_compare_their_own_type_only() {
        let plain = |value: &Value| value.clone();
        for (condition, wanted) in [
            (json!({ "Variable": "a", "StringEquals": "a" }), Ok(true)),
            (
                json!({ "Variable": "Abc", "EqualsIgnoreCase": "aBC" }),
                Ok(true),
            ),
            (json!({ "Variable": "abc", "StartsWith": "ab" }), Ok(true)),
            (json!({ "Variable": "abc", "EndsWith": "ab" }), Ok(false)),
            (json!({ "Variable": "abc", "Contains": "b" }), Ok(true)),
            (json!({ "Variable": 2, "NumericGreater": 1 }), Ok(true)),
            (
                json!({ "Variable": 2, "NumericLesserOrEquals": 2 }),
                Ok(true),
            ),
            (
                json!({ "Variable": true, "BooleanEquals": false }),
                Ok(false),
            ),
            (json!({ "Variable": null, "StringEquals": "a" }), Ok(false)),
            (
                json!({ "Not": { "Variable": null, "StringEquals": "a" } }),
                Ok(true),
            ),
            (
                json!({ "And": [{ "Variable": 1, "NumericEquals": 2 }, { "Variable": 1, "StringEquals": "" }] }),
                Ok(false),
            ),
            (
                json!({ "Or": [{ "Variable": 1, "NumericEquals": 1 }, { "Variable": 1, "StringEquals": "" }] }),
                Ok(true),
            ),
            (
                json!({ "Variable": "200", "NumericEquals": 200 }),
                Err("NumericEquals needs an Integer variable"),
            ),
            (
                json!({ "Variable": true, "BooleanEquals": "true" }),
                Err("BooleanEquals needs a Boolean"),
            ),
        ] {
            let result = evaluate(&condition, &plain);
            match wanted {
                Ok(wanted) => assert_eq!(result, Ok(wanted), "{condition}"),
                Err(said) => {
                    assert!(result.unwrap_err().contains(said), "{condition}");
                }
            }
        }
    }
}
