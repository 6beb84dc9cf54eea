//! What comes of a copy, written here: parts first, their names when their digests are right. Blocking.

use std::collections::HashMap;
use std::ffi::OsString;

use tokio::sync::mpsc;

use super::digest::{Algorithm, Digest, part_id};
use super::error::CopyError;
use super::fetch::{Chunk, SMALL};
use super::part::{self, Part};
use super::tree::{Tree, beside};

/// A file that is to be here.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) parts: Vec<OsString>,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) modified: Option<i64>,
    pub(crate) digest: Option<Digest>,
}

/// A file that has come and has another digest than was said.
#[derive(Clone, Debug)]
pub(crate) struct Doubtful {
    pub(crate) file: usize,
    /// What has come.
    pub(crate) digest: Option<Digest>,
}

/// Writes below one directory.
pub(crate) struct Sink<'a> {
    tree: &'a Tree,
    files: &'a [Wanted],
    algorithm: Algorithm,
    small: HashMap<usize, Vec<u8>>,
    large: HashMap<usize, Part>,
    /// Files whose parts hold nothing of use.
    anew: bool,
}

impl Wanted {
    /// What its part is called: the beginning of its digest tells one content from another.
    pub(crate) fn id(&self) -> String {
        part_id(self.digest)
    }

    /// Whether a part from before can be of this file.
    pub(crate) fn can_resume(&self) -> bool {
        matches!(self.digest, Some(Digest::Sha256(_)))
    }
}

impl<'a> Sink<'a> {
    /// Without `anew`, what is there of large files is gone on with.
    pub(crate) fn new(
        tree: &'a Tree,
        files: &'a [Wanted],
        algorithm: Algorithm,
        anew: bool,
    ) -> Self {
        Self {
            tree,
            files,
            algorithm,
            small: HashMap::new(),
            large: HashMap::new(),
            anew,
        }
    }

    /// What is missing of a file.
    pub(crate) fn missing(&mut self, file: usize) -> Result<Vec<(u64, u64)>, CopyError> {
        let wanted = &self.files[file];
        if wanted.size <= SMALL {
            return Ok(vec![(0, wanted.size)]);
        }
        let part = self.open(file)?;
        Ok(part.have().missing(wanted.size))
    }

    /// For how many bytes of a file there has to be room; changes nothing.
    pub(crate) fn needed(&self, file: usize) -> u64 {
        let wanted = &self.files[file];
        if wanted.size <= SMALL || !wanted.can_resume() || self.anew {
            return wanted.size;
        }
        let Ok((part, journal)) = self.names(file) else {
            return wanted.size;
        };
        Part::left(self.tree, &part, &journal, wanted.size)
    }

    /// Takes chunks until nobody sends any more; what does not fit its digest is left under the name of its part.
    pub(crate) fn take(
        &mut self,
        chunks: &mut mpsc::Receiver<Chunk>,
    ) -> Result<Vec<Doubtful>, CopyError> {
        let mut doubtful = Vec::new();
        while let Some(chunk) = chunks.blocking_recv() {
            let file = chunk.file;
            let complete = match self.files[file].size <= SMALL {
                true => self.take_small(&chunk),
                false => self.take_large(&chunk)?,
            };
            if complete {
                doubtful.extend(self.complete(file)?);
            }
        }
        // What is missing is known to whoever ended it; it can be gone on with.
        for (file, mut part) in self.large.drain() {
            let name = self.tree.shown(&self.files[file].parts);
            part.note().map_err(CopyError::local("write", name))?;
        }
        Ok(doubtful)
    }

    /// Files whose parts were complete already, and empty ones.
    pub(crate) fn complete(&mut self, file: usize) -> Result<Option<Doubtful>, CopyError> {
        let wanted = &self.files[file];
        let failed = || CopyError::local("write", self.tree.shown(&wanted.parts));
        let digest = if wanted.size <= SMALL {
            let bytes = self.small.remove(&file).unwrap_or_default();
            let (part, _) = self.names(file)?;
            let written = self
                .tree
                .file(&part, true)
                .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes));
            written.map_err(failed())?;
            self.algorithm.of_bytes(&bytes)
        } else {
            let mut part = match self.large.remove(&file) {
                Some(part) => part,
                None => self.open(file)?,
            };
            part.note().map_err(failed())?;
            let reader = part.reader().map_err(failed())?;
            self.algorithm.of_reader(reader).map_err(failed())?
        };
        if digest == wanted.digest {
            self.publish(file)?;
            return Ok(None);
        }
        Ok(Some(Doubtful { file, digest }))
    }

    /// Gives a part its name.
    pub(crate) fn publish(&self, file: usize) -> Result<(), CopyError> {
        let wanted = &self.files[file];
        let (part, journal) = self.names(file)?;
        let published = self
            .tree
            .publish(&part, &wanted.parts, wanted.mode, wanted.modified)
            .and_then(|()| match wanted.size <= SMALL {
                true => Ok(()),
                false => self.tree.remove(&journal),
            });
        published.map_err(CopyError::local("write", self.tree.shown(&wanted.parts)))
    }

    /// Removes a part.
    pub(crate) fn discard(&self, file: usize) -> Result<(), CopyError> {
        let (part, journal) = self.names(file)?;
        let removed = self
            .tree
            .remove(&part)
            .and_then(|()| self.tree.remove(&journal));
        removed.map_err(CopyError::local("remove", self.tree.shown(&part)))
    }

    fn take_small(&mut self, chunk: &Chunk) -> bool {
        let bytes = self.small.entry(chunk.file).or_default();
        // A session that broke may have brought some of it.
        bytes.truncate(usize::try_from(chunk.offset).unwrap_or(usize::MAX));
        bytes.extend_from_slice(&chunk.bytes);
        bytes.len() as u64 == self.files[chunk.file].size
    }

    fn take_large(&mut self, chunk: &Chunk) -> Result<bool, CopyError> {
        if !self.large.contains_key(&chunk.file) {
            let part = self.open(chunk.file)?;
            self.large.insert(chunk.file, part);
        }
        let name = self.tree.shown(&self.files[chunk.file].parts);
        let Some(part) = self.large.get_mut(&chunk.file) else {
            return Ok(false);
        };
        part.write(chunk.offset, &chunk.bytes)
            .map_err(CopyError::local("write", name))?;
        Ok(part.is_complete())
    }

    fn open(&self, file: usize) -> Result<Part, CopyError> {
        let wanted = &self.files[file];
        let (part, journal) = self.names(file)?;
        let resume = wanted.can_resume() && !self.anew;
        Part::open(self.tree, &part, &journal, wanted.size, resume)
            .map_err(CopyError::local("write", self.tree.shown(&part)))
    }

    fn names(&self, file: usize) -> Result<(Vec<OsString>, Vec<OsString>), CopyError> {
        let wanted = &self.files[file];
        part::names(&wanted.parts, &wanted.id()).ok_or_else(|| {
            let nameless = beside(std::ffi::OsStr::new(""), "");
            CopyError::Destination(format!("a file without a name: {}", nameless.display()))
        })
    }
}
