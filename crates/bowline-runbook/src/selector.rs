//! Selectors: the part of JSONPath that runbooks write, with the liberties that the service allows.
//!
//! `$` and the dot before a bracket may be left out or added, and a quoted name may follow a dot. No library has this
//! dialect, and `check` walks the same steps over a service's shapes, so that it is read here.

use serde_json::Value;

/// Values that one selector gives at most; hostile selectors multiply.
const SELECTED_LIMIT: usize = 10_000;
/// The longest selector.
const LENGTH_LIMIT: usize = 2_000;

/// A selector that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selector {
    pub(crate) steps: Vec<Step>,
}

/// One step of a selector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Name(String),
    Index(i64),
    Every,
    /// Members of this name, or all, at any depth.
    Deep(Option<String>),
    /// Elements for which one of the alternatives holds as a whole.
    Filter(Vec<Vec<Test>>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Test {
    pub(crate) path: Vec<String>,
    operator: Operator,
    literal: Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a selector found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Selected<'v> {
    /// A definite path found nothing.
    Nothing,
    /// A definite path found this.
    One(&'v Value),
    /// What an indefinite path found, which may be nothing.
    Many(Vec<&'v Value>),
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// What is wrong, and the byte at which.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, usize)> {
        if text.len() > LENGTH_LIMIT {
            return Err(("the selector is too long".to_owned(), 0));
        }
        let mut reader = Reader { text, at: 0 };
        reader.spaces();
        let rooted = reader.take("$");
        let mut steps = Vec::new();
        if !rooted && !reader.rest().starts_with(['.', '[']) {
            steps.push(Step::Name(reader.name()?));
        }
        while !reader.rest().trim_end().is_empty() {
            steps.push(reader.step()?);
        }
        Ok(Self { steps })
    }

    /// Whether it can give one value at most.
    pub(crate) fn is_definite(&self) -> bool {
        let definite = |step: &Step| matches!(step, Step::Name(_) | Step::Index(_));
        self.steps.iter().all(definite)
    }

    /// What it finds. Members of objects are walked by name.
    pub(crate) fn select<'v>(&self, root: &'v Value) -> Selected<'v> {
        let mut found = vec![root];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                step.follow(value, &mut next);
                if next.len() >= SELECTED_LIMIT {
                    next.truncate(SELECTED_LIMIT);
                    break;
                }
            }
            found = next;
        }
        match (self.is_definite(), found.first()) {
            (true, None) => Selected::Nothing,
            (true, Some(value)) => Selected::One(value),
            (false, _) => Selected::Many(found),
        }
    }
}

impl Step {
    fn follow<'v>(&self, value: &'v Value, found: &mut Vec<&'v Value>) {
        match self {
            Self::Name(name) => found.extend(value.get(name)),
            Self::Index(index) => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                let place = match usize::try_from(*index) {
                    Ok(place) => Some(place),
                    Err(_) => usize::try_from(index.unsigned_abs())
                        .ok()
                        .and_then(|back| items.len().checked_sub(back)),
                };
                found.extend(place.and_then(|place| items.get(place)));
            }
            Self::Every => found.extend(children(value)),
            Self::Deep(name) => deep(value, name.as_deref(), found),
            Self::Filter(alternatives) => {
                let holds = |item: &&Value| {
                    let all = |tests: &Vec<Test>| tests.iter().all(|test| test.holds(item));
                    alternatives.iter().any(all)
                };
                found.extend(children(value).filter(holds));
            }
        }
    }
}

fn children(value: &Value) -> impl Iterator<Item = &Value> {
    let items = value.as_array().into_iter().flatten();
    let members = value.as_object().into_iter().flat_map(|it| it.values());
    items.chain(members)
}

