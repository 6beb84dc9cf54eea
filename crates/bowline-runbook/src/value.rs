//! Types of runbooks, their values, and the few conversions between them.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// What a parameter, variable or output is declared to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Type {
    /// Text.
    String,
    /// Several texts.
    StringList,
    /// A whole number of 64 bits.
    Integer,
    /// True or false.
    Boolean,
    /// An object; its values may be nested.
    StringMap,
    /// A list of objects.
    MapList,
}

impl Type {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::String,
        Self::StringList,
        Self::Integer,
        Self::Boolean,
        Self::StringMap,
        Self::MapList,
    ];

    /// The type that a declaration names. What the console offers pickers for is text.
    pub fn parse(name: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|it| it.name() == name);
        known.or_else(|| {
            let picker = name
                .strip_prefix("List<")
                .and_then(|it| it.strip_suffix('>'));
            match picker {
                Some(inner) => inner.starts_with("AWS::").then_some(Self::StringList),
                None => name.starts_with("AWS::").then_some(Self::String),
            }
        })
    }

    /// As documents write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::Integer => "Integer",
            Self::Boolean => "Boolean",
            Self::StringMap => "StringMap",
            Self::MapList => "MapList",
        }
    }

    /// Whether a value is of this type as it is. Nothing is converted, except that a number with a zero fraction is an
    /// Integer.
    pub fn holds(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => integer(value).is_some(),
            Self::Boolean => value.is_boolean(),
            Self::StringMap => value.is_object(),
            Self::StringList => {
                let items = value.as_array();
                items.is_some_and(|items| items.iter().all(Value::is_string))
            }
            Self::MapList => {
                let items = value.as_array();
                items.is_some_and(|items| items.iter().all(Value::is_object))
            }
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The article of the one type that begins with a vowel.
pub(crate) fn spelled(text: impl Into<String>) -> String {
    text.into().replace(" a Integer", " an Integer")
}

/// What a value is, in the words of runbooks.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Number(_) if integer(value).is_none() => "Double",
        Value::Array(items) if items.is_empty() => "StringList",
        Value::Array(items)
            if items
                .iter()
                .any(|item| !item.is_string() && !item.is_object()) =>
        {
            "list"
        }
        _ => Type::ALL
            .into_iter()
            .find(|it| it.holds(value))
            .map_or("list", Type::name),
    }
}

/// The whole number that a value is.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let number = value.as_f64()?;
    // 2^53: beyond it a double says nothing exact.
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "just checked")]
    exact.then_some(number as i64)
}

/// A value as the service answers it: one text, or one for each element of a list.
pub fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(embedded).collect(),
        other => vec![embedded(other)],
    }
}

/// A value inside of a text. \[X\] for booleans, lists and maps.
pub(crate) fn embedded(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(_) => integer(value).map_or_else(|| value.to_string(), |it| it.to_string()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A value as `DesiredValues` are compared with it: as Python prints it. None where nothing can be equal to it.
pub(crate) fn comparable(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::Bool(is) => Some(if *is { "True" } else { "False" }.to_owned()),
        Value::Array(_) => Some(python(value)),
        Value::String(_) | Value::Number(_) => Some(embedded(value)),
    }
}

/// A value as Python prints it.
pub(crate) fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(is) => if *is { "True" } else { "False" }.to_owned(),
        Value::Number(_) => embedded(value),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(python).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}: {}", quoted(name), python(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let plain = text.replace('\\', "\\\\").replace('\n', "\\n");
    match text.contains('\'') && !text.contains('"') {
        true => format!("\"{plain}\""),
        false => format!("'{}'", plain.replace('\'', "\\'")),
    }
}

/// A selected value as the type that an output declares. The only place where values change their type.
///
/// # Errors
/// The reason, for the text of the step's failure.
pub(crate) fn convert(value: &Value, to: Type) -> Result<Value, String> {
    if to.holds(value) {
        return Ok(match to {
            Type::Integer => integer(value).map_or(Value::Null, Value::from),
            _ => value.clone(),
        });
    }
    let refused = || Err(format!("{} cannot become {to}", type_name(value)));
    match (value, to) {
        (Value::String(text), Type::Integer) => match decimal(text) {
            Some(number) => Ok(number.into()),
            None => Err(format!("{} is no decimal number", python(value))),
        },
        (Value::String(text), Type::Boolean) => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(format!("{} is neither true nor false", python(value))),
        },
        (Value::String(_) | Value::Number(_) | Value::Bool(_), Type::StringList) => {
            Ok(vec![embedded(value)].into())
        }
        (Value::String(text), Type::StringMap | Type::MapList) => {
            match serde_json::from_str::<Value>(text) {
                Ok(parsed) if to.holds(&parsed) => Ok(parsed),
                _ => Err(format!("the text is no JSON of a {to}")),
            }
        }
        (Value::Number(_) | Value::Bool(_), Type::String) => Ok(embedded(value).into()),
        (Value::Array(items), _) => from_list(items, to).map_or_else(refused, Ok),
        (Value::Object(_), Type::String) => Ok(embedded(value).into()),
        (Value::Object(_), Type::MapList) => Ok(vec![value.clone()].into()),
        _ => refused(),
    }
}

