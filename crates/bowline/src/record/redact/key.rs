//! Private keys in PEM. They have many lines, so what belongs to one is bounded: a beginning alone hides little.

use regex::bytes::Regex;

/// What the mark in a recording calls them.
pub(super) const NAME: &str = "private-key";
/// RSA with 16,384 bits has 12.5 KiB.
const LONGEST: usize = 16 * 1024;

const BEGIN: &str = r"-----BEGIN [A-Z0-9 ]{0,64}PRIVATE KEY(?: BLOCK)?-----";
const END: &str = r"-----END [A-Z0-9 ]{0,64}PRIVATE KEY(?: BLOCK)?-----";
/// What a key without an end has: its headers, lines of base64 with little before them (a number, a file's name), and
/// one last shorter line. Ends of lines may be written out, as in JSON.
const BODY: &str = r#"\A(?:(?:\s|\\[nr])+(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset):[^\r\n]*)*(?:(?:(?:\s|\\[nr])+(?:[^\r\n]{0,32}[^\r\nA-Za-z0-9+/=])?[A-Za-z0-9+/]{24,}={0,2})+(?:(?P<last>(?:\s|\\[nr])+[A-Za-z0-9+/]{1,23}={0,2})(?:["'\\\s]|\z))?)?"#;

/// Finds private keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    begin: Regex,
    end: Regex,
    body: Regex,
}

/// Where one stands.
pub(super) struct Key {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Its end may still come.
    pub(super) open: bool,
}

impl Keys {
    pub(super) fn new() -> Self {
        let compile = |pattern| super::compile(pattern).expect("these are tried by a test");
        Self {
            begin: compile(BEGIN),
            end: compile(END),
            body: compile(BODY),
        }
    }

    /// Those in `bytes`, behind which more may come unless they are all.
    pub(super) fn find(&self, bytes: &[u8], is_all: bool) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut next = self.begin.find(bytes);
        while let Some(begin) = next {
            next = self.begin.find_at(bytes, begin.end());
            let until = next.map_or(bytes.len(), |next| next.start());
            let body = &bytes[begin.end()..until];
            let near = &body[..body.len().min(LONGEST)];
            let (length, open) = match self.end.find(near) {
                Some(end) => (end.end(), false),
                None if next.is_none() && body.len() < LONGEST && !is_all => (body.len(), true),
                None => (self.shaped(near), false),
            };
            keys.push(Key {
                from: begin.start(),
                to: begin.end() + length,
                open,
            });
        }
        keys
    }

    /// How much of `body` looks like a key's.
    fn shaped(&self, body: &[u8]) -> usize {
        let Some(found) = self.body.captures(body) else {
            return 0;
        };
        // Without the last line the match is the part that counts; with it there is one byte too many.
        let last = found.name("last").map(|last| last.end());
        last.or_else(|| found.get(0).map(|all| all.end()))
            .unwrap_or_default()
    }
}
