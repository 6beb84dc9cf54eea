//! What is here to be copied, and reading it. Blocking.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::mpsc;

use super::digest::{Algorithm, Digest};
use super::error::CopyError;
use super::names::{Refusal, shown};
use crate::session::exec::wrapper::escaped_bytes;

/// What is read at once.
const PIECE: usize = 64 * 1024;
/// What is compressed to see whether that is worth it.
const SAMPLE: u64 = 256 * 1024;

/// One thing to be copied.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Its path below the destination; empty for the directory that becomes it.
    pub(crate) parts: Vec<OsString>,
    pub(crate) path: PathBuf,
    pub(crate) kind: ItemKind,
    pub(crate) mode: u32,
    pub(crate) modified: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    File { size: u64 },
    Directory,
    Link(OsString),
}

impl Item {
    /// The path below the destination, with slashes.
    pub(crate) fn name(&self) -> Vec<u8> {
        let parts: Vec<&[u8]> = self.parts.iter().map(|part| part.as_bytes()).collect();
        parts.join(&b'/')
    }

    pub(crate) fn size(&self) -> Option<u64> {
        match self.kind {
            ItemKind::File { size } => Some(size),
            _ => None,
        }
    }

    /// The time as `touch -t` takes it, or `-`.
    pub(crate) fn stamp(&self) -> String {
        stamp(self.modified)
    }
}

/// Seconds since 1970 as `touch -t` takes them in UTC.
pub(crate) fn stamp(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).ok();
    let text = time.map(|time| time.strftime("%Y%m%d%H%M.%S").to_string());
    // Years before 0 and after 9999 are none of its.
    text.filter(|text| text.len() == 15)
        .unwrap_or_else(|| "-".to_owned())
}

/// Finds everything below a source, itself first. A source that is a link is followed, links below it are copied.
pub(crate) fn walk(
    source: &Path,
    top: Option<&OsStr>,
    skipped: &mut Vec<(String, Refusal)>,
) -> Result<Vec<Item>, CopyError> {
    let about = fs::metadata(source).map_err(CopyError::local("read", source))?;
    let mut items = Vec::new();
    let parts: Vec<OsString> = top.into_iter().map(OsStr::to_owned).collect();
    visit(source, &parts, &about, &mut items, skipped)?;
    Ok(items)
}

fn visit(
    path: &Path,
    parts: &[OsString],
    about: &Metadata,
    items: &mut Vec<Item>,
    skipped: &mut Vec<(String, Refusal)>,
) -> Result<(), CopyError> {
    let failed = || CopyError::local("read", path);
    let kind = about.file_type();
    let kind = if kind.is_dir() {
        ItemKind::Directory
    } else if kind.is_symlink() {
        ItemKind::Link(fs::read_link(path).map_err(failed())?.into_os_string())
    } else if kind.is_file() {
        ItemKind::File { size: about.len() }
    } else {
        let what = match kind {
            kind if kind.is_fifo() => "a pipe",
            kind if kind.is_socket() => "a socket",
            _ => "a device",
        };
        skipped.push((shown(path.as_os_str().as_bytes()), Refusal::Special(what)));
        return Ok(());
    };
    let is_folder = kind == ItemKind::Directory;
    items.push(Item {
        parts: parts.to_vec(),
        path: path.to_owned(),
        kind,
        mode: about.mode() & 0o7777,
        modified: about.mtime(),
    });
    if is_folder {
        let entries = fs::read_dir(path).map_err(failed())?;
        let mut entries = entries.collect::<io::Result<Vec<_>>>().map_err(failed())?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let about = entry.metadata().map_err(CopyError::local("read", &path))?;
            let mut parts = parts.to_vec();
            parts.push(entry.file_name());
            visit(&path, &parts, &about, items, skipped)?;
        }
    }
    Ok(())
}

/// The digest of a file.
pub(crate) fn digest(path: &Path, algorithm: Algorithm) -> Result<Option<Digest>, CopyError> {
    File::open(path)
        .and_then(|file| algorithm.of_reader(file))
        .map_err(CopyError::local("read", path))
}

/// Whether compressing is worth it, by the beginnings of some files.
pub(crate) fn is_compressible<'a>(paths: impl IntoIterator<Item = &'a Path>) -> bool {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut left = SAMPLE;
    for path in paths {
        // What cannot be read says so when it is to be copied.
        let Ok(file) = File::open(path) else {
            continue;
        };
        left -= io::copy(&mut file.take(left), &mut encoder)
            .unwrap_or(0)
            .min(left);
        if left == 0 {
            break;
        }
    }
    let before = SAMPLE - left;
    let after = encoder
        .finish()
        .map_or(u64::MAX, |bytes| bytes.len() as u64);
    before > 1024 && after.saturating_mul(10) < before * 9
}

/// Somebody's input, written by a thread; compressed if that is wanted.
pub(crate) struct Feed {
    encoder: Option<GzEncoder<Vec<u8>>>,
    plain: Vec<u8>,
    pieces: mpsc::Sender<Bytes>,
}

