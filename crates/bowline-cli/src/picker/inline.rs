//! Pictures on a few lines of a terminal, below what was there before.
//!
//! Everything is relative to the first of these lines, where the cursor is left: where on the screen that is, is never
//! asked, because the answer would come in between the keys.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Position;
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr;

/// The lines as they are on the terminal.
#[derive(Debug, Default)]
pub(super) struct Inline {
    shown: Vec<String>,
}

impl Inline {
    /// What makes room for so many lines, below the cursor.
    pub(super) fn open(&mut self, height: u16) -> String {
        self.shown = vec![String::new(); usize::from(height)];
        let below = height.saturating_sub(1);
        let mut text = format!("\r{PASTE_ON}{ERASE_BELOW}");
        text.push_str(&"\n".repeat(usize::from(below)));
        up(&mut text, below);
        text
    }

    /// What turns the lines that are shown into these and puts the cursor on the first of them.
    pub(super) fn draw(&mut self, picture: &Buffer, caret: Position) -> String {
        let mut text = String::from(HIDE_CURSOR);
        let mut at = 0;
        for (y, shown) in (0_u16..).zip(&mut self.shown) {
            let line = line(picture, y);
            if line == *shown {
                continue;
            }
            text.push('\r');
            down(&mut text, y - at);
            at = y;
            text.push_str(&line);
            text.push_str(ERASE_RIGHT);
            *shown = line;
        }
        up(&mut text, at);
        text.push('\r');
        if caret.x > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "\x1b[{}C", caret.x);
        }
        text.push_str(SHOW_CURSOR);
        text
    }

    /// What takes the lines away again.
    pub(super) fn close() -> &'static str {
        "\r\x1b[0m\x1b[J\x1b[?2004l\x1b[?25h"
    }
}

/// One line of a picture, without the blanks at its end.
fn line(picture: &Buffer, y: u16) -> String {
    let width = picture.area.width;
    let cell = |x: u16| picture.cell((x, y));
    let blank = |x: &u16| cell(*x).is_none_or(|cell| *cell == Cell::default());
    let end = width - u16::try_from((0..width).rev().take_while(blank).count()).unwrap_or(width);
    let mut text = String::new();
    let mut style = (Color::Reset, Modifier::empty());
    let mut x = 0;
    while x < end {
        let Some(cell) = cell(x) else { break };
        let own = (cell.fg, cell.modifier);
        if own != style {
            text.push_str(&sgr(own));
            style = own;
        }
        text.push_str(cell.symbol());
        // The second half of a wide character is not a character.
        x += u16::try_from(cell.symbol().width().max(1)).unwrap_or(1);
    }
    if style != (Color::Reset, Modifier::empty()) {
        text.push_str("\x1b[0m");
    }
    text
}

fn sgr((colour, modifier): (Color, Modifier)) -> String {
    let mut text = String::from("\x1b[0");
    for (flag, code) in [
        (Modifier::BOLD, ";1"),
        (Modifier::DIM, ";2"),
        (Modifier::UNDERLINED, ";4"),
    ] {
        if modifier.contains(flag) {
            text.push_str(code);
        }
    }
    text.push_str(match colour {
        Color::Green => ";32",
        Color::Yellow => ";33",
        Color::Cyan => ";36",
        _ => "",
    });
    text.push('m');
    text
}

fn up(text: &mut String, lines: u16) {
    if lines > 0 {
        let _ = write!(text, "\x1b[{lines}A");
    }
}

fn down(text: &mut String, lines: u16) {
    if lines > 0 {
        let _ = write!(text, "\x1b[{lines}B");
    }
}

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const ERASE_RIGHT: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";
/// What is pasted comes between marks, so that a line end in it is not Enter.
const PASTE_ON: &str = "\x1b[?2004h";

#[cfg(test)]
mod tests {
    use avt::Terminal;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    fn picture(lines: &[&str]) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, lines.len() as u16));
        for (y, line) in (0..).zip(lines) {
            buffer.set_string(0, y, line, Style::new().fg(Color::Green));
        }
        buffer
    }

    fn screen(vt: &Terminal) -> Vec<String> {
        let lines: Vec<String> = vt
            .screen()
            .visible_lines()
            .map(|line| line.text().trim_end().to_owned())
            .collect();
        let used = lines.iter().rposition(|line| !line.is_empty());
        lines[..used.map_or(0, |last| last + 1)].to_vec()
    }

    #[test]
    fn pictures_come_below_what_was_there_and_go_again() {
        // Near the bottom of the screen: what was there moves up.
        for above in [0, 3, 5] {
            let mut vt = Terminal::new(12, 6).unwrap();
            let before: String = (0..above).map(|n| format!("old {n}\r\n")).collect();
            vt.feed(format!("{before}$ ").as_str());
            let mut inline = Inline::default();
            vt.feed(inline.open(3).as_str());
            vt.feed(
                inline
                    .draw(&picture(&["> q", "日本語", "c"]), Position::new(3, 0))
                    .as_str(),
            );
            let shown = screen(&vt);
            assert_eq!(shown[shown.len() - 3..], ["> q", "日本語", "c"], "{above}");
            assert_eq!((vt.cursor().col, vt.cursor().row), (3, shown.len() - 3));

            // Only what differs is sent.
            let change = inline.draw(&picture(&["> q", "日本", "c"]), Position::new(3, 0));
            assert!(
                !change.contains("> q") && change.contains("日本"),
                "{change:?}"
            );
            vt.feed(change.as_str());
            let shown = screen(&vt);
            assert_eq!(shown[shown.len() - 3..], ["> q", "日本", "c"]);

            vt.feed(Inline::close());
            vt.feed("done");
            let shown = screen(&vt);
            assert_eq!(shown.last().unwrap(), "done");
            assert_eq!(shown.len(), (above + 1).min(4), "{shown:?}");
        }
    }
}
