//! The stock agent's filter for output, with its known damage.
//!
//! Observed on the real agent and confirmed by running its code (data-channel specification §10.4): valid
//! characters and lone invalid bytes pass, but a genuine U+FFFD loses its last two bytes, and an invalid byte
//! within the last three of a chunk holds the rest back until more output comes, or for ever.

/// Filters chunks of output one after the other.
#[derive(Debug, Default)]
pub(crate) struct Utf8Filter {
    held: Vec<u8>,
}

impl Utf8Filter {
    /// What the agent sends of `held back + chunk`.
    pub(crate) fn pass(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        let mut sent = Vec::with_capacity(self.held.len());
        let mut rest = self.held.as_slice();
        while let Some(&first) = rest.first() {
            // The filter takes a genuine U+FFFD for a decoding error: it copies one byte of it and steps over three.
            let (character, step) = match first_character(rest) {
                Some("\u{fffd}") => (None, 3),
                Some(character) => (Some(character), character.len()),
                None => (None, 1),
            };
            match character {
                Some(character) => sent.extend_from_slice(character.as_bytes()),
                None if rest.len() < 4 => break,
                None => sent.push(first),
            }
            rest = &rest[step..];
        }
        self.held = rest.to_vec();
        sent
    }
}

fn first_character(bytes: &[u8]) -> Option<&str> {
    (1..=bytes.len().min(4)).find_map(|length| std::str::from_utf8(&bytes[..length]).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_specification() {
        for (chunks, sent) in [
            (vec![&b"a\xffbcdef"[..]], &b"a\xffbcdef"[..]),
            (vec![b"\xe9"], b""),
            (vec![b"abc\xffde"], b"abc"),
            (vec![b"abc\xe2\x82", b"\xacd"], b"abc\xe2\x82\xacd"),
            (vec![b"a\xed\xa0\x80bcdef"], b"a\xed\xa0\x80bcdef"),
            (vec![b"a\xc0\xafbcdef"], b"a\xc0\xafbcdef"),
            (vec![b"x\xef\xbf\xbdyz"], b"x\xefyz"),
        ] {
            let mut filter = Utf8Filter::default();
            let got: Vec<u8> = chunks.iter().flat_map(|chunk| filter.pass(chunk)).collect();
            assert_eq!(got, sent, "{chunks:?}");
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(Utf8Filter::default().pass(&all), all[..253]);
    }
}
