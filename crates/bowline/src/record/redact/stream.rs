//! A stream that comes in pieces of any size, without its secrets.

use super::shown::controls;
use super::{Hit, Patterns, mark};

/// A line without an end is kept back up to here; terminal programs write without newlines.
const LINE: usize = 4096;
/// Then so much of its end still is: every secret is recognised by so many of its first bytes.
const OVERLAP: usize = 1024;
/// A secret that goes on for longer is cut here, and the rest of it is dropped as well.
const LONGEST: usize = 64 * 1024;
/// What is kept back for a secret without an end is looked at again when so much has come, or a line has ended.
const AGAIN: usize = 512;

/// The rest of a secret that was longer than is looked at: it is dropped up to a space.
#[derive(Debug)]
struct Dropping {
    pattern: usize,
    bytes: usize,
    /// When its last byte came.
    time: u64,
}

/// One stream, whose pieces come with a time each.
#[derive(Debug)]
pub(in super::super) struct Redactor {
    patterns: Patterns,
    held: Vec<u8>,
    /// Lengths and times of the pieces in `held`.
    pieces: Vec<(usize, u64)>,
    dropping: Option<Dropping>,
    /// Bytes of `held` that were looked at and are kept back.
    seen: usize,
    taken: u64,
}

impl Redactor {
    pub(in super::super) fn new(patterns: Patterns) -> Self {
        Self {
            patterns,
            held: Vec::new(),
            pieces: Vec::new(),
            dropping: None,
            seen: 0,
            taken: 0,
        }
    }

    /// Bytes that were taken out so far.
    pub(in super::super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes a piece and gives what is safe, with the time at which it came.
    pub(in super::super) fn feed(
        &mut self,
        piece: &[u8],
        time: u64,
        out: &mut dyn FnMut(u64, &[u8]),
    ) {
        for part in piece.chunks(LONGEST / 2) {
            self.held.extend_from_slice(part);
            self.pieces.push((part.len(), time));
            self.drop_rest(time, out);
            if self.dropping.is_none() {
                self.give(false, out);
            }
        }
    }

    /// The end: all that was kept back.
    pub(in super::super) fn finish(&mut self, out: &mut dyn FnMut(u64, &[u8])) {
        self.dropped(out);
        self.give(true, out);
    }

    fn give(&mut self, is_end: bool, out: &mut dyn FnMut(u64, &[u8])) {
        let mut cut = match is_end {
            true => self.held.len(),
            false => {
                let line = self.held.iter().rposition(|byte| *byte == b'\n');
                let line = line.map_or(0, |at| at + 1);
                let rest = self.held.len() - line;
                match rest > LINE {
                    true => self.held.len() - OVERLAP,
                    false => line,
                }
            }
        };
        let new = self.held.get(self.seen..).unwrap_or_default();
        if cut == 0 || (!is_end && self.seen > 0 && new.len() < AGAIN && !new.contains(&b'\n')) {
            return;
        }
        let hits = self.patterns.find(&self.held, is_end);
        if !is_end {
            for hit in hits.iter().rev() {
                let open = hit.open || hit.to == self.held.len();
                if hit.begins < cut && (hit.to > cut || open) {
                    cut = hit.begins;
                }
            }
            if cut == 0 && self.held.len() >= LONGEST {
                let Some(hit) = hits.first() else { return };
                // The hit's own end may lie before the end of what is held; then it is no longer open.
                if hit.to < self.held.len() && !hit.open {
                    cut = hit.to;
                } else {
                    cut = self.held.len();
                    self.dropping = Some(Dropping {
                        pattern: hit.pattern,
                        bytes: 0,
                        time: self.pieces.last().map_or(0, |(_, time)| *time),
                    });
                }
            }
        }
        self.seen = self.held.len() - cut;
        self.emit(cut, &hits, out);
    }

    /// Gives the first `cut` bytes without their secrets.
    fn emit(&mut self, cut: usize, hits: &[Hit], out: &mut dyn FnMut(u64, &[u8])) {
        let mut hits = hits.iter().filter(|hit| hit.from < cut).peekable();
        let mut at = 0;
        let mut from = 0;
        let mut used = 0;
        for (length, time) in &mut self.pieces {
            let end = (from + *length).min(cut);
            let mut text = Vec::new();
            while at < end {
                match hits.peek() {
                    Some(hit) if at >= hit.from => {
                        let length = hit.to - hit.from;
                        let mark = mark(self.patterns.name(hit.pattern), length);
                        text.extend_from_slice(mark.as_bytes());
                        self.taken += length as u64;
                        controls(&self.held[hit.from..hit.to], &mut text);
                        at = hit.to.max(at);
                        hits.next();
                    }
                    Some(hit) => {
                        let until = hit.from.min(end);
                        text.extend_from_slice(&self.held[at..until]);
                        at = until;
                    }
                    None => {
                        text.extend_from_slice(&self.held[at..end]);
                        at = end;
                    }
                }
            }
            if !text.is_empty() {
                out(*time, &text);
            }
            if from + *length <= cut {
                from += *length;
                used += 1;
            } else {
                *length -= cut - from;
                break;
            }
        }
        self.pieces.drain(..used);
        self.held.drain(..cut);
    }

    fn drop_rest(&mut self, time: u64, out: &mut dyn FnMut(u64, &[u8])) {
        let Some(dropping) = &mut self.dropping else {
            return;
        };
        let end = self.held.iter().position(u8::is_ascii_whitespace);
        let gone = end.unwrap_or(self.held.len());
        dropping.bytes += gone;
        dropping.time = time;
        self.forget(gone);
        if end.is_some() {
            self.dropped(out);
        }
    }

    /// Says how much was dropped.
    fn dropped(&mut self, out: &mut dyn FnMut(u64, &[u8])) {
        let Some(dropping) = self.dropping.take() else {
            return;
        };
        self.taken += dropping.bytes as u64;
        if dropping.bytes > 0 {
            let name = self.patterns.name(dropping.pattern);
            let text = format!("[redacted:{name} {} more bytes]", dropping.bytes);
            out(dropping.time, text.as_bytes());
        }
    }

    fn forget(&mut self, count: usize) {
        self.held.drain(..count);
        let mut left = count;
        self.pieces.retain_mut(|(length, _)| {
            let gone = left.min(*length);
            left -= gone;
            *length -= gone;
            *length > 0
        });
    }
}
