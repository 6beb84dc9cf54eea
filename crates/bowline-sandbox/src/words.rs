//! Splitting a command line into words exactly as the agent does in container mode.
//!
//! The agent uses a small shell-like lexer: white space separates, `'…'` is literal, `"…"` knows backslash
//! escapes, a backslash outside of quotes takes the next character as it is, `#` at the start of a word begins a
//! comment. No variables, no globs, no pipes (data-channel specification §10.2).

/// A quote or escape that never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unterminated {
    #[error("EOF found when expecting closing quote")]
    Quote,
    #[error("EOF found after escape character")]
    Escape,
}

/// The words of `line`.
pub(crate) fn split(line: &str) -> Result<Vec<String>, Unterminated> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match next {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => while rest.next().is_some_and(|skipped| skipped != '\n') {},
            '\'' => literal(&mut rest, word.get_or_insert_default())?,
            '"' => quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => word
                .get_or_insert_default()
                .push(rest.next().ok_or(Unterminated::Escape)?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn literal(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Unterminated> {
    loop {
        match rest.next().ok_or(Unterminated::Quote)? {
            '\'' => return Ok(()),
            other => word.push(other),
        }
    }
}

fn quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Unterminated> {
    loop {
        match rest.next().ok_or(Unterminated::Quote)? {
            '"' => return Ok(()),
            '\\' => word.push(rest.next().ok_or(Unterminated::Quote)?),
            other => word.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_split_as_the_agent_does() {
        for (line, words) in [
            ("ls | wc", vec!["ls", "|", "wc"]),
            (
                "sh -c 'echo \"a b\" $x'",
                vec!["sh", "-c", "echo \"a b\" $x"],
            ),
            (r#"a "b \" c" d\ e"#, vec!["a", "b \" c", "d e"]),
            ("'' x \"\"", vec!["", "x", ""]),
            ("'it'\\''s'", vec!["it's"]),
            ("a#b #c d\ne", vec!["a#b", "e"]),
            ("  \t\n", vec![]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert_eq!(split("'a"), Err(Unterminated::Quote));
        assert_eq!(split("a\\"), Err(Unterminated::Escape));
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in prop::collection::vec(".{0,20}", 0..8)) {
            let line = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line).unwrap(), words);
        }
    }
}