fn from_list(items: &[Value], to: Type) -> Option<Value> {
    let only = match items {
        [only] if !only.is_array() && !only.is_object() && !only.is_null() => Some(only),
        _ => None,
    };
    match (only, to) {
        (_, Type::StringList) => Some(
            items
                .iter()
                .map(|item| Value::from(embedded(item)))
                .collect(),
        ),
        (Some(only), Type::String | Type::Integer | Type::Boolean) => convert(only, to).ok(),
        (None, Type::String) => Some(Value::Array(items.to_vec()).to_string().into()),
        _ => None,
    }
}

/// Digits with a sign or without: what Java's parser takes.
pub(crate) fn decimal(text: &str) -> Option<i64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_those_of_the_service() {
        let values = [
            json!("x"),
            json!(0),
            json!(1.5),
            json!(true),
            json!(["a", "b'c"]),
            json!([]),
            json!({ "a": 1 }),
            json!(null),
            json!(3.0),
        ];
        let texts: Vec<_> = values
            .iter()
            .map(|it| (embedded(it), comparable(it)))
            .collect();
        let expected = [
            ("x", Some("x")),
            ("0", Some("0")),
            ("1.5", Some("1.5")),
            ("true", Some("True")),
            ("[\"a\",\"b'c\"]", Some("['a', \"b'c\"]")),
            ("[]", Some("[]")),
            ("{\"a\":1}", None),
            ("", None),
            ("3", Some("3")),
        ]
        .map(|(embedded, compared)| (embedded.to_owned(), compared.map(str::to_owned)));
        assert_eq!(texts, expected);
    }

    #[test]
    fn outputs_are_converted_by_the_table() {
        let (s, l, i, b, m, ml) = (
            Type::String,
            Type::StringList,
            Type::Integer,
            Type::Boolean,
            Type::StringMap,
            Type::MapList,
        );
        for (from, to, wanted) in [
            (json!("7"), i, Some(json!(7))),
            (json!("7.0"), i, None),
            (json!("TRUE"), b, Some(json!(true))),
            (json!("yes"), b, None),
            (json!("x"), l, Some(json!(["x"]))),
            (json!("{\"a\":1}"), m, Some(json!({ "a": 1 }))),
            (json!("[{}]"), ml, Some(json!([{}]))),
            (json!("x"), m, None),
            (json!(7), s, Some(json!("7"))),
            (json!(7), b, None),
            (json!(7), l, Some(json!(["7"]))),
            (json!(7), m, None),
            (json!(true), s, Some(json!("true"))),
            (json!(true), i, None),
            (json!(true), l, Some(json!(["true"]))),
            (json!([5]), s, Some(json!("5"))),
            (json!([5]), i, Some(json!(5))),
            (json!([true]), b, Some(json!(true))),
            (json!([1, 2]), s, Some(json!("[1,2]"))),
            (json!([]), s, Some(json!("[]"))),
            (json!([1, 2]), l, Some(json!(["1", "2"]))),
            (json!([1, 2]), i, None),
            (json!([1, 2]), ml, None),
            (json!([]), ml, Some(json!([]))),
            (json!({}), s, Some(json!("{}"))),
            (json!({}), l, None),
            (json!({}), ml, Some(json!([{}]))),
            (json!(2.0), i, Some(json!(2))),
            (json!(2.5), i, None),
        ] {
            assert_eq!(convert(&from, to).ok(), wanted, "{from} to {to}");
        }
    }

    #[test]
    fn pickers_are_texts() {
        assert_eq!(Type::parse("AWS::IAM::Role::Arn"), Some(Type::String));
        assert_eq!(
            Type::parse("List<AWS::EC2::Instance::Id>"),
            Some(Type::StringList)
        );
        assert_eq!(Type::parse("string"), None);
    }
}
