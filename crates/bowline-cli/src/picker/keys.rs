//! From the bytes of a terminal to what they ask of the picker.
//!
//! The bytes are taken one by one, so that whatever is typed behind Enter is left for the shell.

/// A key, by its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Typed or pasted.
    Text(String),
    Enter,
    /// Escape, Ctrl-C, Ctrl-G.
    Leave,
    /// Ctrl-D.
    LeaveIfEmpty,
    /// Tab; going up with Shift.
    Toggle(bool),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Left,
    Right,
    CaretHome,
    CaretEnd,
    Backspace,
    Delete,
    DeleteWord,
    DeleteToStart,
    /// Ctrl-L.
    Redraw,
}

/// Takes a terminal's input apart.
#[derive(Debug, Default)]
pub(super) struct Keys {
    held: Vec<u8>,
    /// What has been pasted so far, while a paste goes on.
    pasted: Option<Vec<u8>>,
}

impl Keys {
    /// Takes one byte; a key, if it completes one.
    pub(super) fn feed(&mut self, byte: u8) -> Option<Key> {
        if let Some(pasted) = &mut self.pasted {
            pasted.push(byte);
            if !pasted.ends_with(PASTE_END) && pasted.len() < LONGEST_PASTE {
                return None;
            }
            let pasted = self.pasted.take()?;
            let text = String::from_utf8_lossy(pasted.strip_suffix(PASTE_END).unwrap_or(&pasted));
            let one_line = text.replace(['\r', '\n', '\t'], " ");
            let text: String = one_line.chars().filter(|next| !next.is_control()).collect();
            return Some(Key::Text(text.trim().to_owned()));
        }
        self.held.push(byte);
        match self.held[..] {
            [0x1b] => None,
            [0x1b, b'[' | b'O'] => None,
            [0x1b, b'[', .., last] if !(0x40..=0x7e).contains(&last) => self.bounded(),
            [0x1b, b'[' | b'O', ..] => self.sequence(),
            // Alt with a key, of which only this one is known; and Escape before another key.
            [0x1b, 0x7f | 0x08] => self.done(Key::DeleteWord),
            [0x1b, _] => self.forget(),
            [byte @ (..0x20 | 0x7f)] => self.control(byte),
            _ => self.character(),
        }
    }

    /// Whether an Escape waits for what may follow. If nothing does, it was the key.
    pub(super) fn is_undecided(&self) -> bool {
        self.held == [0x1b]
    }

    /// Nothing followed the Escape.
    pub(super) fn decide(&mut self) -> Key {
        self.held.clear();
        Key::Leave
    }

    fn control(&mut self, byte: u8) -> Option<Key> {
        let key = match byte {
            b'\r' => Key::Enter,
            b'\t' => Key::Toggle(true),
            0x7f | 0x08 => Key::Backspace,
            byte => match byte | 0x60 {
                b'a' => Key::CaretHome,
                b'b' => Key::Left,
                b'c' | b'g' => Key::Leave,
                b'd' => Key::LeaveIfEmpty,
                b'e' => Key::CaretEnd,
                b'f' => Key::Right,
                b'j' | b'n' => Key::Down,
                b'k' | b'p' => Key::Up,
                b'l' => Key::Redraw,
                b'u' => Key::DeleteToStart,
                b'w' => Key::DeleteWord,
                _ => return self.forget(),
            },
        };
        self.done(key)
    }

    fn sequence(&mut self) -> Option<Key> {
        let key = match &self.held[2..] {
            b"A" => Key::Up,
            b"B" => Key::Down,
            b"C" => Key::Right,
            b"D" => Key::Left,
            b"H" | b"1~" | b"7~" => Key::Home,
            b"F" | b"4~" | b"8~" => Key::End,
            b"3~" => Key::Delete,
            b"5~" => Key::PageUp,
            b"6~" => Key::PageDown,
            b"Z" => Key::Toggle(false),
            b"200~" => {
                self.pasted = Some(Vec::new());
                return self.forget();
            }
            _ => return self.forget(),
        };
        self.done(key)
    }

