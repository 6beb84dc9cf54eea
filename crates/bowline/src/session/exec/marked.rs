//! Reading what the tty and plain wrappers print: everything is the command's but a few marks. Pure: bytes in, items
//! out.

use bytes::Bytes;

use super::framed::Output;

const RS: u8 = 0x1e;
/// A mark is never longer: RS, nonce, letter, three digits, RS.
const MARK_LIMIT: usize = 64;

/// Something in the terminal's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The command is about to start.
    Ready,
    /// The wrapper waits for a line before it starts the command.
    Waits,
    /// Bytes of the command.
    Bytes(Output, Bytes),
    /// The terminal is not fit to carry the argv; nothing was run.
    NoTerminal,
    /// The command's exit status as the shell gives it.
    Status(i64),
    /// Nothing follows.
    Done,
}

/// Takes the terminal's output in pieces of any size.
pub(super) struct Scanner {
    mark: Vec<u8>,
    /// What may be the beginning of a mark.
    held: Vec<u8>,
    /// Whose bytes come now.
    output: Output,
}

impl Scanner {
    /// A scanner for the wrapper that was given `nonce`.
    pub(super) fn new(nonce: &str) -> Self {
        Self {
            mark: [&[RS], nonce.as_bytes()].concat(),
            held: Vec::new(),
            output: Output::Stdout,
        }
    }

    /// Reads a piece of output; items are added to `items`.
    pub(super) fn feed(&mut self, piece: &[u8], items: &mut Vec<Item>) {
        if self.held.is_empty() && !piece.contains(&RS) {
            self.push(items, piece);
            return;
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(piece);
        // From here on nothing was pushed yet; what only begins like a mark is not an item of its own.
        let mut rest = all.as_slice();
        let mut looked = 0;
        while let Some(found) = rest[looked..].iter().position(|&byte| byte == RS) {
            let start = looked + found;
            let (before, candidate) = rest.split_at(start);
            match self.read(candidate) {
                Mark::Incomplete => {
                    self.push(items, before);
                    self.held = candidate.to_vec();
                    return;
                }
                Mark::Complete(meaning, length) => {
                    self.push(items, before);
                    match meaning {
                        Meaning::Item(item) => items.push(item),
                        Meaning::Output(output) => self.output = output,
                    }
                    rest = &candidate[length..];
                    looked = 0;
                }
                Mark::None => looked = start + 1,
            }
        }
        self.push(items, rest);
    }

    /// What was held back when the output ended.
    pub(super) fn finish(&mut self, items: &mut Vec<Item>) {
        let held = std::mem::take(&mut self.held);
        self.push(items, &held);
    }

    fn push(&self, items: &mut Vec<Item>, bytes: &[u8]) {
        if !bytes.is_empty() {
            items.push(Item::Bytes(self.output, Bytes::copy_from_slice(bytes)));
        }
    }

    fn read(&self, candidate: &[u8]) -> Mark {
        let common = candidate
            .iter()
            .zip(&self.mark)
            .take_while(|(a, b)| a == b)
            .count();
        if common < self.mark.len() {
            return if common == candidate.len() {
                Mark::Incomplete
            } else {
                Mark::None
            };
        }
        let body = &candidate[self.mark.len()..];
        match body.first() {
            None => return Mark::Incomplete,
            Some(b'e') => {
                return Mark::Complete(Meaning::Output(Output::Stderr), self.mark.len() + 1);
            }
            Some(b'.') => {
                return Mark::Complete(Meaning::Output(Output::Stdout), self.mark.len() + 1);
            }
            Some(_) => {}
        }
        let Some(end) = body.iter().position(|&byte| byte == RS) else {
            return if body.len() > MARK_LIMIT {
                Mark::None
            } else {
                Mark::Incomplete
            };
        };
        let item = match body[..end].split_first() {
            Some((b'r', [])) => Item::Ready,
            Some((b'g', [])) => Item::Waits,
            Some((b'z', [])) => Item::Done,
            Some((b't', [])) => Item::NoTerminal,
            Some((b'x', status)) => match std::str::from_utf8(status)
                .ok()
                .and_then(|text| text.parse().ok())
            {
                Some(status) => Item::Status(status),
                None => return Mark::None,
            },
            _ => return Mark::None,
        };
        Mark::Complete(Meaning::Item(item), self.mark.len() + end + 1)
    }
}

enum Mark {
    None,
    Incomplete,
    Complete(Meaning, usize),
}

enum Meaning {
    Item(Item),
    Output(Output),
}

/// Undoes the stock agent's damage to text: of a genuine U+FFFD (`EF BF BD`) it sends the first byte only. In UTF-8
/// that byte never stands alone, so the other two are put back.
#[derive(Debug, Default)]
pub(super) struct Mender {
    /// The last byte was EF; whether it stands alone shows with the next.
    pending: bool,
}

impl Mender {
    /// The text as it was.
    pub(super) fn mend(&mut self, text: &[u8]) -> Bytes {
        let mut mended = Vec::with_capacity(text.len() + 2);
        for &byte in text {
            if std::mem::take(&mut self.pending) {
                let continued = byte & 0xc0 == 0x80;
                mended.extend_from_slice(if continued { b"\xef" } else { b"\xef\xbf\xbd" });
            }
            if byte == 0xef {
                self.pending = true;
            } else {
                mended.push(byte);
            }
        }
        mended.into()
    }

