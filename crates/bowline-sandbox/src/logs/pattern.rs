//! Filter patterns of CloudWatch Logs: terms, and conditions on JSON.
//!
//! From the documentation of filter and pattern syntax. Patterns for space-delimited logs (`[a, b]`) and regular
//! expressions (`%…%`) are refused rather than answered wrongly.

mod json;

use serde_json::Value;

use json::Condition;

/// What events a filter lets through.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pattern {
    /// Everything.
    All,
    /// By the words in the message.
    Terms(Terms),
    /// By the members of a message that is a JSON object.
    Json(Condition),
}

/// `a "b c" ?d -e`; upper and lower case differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    /// All of these.
    all: Vec<String>,
    /// One of these, if there are any.
    any: Vec<String>,
    /// None of these.
    none: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; the error is what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.chars().next() {
            None => Ok(Self::All),
            Some('{') => json::parse(text).map(Self::Json),
            Some('[') => {
                Err("the sandbox does not know patterns for space-delimited logs".to_owned())
            }
            Some(_) => Terms::parse(text).map(Self::Terms),
        }
    }

    /// The message passes.
    pub(crate) fn matches(&self, message: &str) -> bool {
        match self {
            Self::All => true,
            Self::Terms(terms) => terms.match_text(message),
            Self::Json(condition) => match serde_json::from_str::<Value>(message) {
                Ok(value @ Value::Object(_)) => condition.holds(&value),
                _ => false,
            },
        }
    }
}

impl Terms {
    fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (sign, after) = match rest.strip_prefix(['?', '-']) {
                Some(after) => (&rest[..1], after),
                None => ("", rest),
            };
            let (term, after) = match after.strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => bare(after)?,
            };
            let list = match sign {
                "?" => &mut terms.any,
                "-" => &mut terms.none,
                _ => &mut terms.all,
            };
            list.push(term);
            rest = after.trim_start();
        }
        // As documented: beside other terms, those with a question mark have no effect.
        if !(terms.all.is_empty() && terms.none.is_empty()) {
            terms.any.clear();
        }
        Ok(terms)
    }

    fn match_text(&self, message: &str) -> bool {
        let has = |term: &String| message.contains(term.as_str());
        self.all.iter().all(has)
            && !self.none.iter().any(has)
            && (self.any.is_empty() || self.any.iter().any(has))
    }
}

/// The text up to the closing quote, and what is after it.
fn unquote(text: &str) -> Result<(String, &str), String> {
    let mut found = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((found, &text[at + 1..])),
            '\\' => match letters.next() {
                Some((_, escaped @ ('"' | '\\'))) => found.push(escaped),
                Some((_, other)) => found.extend(['\\', other]),
                None => break,
            },
            _ => found.push(letter),
        }
    }
    Err("a quote is not closed".to_owned())
}

/// A word without quotes: letters, digits and underscores.
fn bare(text: &str) -> Result<(String, &str), String> {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word.starts_with('%') {
        return Err("the sandbox does not know regular expressions".to_owned());
    }
    if word.is_empty() || !word.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(format!("the term {word:?} has to stand in quotes"));
    }
    Ok((word.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_all_any_and_none() {
        let cases = [
            ("", "anything", true),
            ("ERROR", "an ERROR here", true),
            ("ERROR", "an error here", false),
            ("ERROR 404", "404: ERROR", true),
            ("ERROR 404", "ERROR", false),
            ("\"two words\"", "one or two words", true),
            ("\"two words\"", "words two", false),
            ("?ERROR ?WARN", "WARN", true),
            ("?ERROR ?WARN", "INFO", false),
            ("ERROR -EXIT", "ERROR", true),
            ("ERROR -EXIT", "ERROR EXIT", false),
            ("-\"health check\"", "a health check", false),
            ("-\"health check\"", "a request", true),
            ("?ERROR REQUEST", "REQUEST", true),
            (r#""say \"hi\"""#, r#"I say "hi""#, true),
        ];
        for (pattern, message, expected) in cases {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(message), expected, "{pattern} on {message}");
        }
    }

    #[test]
    fn json_conditions() {
        let message =
            r#"{"level":"ERROR","n":5,"a":{"b":[1,{"c":true}]},"nothing":null,"path":"/api/x"}"#;
        for (pattern, expected) in [
            (r#"{ $.level = "ERROR" }"#, true),
            ("{ $.level = ERROR }", true),
            (r#"{$.level="WARN"}"#, false),
            (r#"{ $.level != "WARN" }"#, true),
            ("{ $.n > 4 && $.n <= 5 }", true),
            ("{ $.n > 5 || $.n = 5 }", true),
            ("{ ($.n = 1 || $.n = 5) && $.level = \"E*\" }", true),
            ("{ $.n = 1 || $.n = 2 && $.n = 5 }", false),
            ("{ $.a.b[0] = 1 }", true),
            ("{ $.a.b[1].c IS TRUE }", true),
            ("{ $.a.b[1].c IS FALSE }", false),
            ("{ $.nothing IS NULL }", true),
            ("{ $.missing NOT EXISTS }", true),
            ("{ $.n EXISTS }", true),
            ("{ $.missing = 1 }", false),
            (r#"{ $.path = "/api/*" }"#, true),
            (r#"{ $.path = "*x" }"#, true),
            (r#"{ $.path = "*y*" }"#, false),
            ("{ $.n = 5.0 }", true),
            (r#"{ $["level"] = "ERROR" }"#, true),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(message), expected, "{pattern}");
        }
        let json = Pattern::parse("{ $.n = 5 }").unwrap();
        assert!(!json.matches("n = 5") && !json.matches("[5]"));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in [
            "a-b",
            "\"open",
            "?",
            "[a, b]",
            "%x%",
            "{",
            "{}",
            "{ $.a }",
            "{ $.a = }",
            "{ $.a = 1",
            "{ a = 1 }",
            "{ ($.a = 1 }",
            "{ $.a = 1 } x",
            "{ $.a = 1 $.b = 2 }",
            "{ $.a IS BLUE }",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        let deep = format!("{{ {} }}", "(".repeat(100_000));
        assert!(Pattern::parse(&deep).is_err());
    }
}
