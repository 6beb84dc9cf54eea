//! Reading what the framed wrapper prints. Pure: bytes in, items out.

use base64::Engine;
use bytes::Bytes;
use crc::{CRC_32_CKSUM, Crc};

const CKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_CKSUM);

/// Longest line of ours: 900 characters of base64, the mark and a tag. Longer ones are something else.
const LINE_LIMIT: usize = 4096;
/// Longest chunk as text: 61,440 bytes as hex with spaces.
const CHUNK_LIMIT: usize = 61_440 * 4;

/// One of the command's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Stdout,
    Stderr,
}

/// How the wrapper reads pieces of stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A length, a newline, base64.
    Base64,
    /// A line for `printf %b`.
    Escaped,
}

/// Something the wrapper said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The command is about to start.
    Ready {
        /// The terminal is in raw mode without echo: stdin can be sent.
        terminal: bool,
        /// How pieces of stdin are to be sent.
        input: Input,
    },
    /// The image has no tool to encode output with; nothing was run.
    NoEncoder,
    /// Bytes of the command, checked.
    Chunk(Output, Bytes),
    /// The wrapper wants a piece of stdin.
    Want,
    /// The command's exit status as the shell gives it.
    Status(i64),
    /// Nothing follows, and nothing is missing.
    Done,
    /// What a program wrote to the terminal past the wrapper.
    Stray(Bytes),
}

/// What is wrong with the wrapper's lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("chunk {number} of {stream} arrived damaged")]
    Chunk { stream: &'static str, number: u64 },
    #[error("{stream} has {expected} chunks, {received} arrived")]
    Missing {
        stream: &'static str,
        expected: u64,
        received: u64,
    },
    #[error("a tool that carries the output failed in the container")]
    Tool,
    #[error("the command ended without its status or the end of its output")]
    NoEnd,
    #[error("a line of the wrapper is unreadable")]
    Line,
    #[error("what is asked for cannot be sent: nothing of it is acknowledged")]
    Asks,
}

/// Takes the wrapper's output in pieces of any size.
pub(super) struct Decoder {
    mark: Vec<u8>,
    line: Vec<u8>,
    /// Strays of one piece: as an item for each line, a megabyte of newlines would become a hundred.
    stray: Vec<u8>,
    hex: bool,
    stdout: Stream,
    stderr: Stream,
    status: Option<i64>,
}

struct Stream {
    name: &'static str,
    /// The lines of the chunk being received, joined by newlines, as the wrapper's cksum saw them.
    text: Vec<u8>,
    chunks: u64,
    ended: bool,
}

impl Decoder {
    /// A decoder for the wrapper that was given `nonce`.
    pub(super) fn new(nonce: &str) -> Self {
        let stream = |name| Stream {
            name,
            text: Vec::new(),
            chunks: 0,
            ended: false,
        };
        Self {
            mark: [b"\x1e", nonce.as_bytes()].concat(),
            line: Vec::new(),
            stray: Vec::new(),
            hex: false,
            stdout: stream("stdout"),
            stderr: stream("stderr"),
            status: None,
        }
    }

    /// Reads a piece of output; items are added to `items`.
    pub(super) fn feed(&mut self, piece: &[u8], items: &mut Vec<Item>) -> Result<(), Damage> {
        let result = self.read(piece, items);
        self.hand_over_stray(items);
        result
    }

