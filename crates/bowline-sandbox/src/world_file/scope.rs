//! Placeholders: one item of a file standing for many, and the words in its texts.

use std::collections::BTreeMap;

use super::schema::Many;

/// More copies of one item than any world has; it keeps a short file from asking for all memory.
const COPIES_LIMIT: usize = 20_000;

/// The words that placeholders stand for: those of an item and of what it is in.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    words: Vec<(String, String)>,
    /// Which copy of its item this is, from 0: what values in turn go by.
    pub(super) number: usize,
}

impl Scope {
    /// One scope for each copy of an item: `each` gives all combinations of its words, and each of those as often as
    /// `repeat` says, with `{n}` counting from 1.
    pub(super) fn copies(&self, many: &Many<'_>) -> Result<Vec<Self>, String> {
        let none = BTreeMap::new();
        let mut scopes = vec![self.clone()];
        for (name, words) in many.each.unwrap_or(&none) {
            if name == "n" {
                return Err("{n} is what repeat counts: choose another name in each".to_owned());
            }
            check(scopes.len(), words.len())?;
            let with = |scope: &Self, word: &String| scope.with(name, word.clone());
            scopes = scopes
                .iter()
                .flat_map(|scope| words.iter().map(move |word| with(scope, word)))
                .collect();
        }
        if let Some(repeat) = many.repeat {
            check(scopes.len(), repeat)?;
            scopes = scopes
                .iter()
                .flat_map(|scope| (1..=repeat).map(|n| scope.with("n", n.to_string())))
                .collect();
        }
        for (number, scope) in scopes.iter_mut().enumerate() {
            scope.number = number;
        }
        Ok(scopes)
    }

    /// The text with the words for its placeholders. Braces around anything else stay as they are.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            filled.push_str(&rest[..open]);
            rest = &rest[open..];
            let word = rest[1..].split_once('}').and_then(|(name, after)| {
                let known = self.words.iter().rfind(|(known, _)| known == name)?;
                Some((&known.1, after))
            });
            match word {
                Some((word, after)) => {
                    filled.push_str(word);
                    rest = after;
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    fn with(&self, name: &str, word: String) -> Self {
        let mut scope = self.clone();
        scope.words.push((name.to_owned(), word));
        scope
    }
}

fn check(copies: usize, times: usize) -> Result<(), String> {
    match copies.checked_mul(times) {
        Some(copies) if copies <= COPIES_LIMIT => Ok(()),
        _ => Err(format!("stands for more than {COPIES_LIMIT} copies")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gives_all_combinations_and_repeat_counts_within_them() {
        let each = BTreeMap::from([
            ("env".to_owned(), vec!["prod".to_owned(), "dev".to_owned()]),
            ("team".to_owned(), vec!["pay".to_owned()]),
        ]);
        let many = Many {
            repeat: Some(2),
            each: Some(&each),
        };
        let scopes = Scope::default().copies(&many).unwrap();
        let names: Vec<_> = scopes.iter().map(|s| s.fill("{team}-{env}-{n}")).collect();
        assert_eq!(
            names,
            ["pay-prod-1", "pay-prod-2", "pay-dev-1", "pay-dev-2"]
        );
        assert_eq!(scopes[3].number, 3);
        let too_many = Many {
            repeat: Some(20_001),
            each: None,
        };
        assert!(Scope::default().copies(&too_many).is_err());
    }

    #[test]
    fn other_braces_stay() {
        let scope = Scope::default().with("n", "7".to_owned());
        assert_eq!(scope.fill(r#"{"a": {n}} {m} {"#), r#"{"a": 7} {m} {"#);
    }

    #[test]
    fn the_inner_word_of_a_name_counts() {
        let outer = Scope::default().with("n", "1".to_owned());
        assert_eq!(outer.with("n", "2".to_owned()).fill("{n}"), "2");
    }
}
