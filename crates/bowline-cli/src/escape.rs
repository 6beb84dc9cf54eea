//! The escapes of a login: `~.` and its like at the beginning of a line. Pure: keys in, what to do out.

use std::str::FromStr;

use bytes::Bytes;

/// The character that begins an escape, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EscapeChar(Option<u8>);

impl Default for EscapeChar {
    fn default() -> Self {
        Self(Some(b'~'))
    }
}

/// Finds escapes in what is typed, however the reads cut it.
#[derive(Clone, Debug)]
pub(crate) struct Escapes {
    escape: Option<u8>,
    state: State,
}

/// What to do with typed keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// For the remote side.
    Send(Bytes),
    /// Leave; what was typed behind it belongs to nobody.
    Leave,
    /// Show [`Escapes::help`].
    Help,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    Middle,
    /// The escape character was typed at the beginning of a line and is held back.
    Held,
}

impl Escapes {
    /// The terminal counts as being at the beginning of a line.
    pub(crate) fn new(escape: EscapeChar) -> Self {
        Self {
            escape: escape.0,
            state: State::LineStart,
        }
    }

    /// Takes a piece of what was typed.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Vec<Typed> {
        let Some(escape) = self.escape else {
            return send(piece.to_vec()).into_iter().collect();
        };
        let (mut done, mut out) = (Vec::new(), Vec::new());
        for &byte in piece {
            let before = self.state;
            self.state = match byte {
                b'\r' | b'\n' => State::LineStart,
                _ => State::Middle,
            };
            match (before, byte) {
                (State::LineStart, _) if byte == escape => self.state = State::Held,
                (State::Held, b'.') => {
                    done.extend(send(out));
                    done.push(Typed::Leave);
                    return done;
                }
                (State::Held, b'?') => {
                    self.state = State::LineStart;
                    done.extend(send(std::mem::take(&mut out)));
                    done.push(Typed::Help);
                }
                (State::Held, _) if byte == escape => out.push(byte),
                (State::Held, _) => out.extend([escape, byte]),
                _ => out.push(byte),
            }
        }
        done.extend(send(out));
        done
    }

    /// What was held back when the input ended.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let held = std::mem::replace(&mut self.state, State::LineStart) == State::Held;
        self.escape
            .filter(|_| held)
            .map(|escape| vec![escape].into())
    }

    /// The text behind `~?`, for a terminal in raw mode.
    pub(crate) fn help(&self) -> String {
        let Some(escape) = self.escape.map(label) else {
            return String::new();
        };
        format!(
            "\r\nAt the beginning of a line:\r\n  {escape}.  leave; the session is ended\r\n  \
             {escape}?  this help\r\n  {escape}{escape}  send one {escape}\r\n"
        )
    }
}

impl EscapeChar {
    /// As it is typed; nothing when there are no escapes.
    pub(crate) fn label(self) -> Option<String> {
        self.0.map(label)
    }
}

/// One ASCII character, `^X` for a control character, or `none`.
impl FromStr for EscapeChar {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let escape = match text.as_bytes() {
            b"none" => return Ok(Self(None)),
            &[escape] => escape,
            [b'^', key @ (b'@'..=b'_' | b'a'..=b'z')] => key.to_ascii_uppercase() - b'@',
            _ => return Err("one ASCII character, ^X for a control character, or none"),
        };
        match escape {
            b'\r' | b'\n' | b'.' | b'?' => {
                Err("Enter, `.` and `?` have another meaning in an escape")
            }
            _ => Ok(Self(Some(escape))),
        }
    }
}

fn label(escape: u8) -> String {
    match escape {
        0..=0x1f => format!("^{}", char::from(escape + b'@')),
        _ => char::from(escape).to_string(),
    }
}

fn send(bytes: Vec<u8>) -> Option<Typed> {
    (!bytes.is_empty()).then(|| Typed::Send(bytes.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is done with these pieces, neighbouring bytes joined; nothing is looked at behind a leave.
    fn typed(pieces: &[&[u8]]) -> Vec<Typed> {
        let mut escapes = Escapes::new("~".parse().unwrap());
        let mut done: Vec<Typed> = Vec::new();
        for piece in pieces {
            for typed in escapes.feed(piece) {
                match (done.last_mut(), typed) {
                    (Some(Typed::Send(before)), Typed::Send(bytes)) => {
                        *before = [&before[..], &bytes[..]].concat().into();
                    }
                    (_, typed) => done.push(typed),
                }
            }
            if done.last() == Some(&Typed::Leave) {
                return done;
            }
        }
        if let Some(held) = escapes.finish() {
            match done.last_mut() {
                Some(Typed::Send(before)) => *before = [&before[..], &held[..]].concat().into(),
                _ => done.push(Typed::Send(held)),
            }
        }
        done
    }

    fn sent(text: &'static str) -> Typed {
        Typed::Send(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn escapes_count_only_at_the_beginning_of_a_line() {
        for (keys, done) in [
            ("~.", vec![Typed::Leave]),
            ("ls\r~.more", vec![sent("ls\r"), Typed::Leave]),
            ("ls\n~.", vec![sent("ls\n"), Typed::Leave]),
            ("a~.", vec![sent("a~.")]),
            ("~~.", vec![sent("~.")]),
            ("~~~.", vec![sent("~~.")]),
            ("~/bin\r", vec![sent("~/bin\r")]),
            ("~\r~.", vec![sent("~\r"), Typed::Leave]),
            ("~?~?x", vec![Typed::Help, Typed::Help, sent("x")]),
            ("~", vec![sent("~")]),
            ("\r~", vec![sent("\r~")]),
            ("", vec![]),
        ] {
            assert_eq!(typed(&[keys.as_bytes()]), done, "{keys:?}");
        }
    }

    #[test]
    fn without_an_escape_character_everything_is_sent() {
        let mut escapes = Escapes::new("none".parse().unwrap());
        assert_eq!(escapes.feed(b"~."), [sent("~.")]);
        assert_eq!(escapes.finish(), None);
        assert_eq!(escapes.help(), "");
    }

    #[test]
    fn escape_characters_are_read_as_people_write_them() {
        for (text, escape) in [
            ("~", Some(b'~')),
            ("^]", Some(0x1d)),
            ("^a", Some(1)),
            ("none", None),
        ] {
            assert_eq!(text.parse(), Ok(EscapeChar(escape)), "{text}");
        }
        for text in ["", "ab", "é", "^M", "^J", ".", "?", "^1"] {
            assert!(text.parse::<EscapeChar>().is_err(), "{text}");
        }
        assert_eq!(EscapeChar::from_str("^]").unwrap().label().unwrap(), "^]");
    }

    /// Few characters, so that escapes are frequent.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b"~~~\r\n.?ax\xe3"[..]), 0..40)
    }

    proptest! {
        #[test]
        fn any_split_does_the_same(keys in keys(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(keys.len() + 1)).collect();
            cuts.extend([0, keys.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &keys[pair[0]..pair[1]]).collect();
            prop_assert_eq!(typed(&pieces), typed(&[&keys]));
        }

        /// Doubling each tilde at the beginning of a line gets any text through.
        #[test]
        fn doubled_tildes_arrive_as_one(text in keys()) {
            let mut doubled = Vec::new();
            let mut start = true;
            for &byte in &text {
                doubled.extend(std::iter::repeat_n(byte, if start && byte == b'~' { 2 } else { 1 }));
                start = matches!(byte, b'\r' | b'\n');
            }
            let expected: Vec<Typed> = send(text).into_iter().collect();
            prop_assert_eq!(typed(&[&doubled]), expected);
        }
    }
}
