//! The far end of a recording: the thread that writes the file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::time::Instant;

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::chain::{CAST_END, CAST_NOTE, CAST_SEAL, Chain, LINE_LIMIT, json_end, json_line};
use super::entry::{End, Entry, Output, Start};
use super::redact::{Patterns, Redactor};

/// The longest piece of output in one line.
const PIECE: usize = 32 * 1024;

/// Writes one file.
pub(super) struct Writer {
    file: BufWriter<File>,
    chain: Chain,
    is_cast: bool,
    patterns: Patterns,
    /// Of the newest event in a cast, in microseconds.
    last: u64,
    stdout: Kept,
    stderr: Kept,
    input: Kept,
}

/// What is known of one stream.
struct Kept {
    redactor: Redactor,
    /// Of what is written: a digest of what was taken out would let it be guessed.
    hash: Sha256,
    /// Likewise.
    bytes: u64,
    /// The beginning of a character, in a cast.
    half: Vec<u8>,
}

impl Writer {
    pub(super) fn new(file: File, is_cast: bool, patterns: Patterns) -> Self {
        let kept = || Kept {
            redactor: Redactor::new(patterns.clone()),
            hash: Sha256::new(),
            bytes: 0,
            half: Vec::new(),
        };
        Self {
            file: BufWriter::new(file),
            chain: Chain::default(),
            is_cast,
            stdout: kept(),
            stderr: kept(),
            input: kept(),
            last: 0,
            patterns,
        }
    }

    /// The beginning, on the disk when this comes back.
    pub(super) fn head(
        &mut self,
        start: &Start,
        now: Timestamp,
        document: &Value,
    ) -> io::Result<()> {
        match start.terminal {
            None => self.json(document)?,
            Some(size) => {
                let term = std::env::var("TERM").ok().filter(|term| term.len() < 64);
                let mut terminal = json!({ "cols": size.cols, "rows": size.rows });
                if let Some(term) = term {
                    terminal["type"] = term.into();
                }
                let header = json!({
                    "version": 3,
                    "term": terminal,
                    "timestamp": now.as_second(),
                    "title": format!("bowline {}", start.verb),
                    "bowline": document,
                });
                self.cast(&header)?;
            }
        }
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }

