//! The picture of a picker: a prompt, the rows in view, a preview of the selected one, a line of help.
//!
//! Nothing is said by colour alone, and the prompt is the first line: the cursor stands there, so that a terminal that
//! wraps its lines anew when its size changes takes none of what was there before.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as TextLine, Span};
use ratatui::widgets::{Paragraph, Widget, Wrap};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use bowline::inventory::Row;

use super::line::{self, Line};
use super::preview;
use super::query::Scorer;
use super::state::State;
use crate::output::age;

/// How things are set off from each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// Whether colours may be used; bold, dim and underline are always.
    pub(super) colour: bool,
}

/// Where things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The rows.
    pub(super) list: Rect,
    preview: Option<Rect>,
    footer: Option<Rect>,
}

/// How many lines of a terminal with so many rows the picker takes.
pub(super) fn height(rows: u16) -> u16 {
    (rows * 3 / 4).clamp(ENOUGH, MOST).min(rows.max(1))
}

impl Layout {
    /// The layout for an area.
    pub(super) fn of(area: Rect) -> Self {
        let footer = (area.height >= 5).then(|| Rect {
            y: area.bottom() - 1,
            height: 1,
            ..area
        });
        let rest = area.height.saturating_sub(1 + u16::from(footer.is_some()));
        let body = Rect {
            y: area.y + 1,
            height: rest,
            ..area
        };
        let (list, preview) = if area.width >= BESIDE {
            let left = area.width * 11 / 20;
            let list = Rect {
                width: left,
                ..body
            };
            let right = Rect {
                x: body.x + left + 1,
                width: body.width - left - 1,
                ..body
            };
            (list, Some(right))
        } else if area.width >= NARROW && rest >= PREVIEW_LINES + 4 {
            let list = Rect {
                height: rest - PREVIEW_LINES,
                ..body
            };
            let below = Rect {
                y: list.bottom(),
                height: PREVIEW_LINES,
                ..body
            };
            (list, Some(below))
        } else {
            (body, None)
        };
        Self {
            list,
            preview,
            footer,
        }
    }
}

/// Draws the picture and says where the cursor belongs. `now` is the present in seconds since 1970.
pub(super) fn draw(
    state: &State,
    theme: Theme,
    now: i64,
    scorer: &mut Scorer,
    buffer: &mut Buffer,
) -> Position {
    let area = buffer.area;
    let layout = Layout::of(area);
    let caret = prompt(state, theme, Rect { height: 1, ..area }, buffer);
    for ((row, line, selected, marked), y) in
        state.visible().zip(layout.list.top()..layout.list.bottom())
    {
        let place = Rect {
            y,
            height: 1,
            ..layout.list
        };
        let signs = Signs { selected, marked };
        list_row(state, row, line, signs, theme, now, scorer, place, buffer);
    }
    if let Some(area) = layout.preview {
        draw_preview(state, theme, now, area, buffer);
    }
    if let Some(area) = layout.footer {
        footer(state, theme, area, buffer);
    }
    caret
}

#[derive(Clone, Copy)]
struct Signs {
    selected: bool,
    marked: bool,
}

fn prompt(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) -> Position {
    let mut right = info(state);
    if area.width < NARROW {
        right = format!("{}/{}", state.matching(), state.inventory().rows().len());
    }
    let right_width = cells(right.width());
    // The end of a long query is seen as long as the caret is there.
    let room = area.width.saturating_sub(right_width + 5).max(8);
    let before = &state.text()[..state.caret()];
    let shown_before = tail(before, usize::from(room.saturating_sub(1)));
    let whole = format!("{shown_before}{}", &state.text()[state.caret()..]);
    put(
        buffer,
        (area.x, area.y),
        "> ",
        usize::MAX,
        theme.accent().add_modifier(Modifier::BOLD),
    );
    put(
        buffer,
        (area.x + 2, area.y),
        whole,
        usize::from(room),
        Style::new(),
    );
    let x = area.right().saturating_sub(right_width);
    if x > area.x + 2 + room {
        put(buffer, (x, area.y), right, usize::MAX, theme.dim());
    }
    let caret = area.x + 2 + cells(shown_before.width());
    Position::new(caret.min(area.right().saturating_sub(1)), area.y)
}

