//! Conditions on JSON messages: `{ $.level = "ERROR" && $.count > 3 }`.

use serde_json::Value;

use super::unquote;

/// Deeper nesting of parentheses is nobody's pattern.
const DEPTH: usize = 32;

/// Members and indices on the way from the whole message to a value.
type Selector = Vec<Step>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Member(String),
    Index(usize),
}

/// What a message has to be like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    And(Vec<Self>),
    Or(Vec<Self>),
    Test(Selector, Test),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Exists(bool),
    Is(Value),
    /// A text, in which `*` stands for anything.
    Text {
        equal: bool,
        wanted: String,
    },
    Number(Comparison, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    Greater,
    AtMost,
    AtLeast,
}

impl Condition {
    pub(super) fn holds(&self, message: &Value) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.holds(message)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(message)),
            Self::Test(selector, test) => test.holds(select(message, selector)),
        }
    }
}

impl Test {
    fn holds(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), value) => value.is_some() == *wanted,
            (_, None) => false,
            (Self::Is(wanted), Some(value)) => value == wanted,
            (Self::Text { equal, wanted }, Some(Value::String(text))) => {
                wildcard(wanted, text) == *equal
            }
            (Self::Text { equal, .. }, Some(_)) => !equal,
            (Self::Number(comparison, wanted), Some(value)) => {
                let Some(number) = value.as_f64() else {
                    return *comparison == Comparison::Unequal;
                };
                match comparison {
                    Comparison::Equal => number == *wanted,
                    Comparison::Unequal => number != *wanted,
                    Comparison::Less => number < *wanted,
                    Comparison::Greater => number > *wanted,
                    Comparison::AtMost => number <= *wanted,
                    Comparison::AtLeast => number >= *wanted,
                }
            }
        }
    }
}

fn select<'v>(message: &'v Value, selector: &Selector) -> Option<&'v Value> {
    selector.iter().try_fold(message, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Index(index) => value.get(index),
    })
}

fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Reads `{ … }`.
pub(super) fn parse(text: &str) -> Result<Condition, String> {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let inner = inner.ok_or("a condition stands between { and }")?;
    let mut parser = Parser { rest: inner.trim() };
    let condition = parser.any_of(0)?;
    match parser.rest {
        "" => Ok(condition),
        rest => Err(format!("unexpected {rest:?}")),
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn any_of(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.all_of(depth)?];
        while self.eat("||") {
            parts.push(self.all_of(depth)?);
        }
        Ok(Condition::Or(parts))
    }

    fn all_of(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.one(depth)?];
        while self.eat("&&") {
            parts.push(self.one(depth)?);
        }
        Ok(Condition::And(parts))
    }

    fn one(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > DEPTH {
            return Err("too many parentheses".to_owned());
        }
        if self.eat("(") {
            let condition = self.any_of(depth + 1)?;
            return match self.eat(")") {
                true => Ok(condition),
                false => Err("a parenthesis is not closed".to_owned()),
            };
        }
        let selector = self.selector()?;
        Ok(Condition::Test(selector, self.test()?))
    }

    fn selector(&mut self) -> Result<Selector, String> {
        let wrong = || "a selector begins with `$.`".to_owned();
        self.rest = self.rest.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                let length = rest
                    .find(|c: char| !(c.is_alphanumeric() || "_-@:".contains(c)))
                    .unwrap_or(rest.len());
                if length == 0 {
                    return Err("a member's name is missing".to_owned());
                }
                steps.push(Step::Member(rest[..length].to_owned()));
                self.rest = &rest[length..];
            } else if let Some(rest) = self.rest.strip_prefix("[\"") {
                let (name, rest) = unquote(rest)?;
                steps.push(Step::Member(name));
                self.rest = rest.strip_prefix(']').ok_or("a bracket is not closed")?;
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                let (index, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
                let index = index.trim().parse().map_err(|_| "an index is a number")?;
                steps.push(Step::Index(index));
                self.rest = rest;
            } else {
                break;
            }
        }
        self.rest = self.rest.trim_start();
        if steps.is_empty() {
            Err(wrong())
        } else {
            Ok(steps)
        }
    }

    fn test(&mut self) -> Result<Test, String> {
        for (words, exists) in [("NOT EXISTS", false), ("EXISTS", true)] {
            if self.eat(words) {
                return Ok(Test::Exists(exists));
            }
        }
        if self.eat("IS ") {
            let values = [
                ("NULL", Value::Null),
                ("TRUE", Value::Bool(true)),
                ("FALSE", Value::Bool(false)),
            ];
            let found = values.into_iter().find(|(word, _)| self.eat(word));
            let (_, value) = found.ok_or("IS takes NULL, TRUE or FALSE")?;
            return Ok(Test::Is(value));
        }
        let comparisons = [
            ("!=", Comparison::Unequal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("=", Comparison::Equal),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = comparisons.into_iter().find(|(sign, _)| self.eat(sign));
        let (_, comparison) = found.ok_or("a comparison is missing")?;
        let (value, quoted) = self.value()?;
        match (comparison, value.parse::<f64>()) {
            (comparison, Ok(number)) if !quoted => Ok(Test::Number(comparison, number)),
            (Comparison::Equal, _) => Ok(Test::Text {
                equal: true,
                wanted: value,
            }),
            (Comparison::Unequal, _) => Ok(Test::Text {
                equal: false,
                wanted: value,
            }),
            _ => Err(format!("{value:?} is not a number")),
        }
    }

    fn value(&mut self) -> Result<(String, bool), String> {
        if let Some(rest) = self.rest.strip_prefix('"') {
            let (value, rest) = unquote(rest)?;
            self.rest = rest.trim_start();
            return Ok((value, true));
        }
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || "()&|".contains(c))
            .unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        if value.is_empty() {
            return Err("a value is missing".to_owned());
        }
        if value.starts_with('%') {
            return Err("the sandbox does not know regular expressions".to_owned());
        }
        self.rest = rest.trim_start();
        Ok((value.to_owned(), false))
    }

    fn eat(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }
}
