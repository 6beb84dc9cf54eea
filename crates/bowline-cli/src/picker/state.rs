//! What the picker knows and what a key does to it: no terminal, no clock, no AWS.

use std::cmp::Reverse;

use bowline::inventory::{Inventory, InventoryEvent, LoadFigures, Place, Row, RowKind};

use super::keys::Key;
use super::line::{Line, NEVER};
use super::query::{Marks, Query, Scorer, narrows};

/// What a picker is for.
#[derive(Clone, Debug)]
pub(super) struct Purpose {
    /// What Enter does with a row, in a word or two.
    pub(super) action: &'static str,
    /// Whether several rows may be chosen.
    pub(super) several: bool,
    /// Whether a cluster can be chosen; otherwise Enter shows what is in it.
    pub(super) clusters: bool,
}

/// What a key has led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing but perhaps another picture.
    Stay,
    /// These were chosen.
    Chosen(Vec<Row>),
    /// The user leaves without a choice.
    Leave,
}

/// The whole state of a picker.
pub(super) struct State {
    purpose: Purpose,
    inventory: Inventory,
    lines: Vec<Line>,
    recents: Vec<Place>,
    current: Option<String>,
    text: String,
    caret: usize,
    query: Query,
    scorer: Scorer,
    matches: Vec<Match>,
    cursor: usize,
    offset: usize,
    height: usize,
    marked: Vec<Place>,
    /// A match has been shown or something was typed: the cursor now belongs to its row and not to the top.
    settled: bool,
    figures: LoadFigures,
    loading: bool,
    problem: Option<String>,
}

/// A row that matches. The order of the fields is the order of the list: nothing has to be looked up to sort it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    /// How well it matches, the best first; of equals the one picked last, …
    worth: Reverse<u32>,
    recency: u16,
    /// … then the current cluster, then the shortest; …
    elsewhere: bool,
    length: u16,
    /// … then as they stand.
    row: u32,
}

impl State {
    /// A picker over what is known already. If that is anything, it has been seen by the user before it is refreshed.
    pub(super) fn new(
        purpose: Purpose,
        mut inventory: Inventory,
        recents: &[Place],
        current: Option<String>,
        query: &str,
    ) -> Self {
        inventory.expect_news();
        let mut state = Self {
            purpose,
            settled: !inventory.rows().is_empty(),
            inventory,
            lines: Vec::new(),
            recents: recents.to_vec(),
            current,
            text: query.to_owned(),
            caret: query.len(),
            query: Query::parse(query),
            scorer: Scorer::default(),
            matches: Vec::new(),
            cursor: 0,
            offset: 0,
            height: 1,
            marked: Vec::new(),
            figures: LoadFigures::default(),
            loading: true,
            problem: None,
        };
        state.rows_changed(None);
        state
    }

    /// Takes a key.
    pub(super) fn key(&mut self, key: &Key) -> Outcome {
        self.settled = true;
        match key {
            Key::Enter => return self.enter(),
            Key::Leave => return Outcome::Leave,
            Key::LeaveIfEmpty if self.text.is_empty() => return Outcome::Leave,
            Key::Toggle(down) if self.purpose.several => {
                self.toggle();
                self.step(if *down { 1 } else { -1 });
            }
            Key::Up => self.step(-1),
            Key::Down => self.step(1),
            Key::PageUp => self.step(-self.page()),
            Key::PageDown => self.step(self.page()),
            Key::Home => self.step(isize::MIN / 2),
            Key::End => self.step(isize::MAX / 2),
            key => self.edit(key),
        }
        Outcome::Stay
    }

    /// Takes news of a walk. The cursor stays on its row.
    pub(super) fn event(&mut self, event: InventoryEvent) {
        // Before anything moves: afterwards the matches name other rows.
        let selected = self.selected().map(|row| row.place.clone());
        match event {
            InventoryEvent::Rows(rows) => {
                self.inventory.put(rows);
                self.rows_changed(selected);
            }
            InventoryEvent::Complete(extent) => {
                let before = self.inventory.rows().len();
                self.inventory.complete(&extent);
                if self.inventory.rows().len() != before {
                    self.rows_changed(selected);
                }
            }
            InventoryEvent::Problem { cluster, error } => {
                let of = cluster.map_or_else(String::new, |cluster| format!("{cluster}: "));
                self.problem = Some(format!("{of}{error}"));
            }
            InventoryEvent::Failed(error) => {
                self.problem = Some(format!("not refreshed: {error}"));
                self.loading = false;
            }
            InventoryEvent::Done(figures) => {
                self.figures = figures;
                self.loading = false;
            }
            _ => {}
        }
    }