    /// What was held back when the text ended.
    pub(super) fn finish(&mut self) -> Bytes {
        Bytes::from_static(if std::mem::take(&mut self.pending) {
            b"\xef\xbf\xbd"
        } else {
            b""
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESSION: &[u8] = b"\x1ekey\x1ekeyr\x1ehello\x1e world\r\n\x1ekeyeoops\n\x1ekey.more\x1ekeyx143\x1e\x1ekeyz\x1e";

    /// The bytes of the two outputs, and the marks.
    fn read(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>, Vec<Item>) {
        let (mut scanner, mut items) = (Scanner::new("key"), Vec::new());
        for piece in pieces {
            scanner.feed(piece, &mut items);
        }
        scanner.finish(&mut items);
        let (mut stdout, mut stderr, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Bytes(Output::Stdout, bytes) => stdout.extend_from_slice(&bytes),
                Item::Bytes(Output::Stderr, bytes) => stderr.extend_from_slice(&bytes),
                mark => marks.push(mark),
            }
        }
        (stdout, stderr, marks)
    }

    #[test]
    fn marks_are_stripped_and_all_else_is_kept() {
        let (stdout, stderr, marks) = read(&[SESSION]);
        assert_eq!(stdout, b"\x1ekeyhello\x1e world\r\nmore");
        assert_eq!(stderr, b"oops\n");
        assert_eq!(marks, [Item::Ready, Item::Status(143), Item::Done]);
    }

    #[test]
    fn a_lone_first_byte_is_mended_and_whole_characters_are_left_alone() {
        for (pieces, text) in [
            (vec![&b"a\xefb"[..]], "a\u{fffd}b"),
            (vec![b"a\xef\xbf\xbdb"], "a\u{fffd}b"),
            (vec![b"a\xef", b"\xbc\x81b"], "a\u{ff01}b"),
            (vec![b"a\xef", b"\xef"], "a\u{fffd}\u{fffd}"),
        ] {
            let mut mender = Mender::default();
            let mut mended: Vec<u8> = pieces.iter().flat_map(|piece| mender.mend(piece)).collect();
            mended.extend_from_slice(&mender.finish());
            assert_eq!(String::from_utf8(mended).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(mut cuts in prop::collection::vec(0..SESSION.len(), 0..20)) {
            cuts.extend([0, SESSION.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &SESSION[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[SESSION]));
        }

        #[test]
        fn without_marks_every_byte_passes(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..10)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let (stdout, stderr, marks) = read(&pieces);
            prop_assert_eq!(stdout, pieces.concat());
            prop_assert!(stderr.is_empty() && marks.is_empty());
        }

        #[test]
        fn undamaged_text_is_not_mended(text in any::<String>()) {
            let mut mender = Mender::default();
            let mut mended = mender.mend(text.as_bytes()).to_vec();
            mended.extend_from_slice(&mender.finish());
            prop_assert_eq!(mended, text.into_bytes());
        }
    }
}
