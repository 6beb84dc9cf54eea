//! Content out of a container: pieces of files asked for one after the other, over as many sessions as are free.
//!
//! A session of a stock agent gives about 0.73 MB/s whatever the network, and a container takes two sessions by default.
//! A second one is used only while nobody else has one, and given back when somebody comes.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::error::CopyError;
use super::remote::{Conversation, Program, Remote};
use crate::session::exec::wrapper::escaped_bytes;
use crate::session::exec::{ExecError, ExecEvent};

/// The unit of offsets: `dd` in the container counts in it.
pub(crate) const BLOCK: u64 = 64 << 10;
/// Files up to this length travel many at a time.
pub(crate) const SMALL: u64 = 4 * BLOCK;
/// Part of a large file in one piece.
const RANGE: u64 = 8 * BLOCK;
/// Small files in one piece.
const BATCH: usize = 200;
const BATCH_BYTES: u64 = 512 << 10;
/// Pieces a session is asked for ahead of what has come: enough to never wait, and little to wait for at the end.
const AHEAD: usize = 2;
/// Chunks on their way to whoever takes them; each has up to 60 KiB, decompressed more.
const ARRIVALS: usize = 16;
/// Compressed content is looked at in slices: one grows to 8 MB at most before what it holds is known to be too much.
const SLICE: usize = 8 << 10;
/// ECS's own limit for a container, unless its agent says otherwise.
pub(crate) const SESSIONS: usize = 2;
/// How soon sessions of others are looked for at first, and then.
const FIRST_LOOK: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_secs(4);
/// For such a look.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// A session that brings nothing for this long, beyond what restoring its connection may take, brings nothing more.
const STALLED: Duration = Duration::from_secs(60);
/// Less than this that is left is not worth another session.
const WORTH_A_SESSION: u64 = 1 << 20;
/// Sessions that may break one after the other without anything having come.
const FAILURES: usize = 3;

/// A file there.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: Vec<u8>,
    pub(crate) size: u64,
}

/// What is asked for at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Whole small files.
    Batch(Vec<usize>),
    /// Part of a file, from a block on.
    Range {
        file: usize,
        block: u64,
        length: u64,
    },
}

/// Bytes of a file. A file may begin anew, at its beginning or at a block.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) file: usize,
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// What a fetch tells.
pub(crate) enum News {
    Bytes(u64),
    Detail(String),
    Notice(String),
}

enum Arrival {
    Chunk(Chunk),
    Detail(String),
    Notice(String),
}

/// Cuts files into pieces: `missing` gives the ranges of each that are to be fetched.
pub(crate) fn pieces(
    sources: &[Source],
    missing: impl IntoIterator<Item = (usize, Vec<(u64, u64)>)>,
) -> VecDeque<Piece> {
    let mut pieces = VecDeque::new();
    let mut batch = Vec::new();
    let mut bytes = 0;
    for (file, ranges) in missing {
        let size = sources[file].size;
        if size <= SMALL {
            if batch.len() == BATCH || bytes + size > BATCH_BYTES {
                pieces.push_back(Piece::Batch(std::mem::take(&mut batch)));
                bytes = 0;
            }
            batch.push(file);
            bytes += size;
            continue;
        }
        for (start, end) in ranges {
            let mut block = start / BLOCK;
            while block * BLOCK < end {
                let length = RANGE.min(end - block * BLOCK);
                pieces.push_back(Piece::Range {
                    file,
                    block,
                    length,
                });
                block += RANGE / BLOCK;
            }
        }
    }
    if !batch.is_empty() {
        pieces.push_back(Piece::Batch(batch));
    }
    pieces
}

