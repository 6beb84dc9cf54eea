//! The near end of a recording: what a session hands over, without waiting for a disk.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bowline_proto::Size;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::entry::{End, Entry, Output, Start};
use super::redact::Patterns;
use super::writer;

/// Entries on their way to the file; one of output is 60 KiB at most.
const ENTRIES: usize = 256;
/// How long a session waits for a place among them.
const PATIENCE: Duration = Duration::from_secs(5);

/// How to record.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// The folder for the files. It is made, for its owner only, if it is not there.
    pub folder: PathBuf,
    /// Also record what is typed or sent.
    pub input: bool,
    /// What is taken out.
    pub patterns: Patterns,
    /// A session that cannot be recorded is ended; else it goes on, and that is said.
    pub required: bool,
}

/// Why something was not recorded.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the recording {} cannot be written: {reason}", path.display())]
pub struct RecordError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// A recording that was closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Closed {
    /// Its file.
    pub path: PathBuf,
    /// The seal of all of it.
    pub seal: String,
}

/// Takes what happens in one session. Clones write to the same file; when the last of them is dropped the recording is
/// closed, if it was not before.
#[derive(Clone, Debug)]
pub struct Recorder {
    entries: mpsc::Sender<(u64, Entry)>,
    began: Instant,
    shared: Arc<Shared>,
}

/// Reaches a recording without keeping it open.
#[derive(Clone, Debug)]
pub struct WeakRecorder {
    entries: mpsc::WeakSender<(u64, Entry)>,
    began: Instant,
    shared: Arc<Shared>,
}

impl WeakRecorder {
    /// The recorder, unless the recording was closed.
    #[must_use]
    pub fn upgrade(&self) -> Option<Recorder> {
        Some(Recorder {
            entries: self.entries.upgrade()?,
            began: self.began,
            shared: Arc::clone(&self.shared),
        })
    }
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    input: bool,
    required: bool,
    failed: Mutex<Option<String>>,
    /// Since when nothing could be handed over.
    full: Mutex<Option<Instant>>,
    /// Entries that found no place, and of which the file does not say so yet.
    lost: AtomicU64,
}

/// Waits for the end of a recording.
#[derive(Debug)]
pub struct Recording {
    /// Its file.
    pub path: PathBuf,
    closed: oneshot::Receiver<Result<String, String>>,
}

