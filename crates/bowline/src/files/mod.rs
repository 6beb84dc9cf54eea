//! Copying files between here and a container, through exec sessions alone.
//!
//! A listing comes first: names, sizes and digests of everything. It is checked as a whole ([`Refusal`]) before anything
//! is written; content follows by what the listing says, so that no archive is ever believed. Files are written beside
//! their places and renamed when their digests are right. `docs/design/copying.md` says why.
//!
//! ```standalone_crate
//! use bowline::files::CopyOptions;
//! use bowline::{Client, TargetOptions};
//!
//! async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//!     let target = client.resolve(&"web".parse()?, &TargetOptions::default()).await?;
//!     let folder = tempfile::tempdir()?;
//!     let file = folder.path().join("settings");
//!     std::fs::write(&file, "a = 1")?;
//!     let options = CopyOptions::default();
//!     // A path from the container's working directory.
//!     client.upload(target.clone(), &[file], b"./settings", &options, &mut |_| {}).await?;
//!     let back = folder.path().join("back");
//!     let report = client
//!         .download(target, &[b"./settings".to_vec()], &back, &options, &mut |_| {})
//!         .await?;
//!     assert_eq!((report.files, std::fs::read_to_string(&back)?), (1, "a = 1".to_owned()));
//!     Ok(())
//! }
//! # fn main() -> std::process::ExitCode { in_a_sandbox() }
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_a_sandbox.rs"));
//! ```

mod digest;
mod download;
mod error;
mod fetch;
mod listing;
mod local;
mod names;
mod part;
mod remote;
mod sink;
mod tree;
mod upload;

use std::path::PathBuf;
use std::time::Duration;

pub use self::digest::Algorithm;
pub use self::error::CopyError;
pub use self::names::{Refusal, shown};
use crate::session::DEFAULT_RECONNECT;
use crate::session::exec::DEFAULT_WAIT;

/// The bodies of fuzz targets.
pub(crate) mod fuzz {
    use super::{listing, names};

    /// A listing as a hostile container might send it: whatever is accepted stays below its root.
    pub fn listing(bytes: &[u8]) {
        let Ok(listing) = listing::parse(bytes) else {
            return;
        };
        for root in &listing.roots {
            let below = root.entries.iter().filter_map(|entry| entry.below(root));
            let below: Vec<&[u8]> = below.filter(|path| !path.is_empty()).collect();
            let files = below.iter().map(|path| (*path, names::What::File));
            let refused = names::check(files, false);
            for (place, path) in below.iter().enumerate() {
                if refused.iter().all(|(at, _)| *at != place) {
                    assert!(!path.starts_with(b"/"));
                    assert!(
                        path.split(|&byte| byte == b'/')
                            .all(|part| part != b".." && !part.is_empty())
                    );
                }
                assert!(
                    names::shown(path)
                        .chars()
                        .all(|letter| !letter.is_control())
                );
            }
        }
    }
}

/// How a copy is made.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// How long to wait for an exec agent that is still starting.
    pub wait: Duration,
    /// For how long a lost connection is tried to be restored.
    pub reconnect_for: Duration,
    /// Sessions to use at most; without it two, and both only while nobody else has one in the container.
    pub sessions: Option<usize>,
    /// Leave files alone that are the same on both sides.
    pub delta: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Copy the rest where entries are refused.
    pub skip_refused: bool,
    /// Take names that differ only in upper and lower case.
    pub case_twins: bool,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            wait: DEFAULT_WAIT,
            reconnect_for: DEFAULT_RECONNECT,
            sessions: None,
            delta: false,
            dry_run: false,
            skip_refused: false,
            case_twins: false,
        }
    }
}

/// What happens while a copy is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CopyEvent {
    /// What is used and why, for whoever wants to know.
    Detail(String),
    /// Something a user may want to know.
    Notice(String),
    /// So much is to be moved.
    Total {
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// So many bytes of it were, besides those already told.
    Moved(u64),
    /// In a dry run: this would be written.
    Would {
        /// The place, fit to be shown.
        path: String,
        /// Bytes of a file; nobody knows how long a stream is.
        bytes: Option<u64>,
    },
}

/// What was copied.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyReport {
    /// Files written.
    pub files: u64,
    /// Directories of the copy.
    pub directories: u64,
    /// Symbolic links written.
    pub links: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes that were there already from an interrupted copy.
    pub resumed: u64,
    /// Files that were the same on both sides.
    pub unchanged: u64,
    /// Entries that were left out: names fit to be shown, and why.
    pub skipped: Vec<(String, Refusal)>,
    /// What the digests of both sides were made with.
    pub algorithm: Option<Algorithm>,
    /// Sessions that were used at a time.
    pub sessions: usize,
    /// Where it was written.
    pub destination: PathBuf,
}

/// Whoever is told what happens.
pub type Observer<'a> = &'a mut (dyn FnMut(CopyEvent) + Send);