impl Feed {
    pub(crate) fn new(pieces: mpsc::Sender<Bytes>, compress: bool) -> Self {
        Self {
            encoder: compress.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            plain: Vec::new(),
            pieces,
        }
    }

    /// What is still held back follows.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if let Some(encoder) = self.encoder.take() {
            self.plain.extend(encoder.finish()?);
        }
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.plain);
        self.pieces
            .blocking_send(piece.into())
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.encoder {
            Some(encoder) => {
                encoder.write_all(bytes)?;
                self.plain.append(encoder.get_mut());
            }
            None => self.plain.extend_from_slice(bytes),
        }
        if self.plain.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Feeds a file from an offset on, as far as it had `size` bytes; a file that has got shorter is shorter.
pub(crate) fn feed_file(
    path: &Path,
    offset: u64,
    size: u64,
    mut feed: Feed,
    moved: &AtomicU64,
) -> Result<(), CopyError> {
    let failed = || CopyError::local("read", path);
    let mut file = File::open(path).map_err(failed())?;
    file.seek(SeekFrom::Start(offset)).map_err(failed())?;
    let mut file = file.take(size - offset);
    let mut buffer = vec![0; PIECE];
    loop {
        let length = file.read(&mut buffer).map_err(failed())?;
        if length == 0 {
            break;
        }
        if feed.write_all(&buffer[..length]).is_err() {
            // The other end has left and says why itself.
            return Ok(());
        }
        moved.fetch_add(length as u64, Ordering::Relaxed);
    }
    let _ = feed.finish();
    Ok(())
}

/// Feeds many items as an archive that `tar` unpacks.
pub(crate) fn feed_tar(
    items: &[Item],
    feed: Feed,
    moved: &Arc<AtomicU64>,
) -> Result<(), CopyError> {
    let mut archive = tar::Builder::new(feed);
    for item in items.iter().filter(|item| !item.parts.is_empty()) {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(u64::try_from(item.modified).unwrap_or(0));
        // Extracted without its owner; a number that is nobody's would only be in the way.
        header.set_uid(0);
        header.set_gid(0);
        let name = PathBuf::from_iter(&item.parts);
        let written = match &item.kind {
            ItemKind::Directory => {
                // Its own mode comes at the end: it might keep files out.
                header.set_mode(0o755);
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                archive.append_data(&mut header, name, io::empty())
            }
            ItemKind::Link(target) => {
                header.set_mode(0o777);
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, name, Path::new(target))
            }
            ItemKind::File { size } => {
                header.set_mode(item.mode);
                header.set_size(*size);
                let file = File::open(&item.path).map_err(CopyError::local("read", &item.path))?;
                // A file that has got shorter is filled up; its digest gives it away.
                let content = file.chain(io::repeat(0)).take(*size);
                let content = Counted { content, moved };
                archive.append_data(&mut header, name, content)
            }
        };
        match written {
            Ok(()) => {}
            // The other end has left and says why itself.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(CopyError::local("read", &item.path)(error)),
        }
    }
    // As above.
    let _ = archive.into_inner().and_then(Feed::finish);
    Ok(())
}

/// The same for a shell that has no `tar`: lines that it can read with what is built into it.
pub(crate) fn feed_lines(
    items: &[Item],
    mut feed: Feed,
    moved: &AtomicU64,
) -> Result<(), CopyError> {
    for item in items.iter().filter(|item| !item.parts.is_empty()) {
        let mut text = Vec::new();
        let head =
            |letter: char| format!("{letter} {:o} {} ", item.mode, item.stamp()).into_bytes();
        match &item.kind {
            ItemKind::Directory => {
                text.extend(head('d'));
                text.extend(escaped_bytes(&item.name()));
            }
            ItemKind::Link(target) => {
                text.extend(head('l'));
                text.extend(escaped_bytes(&item.name()));
                text.extend(escaped_bytes(target.as_bytes()));
            }
            ItemKind::File { size } => {
                text.extend(head('f'));
                text.extend(escaped_bytes(&item.name()));
                let mut content = Vec::new();
                File::open(&item.path)
                    .and_then(|file| file.take(*size).read_to_end(&mut content))
                    .map_err(CopyError::local("read", &item.path))?;
                for piece in content.chunks(1000) {
                    text.extend(escaped_bytes(piece));
                }
                text.extend(b":\n");
                moved.fetch_add(*size, Ordering::Relaxed);
            }
        }
        if feed.write_all(&text).is_err() {
            return Ok(());
        }
    }
    let _ = feed.finish();
    Ok(())
}

struct Counted<'a, R> {
    content: R,
    moved: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.content.read(buffer)?;
        self.moved.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_touch_takes() {
        assert_eq!(stamp(1_704_164_645), "202401020304.05");
        assert_eq!(stamp(-1), "196912312359.59");
        assert_eq!(stamp(i64::MAX), "-");
    }
}
