//! The answers of the query protocols as JSON values.

use serde_json::{Map, Value};

/// The document's root element: `member`, `item` and repeated elements become lists, elements without children texts.
/// `None` if it is not XML. An empty list looks like an empty text.
pub(super) fn parse(text: &str) -> Option<Value> {
    // Without a document type definition: nothing can expand.
    let document = roxmltree::Document::parse(text).ok()?;
    Some(value(document.root_element(), 0))
}

/// Whether a body is a document with this root element.
pub(super) fn is(body: &[u8], root: &str) -> bool {
    let document = std::str::from_utf8(body)
        .ok()
        .and_then(|text| roxmltree::Document::parse(text).ok());
    document.is_some_and(|it| it.root_element().tag_name().name() == root)
}

/// Deeper than any answer of AWS; what is below is left out.
const DEPTH_LIMIT: usize = 32;

fn value(element: roxmltree::Node<'_, '_>, depth: usize) -> Value {
    let children: Vec<_> = element
        .children()
        .filter(|child| child.is_element())
        .collect();
    if children.is_empty() || depth == DEPTH_LIMIT {
        return Value::String(element.text().unwrap_or_default().to_owned());
    }
    let is_item = |name: &str| matches!(name, "member" | "item");
    if children
        .iter()
        .all(|child| is_item(child.tag_name().name()))
    {
        let items = children.into_iter().map(|child| value(child, depth + 1));
        return Value::Array(items.collect());
    }
    let mut members = Map::new();
    for child in children {
        let (name, value) = (child.tag_name().name(), value(child, depth + 1));
        match members.get_mut(name) {
            None => {
                members.insert(name.to_owned(), value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_texts_and_members() {
        let text = "<?xml version='1.0'?><R xmlns='x'><a><member><b>1 &amp; 2</b></member></a><c/><d>x</d></R>";
        assert_eq!(
            parse(text),
            Some(json!({ "a": [{ "b": "1 & 2" }], "c": "", "d": "x" }))
        );
        assert_eq!(parse("<html><p>"), None);
        assert_eq!(parse("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), None);
    }
}
