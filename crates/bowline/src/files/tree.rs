//! A directory here that a copy is written below, and nowhere else.
//!
//! Every path is walked part by part without following links, so that neither a link of the copy nor one that was here
//! before leads a write elsewhere. Files appear under their names complete, by rename.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, fstatvfs, futimens,
    mkdirat, open, openat, renameat, statat, symlinkat, unlinkat, utimensat,
};

/// The mode of what is being made; its own comes when it is complete.
const PRIVATE: Mode = Mode::from_raw_mode(0o700);
/// Of a container's modes only these count here: set-user-id of somebody else's making is not wanted.
const PERMISSIONS: u32 = 0o777;

/// The directory.
pub(crate) struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    Directory,
    Link,
    File,
    Other,
}

impl Tree {
    /// Opens a directory that is there; the path itself may lead through links, as the user wrote it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self {
            root,
            path: path.to_owned(),
        })
    }

    /// The name of a place, for people.
    pub(crate) fn shown(&self, parts: &[OsString]) -> PathBuf {
        self.path.join(parts.iter().collect::<PathBuf>())
    }

    /// Bytes that fit into the file system.
    pub(crate) fn free(&self) -> io::Result<u64> {
        let about = fstatvfs(&self.root)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }

    /// What is there; links are not followed. A parent that is no directory is an error.
    pub(crate) fn there(&self, parts: &[OsString]) -> io::Result<There> {
        let Some((name, parents)) = parts.split_last() else {
            return Ok(There::Directory);
        };
        let folder = match self.folder(parents, false) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(There::Nothing),
            Err(error) => return Err(error),
        };
        match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) => Ok(match FileType::from_raw_mode(about.st_mode) {
                FileType::Directory => There::Directory,
                FileType::Symlink => There::Link,
                FileType::RegularFile => There::File,
                _ => There::Other,
            }),
            Err(rustix::io::Errno::NOENT) => Ok(There::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a directory, making what is missing if that is wanted.
    pub(crate) fn folder(&self, parts: &[OsString], make: bool) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = openat(&self.root, ".", flags, Mode::empty())?;
        for part in parts {
            let opened = openat(&folder, part, flags, Mode::empty());
            folder = match opened {
                Err(rustix::io::Errno::NOENT) if make => {
                    mkdirat(&folder, part, PRIVATE)?;
                    openat(&folder, part, flags, Mode::empty())?
                }
                other => other?,
            };
        }
        Ok(folder)
    }

    /// Opens a file to be written, below a directory that is made if need be. What is not ours is not opened.
    pub(crate) fn file(&self, parts: &[OsString], truncate: bool) -> io::Result<File> {
        let (name, parents) = split(parts)?;
        let folder = self.folder(parents, true)?;
        let mut flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        flags.set(OFlags::TRUNC, truncate);
        let file = openat(&folder, name, flags, Mode::from_raw_mode(0o600))?;
        Ok(File::from(file))
    }

    /// Opens a file to be read; links are not followed.
    pub(crate) fn read(&self, parts: &[OsString]) -> io::Result<File> {
        let (name, parents) = split(parts)?;
        let folder = self.folder(parents, false)?;
        // A pipe would keep us for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat(&folder, name, flags, Mode::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")),
        }
    }

    /// Gives a complete file its mode and time, then its name; what had that name is replaced, never written through.
    pub(crate) fn publish(
        &self,
        from: &[OsString],
        to: &[OsString],
        mode: u32,
        modified: Option<i64>,
    ) -> io::Result<()> {
        let (old, parents) = split(from)?;
        let (new, _) = split(to)?;
        let folder = self.folder(parents, false)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&folder, old, flags, Mode::empty())?;
        fchmod(
            &file,
            Mode::from_raw_mode((mode & PERMISSIONS) as rustix::fs::RawMode),
        )?;
        if let Some(times) = times(modified) {
            futimens(&file, &times)?;
        }
        renameat(&folder, old, &folder, new)?;
        Ok(())
    }

    /// Makes a link, or replaces one.
    pub(crate) fn link(
        &self,
        parts: &[OsString],
        target: &[u8],
        modified: Option<i64>,
    ) -> io::Result<()> {
        let (name, parents) = split(parts)?;
        let folder = self.folder(parents, true)?;
        let beside = beside(name, "link");
        match unlinkat(&folder, &beside, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        symlinkat(OsStr::from_bytes(target), &folder, &beside)?;
        if let Some(times) = times(modified) {
            // Not every file system keeps the times of links.
            let _ = utimensat(&folder, &beside, &times, AtFlags::SYMLINK_NOFOLLOW);
        }
        renameat(&folder, &beside, &folder, name)?;
        Ok(())
    }

    /// Gives a directory its mode and time, when everything in it is written.
    pub(crate) fn finish_folder(
        &self,
        parts: &[OsString],
        mode: u32,
        modified: Option<i64>,
    ) -> io::Result<()> {
        let folder = self.folder(parts, false)?;
        fchmod(
            &folder,
            Mode::from_raw_mode((mode & PERMISSIONS) as rustix::fs::RawMode),
        )?;
        if let Some(times) = times(modified) {
            futimens(&folder, &times)?;
        }
        Ok(())
    }

    /// Removes a file of ours; one that is not there is fine.
    pub(crate) fn remove(&self, parts: &[OsString]) -> io::Result<()> {
        let (name, parents) = split(parts)?;
        let folder = self.folder(parents, false)?;
        match unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The name of what is being made, beside the name it is going to have; `id` tells one content from another.
pub(crate) fn beside(name: &OsStr, id: &str) -> OsString {
    let mut beside = OsString::from(".");
    // A name may have 255 bytes.
    let bytes = name.as_bytes();
    match bytes.len() <= 200 {
        true => beside.push(name),
        false => {
            let digest = super::digest::Algorithm::Sha256.of_bytes(bytes);
            beside.push(digest.map_or_else(String::new, |digest| digest.to_string()));
        }
    }
    beside.push(format!(".{id}.bowline-part"));
    beside
}

/// Makes a directory and what is missing above it, as the user asked for it.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

fn split(parts: &[OsString]) -> io::Result<(&OsString, &[OsString])> {
    parts
        .split_last()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no name"))
}

fn times(modified: Option<i64>) -> Option<Timestamps> {
    modified.map(|seconds| Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn parts(path: &str) -> Vec<OsString> {
        path.split('/').map(OsString::from).collect()
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), folder.path().join("out")).unwrap();
        fs::write(outside.path().join("victim"), "whole").unwrap();
        symlink(outside.path().join("victim"), folder.path().join("file")).unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        assert!(tree.file(&parts("out/x"), true).is_err());
        assert!(tree.file(&parts("file"), true).is_err());
        assert!(tree.folder(&parts("out/new"), true).is_err());
        assert!(tree.link(&parts("out/x"), b"y", None).is_err());
        assert!(tree.read(&parts("file")).is_err());
        assert!(tree.there(&parts("out/x")).is_err());
        tree.file(&parts("part"), true).unwrap();
        tree.publish(&parts("part"), &parts("file"), 0o4755, Some(7))
            .unwrap();
        assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"whole");
        let about = fs::symlink_metadata(folder.path().join("file")).unwrap();
        assert!(about.is_file(), "the link itself was replaced");
        assert_eq!(about.permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_beside_fit_the_file_system() {
        let tree = tempfile::tempdir().unwrap();
        let long = "n".repeat(255);
        let name = beside(OsStr::new(&long), "0123456789ab");
        Tree::open(tree.path())
            .unwrap()
            .file(&[name], true)
            .unwrap();
    }
}
