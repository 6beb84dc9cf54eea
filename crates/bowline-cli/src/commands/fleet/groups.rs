//! Output compared: equal ones are shown once, with how often they came; others as they differ from the commonest.
//!
//! What a target prints goes to a file as it comes, and only its digest is kept. A file whose like is there already is
//! removed at once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

use bowline::fleet::{FleetEvent, FleetTarget, Outcome, Stream};
use sha2::{Digest, Sha256};
use similar::TextDiff;
use tempfile::TempDir;

use super::failed;
use super::summary::Summary;
use crate::commands::Context;
use crate::error::CommandError;

/// Longer outputs are shown whole, not compared.
const COMPARED: u64 = 256 * 1024;
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

    /// Prints them, the commonest first.
    pub(super) fn print(
        &mut self,
        targets: &[FleetTarget],
        summary: &Summary,
        context: &Context,
    ) -> Result<(), CommandError> {
        self.open.clear();
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
        let mut commonest = None;
        for (key, members) in &groups {
            let Some(first) = members.first().copied() else {
                continue;
            };
            if matches!(
                summary.outcome(first),
                Some(Outcome::Skipped | Outcome::Interrupted)
            ) {
                continue;
            }
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
            let head = format!(
                "== {} {word}, {}: {}{more}\n",
                members.len(),
                key.end,
                names.join(", ")
            );
            context.printer.document(&head)?;
            for stream in [0, 1] {
                let path = self.file(first, stream);
                let like = commonest.map(|other| self.file(other, stream));
                print(&path, like.as_deref(), context)?;
            }
            commonest = commonest.or(Some(first));
        }
        Ok(())
    }

    fn file(&self, target: usize, stream: usize) -> PathBuf {
        self.folder.path().join(format!("{target}.{stream}"))
    }
}

/// A file as it is, or as it differs from another.
fn print(
    path: &std::path::Path,
    like: Option<&std::path::Path>,
    context: &Context,
) -> Result<(), CommandError> {
    if let Some((this, other)) = text(path).zip(like.and_then(text))
        && !this.is_empty()
        && !other.is_empty()
    {
        if this == other {
            return context.printer.document("   (the same output)\n");
        }
        let diff = TextDiff::from_lines(&other, &this);
        let diff = diff
            .unified_diff()
            .context_radius(1)
            .header("commonest", "this")
            .to_string();
        return context.printer.document(&diff);
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
        context.printer.bytes(&buffer[..count])?;
    }
    match last {
        b'\n' => Ok(()),
        _ => context.printer.bytes(b"\n"),
    }
}

/// A short file that is text.
fn text(path: &std::path::Path) -> Option<String> {
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
