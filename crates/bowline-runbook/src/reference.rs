//! `{{ references }}` in texts.

use std::fmt;
use std::ops::Range;

/// What stands between the braces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A parameter.
    Parameter(String),
    /// An output of a step.
    Output {
        /// The step, or `loop`.
        step: String,
        /// The output.
        output: String,
    },
    /// `global:X`.
    Global(String),
    /// `automation:X`.
    Automation(String),
    /// `variable:x`.
    Variable(String),
    /// `ssm:name`, a parameter of the Parameter Store.
    Stored(String),
}

/// A reference and where it stands in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The bytes with their braces.
    pub range: Range<usize>,
    /// What it refers to.
    pub reference: Reference,
}

impl Reference {
    /// Reads what stands between braces. What does not fit the grammar is text and nothing else.
    pub fn parse(inner: &str) -> Option<Self> {
        let inner = inner.trim();
        if let Some((space, name)) = inner.split_once(':') {
            return match space {
                "ssm" if is_path(name) => Some(Self::Stored(name.to_owned())),
                _ if !is_name(name) => None,
                "global" => Some(Self::Global(name.to_owned())),
                "automation" => Some(Self::Automation(name.to_owned())),
                "variable" => Some(Self::Variable(name.to_owned())),
                _ => None,
            };
        }
        match inner.split_once('.') {
            Some((step, output)) if is_name(step) && is_name(output) => Some(Self::Output {
                step: step.to_owned(),
                output: output.to_owned(),
            }),
            None if is_name(inner) => Some(Self::Parameter(inner.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => f.write_str(name),
            Self::Output { step, output } => write!(f, "{step}.{output}"),
            Self::Global(name) => write!(f, "global:{name}"),
            Self::Automation(name) => write!(f, "automation:{name}"),
            Self::Variable(name) => write!(f, "variable:{name}"),
            Self::Stored(name) => write!(f, "ssm:{name}"),
        }
    }
}

/// All references in a text, in order.
pub(crate) fn references(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = text.get(from..).and_then(|rest| rest.find("{{")) {
        let open = from + open;
        let inside = open + 2;
        let close = text.get(inside..).and_then(|rest| rest.find("}}"));
        let Some(close) = close.map(|at| inside + at) else {
            break;
        };
        match text.get(inside..close).and_then(Reference::parse) {
            Some(reference) => {
                let range = open..close + 2;
                from = range.end;
                found.push(Found { range, reference });
            }
            // `{{{ X }}}` holds a reference one brace further on.
            None => from = open + 1,
        }
    }
    found
}

/// The reference that a text consists of, if that is all of it.
pub(crate) fn whole(text: &str) -> Option<Reference> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    Reference::parse(inner)
}

/// A reference inside of another, which is never resolved: its bytes.
pub(crate) fn nested(text: &str) -> Option<Range<usize>> {
    references(text).into_iter().find_map(|found| {
        let before = text.get(..found.range.start)?;
        let open = before.rfind("{{")?;
        let between = before.get(open + 2..)?.trim();
        let plain = between
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.:".contains(&byte));
        let after = text.get(found.range.end..)?;
        let name_ends = after.find(|c: char| !c.is_alphanumeric() && !"_.: ".contains(c));
        let closes =
            name_ends.is_some_and(|at| after.get(at..).is_some_and(|it| it.starts_with("}}")));
        (plain && closes && !before.ends_with('{')).then_some(open..found.range.end)
    })
}

pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_path(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_the_grammar_is_a_reference() {
        let text = "a {{ P }}{{s.o}} {{global:REGION}} {{ .css }} {{ 'x' }} {{ a.b.c }} {{ssm:/a/b-c}} {{{ Q }}} {{";
        let found: Vec<String> = references(text)
            .iter()
            .map(|it| it.reference.to_string())
            .collect();
        assert_eq!(found, ["P", "s.o", "global:REGION", "ssm:/a/b-c", "Q"]);
        assert_eq!(
            whole(" {{ variable:x }} "),
            Some(Reference::Variable("x".into()))
        );
        assert_eq!(whole("{{ a }} {{ b }}"), None);
    }

    #[test]
    fn nested_references_are_seen() {
        assert!(nested("{{ a{{ b }} }}").is_some());
        assert!(nested("{{ global:{{ b }}}}").is_some());
        assert_eq!(nested("{\"x\":{\"y\":\"{{ b }}\"}}"), None);
        assert_eq!(nested("{{ a }}{{ b }}"), None);
        assert_eq!(nested("{{{ b }}}"), None);
    }
}
