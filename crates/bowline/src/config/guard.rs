//! Guards: places where a command that can change something asks first.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::target::glob;

/// A place in which to be careful. All that is given has to fit; of a list, one.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Guard {
    /// What the warning calls the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Account numbers.
    #[serde(
        default,
        deserialize_with = "one_or_more",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "OneOrMore")]
    pub account: Vec<String>,
    /// Clusters, with `*` and `?` as in file names.
    #[serde(
        default,
        deserialize_with = "one_or_more",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "OneOrMore")]
    pub cluster: Vec<String>,
    /// AWS profiles, with `*` and `?` as in file names.
    #[serde(
        default,
        deserialize_with = "one_or_more",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "OneOrMore")]
    pub profile: Vec<String>,
    /// The colour of the warning.
    #[serde(default, alias = "color")]
    pub colour: Colour,
    /// What is asked for before anything is done.
    #[serde(default)]
    pub confirm: Confirm,
}

/// The colours of a warning.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "a colour's name says all")]
pub enum Colour {
    #[default]
    Red,
    Yellow,
    Green,
    Blue,
    Magenta,
    Cyan,
}

/// What is asked for, the stricter the later.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Confirm {
    /// Nothing: the warning is all.
    None,
    /// The word yes.
    Yes,
    /// The name of the cluster.
    #[default]
    TypeName,
}

/// Where a command would do something.
#[derive(Clone, Copy, Debug)]
pub struct GuardedPlace<'a> {
    /// The account's number. If it is not known, every guard on an account covers the place.
    pub account: Option<&'a str>,
    /// The cluster's name.
    pub cluster: &'a str,
    /// The AWS profile, if one is used.
    pub profile: Option<&'a str>,
}

impl Guard {
    /// Whether it is about this place.
    pub(super) fn covers(&self, place: &GuardedPlace<'_>) -> bool {
        let account = place
            .account
            .is_none_or(|account| self.account.iter().any(|a| a == account));
        let one_of =
            |patterns: &[String], text: &str| patterns.iter().any(|pattern| glob(pattern, text));
        (self.account.is_empty() || account)
            && (self.cluster.is_empty() || one_of(&self.cluster, place.cluster))
            && (self.profile.is_empty()
                || place
                    .profile
                    .is_some_and(|profile| one_of(&self.profile, profile)))
    }

    /// Why it could never be meant, if so.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let is_number = |account: &String| {
            account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())
        };
        if self.account.is_empty() && self.cluster.is_empty() && self.profile.is_empty() {
            return Some(
                "a guard needs an account, a cluster or a profile; cluster = \"*\" is every place",
            );
        }
        (!self.account.iter().all(is_number)).then_some("an account is a text of twelve digits")
    }
}

/// A text, or a list of texts.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(text) => vec![text],
        OneOrMore::More(texts) => texts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_file_names() {
        for (pattern, text, expected) in [
            ("prod", "prod", true),
            ("prod", "prod-1", false),
            ("prod*", "prod-1", true),
            ("*prod*", "a-prod-b", true),
            ("pro?", "prod", true),
            ("pro?", "pro", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            // Which would take for ever if every star were tried at every place.
            ("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_unknown_account_is_treated_as_the_guarded_one() {
        let guard: Guard = toml::from_str("account = '123456789012'").unwrap();
        let place = |account| GuardedPlace {
            account,
            cluster: "c",
            profile: None,
        };
        assert!(guard.covers(&place(Some("123456789012"))));
        assert!(!guard.covers(&place(Some("210987654321"))));
        assert!(guard.covers(&place(None)));
    }
}
