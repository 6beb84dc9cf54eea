//! Output compared: equal ones are shown once, with how often they came; others as they differ from the commonest.
//!
//! What a target prints goes to a file as it comes, and only its digest is kept. A file whose like is there already is
//! removed at once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bowline::fleet::{FleetEvent, FleetTarget, Outcome, Stream};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use similar::TextDiff;
use tempfile::TempDir;

use super::failed;
use super::summary::Summary;
use crate::error::CommandError;
use crate::writer::{Stream as Out, Writers};

/// Longer outputs are shown whole, not compared.
const COMPARED: u64 = 256 * 1024;
/// For all comparisons: two outputs that have nothing in common take minutes for the shortest difference.
const COMPARE_LIMIT: Duration = Duration::from_secs(4);
/// Of a group's targets, by name.
const NAMES_SHOWN: usize = 4;

/// The outputs so far.
pub(super) struct Groups {
    folder: TempDir,
    open: HashMap<usize, Spool>,
    /// By what was printed and how it ended: the first target's number is the name of the files.
    groups: HashMap<Key, Vec<usize>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    end: String,
    digests: [[u8; 32]; 2],
}

struct Spool {
    files: [File; 2],
    hashers: [Sha256; 2],
}

impl Groups {
    pub(super) fn new() -> Result<Self, CommandError> {
        Ok(Self {
            folder: TempDir::with_prefix("bowline-fleet-")?,
            open: HashMap::new(),
            groups: HashMap::new(),
        })
    }

    pub(super) fn event(&mut self, event: FleetEvent) -> Result<(), CommandError> {
        match event {
            FleetEvent::Starting { target, .. } => {
                let file = |stream| {
                    let path = self.file(target, stream);
                    File::create(&path).map_err(|error| failed::unwritten(&path, &error))
                };
                let spool = Spool {
                    files: [file(0)?, file(1)?],
                    hashers: [Sha256::new(), Sha256::new()],
                };
                self.open.insert(target, spool);
            }
            FleetEvent::Output {
                target,
                stream,
                bytes,
            } => {
                let stream = usize::from(stream == Stream::Stderr);
                if let Some(spool) = self.open.get_mut(&target) {
                    spool.hashers[stream].update(&bytes);
                    spool.files[stream]
                        .write_all(&bytes)
                        .map_err(|error| failed::unwritten(self.folder.path(), &error))?;
                }
            }
            FleetEvent::Ended {
                target, outcome, ..
            } => self.ended(target, &outcome),
            _ => {}
        }
        Ok(())
    }

    fn ended(&mut self, target: usize, outcome: &Outcome) {
        let hashers = self.open.remove(&target).map(|spool| spool.hashers);
        let digests = hashers
            .unwrap_or_default()
            .map(|hasher| hasher.finalize().into());
        let end = described(outcome);
        let like = self.groups.entry(Key { end, digests }).or_default();
        like.push(target);
        if like.len() > 1 {
            for stream in [0, 1] {
                // There may be none, of a target that was not tried.
                let _ = fs::remove_file(self.file(target, stream));
            }
        }
    }

    /// Prints them, the commonest first. Cancel-safe in that nothing is left running for long.
    pub(super) async fn print(
        &mut self,
        targets: &[FleetTarget],
        summary: &Summary,
    ) -> io::Result<()> {
        self.open.clear();
        let deadline = Instant::now() + COMPARE_LIMIT;
        let mut writers = Writers::start()?;
        let mut commonest = None;
        for (key, members) in self.sorted() {
            let Some(first) = members.first().copied() else {
                continue;
            };
            if matches!(
                summary.outcome(first),
                Some(Outcome::Skipped | Outcome::Interrupted)
            ) {
                continue;
            }
            put(head(&key, &members, targets).into(), &mut writers).await?;
            for stream in [0, 1] {
                let path = self.file(first, stream);
                let like = commonest.map(|other| self.file(other, stream));
                print(path, like, deadline, &mut writers).await?;
            }
            commonest = commonest.or(Some(first));
        }
        writers.finish().await
    }

    fn sorted(&mut self) -> Vec<(Key, Vec<usize>)> {
        let mut groups: Vec<(Key, Vec<usize>)> = self.groups.drain().collect();
        for (_, members) in &mut groups {
            let first = members.first().copied();
            members.sort_unstable();
            // The files are the first one's that ended.
            let at = members.iter().position(|member| Some(*member) == first);
            members.swap(0, at.unwrap_or_default());
        }
        groups.sort_by_key(|(_, members)| {
            (
                std::cmp::Reverse(members.len()),
                members.iter().min().copied(),
            )
        });
        groups
    }

    fn file(&self, target: usize, stream: usize) -> PathBuf {
        self.folder.path().join(format!("{target}.{stream}"))
    }
}

/// What stands above a group's output.
fn head(key: &Key, members: &[usize], targets: &[FleetTarget]) -> String {
    let mut names: Vec<&str> = members
        .iter()
        .map(|member| targets[*member].label.as_str())
        .collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    names.truncate(NAMES_SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let word = if members.len() == 1 {
        "target"
    } else {
        "targets"
    };
    format!(
        "== {} {word}, {}: {}{more}\n",
        members.len(),
        key.end,
        names.join(", ")
    )
}

async fn put(bytes: Bytes, writers: &mut Writers) -> io::Result<()> {
    let mut piece = Some((Out::Stdout, bytes));
    writers.write(&mut piece).await
}

/// A file as it is, or as it differs from another.
async fn print(
    path: PathBuf,
    like: Option<PathBuf>,
    deadline: Instant,
    writers: &mut Writers,
) -> io::Result<()> {
    let compared = {
        let path = path.clone();
        // It keeps a processor busy until the deadline at most.
        tokio::task::spawn_blocking(move || compared(&path, &like?, deadline))
    };
    if let Ok(Some(difference)) = compared.await {
        return put(difference.into(), writers).await;
    }
    let Ok(mut file) = File::open(path) else {
        return Ok(());
    };
    let mut buffer = vec![0; 64 * 1024];
    let mut last = b'\n';
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        last = buffer[count - 1];
        put(Bytes::copy_from_slice(&buffer[..count]), writers).await?;
    }
    match last {
        b'\n' => Ok(()),
        _ => put(Bytes::from_static(b"\n"), writers).await,
    }
}

/// How a file differs from another; nothing if they cannot be compared. Behind the deadline the difference is right, but
/// longer than it need be.
fn compared(path: &Path, like: &Path, deadline: Instant) -> Option<String> {
    let (this, other) = text(path).zip(text(like))?;
    if this.is_empty() || other.is_empty() {
        return None;
    }
    if this == other {
        return Some("   (the same output)\n".to_owned());
    }
    let diff = TextDiff::configure()
        .deadline(deadline)
        .diff_lines(&other, &this);
    let diff = diff
        .unified_diff()
        .context_radius(1)
        .header("commonest", "this")
        .to_string();
    Some(diff)
}

/// A short file that is text.
fn text(path: &Path) -> Option<String> {
    let short = fs::metadata(path).is_ok_and(|about| about.len() <= COMPARED);
    short.then(|| fs::read_to_string(path).ok())?
}

/// Reasons are in the summary: they hold numbers of requests, which would keep equals apart.
fn described(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exit(0) => "ok".to_owned(),
        Outcome::Exit(code) => format!("exit code {code}"),
        outcome => outcome.as_str().to_owned(),
    }
}
