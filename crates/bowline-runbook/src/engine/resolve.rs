//! References in inputs become values.

use serde_json::{Map, Value};

use crate::reference::{Reference, references, whole};
use crate::value::embedded;

/// What a reference stands for.
pub(crate) enum Lookup {
    Value(Value),
    /// It has no value, for this reason.
    Absent(String),
    /// It names nothing: the text stays.
    Unknown,
}

/// What becomes of a whole value that is absent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The step fails. \[X\] The safe side.
    Fails,
    /// It is null, as inside of payloads.
    IsNull,
}

/// Resolves all references in a value, once: what comes in is not looked at again.
///
/// # Errors
/// A reference that is a whole value has none.
pub(crate) fn resolve(
    value: &Value,
    absent: Absent,
    lookup: &dyn Fn(&Reference) -> Lookup,
) -> Result<Value, String> {
    match value {
        Value::String(text) => resolve_text(text, absent, lookup),
        Value::Array(items) => {
            let mut resolved = Vec::new();
            for item in items {
                let is_reference = item.as_str().is_some_and(|text| whole(text).is_some());
                match resolve(item, absent, lookup)? {
                    // A reference to a list gives its elements.
                    Value::Array(elements) if is_reference => resolved.extend(elements),
                    other => resolved.push(other),
                }
            }
            Ok(Value::Array(resolved))
        }
        Value::Object(members) => {
            let mut resolved = Map::new();
            for (name, value) in members {
                resolved.insert(name.clone(), resolve(value, absent, lookup)?);
            }
            Ok(Value::Object(resolved))
        }
        other => Ok(other.clone()),
    }
}

fn resolve_text(
    text: &str,
    absent: Absent,
    lookup: &dyn Fn(&Reference) -> Lookup,
) -> Result<Value, String> {
    if let Some(reference) = whole(text) {
        match lookup(&reference) {
            Lookup::Value(value) => return Ok(value),
            Lookup::Absent(_) if absent == Absent::IsNull => return Ok(Value::Null),
            Lookup::Absent(reason) => return Err(reason),
            Lookup::Unknown => {}
        }
    }
    Ok(Value::String(embed(text, lookup)))
}

/// A text with its references replaced by their text forms.
pub(crate) fn embed(text: &str, lookup: &dyn Fn(&Reference) -> Lookup) -> String {
    let mut resolved = text.to_owned();
    for found in references(text).into_iter().rev() {
        match lookup(&found.reference) {
            Lookup::Value(value) => resolved.replace_range(found.range, &embedded(&value)),
            Lookup::Absent(_) => resolved.replace_range(found.range, ""),
            Lookup::Unknown => {}
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_values_keep_their_type_and_others_become_text() {
        let lookup = |reference: &Reference| match reference.to_string().as_str() {
            "N" => Lookup::Value(json!(7)),
            "L" => Lookup::Value(json!(["a", "b"])),
            "T" => Lookup::Value(json!("{{ N }}")),
            "s.gone" => Lookup::Absent("s.gone has no value".to_owned()),
            _ => Lookup::Unknown,
        };
        let input = json!({
            "whole": "{{ N }}", "text": "n={{N}} l={{L}} {{s.gone}}|{{ other }}", "splice": ["x", "{{ L }}"], "once": "{{ T }} {{ T }}", "n": null,
        });
        assert_eq!(
            resolve(&input, Absent::Fails, &lookup),
            Ok(json!({
                "whole": 7, "text": "n=7 l=[\"a\",\"b\"] |{{ other }}", "splice": ["x", "a", "b"], "once": "{{ N }} {{ N }}", "n": null,
            }))
        );
        let gone = json!(["{{ s.gone }}"]);
        assert_eq!(
            resolve(&gone, Absent::Fails, &lookup),
            Err("s.gone has no value".to_owned())
        );
        assert_eq!(resolve(&gone, Absent::IsNull, &lookup), Ok(json!([null])));
    }
}
