//! Secrets out of recordings, by pattern. Pure: bytes in, bytes out.
//!
//! A pattern sees what a terminal shows: escape sequences between two letters do not hide a word. Output comes in
//! pieces of any size, so the last, unfinished line is kept back until it is whole or long enough that what begins in
//! its front part would have been recognised. The limits of all this are in `docs/reference/recording.md`.

mod key;
mod shown;
mod stream;
mod usual;

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use self::key::Keys;
use self::shown::Shown;
pub(super) use self::stream::Redactor;

/// From so many bytes on a mark says how many were taken out: of a short secret its length is part of it.
const TOLD: usize = 256;

/// What is taken out of a recording.
#[derive(Clone, Debug)]
pub struct Patterns {
    keys: Keys,
    words: Words,
    /// Named, and numbered from one: private keys are zero.
    patterns: Vec<(String, Regex)>,
}

/// What is known of the words of a command and of the names of members.
#[derive(Clone, Debug)]
struct Words {
    option: Regex,
    no_option: Regex,
    user_option: Regex,
    assignment: Regex,
    script: Regex,
    member: Regex,
}

/// A pattern that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the pattern {pattern:?} is no regular expression: {reason}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Compiled once: there is a recording for each session of a fleet.
static USUAL: LazyLock<Patterns> = LazyLock::new(|| {
    let known = |pattern: &str| compile(pattern).expect("the usual patterns are tried by a test");
    Patterns {
        keys: Keys::new(),
        words: Words {
            option: known(usual::OPTION),
            no_option: known(usual::NO_OPTION),
            user_option: known(usual::USER_OPTION),
            assignment: known(usual::ASSIGNMENT),
            script: known(usual::SCRIPT),
            member: known(usual::MEMBER),
        },
        patterns: usual::USUAL
            .iter()
            .map(|(name, pattern)| ((*name).to_owned(), known(pattern)))
            .collect(),
    }
});

impl Default for Patterns {
    fn default() -> Self {
        USUAL.clone()
    }
}