    /// How much of the walk is done.
    pub(super) fn progress(&mut self, figures: LoadFigures) {
        self.figures = figures;
    }

    /// No rows will come.
    pub(super) fn nothing_more(&mut self) {
        self.loading = false;
    }

    /// The service whose state and events the preview lacks.
    pub(super) fn wish(&self) -> Option<Place> {
        let service = self.selected()?.place.of_service()?;
        let known = self.inventory.row(&service);
        let bare = known.is_some_and(|row| row.events.is_empty());
        bare.then_some(service)
    }

    /// All that was seen.
    pub(super) fn into_inventory(self) -> Inventory {
        self.inventory
    }

    /// How many rows are to be seen at once.
    pub(super) fn set_height(&mut self, height: usize) {
        self.height = height.max(1);
        self.keep_in_view();
    }

    /// A picture was shown: what the cursor is on may have been aimed at.
    pub(super) fn settle(&mut self) {
        self.settled |= !self.text.is_empty() && self.selected().is_some();
    }

    pub(super) fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    pub(super) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The caret's place in the query, in bytes.
    pub(super) fn caret(&self) -> usize {
        self.caret
    }

    pub(super) fn matching(&self) -> usize {
        self.matches.len()
    }

    pub(super) fn is_loading(&self) -> bool {
        self.loading
    }

