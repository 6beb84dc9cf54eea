//! What a terminal shows of bytes: escape sequences between two letters do not hide a word.

/// What a terminal shows of some bytes, and where that stands in them.
pub(super) struct Shown {
    pub(super) bytes: Vec<u8>,
    /// Where each shown byte stands; empty if everywhere the same place.
    places: Vec<usize>,
    length: usize,
}

impl Shown {
    pub(super) fn plain(raw: &[u8]) -> Self {
        Self {
            bytes: raw.to_vec(),
            places: Vec::new(),
            length: raw.len(),
        }
    }

    pub(super) fn of(raw: &[u8]) -> Self {
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

    /// Whether all of it is shown.
    pub(super) fn is_plain(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn raw(&self, at: usize) -> usize {
        if self.places.is_empty() {
            return at.min(self.length);
        }
        self.places.get(at).copied().unwrap_or(self.length)
    }

    /// Behind the last byte of what ends at `at`.
    pub(super) fn raw_end(&self, at: usize) -> usize {
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
pub(super) fn controls(secret: &[u8], text: &mut Vec<u8>) {
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