    /// Writes until the end or until nobody is left; the result is the last seal. An error is told at once, and what
    /// comes behind it is thrown away. `lost` says how much found no place in the queue since it was asked.
    pub(super) fn run(
        mut self,
        mut queue: mpsc::Receiver<(u64, Entry)>,
        began: Instant,
        failed: impl Fn(&io::Error),
        lost: impl Fn() -> u64,
    ) -> io::Result<String> {
        let elapsed = || u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut result = Ok(());
        loop {
            let next = match queue.try_recv() {
                Ok(next) => Some(next),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    // What there is may be all there ever is.
                    if result.is_ok() {
                        result = self.file.flush();
                        let _ = result.as_ref().inspect_err(|error| failed(error));
                    }
                    queue.blocking_recv()
                }
            };
            let (time, entry) = next.unwrap_or_else(|| {
                let end = End::because("the session was left before its end was seen");
                (elapsed(), Entry::End(end))
            });
            let missing = lost();
            if missing > 0 && result.is_ok() {
                let event = json!({ "type": "lost", "entries": missing });
                result = self.entry(time, Entry::Event(event));
                let _ = result.as_ref().inspect_err(|error| failed(error));
            }
            let end = match entry {
                Entry::End(end) => Some(end),
                entry => {
                    if result.is_ok() {
                        result = self.entry(time, entry);
                        let _ = result.as_ref().inspect_err(|error| failed(error));
                    }
                    None
                }
            };
            if let Some(end) = end {
                queue.close();
                result?;
                return self.end(time, &end).inspect_err(|error| failed(error));
            }
        }
    }

    fn entry(&mut self, time: u64, entry: Entry) -> io::Result<()> {
        match entry {
            Entry::Output(Output::Stdout, bytes) => self.stream("o", "stdout", time, &bytes),
            Entry::Output(Output::Stderr, bytes) => self.stream("o", "stderr", time, &bytes),
            Entry::Input(bytes) => self.stream("i", "input", time, &bytes),
            Entry::Resize(size) if self.is_cast => {
                self.cast_event(time, "r", &format!("{}x{}", size.cols, size.rows))
            }
            Entry::Resize(size) => self.timed(
                time,
                json!({ "type": "resize", "columns": size.cols, "rows": size.rows }),
            ),
            Entry::Event(event) => {
                let event = self.patterns.value(&event);
                match self.is_cast {
                    true => self.cast_line(&format!("{CAST_NOTE}{event}")),
                    false => self.timed(time, event),
                }
            }
            Entry::End(_) => Ok(()),
        }
    }

    fn kept(&mut self, name: &str) -> &mut Kept {
        match name {
            "stdout" => &mut self.stdout,
            "stderr" => &mut self.stderr,
            _ => &mut self.input,
        }
    }

    fn stream(
        &mut self,
        code: &str,
        name: &'static str,
        time: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let kept = self.kept(name);
        let mut safe = Vec::new();
        kept.redactor.feed(bytes, time, &mut |time, bytes| {
            safe.push((time, bytes.to_vec()));
        });
        self.pieces(code, name, &safe)
    }

    fn pieces(
        &mut self,
        code: &str,
        name: &'static str,
        safe: &[(u64, Vec<u8>)],
    ) -> io::Result<()> {
        for (time, bytes) in safe {
            for piece in bytes.chunks(PIECE) {
                if self.is_cast {
                    let kept = self.kept(name);
                    let text = kept.characters(piece);
                    kept.count(text.as_bytes());
                    self.cast_event(*time, code, &text)?;
                } else {
                    self.kept(name).count(piece);
                    let mut event = json!({ "type": name });
                    match std::str::from_utf8(piece) {
                        Ok(text) => event["text"] = text.into(),
                        Err(_) => {
                            let text = base64::engine::general_purpose::STANDARD.encode(piece);
                            event["base64"] = text.into();
                        }
                    }
                    self.timed(*time, event)?;
                }
            }
        }
        Ok(())
    }

    fn end(mut self, time: u64, end: &End) -> io::Result<String> {
        for (code, name) in [("o", "stdout"), ("o", "stderr"), ("i", "input")] {
            let mut safe = Vec::new();
            self.kept(name)
                .redactor
                .finish(&mut |time, bytes| safe.push((time, bytes.to_vec())));
            self.pieces(code, name, &safe)?;
        }
        let reason = end
            .reason
            .as_deref()
            .map(|reason| self.patterns.text(reason));
        let mut result = json!({
            "type": "end",
            "ended": Timestamp::now().to_string(),
            "origin": if end.code.is_some() { "remote" } else { "bowline" },
        });
        if let Some(code) = end.code {
            result["code"] = code.into();
        }
        if let Some(reason) = reason {
            result["reason"] = reason.into();
        }
        for name in ["stdout", "stderr", "input"] {
            let kept = self.kept(name);
            if kept.bytes > 0 || name != "input" {
                let digest = hex::encode(kept.hash.clone().finalize());
                result[name] = json!({ "bytes": kept.bytes, "sha256": digest });
                if kept.redactor.taken() > 0 {
                    result[name]["redacted"] = kept.redactor.taken().into();
                }
            }
        }
        if self.is_cast {
            if let Some(code) = end.code {
                self.cast_event(time, "x", &code.to_string())?;
            }
            result["seconds"] = seconds(time);
            self.cast_line(&format!("{CAST_NOTE}{result}"))?;
            let last = format!("{CAST_END}{}\n", self.chain.seal());
            self.raw(last.as_bytes())?;
        } else {
            self.timed(time, result)?;
            let last = json_end(&self.chain.seal()) + "\n";
            self.raw(last.as_bytes())?;
        }
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(self.chain.seal())
    }

    fn timed(&mut self, time: u64, mut event: Value) -> io::Result<()> {
        event["seconds"] = seconds(time);
        self.json(&event)
    }

    fn json(&mut self, event: &Value) -> io::Result<()> {
        let line = json_line(&self.chain.seal(), &event.to_string()) + "\n";
        self.raw(line.as_bytes())
    }

    fn cast_event(&mut self, time: u64, code: &str, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        // What was kept back for its secrets may be older than what is written already.
        let interval = time.saturating_sub(self.last);
        self.last = self.last.max(time);
        self.cast(&json!([seconds(interval), code, text]))
    }

    fn cast(&mut self, value: &Value) -> io::Result<()> {
        self.cast_line(&value.to_string())
    }

    fn cast_line(&mut self, line: &str) -> io::Result<()> {
        self.raw(format!("{line}\n").as_bytes())?;
        let seal = format!("{CAST_SEAL}{}\n", self.chain.seal());
        self.raw(seal.as_bytes())
    }

    fn raw(&mut self, line: &[u8]) -> io::Result<()> {
        if line.len() as u64 >= LINE_LIMIT {
            let text = "a line of it would be longer than 16 MiB";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.chain.take(line);
        self.file.write_all(line)
    }
}

impl Kept {
    fn count(&mut self, written: &[u8]) {
        self.hash.update(written);
        self.bytes += written.len() as u64;
    }

    /// The characters that end in a piece; what is no UTF-8 is replaced.
    fn characters(&mut self, piece: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.half);
        bytes.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => match bytes.utf8_chunks().last() {
                // Only an end that may go on is kept; a chunk's invalid part is three bytes at most.
                Some(last) if may_go_on(last.invalid()) => bytes.len() - last.invalid().len(),
                _ => bytes.len(),
            },
            Ok(_) => bytes.len(),
        };
        self.half = bytes.split_off(whole);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn may_go_on(end: &[u8]) -> bool {
    std::str::from_utf8(end).is_err_and(|error| error.error_len().is_none())
}

fn seconds(micros: u64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "centuries of microseconds fit")]
    let seconds = micros as f64 / 1e6;
    seconds.into()
}