    pub(super) fn figures(&self) -> LoadFigures {
        self.figures
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(super) fn marked(&self) -> usize {
        self.marked.len()
    }

    /// The row under the cursor.
    pub(super) fn selected(&self) -> Option<&Row> {
        self.row(self.cursor)
    }

    /// The rows in view: each with its line, whether the cursor is on it, and whether it is marked.
    pub(super) fn visible(&self) -> impl Iterator<Item = (&Row, &Line, bool, bool)> {
        let end = self.matches.len().min(self.offset + self.height);
        (self.offset..end).filter_map(|position| {
            let at = self.matches[position].row as usize;
            let row = &self.inventory.rows()[at];
            let marked = self.marked.contains(&row.place);
            Some((row, self.lines.get(at)?, position == self.cursor, marked))
        })
    }

    /// What of a line to highlight.
    pub(super) fn marks(&self, line: &Line, scorer: &mut Scorer) -> Marks {
        self.query.marks(line, scorer)
    }

    fn row(&self, position: usize) -> Option<&Row> {
        let at = self.matches.get(position)?.row;
        self.inventory.rows().get(at as usize)
    }

    fn enter(&mut self) -> Outcome {
        if !self.marked.is_empty() {
            let rows = self
                .marked
                .iter()
                .filter_map(|place| self.inventory.row(place));
            let rows: Vec<Row> = rows.cloned().collect();
            if !rows.is_empty() {
                return Outcome::Chosen(rows);
            }
        }
        let Some(row) = self.selected().cloned() else {
            return Outcome::Stay;
        };
        if row.kind() == RowKind::Cluster && !self.purpose.clusters {
            self.set_text(format!("^{}/ ", row.place.cluster));
            return Outcome::Stay;
        }
        Outcome::Chosen(vec![row])
    }

    fn toggle(&mut self) {
        let Some(place) = self.selected().map(|row| row.place.clone()) else {
            return;
        };
        match self.marked.iter().position(|marked| *marked == place) {
            Some(position) => drop(self.marked.remove(position)),
            None => self.marked.push(place),
        }
    }

    fn page(&self) -> isize {
        isize::try_from(self.height.saturating_sub(1).max(1)).unwrap_or(1)
    }

    fn step(&mut self, by: isize) {
        let last = self.matches.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
        self.keep_in_view();
    }

    fn edit(&mut self, key: &Key) {
        let (before, after) = self.text.split_at(self.caret);
        let (before, after): (String, String) = match key {
            Key::Text(text) => (format!("{before}{text}"), after.to_owned()),
            Key::Backspace => (without_last(before).to_owned(), after.to_owned()),
            Key::Delete => (before.to_owned(), without_first(after).to_owned()),
            Key::DeleteWord => (without_word(before).to_owned(), after.to_owned()),
            Key::DeleteToStart => (String::new(), after.to_owned()),
            Key::Left => {
                self.caret = without_last(before).len();
                return;
            }
            Key::Right => {
                self.caret = self.text.len() - without_first(after).len();
                return;
            }
            Key::CaretHome => {
                self.caret = 0;
                return;
            }
            Key::CaretEnd => {
                self.caret = self.text.len();
                return;
            }
            _ => return,
        };
        let caret = before.len();
        self.set_text(before + &after);
        self.caret = caret;
    }

    /// Another query: the best match is at the top, and the cursor on it.
    fn set_text(&mut self, text: String) {
        let narrows = narrows(&self.text, &text);
        self.query = Query::parse(&text);
        self.caret = text.len();
        if std::mem::replace(&mut self.text, text) == self.text {
            return;
        }
        match narrows {
            true => self.narrow(),
            false => self.search(),
        }
        self.cursor = 0;
        self.offset = 0;
    }

    /// Rows have come or gone: their lines are made anew, and the cursor finds its row again.
    fn rows_changed(&mut self, selected: Option<Place>) {
        let current = self.current.as_deref();
        let rows = self.inventory.rows().iter();
        self.lines = rows.map(|row| Line::of(row, current)).collect();
        for (place, recency) in self.recents.iter().zip(0..NEVER) {
            let line = self
                .inventory
                .position(place)
                .and_then(|at| self.lines.get_mut(at));
            if let Some(line) = line {
                line.recency = recency;
            }
        }
        self.search();
        let Some(place) = selected.filter(|_| self.settled) else {
            self.cursor = 0;
            self.offset = 0;
            return;
        };
        let row = self.inventory.position(&place);
        let position = row.and_then(|row| {
            let mut rows = self.matches.iter().map(|found| found.row as usize);
            rows.position(|found| found == row)
        });
        if let Some(position) = position {
            // At the top what comes in above is let into view; elsewhere the picture stands still.
            if self.offset > 0 {
                let line = self.cursor.saturating_sub(self.offset);
                self.offset = position.saturating_sub(line);
            }
            self.cursor = position;
        }
        self.step(0);
    }

    fn search(&mut self) {
        self.matches = self.lines.iter().zip(0..).map(Match::of).collect();
        self.narrow();
    }

    /// Keeps those of the matches that match still, the best first.
    fn narrow(&mut self) {
        let (lines, query, scorer) = (&self.lines, &self.query, &mut self.scorer);
        let typed = !query.is_empty();
        self.matches.retain_mut(|found| {
            let line = &lines[found.row as usize];
            let score = query.score(line, scorer);
            let bonus = if line.recency == NEVER {
                0
            } else {
                RECENT_BONUS
            };
            found.worth = Reverse(score.map_or(0, |score| score + bonus));
            let length = if typed { line.path.len() } else { 0 };
            found.length = u16::try_from(length).unwrap_or(u16::MAX);
            score.is_some()
        });
        self.matches.sort_unstable();
    }

    fn keep_in_view(&mut self) {
        let last_offset = self.matches.len().saturating_sub(self.height);
        let lowest = (self.cursor + 1).saturating_sub(self.height);
        self.offset = self
            .offset
            .clamp(lowest, self.cursor.max(lowest))
            .min(last_offset.max(lowest));
    }
}

impl Match {
    fn of((line, row): (&Line, u32)) -> Self {
        Self {
            worth: Reverse(0),
            recency: line.recency,
            elsewhere: line.elsewhere,
            length: 0,
            row,
        }
    }
}

fn without_last(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next_back();
    chars.as_str()
}

fn without_first(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

fn without_word(text: &str) -> &str {
    let text = text.trim_end();
    let start = text.rfind([' ', '/']).map_or(0, |at| at + 1);
    match start == text.len() {
        true => without_last(text),
        false => &text[..start],
    }
}

/// What a recent pick is worth: it comes before another match that is about as good, and not before a better one.
const RECENT_BONUS: u32 = 16;

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