/// Fetches all pieces; with `at_once` all of them are asked for before anything comes. What comes goes to `sink`, in order if there is only one session. Returns how many sessions
/// were used at a time. If nobody takes the chunks any more, it ends as if all had come.
pub(crate) async fn fetch(
    remote: &Remote,
    sources: &[Source],
    pieces: VecDeque<Piece>,
    most: usize,
    at_once: bool,
    sink: &mpsc::Sender<Chunk>,
    tell: &mut (dyn FnMut(News) + Send),
) -> Result<usize, CopyError> {
    if pieces.is_empty() {
        return Ok(0);
    }
    let work = Work {
        sources,
        queue: Mutex::new(pieces),
        allowed: AtomicUsize::new(1),
        ahead: if at_once { usize::MAX } else { AHEAD },
    };
    let (arrive, mut arrivals) = mpsc::channel(ARRIVALS);
    let mut lanes = FuturesUnordered::new();
    let mut most = if at_once { 1 } else { most.max(1) };
    let (mut used, mut failures, mut number) = (1, 0, 0);
    lanes.push(lane(remote, &work, number, arrive.clone()));
    let mut look_at = Instant::now() + FIRST_LOOK;
    loop {
        // Every arm is cancel-safe: futures that stay in their set, a channel, a timer.
        tokio::select! {
            Some(ended) = lanes.next() => {
                if let Err(error) = ended {
                    let moved = drain(&mut arrivals, sink, tell).await?;
                    failures = if moved { 1 } else { failures + 1 };
                    if lanes.is_empty() && (!is_passing(&error) || failures > FAILURES) {
                        return Err(error);
                    }
                    tell(News::Detail(format!("a session ended early: {error}; what it had not brought is asked for again")));
                    most = lanes.len().max(1);
                }
                if lanes.is_empty() {
                    if work.is_done() {
                        break;
                    }
                    number += 1;
                    work.allowed.store(1, Ordering::Relaxed);
                    lanes.push(lane(remote, &work, number, arrive.clone()));
                }
            }
            Some(arrival) = arrivals.recv() => {
                if matches!(arrival, Arrival::Chunk(_)) {
                    failures = 0;
                }
                if !pass_on(arrival, sink, tell).await {
                    return Ok(used);
                }
            }
            () = sleep_until(look_at), if most > 1 => {
                look_at = Instant::now() + LOOK;
                let worth = work.left() > WORTH_A_SESSION;
                if lanes.len() == 1 && !worth {
                    continue;
                }
                match active(remote).await {
                    Some(active) => {
                        let others = active.saturating_sub(lanes.len());
                        let allowed = most.saturating_sub(others).max(1);
                        let before = work.allowed.swap(allowed, Ordering::Relaxed);
                        if allowed < before {
                            tell(News::Detail("somebody else has a session in the container: one is given back".to_owned()));
                        }
                        if allowed > lanes.len() && worth {
                            number += 1;
                            lanes.push(lane(remote, &work, number, arrive.clone()));
                            used = used.max(lanes.len());
                            tell(News::Detail(format!("{} sessions", lanes.len())));
                        }
                    }
                    None => {
                        most = 1;
                        tell(News::Detail("one session: who else has one could not be found out (ssm:DescribeSessions)".to_owned()));
                    }
                }
            }
        }
    }
    drain(&mut arrivals, sink, tell).await?;
    Ok(used)
}

/// What all sessions of a fetch share.
struct Work<'a> {
    sources: &'a [Source],
    queue: Mutex<VecDeque<Piece>>,
    /// Sessions that may go on asking.
    allowed: AtomicUsize,
    ahead: usize,
}

impl Work<'_> {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Piece>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_done(&self) -> bool {
        self.queue().is_empty()
    }

    fn left(&self) -> u64 {
        self.queue().iter().map(|piece| self.length(piece)).sum()
    }

    fn length(&self, piece: &Piece) -> u64 {
        match piece {
            Piece::Batch(files) => files.iter().map(|&file| self.sources[file].size).sum(),
            Piece::Range { length, .. } => *length,
        }
    }

    /// The lines that ask for a piece.
    fn command(&self, piece: &Piece) -> Bytes {
        let mut text = Vec::new();
        match piece {
            Piece::Batch(files) => {
                text.extend(format!("c {} {}\n", self.length(piece), files.len()).bytes());
                for &file in files {
                    text.extend(escaped_bytes(&self.sources[file].path));
                }
            }
            Piece::Range {
                file,
                block,
                length,
            } => {
                let blocks = length.div_ceil(BLOCK);
                text.extend(format!("r {block} {blocks} {length}\n").bytes());
                text.extend(escaped_bytes(&self.sources[*file].path));
            }
        }
        text.into()
    }

    /// A file by which to tell whether a session's content is worth compressing.
    fn sample(&self, piece: Option<&Piece>) -> Bytes {
        let file = match piece {
            Some(Piece::Range { file, .. }) => Some(*file),
            Some(Piece::Batch(files)) => files
                .iter()
                .copied()
                .max_by_key(|&file| self.sources[file].size),
            None => None,
        };
        let path = file.map_or(&b""[..], |file| &self.sources[file].path);
        escaped_bytes(path).into()
    }
}