/// `12 of 8,432, 3 marked, listing 40%`
fn info(state: &State) -> String {
    let found = thousands(state.matching());
    let all = thousands(state.inventory().rows().len());
    let marked = match state.marked() {
        0 => String::new(),
        marked => format!(", {marked} marked"),
    };
    if !state.is_loading() {
        return format!("{found} of {all}{marked}");
    }
    let figures = state.figures();
    let known = figures.calls + figures.waiting;
    let percent = (figures.calls * 100).checked_div(known).unwrap_or(0);
    format!("{found} of {all}{marked}, listing {percent}%")
}

#[expect(
    clippy::too_many_arguments,
    reason = "what one row is made of, used once"
)]
fn list_row(
    state: &State,
    row: &Row,
    line: &Line,
    signs: Signs,
    theme: Theme,
    now: i64,
    scorer: &mut Scorer,
    area: Rect,
    buffer: &mut Buffer,
) {
    let marks = state.marks(line, scorer);
    let base = match signs.selected {
        true => Style::new().add_modifier(Modifier::BOLD),
        false => Style::new(),
    };
    let pointer = if signs.selected { ">" } else { " " };
    put(
        buffer,
        (area.x, area.y),
        pointer,
        usize::MAX,
        theme.accent().add_modifier(Modifier::BOLD),
    );
    if signs.marked {
        put(
            buffer,
            (area.x + 1, area.y),
            "*",
            usize::MAX,
            theme.accent(),
        );
    }

    let columns = Columns::of(area);
    let found = base.patch(theme.found());
    let path = fitted(&line.path, &marks.path, usize::from(columns.path.1));
    let mut x = columns.path.0;
    for (letter, is_found) in path {
        let style = if is_found { found } else { base };
        let next = put(buffer, (x, area.y), letter.to_string(), 2, style);
        x = next;
    }
    match &line.id {
        Some(id) => {
            let (shown, _) = id.split_at_checked(ID_SHOWN).unwrap_or((id, ""));
            let (hit, rest) = shown.split_at_checked(marks.id).unwrap_or((shown, ""));
            let next = put(buffer, (columns.id, area.y), hit, ID_SHOWN, found);
            put(buffer, (next, area.y), rest, ID_SHOWN, base);
        }
        None => {
            put(
                buffer,
                (columns.id, area.y),
                line::kind(row),
                ID_SHOWN,
                theme.dim(),
            );
        }
    }
    if let Some((x, width)) = columns.state {
        let style = match line::is_hopeless(row) {
            true => theme.warn(),
            false => base,
        };
        put(
            buffer,
            (x, area.y),
            line::state(row),
            usize::from(width),
            style,
        );
    }
    if let (Some(x), Some(since)) = (columns.age, row.started_at) {
        let age = age::since(Some(since.as_second()), now);
        put(buffer, (x, area.y), format!("{age:>4}"), 4, theme.dim());
    }
}

/// Where the columns of the list begin, and how wide the flexible ones are.
struct Columns {
    path: (u16, u16),
    id: u16,
    state: Option<(u16, u16)>,
    age: Option<u16>,
}

impl Columns {
    fn of(area: Rect) -> Self {
        let id_width = cells(ID_SHOWN);
        let (state_width, age_width) = match area.width {
            ..44 => (0, 0),
            44..70 => (13, 0),
            _ => (19, 4),
        };
        let behind = |width: u16| if width > 0 { width + 1 } else { 0 };
        let taken = 2 + 1 + id_width + behind(state_width) + behind(age_width);
        let path = area.width.saturating_sub(taken);
        let id = area.x + 2 + path + 1;
        let state = id + id_width + 1;
        Self {
            path: (area.x + 2, path),
            id,
            state: (state_width > 0).then_some((state, state_width)),
            age: (age_width > 0).then_some(state + state_width + 1),
        }
    }
}