    fn read(&mut self, mut piece: &[u8], items: &mut Vec<Item>) -> Result<(), Damage> {
        while let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = piece.split_at(end + 1);
            piece = rest;
            if self.line.is_empty() {
                self.complete(line, items)?;
            } else {
                self.line.extend_from_slice(line);
                let whole = std::mem::take(&mut self.line);
                self.complete(&whole, items)?;
            }
        }
        self.line.extend_from_slice(piece);
        if self.line.len() > LINE_LIMIT {
            // What may be the beginning of a mark stays.
            let keep = self
                .line
                .iter()
                .rposition(|&byte| byte == 0x1e)
                .filter(|&at| at > 0);
            let rest = self.line.split_off(keep.unwrap_or(self.line.len()));
            self.stray.append(&mut self.line);
            self.line = rest;
        }
        Ok(())
    }

    fn hand_over_stray(&mut self, items: &mut Vec<Item>) {
        if !self.stray.is_empty() {
            items.push(Item::Stray(std::mem::take(&mut self.stray).into()));
        }
    }

    fn complete(&mut self, line: &[u8], items: &mut Vec<Item>) -> Result<(), Damage> {
        // A program that writes to the terminal without a newline may stand before a mark.
        let Some(start) = line
            .windows(self.mark.len())
            .position(|window| window == self.mark)
        else {
            self.stray.extend_from_slice(line);
            return Ok(());
        };
        self.stray.extend_from_slice(&line[..start]);
        self.hand_over_stray(items);
        let ours = line[start + self.mark.len()..].trim_ascii_end();
        let (&tag, rest) = ours.split_first().ok_or(Damage::Line)?;
        match tag {
            b'o' => Self::output(&mut self.stdout, Output::Stdout, self.hex, rest, items),
            b'e' => Self::output(&mut self.stderr, Output::Stderr, self.hex, rest, items),
            b'r' => {
                let [encoding, terminal, input] = numbers(rest).ok_or(Damage::Line)?;
                self.hex = encoding == Some(16);
                let input = if input == Some(8) {
                    Input::Escaped
                } else {
                    Input::Base64
                };
                items.push(match encoding {
                    Some(0) => Item::NoEncoder,
                    _ => Item::Ready {
                        terminal: terminal == Some(1),
                        input,
                    },
                });
                Ok(())
            }
            b'f' => Err(Damage::Tool),
            b'w' => {
                items.push(Item::Want);
                Ok(())
            }
            b'x' => {
                let [status] = numbers(rest).ok_or(Damage::Line)?;
                let status =
                    i64::try_from(status.ok_or(Damage::Line)?).map_err(|_| Damage::Line)?;
                self.status = Some(status);
                items.push(Item::Status(status));
                Ok(())
            }
            b'z' if self.stdout.ended && self.stderr.ended && self.status.is_some() => {
                items.push(Item::Done);
                Ok(())
            }
            b'z' => Err(Damage::NoEnd),
            _ => Err(Damage::Line),
        }
    }

    fn output(
        stream: &mut Stream,
        which: Output,
        hex: bool,
        rest: &[u8],
        items: &mut Vec<Item>,
    ) -> Result<(), Damage> {
        match rest.split_first() {
            Some((b'=', check)) => {
                let [number, crc, length] = numbers(check).ok_or(Damage::Line)?;
                stream.chunks += 1;
                let damaged = Damage::Chunk {
                    stream: stream.name,
                    number: stream.chunks,
                };
                let text = std::mem::take(&mut stream.text);
                let right = number == Some(stream.chunks)
                    && length == Some(text.len() as u64)
                    && crc.is_none_or(|crc| crc == u64::from(cksum(&text)));
                let bytes = if right { decode(&text, hex) } else { None }.ok_or(damaged)?;
                items.push(Item::Chunk(which, bytes.into()));
                Ok(())
            }
            Some((b'.', count)) => {
                let [count] = numbers(count).ok_or(Damage::Line)?;
                let expected = count.ok_or(Damage::Line)?;
                stream.ended = true;
                if expected == stream.chunks && stream.text.is_empty() {
                    Ok(())
                } else {
                    Err(Damage::Missing {
                        stream: stream.name,
                        expected,
                        received: stream.chunks,
                    })
                }
            }
            _ => {
                if !stream.text.is_empty() {
                    stream.text.push(b'\n');
                }
                stream.text.extend_from_slice(rest);
                if stream.text.len() > CHUNK_LIMIT {
                    return Err(Damage::Chunk {
                        stream: stream.name,
                        number: stream.chunks + 1,
                    });
                }
                Ok(())
            }
        }
    }
}

/// Exactly `N` numbers with spaces between them; `-` stands for an unknown one.
fn numbers<const N: usize>(text: &[u8]) -> Option<[Option<u64>; N]> {
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let mut numbers = [None; N];
    for number in &mut numbers {
        let word = words.next()?;
        *number = if word == "-" {
            None
        } else {
            Some(word.parse().ok()?)
        };
    }
    words.next().is_none().then_some(numbers)
}

