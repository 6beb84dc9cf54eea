//! Target patterns: one or several targets in one word, for fleets.
//!
//! ```text
//! web  prod/web/app  tag:team=pay          a target as everywhere
//! web-*  prod/api-?                        services (else families) by name; `*` is any text, `?` any character
//! */web                                    the same in every cluster
//! ```

use std::fmt;
use std::str::FromStr;

use super::{ContainerPart, ParseTargetError, TargetSpec};

/// A target, or a pattern of services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPattern {
    /// A target as everywhere.
    One(TargetSpec),
    /// Services by their names, in clusters by their names.
    Glob(TargetGlob),
}

/// Services by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGlob {
    pub(crate) cluster: Option<String>,
    pub(crate) name: String,
    pub(crate) container: Option<ContainerPart>,
}

impl TargetPattern {
    /// Whether it is more than a target.
    pub fn is_many(&self) -> bool {
        matches!(self, Self::Glob(_))
    }

    /// The target, unless it is a pattern.
    pub fn one(&self) -> Option<&TargetSpec> {
        match self {
            Self::One(spec) => Some(spec),
            Self::Glob(_) => None,
        }
    }
}

impl From<TargetSpec> for TargetPattern {
    fn from(spec: TargetSpec) -> Self {
        Self::One(spec)
    }
}

impl FromStr for TargetPattern {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let spec: Result<TargetSpec, _> = text.parse();
        let parts: Vec<&str> = text.split('/').collect();
        let is_glob = |text: &str| text.contains(['*', '?']);
        let named = parts.get(..parts.len().min(2)).unwrap_or_default();
        if spec.is_ok() || text.contains(':') || !named.iter().any(|part| is_glob(part)) {
            return spec.map(Self::One);
        }
        let (cluster, name, container) = match parts[..] {
            [name] => (None, name, None),
            [cluster, name] => (Some(cluster), name, None),
            [cluster, name, container] => (Some(cluster), name, Some(container)),
            _ => return spec.map(Self::One),
        };
        for part in [cluster, Some(name)].into_iter().flatten() {
            // Without the marks it has to be a name, and one of marks alone is anything.
            let plain: String = part.chars().filter(|c| !"*?".contains(*c)).collect();
            if !plain.is_empty() || part.is_empty() {
                plain.parse::<super::AnyName>()?;
            }
        }
        Ok(Self::Glob(TargetGlob {
            cluster: cluster.map(str::to_owned),
            name: name.to_owned(),
            container: container.map(str::parse).transpose()?,
        }))
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(spec) => fmt::Display::fmt(spec, f),
            Self::Glob(glob) => fmt::Display::fmt(glob, f),
        }
    }
}

impl fmt::Display for TargetGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cluster) = &self.cluster {
            write!(f, "{cluster}/")?;
        }
        f.write_str(&self.name)?;
        match &self.container {
            Some(container) => write!(f, "/{container}"),
            None => Ok(()),
        }
    }
}

/// Whether a text is of a pattern's form: `*` is any text, `?` any character.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // The last star seen, and how far the text had come then.
    let (mut at, mut place, mut star) = (0, 0, None);
    while place < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((star_at, from)) => {
                    star = Some((star_at, from + 1));
                    at = star_at + 1;
                    place = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_targets_are_told_apart_and_print_back() {
        for (text, many) in [
            ("web", false),
            ("prod/web/app", false),
            ("prod/web/*", false),
            ("tag:team=pay", false),
            ("web-*", true),
            ("*/web", true),
            ("*", true),
            ("pr?d/*/app", true),
        ] {
            let pattern: TargetPattern = text.parse().unwrap();
            assert_eq!(pattern.is_many(), many, "{text}");
            assert_eq!(pattern.to_string(), text);
        }
        for text in ["", "we b*", "*/", "a/b/c*/d", "service:web-*", "we[b]*"] {
            assert!(text.parse::<TargetPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn stars_and_question_marks_stand_for_what_they_should() {
        for (pattern, text) in [
            ("*", ""),
            ("web-*", "web-"),
            ("*-api", "shop-api"),
            ("a*b*c", "aXbbYc"),
            ("pr?d", "prod"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("web-*", "web"), ("?", ""), ("a*b", "abc"), ("", "x")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
