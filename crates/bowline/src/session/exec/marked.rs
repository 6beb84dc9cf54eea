//! Reading what the tty wrapper prints: everything is the command's but two marks. Pure: bytes in, items out.

use bytes::Bytes;

const RS: u8 = 0x1e;
/// A mark is never longer: RS, nonce, letter, three digits, RS.
const MARK_LIMIT: usize = 64;

/// Something in the terminal's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The command is about to start.
    Ready,
    /// Bytes of the terminal.
    Bytes(Bytes),
    /// The command's exit status as the shell gives it; nothing follows.
    Status(i64),
}

/// Takes the terminal's output in pieces of any size.
pub(super) struct Scanner {
    mark: Vec<u8>,
    /// What may be the beginning of a mark.
    held: Vec<u8>,
}

impl Scanner {
    /// A scanner for the wrapper that was given `nonce`.
    pub(super) fn new(nonce: &str) -> Self {
        Self {
            mark: [&[RS], nonce.as_bytes()].concat(),
            held: Vec::new(),
        }
    }

    /// Reads a piece of output; items are added to `items`.
    pub(super) fn feed(&mut self, piece: &[u8], items: &mut Vec<Item>) {
        if self.held.is_empty() && !piece.contains(&RS) {
            items.push(Item::Bytes(Bytes::copy_from_slice(piece)));
            return;
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(piece);
        let mut rest = all.as_slice();
        while let Some(start) = rest.iter().position(|&byte| byte == RS) {
            let (before, candidate) = rest.split_at(start);
            match self.read(candidate) {
                Mark::Incomplete => {
                    push(items, before);
                    self.held = candidate.to_vec();
                    return;
                }
                Mark::Complete(item, length) => {
                    push(items, before);
                    items.push(item);
                    rest = &candidate[length..];
                }
                Mark::None => {
                    push(items, &rest[..=start]);
                    rest = &rest[start + 1..];
                }
            }
        }
        push(items, rest);
    }

    /// What was held back when the output ended.
    pub(super) fn finish(&mut self, items: &mut Vec<Item>) {
        push(items, &std::mem::take(&mut self.held));
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
        let Some(end) = body.iter().position(|&byte| byte == RS) else {
            return if body.len() > MARK_LIMIT {
                Mark::None
            } else {
                Mark::Incomplete
            };
        };
        let item = match body[..end].split_first() {
            Some((b'r', [])) => Item::Ready,
            Some((b'x', status)) => match std::str::from_utf8(status)
                .ok()
                .and_then(|text| text.parse().ok())
            {
                Some(status) => Item::Status(status),
                None => return Mark::None,
            },
            _ => return Mark::None,
        };
        Mark::Complete(item, self.mark.len() + end + 1)
    }
}

enum Mark {
    None,
    Incomplete,
    Complete(Item, usize),
}

fn push(items: &mut Vec<Item>, bytes: &[u8]) {
    if !bytes.is_empty() {
        items.push(Item::Bytes(Bytes::copy_from_slice(bytes)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESSION: &[u8] = b"\x1ekey\x1ekeyr\x1ehello\x1e world\r\n\x1ekeyx143\x1e";

    /// The items, neighbouring bytes joined.
    fn read(pieces: &[&[u8]]) -> (Vec<u8>, Vec<Item>) {
        let (mut scanner, mut items) = (Scanner::new("key"), Vec::new());
        for piece in pieces {
            scanner.feed(piece, &mut items);
        }
        scanner.finish(&mut items);
        let (bytes, marks): (Vec<_>, Vec<_>) = items
            .into_iter()
            .partition(|item| matches!(item, Item::Bytes(_)));
        let bytes = bytes.into_iter().flat_map(|item| match item {
            Item::Bytes(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        });
        (bytes.collect(), marks)
    }

    #[test]
    fn marks_are_stripped_and_all_else_is_kept() {
        let (bytes, marks) = read(&[SESSION]);
        assert_eq!(bytes, b"\x1ekeyhello\x1e world\r\n");
        assert_eq!(marks, [Item::Ready, Item::Status(143)]);
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
            let (bytes, marks) = read(&pieces);
            prop_assert_eq!(bytes, pieces.concat());
            prop_assert!(marks.is_empty());
        }
    }
}