/// The checksum of `cksum(1)`: the length is part of it, low byte first, without leading zeros.
fn cksum(text: &[u8]) -> u32 {
    let mut digest = CKSUM.digest();
    digest.update(text);
    let mut length = text.len();
    while length > 0 {
        #[expect(clippy::cast_possible_truncation, reason = "the low byte is meant")]
        digest.update(&[length as u8]);
        length >>= 8;
    }
    digest.finalize()
}

fn decode(text: &[u8], hex: bool) -> Option<Vec<u8>> {
    let compact: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    if !hex {
        return base64::engine::general_purpose::STANDARD
            .decode(compact)
            .ok();
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, rest) = compact.as_chunks::<2>();
    rest.is_empty().then(|| {
        pairs
            .iter()
            .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?))
            .collect()
    })?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `echo out; echo err >&2; exit 7` as dash printed it.
    const SESSION: &[u8] = b"\x1ekr64 1 64\n\x1ekx7\n\x1ekeZXJyCg==\n\x1eke=1 1168325113 8\n\x1ekob3V0Cg==\n\x1eko=1 2229935227 8\n\x1eke.1\n\x1eko.1\n\x1ekz\n";

    fn items(pieces: &[&[u8]]) -> Result<Vec<Item>, Damage> {
        let (mut decoder, mut items) = (Decoder::new("k"), Vec::new());
        for piece in pieces {
            decoder.feed(piece, &mut items)?;
        }
        Ok(items)
    }

    fn whole() -> Vec<Item> {
        vec![
            Item::Ready {
                terminal: true,
                input: Input::Base64,
            },
            Item::Status(7),
            Item::Chunk(Output::Stderr, Bytes::from_static(b"err\n")),
            Item::Chunk(Output::Stdout, Bytes::from_static(b"out\n")),
            Item::Done,
        ]
    }

    #[test]
    fn a_recorded_session_is_read() {
        assert_eq!(items(&[SESSION]).unwrap(), whole());
    }

    #[test]
    fn hex_with_spaces_is_read_and_a_missing_cksum_is_no_damage() {
        let session = b"\x1ekr16 0 8\n\x1eko 6f 75 74 0a\n\x1eko=1 - 12\n";
        let expected = [
            Item::Ready {
                terminal: false,
                input: Input::Escaped,
            },
            Item::Chunk(Output::Stdout, Bytes::from_static(b"out\n")),
        ];
        assert_eq!(items(&[session]).unwrap(), expected);
    }

    #[test]
    fn a_flipped_or_missing_line_is_found() {
        let text = String::from_utf8(SESSION.to_vec()).unwrap();
        assert!(items(&[text.replace("ob3V0", "ob3V1").as_bytes()]).is_err());
        for missing in [
            "\x1ekob3V0Cg==\n",
            "\x1eko=1 2229935227 8\n",
            "\x1eko.1\n",
            "\x1ekx7\n",
        ] {
            assert!(
                items(&[text.replace(missing, "").as_bytes()]).is_err(),
                "{missing:?}"
            );
        }
    }

    #[test]
    fn what_is_not_ours_is_passed_on() {
        let stray = items(&[b"Password: \x1ekr64 1 64\nplain\r\n\x1eother\n"]).unwrap();
        let expected = [
            Item::Stray(Bytes::from_static(b"Password: ")),
            Item::Ready {
                terminal: true,
                input: Input::Base64,
            },
            Item::Stray(Bytes::from_static(b"plain\r\n\x1eother\n")),
        ];
        assert_eq!(stray, expected);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(cuts in prop::collection::vec(0..SESSION.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, SESSION.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &SESSION[pair[0]..pair[1]]).collect();
            prop_assert_eq!(items(&pieces).unwrap(), whole());
        }

        #[test]
        fn nothing_makes_it_panic(noise in prop::collection::vec(prop_oneof![
            any::<Vec<u8>>(), "\x1ek[oerwxz][=. 0-9A-Za-z+/-]{0,20}\n".prop_map(String::into_bytes),
        ], 0..20)) {
            let pieces: Vec<&[u8]> = noise.iter().map(Vec::as_slice).collect();
            let _ = items(&pieces);
        }
    }
}