/// Parents before their children.
fn deep<'v>(value: &'v Value, name: Option<&str>, found: &mut Vec<&'v Value>) {
    if found.len() >= SELECTED_LIMIT {
        return;
    }
    match name {
        Some(name) => found.extend(value.get(name)),
        None => found.extend(children(value)),
    }
    for child in children(value) {
        deep(child, name, found);
    }
}

impl Test {
    fn holds(&self, item: &Value) -> bool {
        let value = self
            .path
            .iter()
            .try_fold(item, |value, name| value.get(name));
        let Some(value) = value else {
            return self.operator == Operator::Unequal;
        };
        let order = match (value, &self.literal) {
            (Value::String(left), Value::String(right)) => left.partial_cmp(right),
            (left, right) => match (left.as_f64(), right.as_f64()) {
                (Some(left), Some(right)) => left.partial_cmp(&right),
                _ => None,
            },
        };
        match self.operator {
            Operator::Equal => value == &self.literal || order.is_some_and(|it| it.is_eq()),
            Operator::Unequal => value != &self.literal && !order.is_some_and(|it| it.is_eq()),
            Operator::Less => order.is_some_and(|it| it.is_lt()),
            Operator::LessOrEqual => order.is_some_and(|it| it.is_le()),
            Operator::Greater => order.is_some_and(|it| it.is_gt()),
            Operator::GreaterOrEqual => order.is_some_and(|it| it.is_ge()),
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

type Read<T> = Result<T, (String, usize)>;

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.rest().starts_with(word);
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn refuse<T>(&self, message: impl Into<String>) -> Read<T> {
        Err((message.into(), self.at))
    }

    fn step(&mut self) -> Read<Step> {
        if self.take("..") {
            return Ok(match self.take("*") {
                true => Step::Deep(None),
                false => Step::Deep(Some(self.any_name()?)),
            });
        }
        let dotted = self.take(".");
        if self.take("[") {
            return self.bracket();
        }
        if !dotted {
            return self.refuse("a dot or a bracket is missing");
        }
        match self.take("*") {
            true => Ok(Step::Every),
            false => Ok(Step::Name(self.any_name()?)),
        }
    }

    fn any_name(&mut self) -> Read<String> {
        match self.rest().starts_with(['\'', '"']) {
            true => self.quoted(),
            false => self.name(),
        }
    }

    fn name(&mut self) -> Read<String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
        let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if name.is_empty() {
            return self.refuse("a name is missing");
        }
        self.at += name.len();
        Ok(name.to_owned())
    }

    fn quoted(&mut self) -> Read<String> {
        let rest = self.rest();
        let quote = rest.chars().next().unwrap_or('\'');
        let inner = rest.get(1..).unwrap_or_default();
        let Some(end) = inner.find(quote) else {
            return self.refuse("the quote is not closed");
        };
        self.at += end + 2;
        Ok(inner.get(..end).unwrap_or_default().to_owned())
    }

    fn bracket(&mut self) -> Read<Step> {
        self.spaces();
        let rest = self.rest();
        let step = if self.take("*") {
            Step::Every
        } else if self.take("?") {
            self.filter()?
        } else if rest.starts_with(['\'', '"']) {
            Step::Name(self.quoted()?)
        } else {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-');
            let digits = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let Ok(index) = digits.parse() else {
                return self.refuse("a bracket holds an index, a quoted name, * or a filter");
            };
            self.at += digits.len();
            Step::Index(index)
        };
        self.spaces();
        if self.take("]") {
            return Ok(step);
        }
        match self.rest().chars().next() {
            Some(':') => self.refuse("slices such as [0:2] are not supported"),
            Some(',') => self.refuse("unions such as [0,1] are not supported"),
            _ => self.refuse("the bracket is not closed"),
        }
    }

    fn filter(&mut self) -> Read<Step> {
        if !self.take("(") {
            return self.refuse("a filter is written ?(@.name == 'value')");
        }
        let mut alternatives = vec![vec![self.test()?]];
        loop {
            self.spaces();
            if self.take(")") {
                return Ok(Step::Filter(alternatives));
            } else if self.take("&&") {
                let test = self.test()?;
                if let Some(last) = alternatives.last_mut() {
                    last.push(test);
                }
            } else if self.take("||") {
                alternatives.push(vec![self.test()?]);
            } else {
                return self.refuse("&&, || or ) is missing");
            }
        }
    }

    fn test(&mut self) -> Read<Test> {
        self.spaces();
        if !self.take("@") {
            return self.refuse("a filter begins with @");
        }
        let mut path = Vec::new();
        while self.take(".") {
            path.push(self.any_name()?);
        }
        if path.is_empty() {
            return self.refuse("a filter names a member: @.name");
        }
        self.spaces();
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let operator = operators.into_iter().find(|(word, _)| self.take(word));
        let Some((_, operator)) = operator else {
            return self.refuse("a comparison is missing: ==, !=, <, <=, >, >=");
        };
        self.spaces();
        let literal = self.literal()?;
        Ok(Test {
            path,
            operator,
            literal,
        })
    }

    fn literal(&mut self) -> Read<Value> {
        let rest = self.rest();
        if rest.starts_with(['\'', '"']) {
            return Ok(self.quoted()?.into());
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && !"+-.".contains(c));
        let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        match serde_json::from_str::<Value>(word) {
            Ok(value) => {
                self.at += word.len();
                Ok(value)
            }
            Err(_) => self.refuse("a value is missing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(selector: &str, root: &Value) -> Value {
        match Selector::parse(selector).unwrap().select(root) {
            Selected::Nothing => json!("nothing"),
            Selected::One(value) => value.clone(),
            Selected::Many(values) => values.into_iter().cloned().collect(),
        }
    }

    #[test]
    fn selectors_of_the_dialect_are_understood() {
        let root = json!({
            "tasks": [{ "arn": "a", "n": 1, "c": [{ "code": 0 }] }, { "arn": "b", "n": 2, "c": [{}] }],
            "a.b": { "x": 1 },
        });
        for (selector, wanted) in [
            ("$", root.clone()),
            ("$.tasks[0].arn", json!("a")),
            ("tasks[0].c[0].code", json!(0)),
            ("tasks[1].c[0].code", json!("nothing")),
            ("$.tasks[-1].arn", json!("b")),
            ("$.tasks[-9].arn", json!("nothing")),
            ("$.tasks[7]", json!("nothing")),
            ("$.tasks.[0].arn", json!("a")),
            ("$.'a.b'.x", json!(1)),
            ("$['a.b'][\"x\"]", json!(1)),
            ("$.tasks[*].arn", json!(["a", "b"])),
            ("$.tasks.*.n", json!([1, 2])),
            ("$..code", json!([0])),
            ("$..none", json!([])),
            ("$.tasks[?(@.arn == 'b')].n", json!([2])),
            (
                "$.tasks[?(@.n > 0 && @.n<2 || @.arn=='b')].arn",
                json!(["a", "b"]),
            ),
            ("$.tasks[?(@.c != 3 && @.n >= 2)].arn", json!(["b"])),
        ] {
            assert_eq!(all(selector, &root), wanted, "{selector}");
        }
    }

    #[test]
    fn what_is_not_supported_says_so() {
        for (selector, said, at) in [
            ("$.a[0:2]", "slices", 5),
            ("$.a[0,1]", "unions", 5),
            ("$.a[", "a bracket holds", 4),
            ("$.a.", "a name is missing", 4),
            ("$a", "a dot or a bracket", 1),
            ("", "a name is missing", 0),
            ("$.a[?(@ == 1)]", "names a member", 7),
            ("$.a['x]", "not closed", 4),
        ] {
            let (message, place) = Selector::parse(selector).unwrap_err();
            assert!(
                message.contains(said) && place == at,
                "{selector}: {message} at {place}"
            );
        }
    }
}