impl Recorder {
    /// Makes the file and writes how the session begins, before anything else is done: what cannot be written is known
    /// here.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn start(start: &Start, options: &RecordOptions) -> Result<(Self, Recording), RecordError> {
        let refused = |path: &Path, error: &io::Error| RecordError {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&options.folder);
        made.map_err(|error| refused(&options.folder, &error))?;
        let now = Timestamp::now();
        let (id, path, file) = create(&options.folder, start, now)
            .map_err(|error| refused(&options.folder, &error))?;
        let head = start.document(&id, now, options.input, &options.patterns);
        let mut writer =
            writer::Writer::new(file, start.terminal.is_some(), options.patterns.clone());
        if let Err(error) = writer.head(start, now, &head) {
            // It holds nothing.
            let _ = fs::remove_file(&path);
            return Err(refused(&path, &error));
        }
        let (entries, queue) = mpsc::channel(ENTRIES);
        let (done, closed) = oneshot::channel();
        let shared = Arc::new(Shared {
            path: path.clone(),
            input: options.input,
            required: options.required,
            failed: Mutex::default(),
            full: Mutex::default(),
            lost: AtomicU64::default(),
        });
        let told = Arc::clone(&shared);
        let began = Instant::now();
        // A write cannot be cancelled, so this is a thread: it ends with the last recorder, and `Recording` waits for it.
        std::thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || {
                let result = told.write(writer, queue, began);
                // Nobody may be waiting.
                let _ = done.send(result);
            })
            .map_err(|error| refused(&path, &error))?;
        let recorder = Self {
            entries,
            began,
            shared,
        };
        Ok((recorder, Recording { path, closed }))
    }

    /// One that does not keep the recording open.
    #[must_use]
    pub fn downgrade(&self) -> WeakRecorder {
        WeakRecorder {
            entries: self.entries.downgrade(),
            began: self.began,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Where it goes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Whether the session must end if it cannot be recorded.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.shared.required
    }

    /// Output of the command.
    ///
    /// # Errors
    /// It is not recorded. Cancel-safe: a call that is dropped has handed over nothing.
    pub async fn output(&self, output: Output, bytes: Bytes) -> Result<(), RecordError> {
        self.hand_over(Entry::Output(output, bytes)).await
    }

    /// What was sent to the command, if that is recorded.
    ///
    /// # Errors
    /// As for [`Recorder::output`].
    pub async fn input(&self, bytes: Bytes) -> Result<(), RecordError> {
        match self.shared.input {
            true => self.hand_over(Entry::Input(bytes)).await,
            false => Ok(()),
        }
    }

    /// The terminal has another size.
    ///
    /// # Errors
    /// As for [`Recorder::output`].
    pub async fn resize(&self, size: Size) -> Result<(), RecordError> {
        self.hand_over(Entry::Resize(size)).await
    }

    /// Something else: an object with a `type`.
    ///
    /// # Errors
    /// As for [`Recorder::output`].
    pub async fn event(&self, event: Value) -> Result<(), RecordError> {
        self.hand_over(Entry::Event(event)).await
    }

    /// The same without waiting: where there is no place it is left out, and the recording says so. One that must be whole
    /// has failed then.
    pub fn try_event(&self, event: Value) {
        let time = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match self.entries.try_send((time, Entry::Event(event))) {
            Ok(()) => *self.shared.lock_full() = None,
            Err(TrySendError::Full(_)) => {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
                if self.shared.required {
                    let reason = "events came faster than they were written";
                    self.shared.fail(reason.to_owned());
                }
            }
            // The end was written.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// The end; nothing is recorded behind it.
    ///
    /// # Errors
    /// As for [`Recorder::output`].
    pub async fn end(&self, end: End) -> Result<(), RecordError> {
        self.hand_over(Entry::End(end)).await
    }

    async fn hand_over(&self, entry: Entry) -> Result<(), RecordError> {
        self.check()?;
        let time = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Ok(place) = self.entries.try_reserve() {
            place.send((time, entry));
            // Whoever found no place before may have given up waiting.
            *self.shared.lock_full() = None;
            return Ok(());
        }
        let full = *self.shared.lock_full().get_or_insert_with(Instant::now);
        let left = PATIENCE.saturating_sub(full.elapsed());
        let place = timeout(left, self.entries.reserve()).await;
        match place {
            Ok(Ok(place)) => {
                place.send((time, entry));
                *self.shared.lock_full() = None;
                Ok(())
            }
            // Closed: the end was written.
            Ok(Err(_)) => self.check(),
            Err(_) => {
                let reason = format!("nothing was written for {} seconds", PATIENCE.as_secs());
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
                self.shared.fail(reason);
                self.check()
            }
        }
    }

    fn check(&self) -> Result<(), RecordError> {
        let failed = self.shared.failed.lock();
        let failed = failed.unwrap_or_else(PoisonError::into_inner).clone();
        failed.map_or(Ok(()), |reason| {
            Err(RecordError {
                path: self.shared.path.clone(),
                reason,
            })
        })
    }
}

impl Shared {
    /// Writes the file to its end; the result is its seal.
    fn write(
        &self,
        writer: writer::Writer,
        queue: mpsc::Receiver<(u64, Entry)>,
        began: Instant,
    ) -> Result<String, String> {
        let lost = || self.lost.swap(0, Ordering::Relaxed);
        let seal = writer.run(queue, began, |error| self.fail(error.to_string()), lost);
        let seal = seal.map_err(|error| error.to_string())?;
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match &*failed {
            Some(reason) if self.required => Err(reason.clone()),
            _ => Ok(seal),
        }
    }

    fn fail(&self, reason: String) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(reason);
    }

    fn lock_full(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recording {
    /// Waits until the file is closed, which it is soon after the last recorder is gone.
    ///
    /// # Errors
    /// It is not whole.
    pub async fn closed(&mut self) -> Result<Closed, RecordError> {
        let gone = || Err("its thread is gone".to_owned());
        let closed = (&mut self.closed).await.unwrap_or_else(|_| gone());
        match closed {
            Ok(seal) => Ok(Closed {
                path: self.path.clone(),
                seal,
            }),
            Err(reason) => Err(RecordError {
                path: self.path.clone(),
                reason,
            }),
        }
    }
}

/// A file of its own, whoever else records at this moment: its name without the ending, its path, and it.
fn create(folder: &Path, start: &Start, now: Timestamp) -> io::Result<(String, PathBuf, File)> {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let ending = match start.terminal {
        Some(_) => "cast",
        None => "ndjson",
    };
    let mut number = [0; 4];
    getrandom::fill(&mut number).map_err(io::Error::other)?;
    let id = format!("{time}-{}-{}", start.verb, hex::encode(number));
    let path = folder.join(format!("{id}.{ending}"));
    let mut open = File::options();
    let file = open.write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((id, path, file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::chain::{Verdict, verify};
    use super::*;

    fn options(folder: &Path) -> RecordOptions {
        RecordOptions {
            folder: folder.join("made"),
            input: true,
            patterns: Patterns::default(),
            required: true,
        }
    }

    fn verdict(path: &Path) -> Verdict {
        verify(io::BufReader::new(File::open(path).unwrap()))
            .unwrap()
            .verdict
    }

    #[tokio::test]
    async fn a_recording_is_private_sealed_and_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        for terminal in [None, Some(Size { cols: 80, rows: 24 })] {
            let mut start = Start::new("exec", ["env", "TOKEN=abcdefgh"].map(str::to_owned).into());
            start.terminal = terminal;
            let (recorder, mut recording) =
                Recorder::start(&start, &options(folder.path())).unwrap();
            for piece in ["AKIAIOSF", "ODNN7EXAMPLE\n\u{e9}", "\u{fffd} \x1b[1m"] {
                recorder
                    .output(Output::Stdout, Bytes::from(piece))
                    .await
                    .unwrap();
            }
            recorder
                .output(Output::Stderr, Bytes::from_static(b"\xff\x00"))
                .await
                .unwrap();
            recorder.input(Bytes::from_static(b"ls\r")).await.unwrap();
            recorder
                .resize(Size {
                    cols: 100,
                    rows: 30,
                })
                .await
                .unwrap();
            recorder.end(End::exit(3)).await.unwrap();
            let closed = recording.closed().await.unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&closed.path), 0o600);
            assert_eq!(mode(closed.path.parent().unwrap()), 0o700);
            assert_eq!(verdict(&closed.path), Verdict::Whole);
            let text = fs::read_to_string(&closed.path).unwrap();
            assert!(
                !text.contains("ODNN7") && !text.contains("abcdefgh"),
                "{text}"
            );
            assert!(text.contains("[redacted:aws-key-id]"), "{text}");
        }
    }

    #[tokio::test]
    async fn one_that_is_let_go_is_closed_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let start = Start::new("exec", Vec::new());
        let (recorder, mut recording) = Recorder::start(&start, &options(folder.path())).unwrap();
        drop(recorder);
        let closed = recording.closed().await.unwrap();
        assert_eq!(verdict(&closed.path), Verdict::Whole);
        let text = fs::read_to_string(&closed.path).unwrap();
        assert!(text.contains("was left"), "{text}");
    }

    /// A recorder whose writer does not run: its queue has one place.
    fn stalled(required: bool) -> (Recorder, mpsc::Receiver<(u64, Entry)>) {
        let (entries, queue) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            path: PathBuf::new(),
            input: true,
            required,
            failed: Mutex::default(),
            full: Mutex::default(),
            lost: AtomicU64::default(),
        });
        let began = Instant::now();
        let recorder = Recorder {
            entries,
            began,
            shared,
        };
        (recorder, queue)
    }

    fn piece(recorder: &Recorder) -> impl Future<Output = Result<(), RecordError>> {
        recorder.output(Output::Stdout, Bytes::from_static(b"x"))
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_long_ago_ends_no_session() {
        let (recorder, mut queue) = stalled(true);
        piece(&recorder).await.unwrap();
        // No place; whoever waits is dropped, and time goes by.
        assert!(
            timeout(Duration::from_millis(1), piece(&recorder))
                .await
                .is_err()
        );
        let past = Instant::now().checked_sub(PATIENCE * 2).unwrap();
        *recorder.shared.lock_full() = Some(past);
        queue.recv().await.unwrap();
        piece(&recorder).await.unwrap();
        // Full again, for a moment.
        let (handed_over, _) = tokio::join!(piece(&recorder), async {
            // Longer than somebody waits who has no patience left.
            tokio::time::sleep(Duration::from_millis(100)).await;
            queue.recv().await
        });
        handed_over.unwrap();
    }

    #[tokio::test]
    async fn events_without_a_place_are_counted_and_fail_what_must_be_whole() {
        for required in [false, true] {
            let (recorder, queue) = stalled(required);
            let shared = Arc::clone(&recorder.shared);
            for number in 0..3 {
                recorder.try_event(serde_json::json!({ "type": "event", "number": number }));
            }
            assert_eq!(recorder.check().is_err(), required);
            drop(recorder);
            let folder = tempfile::tempdir().unwrap();
            let (_, path, file) = create(
                folder.path(),
                &Start::new("forward", Vec::new()),
                Timestamp::now(),
            )
            .unwrap();
            let writer = writer::Writer::new(file, false, Patterns::default());
            let result =
                tokio::task::spawn_blocking(move || shared.write(writer, queue, Instant::now()));
            assert_eq!(result.await.unwrap().is_err(), required);
            assert_eq!(verdict(&path), Verdict::Whole);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains("\"entries\":2"), "{text}");
        }
    }

    #[tokio::test]
    async fn as_many_words_as_a_system_takes_are_recorded_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        for (length, fits) in [(400_000, true), (3_000_000, false)] {
            let start = Start::new("exec", vec!["\u{1}".repeat(length)]);
            match Recorder::start(&start, &options(folder.path())) {
                Err(error) if !fits => assert!(error.to_string().contains("16 MiB"), "{error}"),
                Ok((recorder, mut recording)) if fits => {
                    drop(recorder);
                    let closed = recording.closed().await.unwrap();
                    assert_eq!(verdict(&closed.path), Verdict::Whole);
                    let about = super::super::summary(&closed.path).unwrap().unwrap();
                    assert_eq!(about.end["origin"], "bowline");
                }
                other => panic!("{length}: {other:?}"),
            }
        }
        assert_eq!(fs::read_dir(folder.path().join("made")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_known_before_anything_is_done() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("made"), "a file").unwrap();
        let error = Recorder::start(&Start::new("exec", Vec::new()), &options(folder.path()));
        assert!(error.unwrap_err().to_string().contains("cannot be written"));
    }
}