impl Patterns {
    /// The usual ones, and these.
    ///
    /// # Errors
    /// One is no regular expression, or matches the empty text.
    pub fn with<'a>(more: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let mut patterns = Self::default();
        for (number, pattern) in more.into_iter().enumerate() {
            let wrong = |reason: String| PatternError {
                pattern: pattern.to_owned(),
                reason,
            };
            let regex = compile(pattern).map_err(|error| wrong(error.to_string()))?;
            if regex.is_match(b"") {
                return Err(wrong("it matches the empty text".to_owned()));
            }
            patterns
                .patterns
                .push((format!("configured-{}", number + 1), regex));
        }
        Ok(patterns)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        let names = self.patterns.iter().map(|(name, _)| name.as_str());
        [key::NAME].into_iter().chain(names).collect()
    }

    fn name(&self, pattern: usize) -> &str {
        let named = pattern.checked_sub(1);
        let named = named.and_then(|number| self.patterns.get(number));
        named.map_or(key::NAME, |(name, _)| name)
    }

    /// A text that is whole.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut redactor = Redactor::new(self.clone());
        let mut out = Vec::new();
        redactor.feed(text.as_bytes(), 0, &mut |_, bytes| {
            out.extend_from_slice(bytes);
        });
        redactor.finish(&mut |_, bytes| out.extend_from_slice(bytes));
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Words of a command. A word is whole, with its spaces, so more is known of it than of a line.
    pub(super) fn argv(&self, argv: &[String]) -> Vec<String> {
        let mut before: &[u8] = b"";
        let mut words = Vec::new();
        for word in argv {
            words.push(self.word(before, word));
            before = word.as_bytes();
        }
        words
    }

    fn word(&self, before: &[u8], word: &str) -> String {
        let words = &self.words;
        if words.option.is_match(before) && !words.no_option.is_match(before) && !word.is_empty() {
            return mark("option", word.len());
        }
        if words.user_option.is_match(before)
            && let Some((name, secret)) = word.split_once(':')
            && !secret.is_empty()
        {
            return format!("{}:{}", self.text(name), mark("user-option", secret.len()));
        }
        if let Some(name) = words.assignment.find(word.as_bytes())
            && !words.script.is_match(before)
            && let Some((name, secret)) = word.split_at_checked(name.end())
            && !secret.is_empty()
        {
            return format!("{name}{}", mark("assignment", secret.len()));
        }
        self.text(word)
    }

    /// All texts of a value; those in a list are words of a command.
    pub(super) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => {
                let mut before: &[u8] = b"";
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    let word = item.as_str();
                    values.push(match word {
                        Some(word) => self.word(before, word).into(),
                        None => self.value(item),
                    });
                    before = word.unwrap_or_default().as_bytes();
                }
                values.into()
            }
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| {
                    let value = match member {
                        Value::String(secret)
                            if !secret.is_empty()
                                && self.words.member.is_match(name.as_bytes()) =>
                        {
                            mark("assignment", secret.len()).into()
                        }
                        member => self.value(member),
                    };
                    (name.clone(), value)
                })
                .collect(),
            other => other.clone(),
        }
    }

    /// What is to be taken out of `raw`, in order and without overlaps, with the pattern's number. Unless that is all
    /// there is, more may come.
    fn find(&self, raw: &[u8], is_all: bool) -> Vec<Hit> {
        let shown = Shown::of(raw);
        let mut hits = Vec::new();
        self.find_in(&shown, is_all, &mut hits);
        if !shown.is_plain() {
            // Also within what is not shown: a title may have a whole command in it.
            self.find_in(&Shown::plain(raw), is_all, &mut hits);
        }
        hits.sort_by_key(|hit| (hit.from, usize::MAX - hit.to));
        let mut apart: Vec<Hit> = Vec::with_capacity(hits.len());
        for hit in hits {
            match apart.last_mut() {
                Some(last) if hit.from < last.to => {
                    last.to = last.to.max(hit.to);
                    last.begins = last.begins.min(hit.begins);
                    last.open |= hit.open;
                }
                _ => apart.push(hit),
            }
        }
        apart
    }

    fn find_in(&self, shown: &Shown, is_all: bool, hits: &mut Vec<Hit>) {
        hits.extend(self.keys.find(&shown.bytes, is_all).iter().map(|key| Hit {
            from: shown.raw(key.from),
            to: shown.raw_end(key.to),
            begins: shown.raw(key.from),
            pattern: 0,
            open: key.open,
        }));
        for (pattern, (_, regex)) in (1..).zip(&self.patterns) {
            for found in regex.captures_iter(&shown.bytes) {
                let Some(all) = found.get(0) else { continue };
                let secret = regex
                    .capture_names()
                    .flatten()
                    .filter(|name| name.starts_with("secret"))
                    .find_map(|name| found.name(name));
                let secret = secret.unwrap_or(all);
                hits.push(Hit {
                    from: shown.raw(secret.start()),
                    to: shown.raw_end(secret.end()),
                    begins: shown.raw(all.start()),
                    pattern,
                    open: all.end() == shown.bytes.len(),
                });
            }
        }
    }
}

/// What stands in place of a secret.
fn mark(name: &str, length: usize) -> String {
    match length {
        0..=TOLD => format!("[redacted:{name}]"),
        _ => format!("[redacted:{name} {length} bytes]"),
    }
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .multi_line(false)
        .size_limit(1 << 22)
        .build()
}

/// Something to take out, in places of the raw bytes.
#[derive(Clone, Debug)]
struct Hit {
    from: usize,
    to: usize,
    /// Where all that the pattern needs begins.
    begins: usize,
    pattern: usize,
    /// It may go on.
    open: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\nabc/def+ghi=\n-----END RSA PRIVATE KEY-----";

