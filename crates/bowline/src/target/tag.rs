//! `tag:KEY=VALUE`: the tasks that carry a tag.

use std::fmt;
use std::str::FromStr;

use super::ParseTargetError;

/// A tag's key and the value it must have. A `/` in either cannot be written: it separates a target's parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TagFilter {
    key: String,
    value: String,
}

impl TagFilter {
    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value; it may be empty.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for TagFilter {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |reason| ParseTargetError::BadTag {
            text: text.to_owned(),
            reason,
        };
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| bad("has no value; a tag is written tag:KEY=VALUE"))?;
        if key.is_empty() {
            return Err(bad("has no key; a tag is written tag:KEY=VALUE"));
        }
        if !text.chars().all(fits) {
            return Err(bad("may hold only letters, digits, spaces and _.:=+-@"));
        }
        // The limits of the API reference.
        if key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(bad(
                "is too long: 128 characters for the key, 256 for the value",
            ));
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for TagFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// What ECS allows in tags, but for the slash.
fn fits(character: char) -> bool {
    character.is_alphanumeric() || " _.:=+-@".contains(character)
}
