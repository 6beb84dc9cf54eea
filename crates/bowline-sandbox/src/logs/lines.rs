//! From a container's bytes to log events: one a line, as the awslogs driver cuts them.

/// The longest event: 256 KiB less the 26 bytes that CloudWatch Logs counts for each. A longer line becomes several.
pub(super) const LONGEST: usize = 262_144 - super::OVERHEAD;

/// The beginning of a line whose end has not arrived yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that end in `bytes`. Empty ones are dropped, as the driver does: an event must have a text.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    self.grow(end, &mut found);
                    found.extend(self.finish());
                }
                None => self.grow(piece, &mut found),
            }
        }
        found
    }

    /// What is left at the end of the output.
    pub(super) fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| text(&rest))
    }

    fn grow(&mut self, bytes: &[u8], found: &mut Vec<String>) {
        self.rest.extend_from_slice(bytes);
        while self.rest.len() > LONGEST {
            let cut = boundary(&self.rest);
            let after = self.rest.split_off(cut);
            found.push(text(&self.rest));
            self.rest = after;
        }
    }
}

/// Where to cut an over-long line: not within a character, if there are characters at all.
fn boundary(bytes: &[u8]) -> usize {
    let continues = |at: &usize| bytes[*at] & 0xc0 == 0x80;
    (LONGEST - 3..=LONGEST)
        .rev()
        .find(|at| !continues(at))
        .unwrap_or(LONGEST)
}

/// Events are JSON: what is no UTF-8 is replaced. It grows, so it may have to be cut once more.
fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if text.len() > LONGEST {
        let cut = text.floor_char_boundary(LONGEST);
        text.truncate(cut);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        let text = "one\n\ntwo\r\n drei ü\nlast";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut found: Vec<String> = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                found.extend(lines.push(piece));
            }
            found.extend(lines.finish());
            assert_eq!(found, ["one", "two\r", " drei ü", "last"], "{size}");
            assert_eq!(lines.finish(), None);
        }
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let line = format!("a{}", "ü".repeat(LONGEST));
        let mut lines = Lines::default();
        let mut found = lines.push(line.as_bytes());
        found.extend(lines.push(b"\n"));
        assert!(found.len() >= 3);
        assert!(found.iter().all(|part| part.len() <= LONGEST));
        assert_eq!(found.concat(), line);
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\xff\n"), ["a\u{fffd}"]);
        let found = lines.push(&vec![0xff; LONGEST + 1]);
        assert!(found.iter().all(|part| part.len() <= LONGEST));
    }
}