    fn redacted(pieces: &[&[u8]]) -> String {
        let mut redactor = Redactor::new(Patterns::default());
        let mut out = Vec::new();
        for (time, piece) in pieces.iter().enumerate() {
            redactor.feed(piece, time as u64, &mut |_, bytes| {
                out.extend_from_slice(bytes);
            });
        }
        redactor.finish(&mut |_, bytes| out.extend_from_slice(bytes));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn the_usual_secrets_are_taken_out_and_nothing_else() {
        let text = |text: &str| redacted(&[text.as_bytes()]);
        let shown = [
            "key AKIAIOSFODNN7EXAMPLE here",
            "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            r#"{"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG", "Expiration": "2026"}"#,
            "postgres://app:s3cr3t!@db.internal:5432/orders?x=1",
            "Authorization: Bearer abcdefghijklmnop.qrst",
            "DB_PASSWORD=hunter2 ./migrate --verbose",
            "mysql --password hunter2 -h db",
            "curl -u me:hunter2 https://example.com/a:b",
            "token ghp_abcdefghijklmnopqrstuvwxyz0123456789 end",
            "the password is asked for: none was given",
            "Password: \r\nlast login",
            "http://example.com:8080/path and ssh://git@host/x",
            r#"export DB_PASSWORD="pa\"s, w;o'rd&1" x"#,
            "DB_PASSWORD='it;s a secret' x",
            r#"DB_PASSWORD=se;cr,et&"a b"'c d'e\ f#1 x"#,
            r#"{"password":"a,\"b","tokens":1200,"user":"x y"}"#,
            r#""{\"password\": \"a,\\\"b;c\", \"user\": \"x\"}""#,
            "  db_password: correct horse;battery",
            r#"mysql --password "two ;words" -h db; curl -u 'me:a ;b' x"#,
        ]
        .map(text)
        .join("\n")
        .replace(": \r\n", ":\n");
        insta::assert_snapshot!(shown, @r#"
        key [redacted:aws-key-id] here
        AWS_SECRET_ACCESS_KEY=[redacted:assignment]
        {"SecretAccessKey": "[redacted:assignment]", "Expiration": "2026"}
        postgres://app:[redacted:url-password]@db.internal:5432/orders?x=1
        Authorization: Bearer [redacted:authorization]
        DB_PASSWORD=[redacted:assignment] ./migrate --verbose
        mysql --password [redacted:option] -h db
        curl -u me:[redacted:user-option] https://example.com/a:b
        token [redacted:token] end
        the password is asked for: none was given
        Password:
        last login
        http://example.com:8080/path and ssh://git@host/x
        export DB_PASSWORD="[redacted:assignment]" x
        DB_PASSWORD='[redacted:assignment]' x
        DB_PASSWORD=[redacted:assignment] x
        {"password":"[redacted:assignment]","tokens":[redacted:assignment],"user":"x y"}
        "{\"password\": \"[redacted:assignment]\", \"user\": \"x\"}"
          db_password: [redacted:setting]
        mysql --password "[redacted:option]" -h db; curl -u 'me:[redacted:user-option]' x
        "#);
        assert_eq!(
            text(&format!("a\n{KEY}\nb")),
            "a\n[redacted:private-key]\nb"
        );
    }

    #[test]
    fn colours_do_not_hide_a_secret() {
        let text = "\x1b[1mAKIA\x1b[0;31mIOSFODNN7EX\x1b]0;t\x07AMPLE\x1b[0m.";
        assert_eq!(
            redacted(&[text.as_bytes()]),
            "\x1b[1m[redacted:aws-key-id]\x1b[0;31m\x1b[0m."
        );
        let apart = "TOKEN=abcdef\x1b[3;1Hnext line";
        assert_eq!(
            redacted(&[apart.as_bytes()]),
            "TOKEN=[redacted:assignment]\x1b[3;1Hnext line"
        );
        let title = "\x1b]0;login --password hunter2\x07$ ";
        assert_eq!(
            redacted(&[title.as_bytes()]),
            "\x1b]0;login --password [redacted:option]\x07$ "
        );
    }

    #[test]
    fn words_of_a_command_are_hidden_whole() {
        let hidden = |argv: &[&str]| {
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            Patterns::default().argv(&argv).join("|")
        };
        let shown = [
            hidden(&["psql", "--password", "my LEAK pass", "-h", "db"]),
            hidden(&["psql", "--no-password", "-c", "drop table x"]),
            hidden(&["env", "PGPASSWORD=my LEAK; pass", "psql"]),
            hidden(&["login", "--api-key=a LEAK", "--token", "-LEAK", "x"]),
            hidden(&["curl", "-u", "me:my LEAK pass", "https://example.com"]),
            // What a shell runs behind an assignment is what the recording is for.
            hidden(&["sh", "-ec", "DB_PASSWORD=hunter2 rm -rf /data"]),
        ]
        .join("\n");
        insta::assert_snapshot!(shown, @r"
        psql|--password|[redacted:option]|-h|db
        psql|--no-password|-c|drop table x
        env|PGPASSWORD=[redacted:assignment]|psql
        login|--api-key=[redacted:assignment]|--token|[redacted:option]|x
        curl|-u|me:[redacted:user-option]|https://example.com
        sh|-ec|DB_PASSWORD=[redacted:assignment] rm -rf /data
        ");
        let value = serde_json::json!({ "words": ["--token", "a LEAK"], "password": "a LEAK" });
        let value = Patterns::default().value(&value).to_string();
        assert!(!value.contains("LEAK"), "{value}");
    }

    #[test]
    fn a_secret_without_an_end_is_dropped_to_a_space_and_that_is_told() {
        let long = format!(
            "token=eyJ{}{} after\n",
            "a".repeat(100_000),
            "b".repeat(100_000)
        );
        let shown = redacted(&long.as_bytes().chunks(7000).collect::<Vec<_>>());
        insta::assert_snapshot!(shown, @"token=[redacted:assignment 69994 bytes][redacted:assignment 130009 more bytes] after");
    }

    #[test]
    fn the_beginning_of_a_key_hides_no_more_than_a_key() {
        let begin = "-----BEGIN PRIVATE KEY-----";
        let evil = "rm -rf /data and other deeds\n";
        // Alone, and in front of anything.
        let session = format!("# {begin}\n{}", evil.repeat(2000));
        for size in [70, 9000, 100_000] {
            let shown = redacted(&session.as_bytes().chunks(size).collect::<Vec<_>>());
            assert_eq!(shown.matches(evil).count(), 2000);
        }
        let argv = ["sh".to_owned(), format!(": {begin}; {evil}")];
        assert!(Patterns::default().argv(&argv)[1].ends_with(&format!("; {evil}")));
        // A torn one: its lines, and nothing behind them.
        let line = "MIIEowIBAAKCAQEA7MIIEowIBAAKCAQEA7abc/def+ghi";
        for torn in [
            format!("{begin}\n{line}\n{line}\nabc=\n"),
            format!("{begin}\r\nDEK-Info: AES\r\n\r\n{line}\r\n"),
            format!("     1\t{begin}\n     2\t{line}\n"),
            format!("KEY=x '{begin}\\n{line}\\nabc=\\n'\n"),
        ] {
            let shown = redacted(&[format!("{torn}$ {evil}").as_bytes()]);
            assert!(!shown.contains("MII") && !shown.contains("abc="), "{shown}");
            assert!(shown.contains(&format!("$ {evil}")), "{shown}");
        }
        // One that goes on and on.
        let endless = format!("{begin}\n{}", format!("{line}\n").repeat(1000));
        let shown = redacted(&endless.as_bytes().chunks(500).collect::<Vec<_>>());
        assert!(shown.starts_with("[redacted:private-key 16"), "{shown}");
        assert!(shown.len() > endless.len() - 17_000);
    }

    #[test]
    fn a_pattern_of_the_users_is_checked() {
        assert!(Patterns::with(["("]).is_err());
        assert!(Patterns::with(["x*"]).is_err());
        let patterns = Patterns::with([r"order-(?P<secret>\d+)"]).unwrap();
        assert_eq!(
            patterns.text("order-1234."),
            "order-[redacted:configured-1]."
        );
    }

    #[test]
    fn pieces_keep_their_times() {
        let mut redactor = Redactor::new(Patterns::default());
        let mut out = Vec::new();
        for (time, piece) in [(1, "one\ntw"), (2, "o AKIAIOSF"), (3, "ODNN7EXAMPLE x\n")] {
            redactor.feed(piece.as_bytes(), time, &mut |time, bytes| {
                out.push((time, String::from_utf8(bytes.to_vec()).unwrap()));
            });
        }
        let expected = [
            (1, "one\n"),
            (1, "tw"),
            (2, "o [redacted:aws-key-id]"),
            (3, " x\n"),
        ];
        assert_eq!(out, expected.map(|(time, text)| (time, text.to_owned())));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_cut_lets_a_secret_out(
            before in "[ -~\n]{0,900}", after in "[ -~]{0,5000}",
            which in 0..5usize, size in 1..700usize,
        ) {
            let secret = [
                "AKIAIOSFODNN7EXAMPLE", "hunter2hunter2", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc",
                "MIIEowIBAAKCAQEA7", "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
            ][which];
            let around = match which {
                1 => format!(" DB_PASSWORD={secret} "),
                3 => format!("\n{KEY}\n"),
                _ => format!(" {secret} "),
            };
            let text = format!("{before}{around}{after}");
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let shown = redacted(&pieces);
            prop_assert!(!shown.contains(secret), "{shown}");
        }

        #[test]
        fn without_secrets_every_byte_passes(pieces in prop::collection::vec("[a-z \n\x1b\\[0-9;]{0,200}", 0..20)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            let whole = String::from_utf8(pieces.concat()).unwrap();
            prop_assume!(Patterns::default().find(whole.as_bytes(), true).is_empty());
            prop_assert_eq!(redacted(&pieces), whole);
        }
    }
}