    fn character(&mut self) -> Option<Key> {
        match std::str::from_utf8(&self.held) {
            Ok(text) => {
                let text = text.to_owned();
                self.done(Key::Text(text))
            }
            Err(error) if error.error_len().is_some() => self.forget(),
            Err(_) => None,
        }
    }

    /// A sequence longer than any that terminals send is given up.
    fn bounded(&mut self) -> Option<Key> {
        match self.held.len() {
            ..LONGEST_SEQUENCE => None,
            _ => self.forget(),
        }
    }

    fn done(&mut self, key: Key) -> Option<Key> {
        self.held.clear();
        Some(key)
    }

    fn forget(&mut self) -> Option<Key> {
        self.held.clear();
        None
    }
}

const PASTE_END: &[u8] = b"\x1b[201~";
const LONGEST_PASTE: usize = 4096;
const LONGEST_SEQUENCE: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.iter().filter_map(|byte| keys.feed(*byte)).collect()
    }

    #[test]
    fn every_key_is_known_by_its_bytes() {
        let cases: [(&[u8], Key); 30] = [
            (b"w", Key::Text("w".into())),
            ("語".as_bytes(), Key::Text("語".into())),
            (b"\r", Key::Enter),
            (b"\x03", Key::Leave),
            (b"\x04", Key::LeaveIfEmpty),
            (b"\t", Key::Toggle(true)),
            (b"\x1b[Z", Key::Toggle(false)),
            (b"\x1b[A", Key::Up),
            (b"\x1bOA", Key::Up),
            (b"\x10", Key::Up),
            (b"\x0b", Key::Up),
            (b"\x1b[B", Key::Down),
            (b"\x0e", Key::Down),
            (b"\n", Key::Down),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6~", Key::PageDown),
            (b"\x1b[H", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1bOF", Key::End),
            (b"\x1b[4~", Key::End),
            (b"\x1b[C", Key::Right),
            (b"\x02", Key::Left),
            (b"\x01", Key::CaretHome),
            (b"\x05", Key::CaretEnd),
            (b"\x7f", Key::Backspace),
            (b"\x1b[3~", Key::Delete),
            (b"\x17", Key::DeleteWord),
            (b"\x1b\x7f", Key::DeleteWord),
            (b"\x15", Key::DeleteToStart),
            (b"\x0c", Key::Redraw),
        ];
        for (bytes, key) in cases {
            assert_eq!(keys(bytes), [key], "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_swallowed_whole() {
        for bytes in [
            "\x1b[1;5A",
            "\x1b[?1;2c",
            "\x1b[<0;1;1M",
            "\x1bOP",
            "\x1bx",
            "\x00",
        ] {
            let bytes = [bytes.as_bytes(), b"w"].concat();
            assert_eq!(keys(&bytes), [Key::Text("w".into())], "{bytes:?}");
        }
    }

    #[test]
    fn a_paste_is_one_line_of_text_and_never_enter() {
        let pasted = b"\x1b[200~prod/web\r\nrm -rf\x1b[201~\r";
        assert_eq!(
            keys(pasted),
            [Key::Text("prod/web  rm -rf".into()), Key::Enter]
        );
    }

    #[test]
    fn a_lone_escape_is_decided_by_waiting() {
        let mut keys = Keys::default();
        assert_eq!(keys.feed(0x1b), None);
        assert!(keys.is_undecided());
        assert_eq!(keys.decide(), Key::Leave);
        assert!(!keys.is_undecided());
    }

    proptest! {
        #[test]
        fn no_input_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut parser = Keys::default();
            for byte in bytes {
                parser.feed(byte);
                prop_assert!(parser.held.len() <= LONGEST_SEQUENCE);
            }
        }
    }
}