fn draw_preview(state: &State, theme: Theme, now: i64, area: Rect, buffer: &mut Buffer) {
    let beside = area.y == 1 && area.x > 0;
    let inner = if beside {
        for y in area.top()..area.bottom() {
            put(buffer, (area.x, y), "│", usize::MAX, theme.dim());
        }
        Rect {
            x: area.x + 2,
            width: area.width.saturating_sub(2),
            ..area
        }
    } else {
        put(
            buffer,
            (area.x, area.y),
            "─".repeat(usize::from(area.width)),
            usize::MAX,
            theme.dim(),
        );
        Rect {
            y: area.y + 1,
            height: area.height.saturating_sub(1),
            ..area
        }
    };
    let Some(row) = state.selected() else { return };
    let fields = preview::fields(row, state.inventory(), now);
    let mut lines = vec![TextLine::styled(
        preview::title(row),
        Style::new().add_modifier(Modifier::BOLD),
    )];
    lines.extend(fields.into_iter().map(|field| {
        let label = Span::styled(format!("{:<9}", field.label), theme.dim());
        let style = if field.bad {
            theme.warn()
        } else {
            Style::new()
        };
        TextLine::from(vec![label, Span::styled(field.text, style)])
    }));
    let text = Paragraph::new(lines);
    // Below the list there is one line for each fact; beside it there is room to read them whole.
    let text = if beside {
        text.wrap(Wrap { trim: false })
    } else {
        text
    };
    text.render(inner, buffer);
}

fn footer(state: &State, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    if let Some(problem) = state.problem() {
        let text = format!("warning: {problem}");
        put(buffer, (area.x, area.y), text, width, theme.warn());
        return;
    }
    let purpose = state.purpose();
    let several = if purpose.several { " · tab mark" } else { "" };
    let text = format!(
        "enter {}{several} · esc leave · 'exact ^begin end$ !not a | b",
        purpose.action
    );
    put(buffer, (area.x, area.y), text, width, theme.dim());
}

impl Theme {
    fn accent(self) -> Style {
        self.coloured(Color::Cyan)
    }

    fn found(self) -> Style {
        self.coloured(Color::Green)
            .add_modifier(Modifier::UNDERLINED)
    }

    fn warn(self) -> Style {
        self.coloured(Color::Yellow)
    }

    fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn coloured(self, colour: Color) -> Style {
        match self.colour {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }
}

/// Writes at most so many cells of a text, as far as there is room, and says where it ended.
fn put(
    buffer: &mut Buffer,
    (x, y): (u16, u16),
    text: impl AsRef<str>,
    width: usize,
    style: Style,
) -> u16 {
    if x >= buffer.area.right() || y >= buffer.area.bottom() {
        return x;
    }
    buffer.set_stringn(x, y, text, width, style).0
}

/// A text in so many cells, each character with whether it is marked. What is too long loses its middle: names differ
/// in their beginnings and their ends.
fn fitted(text: &str, marks: &[u32], width: usize) -> Vec<(char, bool)> {
    let letters = text.chars().zip(0_u32..);
    let letters: Vec<(char, bool)> = letters
        .map(|(letter, at)| (letter, marks.binary_search(&at).is_ok()))
        .collect();
    let cells = |letters: &[(char, bool)]| -> usize {
        letters
            .iter()
            .map(|(letter, _)| letter.width().unwrap_or(0))
            .sum()
    };
    if cells(&letters) <= width {
        return letters;
    }
    if width == 0 {
        return Vec::new();
    }
    let mut head = letters.len();
    while head > 0 && cells(&letters[..head]) > width.saturating_sub(1) / 2 {
        head -= 1;
    }
    let mut tail = head;
    while tail < letters.len()
        && cells(&letters[tail..]) > width.saturating_sub(1) - cells(&letters[..head])
    {
        tail += 1;
    }
    let gap = [('…', false)];
    [&letters[..head], &gap, &letters[tail..]].concat()
}

/// The end of a text that fits.
fn tail(text: &str, width: usize) -> &str {
    let mut start = 0;
    while text[start..].width() > width {
        start += text[start..].chars().next().map_or(1, char::len_utf8);
    }
    &text[start..]
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn cells(width: usize) -> u16 {
    u16::try_from(width).unwrap_or(u16::MAX)
}

/// Fewer lines do not help anybody …
const ENOUGH: u16 = 10;
/// … and more are not read.
const MOST: u16 = 36;
/// From here on the preview is beside the list.
const BESIDE: u16 = 120;
/// Below this there is room for names only.
const NARROW: u16 = 50;
/// With the rule above them.
const PREVIEW_LINES: u16 = 7;
/// Of a task's id; the word `container` never stands there.
const ID_SHOWN: usize = 8;

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
