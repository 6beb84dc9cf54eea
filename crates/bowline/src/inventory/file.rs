//! The last inventory in a private file: something to show before the first answer, and what completion offers.
//!
//! One JSON object per line, so that damage costs the lines it hit and no more. The first line says what the file is.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Inventory, Row};

/// Where the inventory of one account and region is kept.
#[derive(Clone, Debug)]
pub struct InventoryFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Header {
    bowline_inventory: u32,
}

impl InventoryFile {
    /// The file in a directory.
    ///
    /// `identity` tells accounts, regions and endpoints apart; only its digest is stored, in the name.
    pub fn new(directory: &Path, identity: &str) -> Self {
        Self {
            path: directory.join(format!("{}.ndjson", identity_name(identity))),
        }
    }

    /// What was kept. A file that is missing, of another version, or not ours is an empty inventory.
    pub fn read(&self) -> Inventory {
        self.rows().map(Inventory::of).unwrap_or_default()
    }

    /// How long ago it was written.
    pub fn age(&self) -> Option<Duration> {
        let modified = fs::metadata(&self.path).ok()?.modified().ok()?;
        // A file from the future, by a clock that was set back, is no older than now.
        Some(
            SystemTime::now()
                .duration_since(modified)
                .unwrap_or_default(),
        )
    }

    /// Keeps an inventory, in one step: a reader sees the old one or this one. Files that nobody has written for a
    /// month are removed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, inventory: &Inventory) -> io::Result<()> {
        let mut text = serde_json::to_vec(&Header {
            bowline_inventory: VERSION,
        })?;
        for row in inventory.rows() {
            text.push(b'\n');
            serde_json::to_writer(&mut text, row)?;
        }
        text.push(b'\n');
        write_private(&self.path, &text)?;
        if let Some(directory) = self.path.parent() {
            remove_forgotten(directory);
        }
        Ok(())
    }

    fn rows(&self) -> Option<Vec<Row>> {
        let file = open_own(&self.path)?;
        let mut lines = BufReader::new(file.take(LARGEST));
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).ok()?;
        let header: Header = serde_json::from_slice(&line).ok()?;
        if header.bowline_inventory != VERSION {
            return None;
        }
        let mut rows: Vec<Row> = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).ok()? == 0 {
                return Some(rows);
            }
            let Ok(mut row) = serde_json::from_slice::<Row>(&line) else {
                continue;
            };
            if let Some(before) = rows.last() {
                share(&before.place.cluster, &mut row.place.cluster);
                if let (Some(before), Some(own)) = (&before.place.service, &mut row.place.service) {
                    share(before, own);
                }
            }
            rows.push(row);
        }
    }
}

/// Neighbours are mostly of one cluster and service, and need its name only once.
fn share(known: &std::sync::Arc<str>, own: &mut std::sync::Arc<str>) {
    if known == own {
        *own = std::sync::Arc::clone(known);
    }
}

/// A file name that tells identities apart and does not spell them out.
pub(super) fn identity_name(identity: &str) -> String {
    hex::encode(&Sha256::digest(identity.as_bytes())[..16])
}

/// The text of a file of ours, if it is of a sane size.
pub(super) fn read_bounded(path: &Path) -> Option<String> {
    let mut text = String::new();
    open_own(path)?
        .take(LARGEST)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

/// Writes a file that only its owner may read, and its directory likewise.
pub(super) fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    // Created with mode 0600, under a name of its own.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Only a plain file: a pipe at its place would hold up a prompt.
fn open_own(path: &Path) -> Option<File> {
    let file = File::options()
        .read(true)
        .custom_flags(NONBLOCK)
        .open(path)
        .ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

/// The directory is ours alone; what a program left that was killed while it wrote goes as well.
fn remove_forgotten(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|data| data.modified());
        let age = modified.ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > FORGOTTEN) {
            // Someone else may have removed it just now.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Opening a pipe does not wait for a writer.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
/// Raised when a row changes its meaning.
const VERSION: u32 = 1;
/// A hundred thousand rows; whatever is larger was not written by us.
const LARGEST: u64 = 64 << 20;
/// Sandboxes have a new port, and with it a new identity, at every start.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::inventory::Place;
    use crate::model::Readiness;

    fn inventory() -> Inventory {
        let row = |service, task| Row::at(Place::new("prod", service, task, None));
        Inventory::of(vec![
            row(None, None),
            Row {
                events: vec!["(service web) 安定".into()],
                ..row(Some("web"), None)
            },
            Row {
                exec: Some(Readiness::Pending("task is PENDING".into())),
                started_at: Some("2026-11-21T10:00:00Z".parse().unwrap()),
                ..row(Some("web"), Some("1"))
            },
        ])
    }

    #[test]
    fn what_is_written_is_read_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let file = InventoryFile::new(&directory.path().join("a/b"), "me");
        assert!(file.read().rows().is_empty());
        assert_eq!(file.age(), None);
        file.write(&inventory()).unwrap();
        assert_eq!(file.read().rows(), inventory().rows());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file.path), 0o600);
        assert_eq!(mode(file.path.parent().unwrap()), 0o700);
        let other = InventoryFile::new(&directory.path().join("a/b"), "you");
        assert!(other.read().rows().is_empty());
    }

    #[test]
    fn damage_costs_the_lines_it_hit() {
        let directory = tempfile::tempdir().unwrap();
        let file = InventoryFile::new(directory.path(), "me");
        file.write(&inventory()).unwrap();
        let whole = fs::read(&file.path).unwrap();
        for end in 0..whole.len() {
            fs::write(&file.path, &whole[..end]).unwrap();
            assert!(file.read().rows().len() <= 3);
        }
        let mut broken = whole;
        let second = broken.iter().position(|byte| *byte == b'\n').unwrap() + 3;
        broken[second] = 0xff;
        fs::write(&file.path, &broken).unwrap();
        assert_eq!(file.read().rows().len(), 2);
        fs::write(&file.path, b"{\"bowline_inventory\":99}\n").unwrap();
        assert!(file.read().rows().is_empty());
    }
}
