//! YAML and JSON in, a tree with places out, within limits that hostile input cannot pass.
//!
//! JSON is read as the YAML that it is. Plain scalars are resolved as the service does it, by YAML 1.1: `yes` and `on`
//! are booleans, `010` is eight.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Tag};

use crate::node::{Entry, Kind, Node};
use crate::source::Span;

/// The largest text: the service takes documents of 64 KB, and attachments travel apart.
pub(crate) const SIZE_LIMIT: usize = 1 << 20;
/// Values in a document, those that aliases repeat included.
const NODE_LIMIT: usize = 100_000;
/// Levels of lists and maps within each other.
const DEPTH_LIMIT: usize = 64;
/// Lines of quoted texts at the left margin.
const MARGIN_LIMIT: usize = 50;

/// Why a text is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReadError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
}

/// Reads the one document of a text.
///
/// # Errors
/// The text is neither YAML nor JSON, has a key twice, has several documents, or is beyond a limit.
pub fn read(text: &str) -> Result<Node, ReadError> {
    if text.len() > SIZE_LIMIT {
        let message = format!(
            "the document is {} bytes long; at most {SIZE_LIMIT} are read",
            text.len()
        );
        return Err(ReadError {
            message,
            span: Span {
                line: 1,
                column: 1,
                ..Span::default()
            },
        });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = granit_parser::options! { block_nesting_limit: DEPTH_LIMIT, flow_nesting_limit: DEPTH_LIMIT };
    let mut text = std::borrow::Cow::Borrowed(text);
    // Quoted texts may go on at the left margin for the parsers that the service and its users have, and not for this
    // one. A line break there is a blank, so that one in its place changes nothing but the counting of lines, which
    // `Lines` does on the original.
    let lines = Lines::of(&text);
    for _ in 0..MARGIN_LIMIT {
        let builder = Builder::new(&text, &lines, options.clone());
        let at = match builder.document() {
            Err((_, Some(at))) => at,
            Err((error, None)) => return Err(error),
            Ok(node) => return Ok(node),
        };
        text.to_mut().replace_range(at..=at, " ");
    }
    Builder::new(&text, &lines, options)
        .document()
        .map_err(|it| it.0)
}

/// Where the lines of a text begin, in bytes.
struct Lines {
    starts: Vec<usize>,
    /// Where characters are longer than a byte, columns are counted.
    text: String,
}

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            starts: std::iter::once(0)
                .chain(ends.map(|(at, _)| at + 1))
                .collect(),
            text: text.to_owned(),
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let line = self.starts.partition_point(|begin| *begin <= start);
        let begin = line
            .checked_sub(1)
            .and_then(|at| self.starts.get(at))
            .copied()
            .unwrap_or_default();
        let before = self
            .text
            .get(begin..start)
            .map_or(0, |it| it.chars().count());
        Span {
            start,
            end,
            line,
            column: before + 1,
        }
    }
}

/// An error, and the line break that a blank has to replace for another try.
type Failure = (ReadError, Option<usize>);

struct Builder<'t> {
    text: &'t str,
    lines: &'t Lines,
    events: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str, lines: &'t Lines, options: Options) -> Self {
        Self {
            text,
            lines,
            events: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            nodes: 0,
        }
    }

    fn document(mut self) -> Result<Node, Failure> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    return Err(error(
                        "a second document begins here; a runbook is one",
                        span,
                    ));
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        root.ok_or_else(|| {
            error(
                "the document is empty",
                Span {
                    line: 1,
                    column: 1,
                    ..Span::default()
                },
            )
        })
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Failure> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, self.span(span))),
            Some(Err(scan)) => Err(self.unreadable(&scan)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Failure> {
        self.count(1, span)?;
        if depth > DEPTH_LIMIT {
            return Err(error(&format!("more than {DEPTH_LIMIT} levels"), span));
        }
        let before = self.nodes;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar(&text, style, tag.as_deref());
                (Node { kind, span }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => break end,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                };
                let kind = Kind::List(items);
                (
                    Node {
                        kind,
                        span: joined(span, end),
                    },
                    anchor,
                )
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, end) = self.entries(depth)?;
                let kind = Kind::Map(entries);
                (
                    Node {
                        kind,
                        span: joined(span, end),
                    },
                    anchor,
                )
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return Err(error("an alias inside of what it names", span));
                };
                self.count(size, span)?;
                return Ok(Node { span, ..node });
            }
            _ => return Err(error("this cannot be read", span)),
        };
        if anchor != 0 {
            let size = self.nodes - before;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<(Vec<Entry>, Span), Failure> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, key_span) = match self.next()? {
                (Event::MappingEnd, end) => return Ok((entries, end)),
                next => next,
            };
            let key = match event {
                // Only the text counts: `on:` as a key is no boolean to anybody who writes it.
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(error("a key has to be a plain name", key_span)),
            };
            self.count(1, key_span)?;
            if let Some(line) = known.insert(key.clone(), key_span.line) {
                let message =
                    format!("the key {key} is here twice; the first one is in line {line}");
                return Err(error(&message, key_span));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push(Entry {
                key,
                key_span,
                value,
            });
        }
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Failure> {
        self.nodes = self.nodes.saturating_add(nodes);
        match self.nodes > NODE_LIMIT {
            true => Err(error(&format!("more than {NODE_LIMIT} values"), span)),
            false => Ok(()),
        }
    }

    fn span(&self, span: granit_parser::Span) -> Span {
        let bytes = span.byte_range().unwrap_or_default();
        // The parser puts the end of block values behind the white space that follows them.
        let covered = self.text.get(bytes.clone()).unwrap_or_default();
        self.lines
            .span(bytes.start, bytes.start + covered.trim_end().len())
    }

    fn unreadable(&self, scan: &ScanError) -> Failure {
        let at = scan.marker();
        let start = at.byte_offset().unwrap_or_default().min(self.text.len());
        let error = ReadError {
            message: scan.info(),
            span: self.lines.span(start, start),
        };
        let quoted = scan.info().contains("multiline quoted scalar");
        let before = start.checked_sub(1).filter(|_| quoted);
        let margin = before.filter(|at| self.text.as_bytes().get(*at) == Some(&b'\n'));
        (error, margin)
    }
}