/// One session, until there is nothing more to ask for or it is wanted back.
async fn lane(
    remote: &Remote,
    work: &Work<'_>,
    number: usize,
    arrive: mpsc::Sender<Arrival>,
) -> Result<(), CopyError> {
    let sample = work.sample(work.queue().front());
    let mut conversation = remote.start(Program::Fetch, &[], vec![sample], None);
    conversation.hold(true);
    let mut lane = Lane {
        work,
        asked: VecDeque::new(),
        place: 0,
        within: 0,
        content: Content::Unknown,
    };
    let result = lane.serve(&mut conversation, remote, number, &arrive).await;
    if result.is_err() {
        lane.give_back();
        conversation.terminate().await;
    }
    result
}

struct Lane<'a> {
    work: &'a Work<'a>,
    asked: VecDeque<Piece>,
    /// The file of a batch that is coming.
    place: usize,
    /// Bytes that have come of that file, or of the range.
    within: u64,
    content: Content,
}

enum Content {
    Unknown,
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Lane<'_> {
    async fn serve(
        &mut self,
        conversation: &mut Conversation,
        remote: &Remote,
        number: usize,
        arrive: &mpsc::Sender<Arrival>,
    ) -> Result<(), CopyError> {
        let mut asking = true;
        let damaged = |delivered| ExecError::Incomplete {
            delivered,
            damage: "what the container sent is not what was asked for".to_owned(),
        };
        loop {
            while asking && self.asked.len() < self.work.ahead {
                // The first session is the last to leave.
                let wanted = number == 0 || self.work.allowed.load(Ordering::Relaxed) > 1;
                let piece = if wanted {
                    self.work.queue().pop_front()
                } else {
                    None
                };
                let Some(piece) = piece else {
                    conversation.hold(false);
                    asking = false;
                    break;
                };
                conversation.push(self.work.command(&piece));
                self.asked.push_back(piece);
            }
            // A tool that brings less than it was asked for would be waited for in vain.
            let Ok(event) = timeout(STALLED + remote.reconnect_for, conversation.next()).await
            else {
                return Err(damaged(0).into());
            };
            match event {
                Some(ExecEvent::Stdout(mut bytes)) => {
                    while !bytes.is_empty() {
                        let slice = bytes.split_to(bytes.len().min(SLICE));
                        let Some((content, note)) = self.decode(&slice) else {
                            return Err(damaged(0).into());
                        };
                        if let Some(note) = note {
                            let _ = arrive.send(Arrival::Detail(note.to_owned())).await;
                        }
                        if !self.deliver(content, arrive).await {
                            return Err(damaged(0).into());
                        }
                    }
                }
                Some(ExecEvent::Notice(text)) => {
                    let _ = arrive.send(Arrival::Notice(text)).await;
                }
                Some(ExecEvent::Exit { code: 0 }) if !asking && self.asked.is_empty() => {
                    return Ok(());
                }
                Some(ExecEvent::Exit { .. }) => {
                    return Err(remote.failed(Program::Fetch, &conversation.said()));
                }
                Some(ExecEvent::Closed { reason }) => return Err(reason.into()),
                Some(_) => {}
                None => return Err(damaged(0).into()),
            }
        }
    }

    /// The content in what came, and what is to be said of it. `None` if it is damaged.
    fn decode(&mut self, bytes: &Bytes) -> Option<(Bytes, Option<&'static str>)> {
        match &mut self.content {
            Content::Unknown => {
                let compressed = match bytes.get(..2)? {
                    b"0\n" => false,
                    b"1\n" => true,
                    _ => return None,
                };
                let rest = bytes.slice(2..);
                if !compressed {
                    self.content = Content::Plain;
                    return Some((
                        rest,
                        Some("content as it is: gzip is missing or does not shorten it"),
                    ));
                }
                self.content = Content::Gzip(Box::new(MultiGzDecoder::new(Vec::new())));
                let (bytes, _) = self.decode(&rest)?;
                Some((bytes, Some("content compressed by gzip in the container")))
            }
            Content::Plain => Some((bytes.clone(), None)),
            Content::Gzip(decoder) => {
                decoder.write_all(bytes).ok()?;
                decoder.flush().ok()?;
                Some((std::mem::take(decoder.get_mut()).into(), None))
            }
        }
    }

