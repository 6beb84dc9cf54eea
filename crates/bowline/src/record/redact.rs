//! Secrets out of recordings, by pattern. Pure: bytes in, bytes out.
//!
//! A pattern sees what a terminal shows: escape sequences between two letters do not hide a word. Output comes in
//! pieces of any size, so the last, unfinished line is kept back until it is whole or long enough that what begins in
//! its front part would have been recognised. The limits of all this are in `docs/reference/recording.md`.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

/// A line without an end is kept back up to here; terminal programs write without newlines.
const LINE: usize = 4096;
/// Then so much of its end still is: every secret is recognised by so many of its first bytes.
const OVERLAP: usize = 1024;
/// A secret that goes on for longer is cut here, and the rest of it is dropped as well.
const LONGEST: usize = 64 * 1024;
/// Where the end of a longer one is looked for.
const END: &[u8] = b"-----END ";

/// What is usual: name and pattern. A group that begins with `secret` is what is taken out, else all that matches.
const USUAL: [(&str, &str); 9] = [
    (
        "private-key",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    (
        "aws-key-id",
        r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    ),
    (
        "url-password",
        r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@]{0,256}:(?P<secret>[^\s/@]+)@",
    ),
    (
        "authorization",
        r"(?i)\b(?:bearer|basic)[ \t]+(?P<secret>[A-Za-z0-9._~+/-]{12,}=*)",
    ),
    (
        "jwt",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
    ),
    (
        "token",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|[sr]k_live_[A-Za-z0-9]{10,}|npm_[A-Za-z0-9]{30,}|AIza[A-Za-z0-9_-]{30,})",
    ),
    (
        "assignment",
        r#"(?i)[\w.-]*(?:passwo?r?d|passphrase|secret|token|api_?-?key|access_?-?key|credential)[\w.-]{0,64}(?:\\?["'])?[ \t]{0,8}(?:=>|:=|=|:)[ \t]{0,8}(?:\\?"(?P<secret1>[^"\r\n\\]+)|'(?P<secret2>[^'\r\n]+)|(?P<secret3>[^\s"',;&\\\x07\x1b]{3,}))"#,
    ),
    (
        "option",
        r#"(?i)(?:^|\s)--?[\w-]*(?:passwo?r?d|passphrase|secret|token|api-?key)[ \t]+["']?(?P<secret>[^\s"'\x07\x1b-][^\s"'\x07\x1b]*)"#,
    ),
    (
        // PGPASSWORD and its like are assignments; this is curl's and mysql's way.
        "user-option",
        r#"(?:^|\s)-u[ \t]{0,4}["']?[^\s:"']{1,256}:(?P<secret>[^\s"']+)"#,
    ),
];