fn joined(start: Span, end: Span) -> Span {
    Span {
        end: end.end.max(start.end),
        ..start
    }
}

fn error(message: &str, span: Span) -> Failure {
    let message = message.to_owned();
    (ReadError { message, span }, None)
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Kind {
    if style != ScalarStyle::Plain || tag.and_then(Tag::core_suffix) == Some("str") {
        return Kind::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            Kind::Boolean(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Kind::Boolean(false)
        }
        _ => number(text).unwrap_or_else(|| Kind::Text(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Kind> {
    let first = text.bytes().next()?;
    if !first.is_ascii_digit() && !b"+-.".contains(&first) {
        return None;
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, plain.get(1..)?),
        b'+' => (false, plain.get(1..)?),
        _ => (false, plain.as_str()),
    };
    let based = match digits.as_bytes() {
        [b'0', b'x', ..] => i64::from_str_radix(digits.get(2..)?, 16).ok(),
        [b'0', b'b', ..] => i64::from_str_radix(digits.get(2..)?, 2).ok(),
        [b'0', rest @ ..] if !rest.is_empty() && rest.iter().all(|d| (b'0'..b'8').contains(d)) => {
            i64::from_str_radix(digits, 8).ok()
        }
        [b'0'..=b'9', ..] => digits.parse().ok(),
        _ => None,
    };
    if let Some(number) = based {
        return Some(Kind::Integer(if negative { -number } else { number }));
    }
    // `1.2.3`, `2020-01-01` and `1e` are text.
    let has_digit = digits.bytes().any(|byte| byte.is_ascii_digit());
    let fits = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let number: f64 = plain.parse().ok().filter(|_| has_digit && fits)?;
    number.is_finite().then_some(Kind::Float(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> serde_json::Value {
        read(text).unwrap().value()
    }

    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        assert_eq!(
            value("[yes, 'yes', 0.3, 010, 0x1f, -7, 1.2.3, 2020-01-01, ~, .5, 1_000, x, on, '']"),
            json!([
                true,
                "yes",
                0.3,
                8,
                31,
                -7,
                "1.2.3",
                "2020-01-01",
                null,
                0.5,
                1000,
                "x",
                true,
                ""
            ])
        );
        assert_eq!(
            value("a: !!str 1\nb: |\n  x\n  y\n"),
            json!({ "a": "1", "b": "x\ny\n" })
        );
    }

    #[test]
    fn json_is_read_with_its_places() {
        let node = read("{\n\t\"a\": [1, true, \"x\\u00e9\\/\\n\"],\n  \"b\": null }").unwrap();
        assert_eq!(
            node.value(),
            json!({ "a": [1, true, "x\u{e9}/\n"], "b": null })
        );
        let list = node.get("a").unwrap();
        assert_eq!((list.span.line, list.span.column), (2, 7));
        let item = &list.as_list().unwrap()[1];
        assert_eq!(
            (
                item.span.line,
                item.span.column,
                item.span.end - item.span.start
            ),
            (2, 11, 4)
        );
    }

    #[test]
    fn quoted_texts_may_go_on_at_the_margin() {
        let node = read("a: \"one,\ntwo\nthree\"\nb: 1\n").unwrap();
        assert_eq!(node.value(), json!({ "a": "one, two three", "b": 1 }));
        assert_eq!(node.get("b").unwrap().span.line, 4);
    }

    #[test]
    fn a_key_twice_names_both_lines() {
        let error = read("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n").unwrap_err();
        assert_eq!(
            error.message,
            "the key c is here twice; the first one is in line 3"
        );
        assert_eq!((error.span.line, error.span.column), (5, 3));
    }

    #[test]
    fn hostile_texts_are_refused_before_they_grow() {
        let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
            + &(b'b'..=b'i')
                .map(|name| {
                    let (name, before) = (char::from(name), char::from(name - 1));
                    let many = vec![format!("*{before}"); 10].join(", ");
                    format!("{name}: &{name} [{many}]\n")
                })
                .collect::<String>();
        for (text, said) in [
            (bomb.as_str(), "more than 100000 values"),
            (&"[".repeat(5000), ""),
            (&"- ".repeat(5000), ""),
            (&"{a: ".repeat(5000), ""),
            (&"x".repeat(SIZE_LIMIT + 1), "bytes long"),
            ("a: &a [*a]", ""),
            ("a: *b", ""),
            ("a: 1\n---\nb: 2\n", "a second document"),
            ("", "empty"),
            ("a: \"\n", ""),
            ("{[a]: b}", "plain name"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.message.contains(said),
                "{error}: {}",
                &text[..text.len().min(40)]
            );
        }
    }
}
