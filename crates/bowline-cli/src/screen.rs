//! Which modes a remote program has set on the screen, so that a session that breaks off can undo them.
//!
//! `vi` that never gets to say goodbye leaves the alternate screen, a hidden cursor or mouse reports behind, and no
//! `stty` brings those back. Pure: output in, the undoing sequences out.

use std::fmt::Write as _;

/// What is followed: the DEC private mode, and whether a terminal has it set from the start.
const MODES: [(u16, bool); 15] = [
    (1, false),    // application cursor keys
    (7, true),     // wrap at the right margin
    (9, false),    // mouse: X10
    (25, true),    // the cursor is visible
    (1000, false), // mouse: buttons
    (1002, false), // mouse: drags
    (1003, false), // mouse: all movement
    (1004, false), // focus reports
    (1005, false), // mouse coordinates as UTF-8
    (1006, false), // mouse coordinates as SGR
    (1015, false), // mouse coordinates as urxvt has them
    (2004, false), // bracketed paste
    // Leaving the alternate screen comes last: the rest then happens on the screen that was left.
    (47, false),
    (1047, false),
    (1049, false),
];

/// Follows the output of a terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen {
    parser: Parser,
    /// One bit for each of [`MODES`] that differs from the start.
    changed: u16,
    keypad: bool,
    colours: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Parser {
    #[default]
    Text,
    Escape,
    /// Behind `ESC [`.
    Control,
    /// Behind `ESC [ ?`: the number being read and the modes already named.
    Private {
        number: u16,
        named: u16,
    },
}

impl Screen {
    /// Takes a piece of output, cut anywhere.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        for &byte in piece {
            self.parser = match (self.parser, byte) {
                (_, 0x1b) => Parser::Escape,
                (Parser::Escape, b'[') => Parser::Control,
                (Parser::Escape, b'=' | b'>') => {
                    self.keypad = byte == b'=';
                    Parser::Text
                }
                (Parser::Escape, b'c') => {
                    *self = Self::default(); // a full reset
                    Parser::Text
                }
                (Parser::Control, b'?') => Parser::Private {
                    number: 0,
                    named: 0,
                },
                (Parser::Control, b'm') => {
                    self.colours = true;
                    Parser::Text
                }
                (Parser::Control, 0x20..=0x3f) => Parser::Control,
                (Parser::Private { number, named }, b'0'..=b'9') => Parser::Private {
                    number: number
                        .saturating_mul(10)
                        .saturating_add(u16::from(byte - b'0')),
                    named,
                },
                (Parser::Private { number, named }, b';') => Parser::Private {
                    number: 0,
                    named: named | bit(number),
                },
                (Parser::Private { number, named }, b'h' | b'l') => {
                    self.change(named | bit(number), byte == b'h');
                    Parser::Text
                }
                _ => Parser::Text,
            };
        }
    }

    /// What brings a terminal back to where it was, nothing if it never left.
    pub(crate) fn undo(&self) -> String {
        let mut text = String::new();
        if self.keypad {
            text.push_str("\x1b>");
        }
        for (index, (mode, initial)) in MODES.into_iter().enumerate() {
            if self.changed & (1 << index) != 0 {
                let letter = if initial { 'h' } else { 'l' };
                // Writing to a String cannot fail.
                let _ = write!(text, "\x1b[?{mode}{letter}");
            }
        }
        // A break in the middle of coloured text; harmless if there was none.
        if self.colours {
            text.push_str("\x1b[0m");
        }
        text
    }

    fn change(&mut self, named: u16, set: bool) {
        for (index, (_, initial)) in MODES.into_iter().enumerate() {
            let bit = 1 << index;
            if named & bit == 0 {
                continue;
            }
            if set == initial {
                self.changed &= !bit;
            } else {
                self.changed |= bit;
            }
        }
    }
}

fn bit(mode: u16) -> u16 {
    MODES
        .iter()
        .position(|&(known, _)| known == mode)
        .map_or(0, |index| 1 << index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo(pieces: &[&[u8]]) -> String {
        let mut screen = Screen::default();
        for piece in pieces {
            screen.feed(piece);
        }
        screen.undo()
    }

    /// What vim writes at its start and at its end.
    const BEGIN: &[u8] =
        b"\x1b[?1000;1006h\x1b[?1049h\x1b[22;0;0t\x1b[?1h\x1b=\x1b[?2004h\x1b[?25l";
    const END: &[u8] = b"\x1b[?25h\x1b[?2004l\x1b[?1l\x1b>\x1b[?1049l\x1b[?1006;1000l";

    #[test]
    fn what_is_still_set_is_undone_and_the_alternate_screen_last() {
        assert_eq!(
            undo(&[BEGIN]),
            "\x1b>\x1b[?1l\x1b[?25h\x1b[?1000l\x1b[?1006l\x1b[?2004l\x1b[?1049l"
        );
        assert_eq!(undo(&[BEGIN, END]), "");
        assert_eq!(undo(&[b"plain \x1b[1;31mred\x1b[0m"]), "\x1b[0m");
        assert_eq!(undo(&[b"\x1b[?99999999999h\x1b[?h\x1b[2J\x1b[?12$p"]), "");
        assert_eq!(undo(&[b"plain text, no escape"]), "");
    }

    #[test]
    fn any_split_gives_the_same() {
        for cut in 0..BEGIN.len() {
            let (head, tail) = BEGIN.split_at(cut);
            assert_eq!(undo(&[head, tail]), undo(&[BEGIN]), "{cut}");
        }
    }
}