/// What is taken out of a recording.
#[derive(Clone, Debug)]
pub struct Patterns {
    patterns: Vec<(String, Regex)>,
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

impl Default for Patterns {
    fn default() -> Self {
        Self {
            patterns: USUAL
                .iter()
                .map(|(name, pattern)| {
                    let regex = compile(pattern).expect("the usual patterns are tried by a test");
                    ((*name).to_owned(), regex)
                })
                .collect(),
        }
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
        self.patterns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
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

    /// Words of a command: also what follows `--password`.
    pub(super) fn argv(&self, argv: &[String]) -> Vec<String> {
        let mut before = "";
        let mut words = Vec::new();
        for word in argv {
            // The pattern for options sees both words.
            let pair = format!("{before} {word}");
            let redacted = self.text(&pair);
            let hidden = before.starts_with('-') && !redacted.ends_with(word.as_str());
            words.push(match redacted.strip_prefix(&format!("{before} ")) {
                Some(rest) if hidden => rest.to_owned(),
                _ => self.text(word),
            });
            before = word;
        }
        words
    }

    /// All texts of a value.
    pub(super) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| (name.clone(), self.value(member)))
                .collect(),
            other => other.clone(),
        }
    }

    /// What is to be taken out of `raw`, in order and without overlaps, with the pattern's number.
    fn find(&self, raw: &[u8]) -> Vec<Hit> {
        let shown = Shown::of(raw);
        let mut hits = Vec::new();
        self.find_in(&shown, &mut hits);
        if !shown.places.is_empty() {
            // Also within what is not shown: a title may have a whole command in it.
            self.find_in(&Shown::plain(raw), &mut hits);
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
}

impl Patterns {
    fn find_in(&self, shown: &Shown, hits: &mut Vec<Hit>) {
        for (pattern, (_, regex)) in self.patterns.iter().enumerate() {
            if regex.captures_len() == 1 {
                hits.extend(regex.find_iter(&shown.bytes).map(|found| Hit {
                    from: shown.raw(found.start()),
                    to: shown.raw_end(found.end()),
                    begins: shown.raw(found.start()),
                    pattern,
                    open: found.end() == shown.bytes.len(),
                }));
                continue;
            }
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

/// What a terminal shows of some bytes, and where that stands in them.
struct Shown {
    bytes: Vec<u8>,
    /// Where each shown byte stands; empty if everywhere the same place.
    places: Vec<usize>,
    length: usize,
}

impl Shown {
    fn plain(raw: &[u8]) -> Self {
        Self {
            bytes: raw.to_vec(),
            places: Vec::new(),
            length: raw.len(),
        }
    }

    fn of(raw: &[u8]) -> Self {
        if !raw.contains(&0x1b) {
            return Self::plain(raw);
        }
        let mut shown = Self {
            bytes: Vec::with_capacity(raw.len()),
            places: Vec::with_capacity(raw.len()),
            length: raw.len(),
        };
        let mut at = 0;
        while let Some(&byte) = raw.get(at) {
            if byte == 0x1b {
                let sequence = &raw[at..at + escape_length(&raw[at..])];
                if sequence.get(1) == Some(&b'[')
                    && sequence.last().is_some_and(|last| b"Hfd".contains(last))
                {
                    // What comes next stands elsewhere on the screen.
                    shown.bytes.push(b'\n');
                    shown.places.push(at);
                }
                at += sequence.len();
                continue;
            }
            shown.bytes.push(byte);
            shown.places.push(at);
            at += 1;
        }
        shown
    }

    fn raw(&self, at: usize) -> usize {
        if self.places.is_empty() {
            return at.min(self.length);
        }
        self.places.get(at).copied().unwrap_or(self.length)
    }

    /// Behind the last byte of what ends at `at`.
    fn raw_end(&self, at: usize) -> usize {
        match at.checked_sub(1) {
            Some(last) => (self.raw(last) + 1).min(self.length),
            None => 0,
        }
    }
}

/// How long the escape sequence is that begins here; an unfinished one is all there is.
fn escape_length(raw: &[u8]) -> usize {
    let rest = raw.get(2..).unwrap_or_default();
    let body = match raw.get(1) {
        // Parameters, then one final byte.
        Some(b'[') => rest.iter().position(|byte| (0x40..=0x7e).contains(byte)),
        // A text, up to BEL or ESC \.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let end = rest.iter().position(|byte| [0x07, 0x1b].contains(byte));
            end.map(|end| end + usize::from(rest.get(end) == Some(&0x1b)))
        }
        Some(b'(' | b')' | b'*' | b'+' | b'#' | b'%') => Some(0),
        Some(_) => return 2,
        None => return 1,
    };
    body.map_or(raw.len(), |end| end + 3).min(raw.len())
}

/// The control sequences within a secret: without them the rest would be shown in another place or colour.
fn controls(secret: &[u8], text: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(found) = secret[at..].iter().position(|byte| *byte == 0x1b) {
        let rest = &secret[at + found..];
        let length = escape_length(rest);
        if rest.get(1) == Some(&b'[') {
            text.extend_from_slice(&rest[..length]);
        }
        at += found + length;
    }
}

/// What is dropped because a secret was longer than is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropping {
    Nothing,
    /// Up to a space.
    Word,
    /// Up to the end of a block.
    Block,
}

/// One stream, whose pieces come with a time each.
#[derive(Debug)]
pub(super) struct Redactor {
    patterns: Patterns,
    held: Vec<u8>,
    /// Lengths and times of the pieces in `held`.
    pieces: Vec<(usize, u64)>,
    dropping: Dropping,
}

impl Redactor {
    pub(super) fn new(patterns: Patterns) -> Self {
        Self {
            patterns,
            held: Vec::new(),
            pieces: Vec::new(),
            dropping: Dropping::Nothing,
        }
    }

    /// Takes a piece and gives what is safe, with the time at which it came.
    pub(super) fn feed(&mut self, piece: &[u8], time: u64, out: &mut dyn FnMut(u64, &[u8])) {
        for part in piece.chunks(LONGEST / 2) {
            self.held.extend_from_slice(part);
            self.pieces.push((part.len(), time));
            self.drop_rest();
            if self.dropping == Dropping::Nothing {
                self.give(false, out);
            }
        }
    }

    /// The end: all that was kept back.
    pub(super) fn finish(&mut self, out: &mut dyn FnMut(u64, &[u8])) {
        if self.dropping != Dropping::Nothing {
            self.held.clear();
            self.pieces.clear();
        }
        self.give(true, out);
    }

    fn give(&mut self, is_end: bool, out: &mut dyn FnMut(u64, &[u8])) {
        let mut cut = match is_end {
            true => self.held.len(),
            false => {
                let line = self.held.iter().rposition(|byte| *byte == b'\n');
                let line = line.map_or(0, |at| at + 1);
                let rest = self.held.len() - line;
                match rest > LINE {
                    true => self.held.len() - OVERLAP,
                    false => line,
                }
            }
        };
        if cut == 0 {
            return;
        }
        let hits = self.patterns.find(&self.held);
        if !is_end {
            for hit in hits.iter().rev() {
                let open = hit.open || hit.to == self.held.len();
                if hit.begins < cut && (hit.to > cut || open) {
                    cut = hit.begins;
                }
            }
            if cut == 0 && self.held.len() >= LONGEST {
                let Some(hit) = hits.first() else { return };
                let block = self
                    .patterns
                    .patterns
                    .get(hit.pattern)
                    .is_some_and(|(name, _)| name == "private-key");
                self.dropping = if block {
                    Dropping::Block
                } else {
                    Dropping::Word
                };
                // The hit's own end may lie before the end of what is held; then it is no longer open.
                if hit.to < self.held.len() && !hit.open {
                    self.dropping = Dropping::Nothing;
                    cut = hit.to;
                } else {
                    cut = self.held.len();
                }
            }
        }
        self.emit(cut, &hits, out);
    }

    /// Gives the first `cut` bytes without their secrets.
    fn emit(&mut self, cut: usize, hits: &[Hit], out: &mut dyn FnMut(u64, &[u8])) {
        let mut hits = hits.iter().filter(|hit| hit.from < cut).peekable();
        let mut at = 0;
        let mut from = 0;
        let mut used = 0;
        for (length, time) in &mut self.pieces {
            let end = (from + *length).min(cut);
            let mut text = Vec::new();
            while at < end {
                match hits.peek() {
                    Some(hit) if at >= hit.from => {
                        let name = self.patterns.patterns.get(hit.pattern);
                        let name = name.map_or("secret", |(name, _)| name);
                        text.extend_from_slice(format!("[redacted:{name}]").as_bytes());
                        controls(&self.held[hit.from..hit.to], &mut text);
                        at = hit.to.max(at);
                        hits.next();
                    }
                    Some(hit) => {
                        let until = hit.from.min(end);
                        text.extend_from_slice(&self.held[at..until]);
                        at = until;
                    }
                    None => {
                        text.extend_from_slice(&self.held[at..end]);
                        at = end;
                    }
                }
            }
            if !text.is_empty() {
                out(*time, &text);
            }
            if from + *length <= cut {
                from += *length;
                used += 1;
            } else {
                *length -= cut - from;
                break;
            }
        }
        self.pieces.drain(..used);
        self.held.drain(..cut);
    }

    fn drop_rest(&mut self) {
        let end = match self.dropping {
            Dropping::Nothing => return,
            Dropping::Word => self.held.iter().position(u8::is_ascii_whitespace),
            Dropping::Block => self
                .held
                .windows(END.len())
                .position(|window| window == END)
                .map(|at| {
                    let line = self.held[at..].iter().position(|byte| *byte == b'\n');
                    line.map_or(self.held.len(), |end| at + end)
                }),
        };
        let gone = match end {
            Some(end) => {
                self.dropping = Dropping::Nothing;
                end
            }
            // The mark of the end may be cut in two.
            None => self.held.len().saturating_sub(END.len()),
        };
        self.forget(gone);
    }

    fn forget(&mut self, count: usize) {
        self.held.drain(..count);
        let mut left = count;
        self.pieces.retain_mut(|(length, _)| {
            let gone = left.min(*length);
            left -= gone;
            *length -= gone;
            *length > 0
        });
    }
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
    fn what_follows_an_option_is_its_value() {
        let argv = [
            "psql",
            "--password",
            "hunter2",
            "-h",
            "db",
            "PGPASSWORD=x1y2z3",
        ];
        let argv: Vec<String> = argv.map(str::to_owned).into();
        assert_eq!(
            Patterns::default().argv(&argv),
            [
                "psql",
                "--password",
                "[redacted:option]",
                "-h",
                "db",
                "PGPASSWORD=[redacted:assignment]"
            ]
        );
    }

    #[test]
    fn secrets_without_an_end_are_dropped_to_their_end() {
        let long = format!(
            "token=eyJ{}{} after\n",
            "a".repeat(100_000),
            "b".repeat(100_000)
        );
        let shown = redacted(&long.as_bytes().chunks(7000).collect::<Vec<_>>());
        assert!(shown.len() < 100 && shown.ends_with(" after\n"), "{shown}");
        let key = format!(
            "x\n-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\nafter\n",
            "QUJD\n".repeat(50_000)
        );
        let shown = redacted(&key.as_bytes().chunks(9000).collect::<Vec<_>>());
        assert_eq!(shown, "x\n[redacted:private-key]\nafter\n");
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
            prop_assume!(Patterns::default().find(whole.as_bytes()).is_empty());
            prop_assert_eq!(redacted(&pieces), whole);
        }
    }
}
