//! One stream of a [`Mux`](super::Mux): what waits to be read, and what waits to be sent.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::time::Timestamp;

// Tuning.
/// Bytes of a stream that wait to be sent, at most.
const OUTBOX: usize = 256 * 1024;
/// What a piece costs besides its bytes: many small ones must count too.
const PIECE: usize = 64;
/// Pieces that are smaller are joined to the one before, as far as that one stays below this.
const JOINED: usize = 8 * 1024;
/// A piece that is so much smaller than what it was cut from is copied, so that it does not keep all of that alive. What
/// it was cut from has at most [`LARGEST_SOURCE`] bytes as a rule.
const SMALL: usize = LARGEST_SOURCE / 4;
const LARGEST_SOURCE: usize = 64 * 1024;

/// The number of a stream: odd for those that the client opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) u32);

impl StreamId {
    /// As on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream that is open at this end.
#[derive(Debug)]
pub(super) struct Stream {
    inbox: VecDeque<Bytes>,
    /// The end of what came, still growing.
    tail: BytesMut,
    /// Weight of all that.
    unread: usize,
    outbox: VecDeque<Bytes>,
    unsent: usize,
    /// Since when it was not read although there was something.
    pub(super) unread_since: Option<Timestamp>,
    /// The peer said that nothing more comes, and that it does not read any more.
    pub(super) finished: bool,
    /// This end closes it after what waits to be sent.
    pub(super) closing: bool,
    /// A writer was told to wait.
    pub(super) starved: bool,
    /// It waits for its turn to send.
    pub(super) queued: bool,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            inbox: VecDeque::new(),
            tail: BytesMut::new(),
            unread: 0,
            outbox: VecDeque::new(),
            unsent: 0,
            unread_since: None,
            finished: false,
            closing: false,
            starved: false,
            queued: false,
        }
    }

    /// Keeps what came. Says by how much the weight of what is unread grew.
    pub(super) fn arrived(&mut self, now: Timestamp, bytes: Bytes) -> usize {
        self.unread_since.get_or_insert(now);
        let before = self.unread;
        if bytes.len() >= SMALL {
            self.close_tail();
            self.unread += bytes.len() + PIECE;
            self.inbox.push_back(bytes);
        } else {
            if self.tail.len() + bytes.len() > JOINED {
                self.close_tail();
            }
            if self.tail.is_empty() {
                self.unread += PIECE;
            }
            self.unread += bytes.len();
            self.tail.extend_from_slice(&bytes);
        }
        self.unread - before
    }

    /// The next piece, and the weight that is gone with it.
    pub(super) fn read(&mut self, now: Timestamp) -> Option<(Bytes, usize)> {
        if self.inbox.is_empty() {
            self.close_tail();
        }
        let bytes = self.inbox.pop_front()?;
        let weight = bytes.len() + PIECE;
        self.unread -= weight;
        self.unread_since = self.is_readable().then_some(now);
        Some((bytes, weight))
    }

    /// Forgets what is unread, and says its weight.
    pub(super) fn discard(&mut self) -> usize {
        self.inbox.clear();
        self.tail.clear();
        self.unread_since = None;
        std::mem::take(&mut self.unread)
    }

    pub(super) fn is_readable(&self) -> bool {
        self.unread > 0
    }

    pub(super) fn unread(&self) -> usize {
        self.unread
    }

    /// Takes as much as there is room for out of `bytes`.
    pub(super) fn write(&mut self, bytes: &mut Bytes) -> usize {
        let taken = bytes.len().min(OUTBOX.saturating_sub(self.unsent));
        if taken > 0 {
            self.outbox.push_back(bytes.split_to(taken));
            self.unsent += taken;
        }
        self.starved |= !bytes.is_empty();
        taken
    }

    /// What to send next, at most `limit` bytes.
    pub(super) fn next_unsent(&mut self, limit: usize) -> Option<Bytes> {
        let front = self.outbox.front_mut()?;
        let piece = front.split_to(front.len().min(limit));
        if front.is_empty() {
            self.outbox.pop_front();
        }
        self.unsent -= piece.len();
        Some(piece)
    }

    /// Forgets what is unsent, and says how much it was.
    pub(super) fn abandon(&mut self) -> usize {
        self.outbox.clear();
        std::mem::take(&mut self.unsent)
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// A writer that was told to wait may go on: half of the room is free.
    pub(super) fn may_go_on(&mut self) -> bool {
        let may = self.starved && self.unsent <= OUTBOX / 2;
        self.starved &= !may;
        may
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.inbox.push_back(self.tail.split().freeze());
        }
    }
}