    /// Cuts content into chunks of files. False if more came than was asked for.
    async fn deliver(&mut self, mut bytes: Bytes, arrive: &mpsc::Sender<Arrival>) -> bool {
        while !bytes.is_empty() {
            let (file, offset, end) = match self.asked.front() {
                None => return false,
                Some(Piece::Range {
                    file,
                    block,
                    length,
                }) => (*file, block * BLOCK, *length),
                Some(Piece::Batch(files)) => match files.get(self.place) {
                    Some(&file) => (file, 0, self.work.sources[file].size),
                    None => return false,
                },
            };
            let room = usize::try_from(end - self.within).unwrap_or(usize::MAX);
            let piece = bytes.split_to(bytes.len().min(room));
            let chunk = Chunk {
                file,
                offset: offset + self.within,
                bytes: piece,
            };
            self.within += chunk.bytes.len() as u64;
            if self.within == end {
                self.within = 0;
                self.place += 1;
                let last = match self.asked.front() {
                    Some(Piece::Batch(files)) => self.place == files.len(),
                    _ => true,
                };
                if last {
                    self.place = 0;
                    self.asked.pop_front();
                }
            }
            // Whoever receives them leaves only when all of this ends.
            let _ = arrive.send(Arrival::Chunk(chunk)).await;
        }
        true
    }

    /// What was asked for and has not come goes back to the others.
    fn give_back(&mut self) {
        if let Some(first) = self.asked.front_mut() {
            match first {
                Piece::Batch(files) => drop(files.drain(..self.place)),
                Piece::Range { block, length, .. } => {
                    let whole = self.within / BLOCK;
                    *block += whole;
                    *length -= whole * BLOCK;
                }
            }
        }
        let mut queue = self.work.queue();
        for piece in self.asked.drain(..).rev() {
            queue.push_front(piece);
        }
    }
}

/// Whether another session may fare better.
fn is_passing(error: &CopyError) -> bool {
    matches!(error, CopyError::Session(error) if error.is_passing())
}

/// How many sessions there are in the container, ours among them.
async fn active(remote: &Remote) -> Option<usize> {
    let target = remote.target.ssm_target()?;
    let asking = remote.client.active_sessions(&target);
    timeout(LOOK_LIMIT, asking).await.ok()?.ok()
}

async fn pass_on(
    arrival: Arrival,
    sink: &mpsc::Sender<Chunk>,
    tell: &mut (dyn FnMut(News) + Send),
) -> bool {
    match arrival {
        Arrival::Chunk(chunk) => {
            let length = chunk.bytes.len() as u64;
            let taken = sink.send(chunk).await.is_ok();
            tell(News::Bytes(length));
            return taken;
        }
        Arrival::Detail(text) => tell(News::Detail(text)),
        Arrival::Notice(text) => tell(News::Notice(text)),
    }
    true
}

/// What has come already; whether anything had.
async fn drain(
    arrivals: &mut mpsc::Receiver<Arrival>,
    sink: &mpsc::Sender<Chunk>,
    tell: &mut (dyn FnMut(News) + Send),
) -> Result<bool, CopyError> {
    let mut any = false;
    while let Ok(arrival) = arrivals.try_recv() {
        any |= matches!(arrival, Arrival::Chunk(_));
        if !pass_on(arrival, sink, tell).await {
            break;
        }
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_go_together_and_large_ones_in_ranges() {
        let sizes = [10, 5 * BLOCK, 20, RANGE + 7];
        let sources: Vec<Source> = sizes
            .iter()
            .map(|&size| Source {
                path: b"x".to_vec(),
                size,
            })
            .collect();
        let missing = vec![
            (0, vec![(0, 10)]),
            (1, vec![(0, 10), (3 * BLOCK + 5, 5 * BLOCK)]),
            (2, vec![(0, 20)]),
            (3, vec![(0, RANGE + 7)]),
        ];
        let range = |file, block, length| Piece::Range {
            file,
            block,
            length,
        };
        assert_eq!(
            pieces(&sources, missing),
            [
                range(1, 0, 10),
                range(1, 3, 2 * BLOCK),
                range(3, 0, RANGE),
                range(3, 8, 7),
                Piece::Batch(vec![0, 2]),
            ]
        );
    }
}
