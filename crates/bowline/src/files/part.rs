//! A large file on its way here: written in any order, remembered across interruptions.
//!
//! What has arrived stands in a journal beside the part. It is only a hint: the digest of the whole decides.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::tree::{Tree, beside};

/// The journal is written each time so much has come.
const NOTED: u64 = 1 << 20;
/// Runs of zeros of this length and place are not written.
const HOLE: usize = 4096;
const ZEROS: [u8; HOLE] = [0; HOLE];
/// A journal that is longer is none of ours.
const JOURNAL_LIMIT: u64 = 1 << 20;

/// The part.
pub(crate) struct Part {
    file: File,
    journal: File,
    size: u64,
    have: Ranges,
    /// Bytes since it was written down what has come.
    unnoted: u64,
    /// Bytes of the journal.
    journal_length: usize,
}

/// Ranges of bytes, apart from each other and in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let at = self.0.partition_point(|&(_, end)| end < from);
        let until = self.0.partition_point(|&(start, _)| start <= to);
        let (mut from, mut to) = (from, to);
        for &(start, end) in &self.0[at..until.max(at)] {
            from = from.min(start);
            to = to.max(end);
        }
        self.0.splice(at..until.max(at), [(from, to)]);
    }

    /// What is missing of so many bytes.
    pub(crate) fn missing(&self, size: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut at = 0;
        for &(start, end) in &self.0 {
            if start > at {
                missing.push((at, start.min(size)));
            }
            at = at.max(end);
        }
        if at < size {
            missing.push((at, size));
        }
        missing.retain(|(start, end)| start < end);
        missing
    }

    #[cfg(test)]
    fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }
}

/// The names of a part and of its journal, for a file and the beginning of its digest.
pub(crate) fn names(file: &[OsString], id: &str) -> Option<(Vec<OsString>, Vec<OsString>)> {
    let (name, parents) = file.split_last()?;
    let place = |name: &OsStr, id: &str| {
        let mut place = parents.to_vec();
        place.push(beside(name, id));
        place
    };
    Some((place(name, id), place(name, &format!("{id}.have"))))
}

impl Part {
    /// Opens the part of a file, with what it has from before if `resume` says that it may be the same file.
    pub(crate) fn open(
        tree: &Tree,
        part: &[OsString],
        journal: &[OsString],
        size: u64,
        resume: bool,
    ) -> io::Result<Self> {
        let file = tree.file(part, !resume)?;
        let mut journal = tree.file(journal, !resume)?;
        let text = read(&mut journal);
        if text.is_empty() {
            journal.set_len(0)?;
        }
        let have = ranges(&text, file.metadata()?.len());
        // The whole length at once: the file system then knows early whether it fits in.
        file.set_len(size)?;
        Ok(Self {
            file,
            journal,
            size,
            have,
            unnoted: 0,
            journal_length: text.len(),
        })
    }

    /// How many bytes of a file its part does not have, without making or changing one.
    pub(crate) fn left(tree: &Tree, part: &[OsString], journal: &[OsString], size: u64) -> u64 {
        let known = || {
            let length = tree.read(part)?.metadata()?.len();
            Ok::<_, io::Error>(ranges(&read(&mut tree.read(journal)?), length))
        };
        let missing = known().unwrap_or_default().missing(size);
        missing.iter().map(|(start, end)| end - start).sum()
    }

    pub(crate) fn have(&self) -> &Ranges {
        &self.have
    }

    /// Writes a piece; blocks of zeros where nothing was before become holes.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if end > self.size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "more came than the file has",
            ));
        }
        let fresh = !self
            .have
            .0
            .iter()
            .any(|&(start, stop)| start < end && offset < stop);
        let mut run = 0;
        let mut at = 0;
        while at < bytes.len() {
            let room = HOLE - usize::try_from((offset + at as u64) % HOLE as u64).unwrap_or(0);
            let next = bytes.len().min(at + room);
            if fresh && next - at == HOLE && bytes[at..next] == ZEROS {
                self.file
                    .write_all_at(&bytes[run..at], offset + run as u64)?;
                run = next;
            }
            at = next;
        }
        self.file.write_all_at(&bytes[run..], offset + run as u64)?;
        self.have.add(offset, end);
        self.unnoted += bytes.len() as u64;
        if self.unnoted >= NOTED {
            self.note()?;
        }
        Ok(())
    }

    /// Writes down what has come, in place of what was written before.
    pub(crate) fn note(&mut self) -> io::Result<()> {
        self.unnoted = 0;
        let lines = self.have.0.iter();
        let mut text: Vec<u8> = lines
            .flat_map(|(start, end)| format!("{start} {end}\n").into_bytes())
            .collect();
        // Empty lines over what is left of a longer text: cut short, it could not be done in one write.
        self.journal_length = self.journal_length.max(text.len());
        text.resize(self.journal_length, b'\n');
        self.journal.write_all_at(&text, 0)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.have.missing(self.size).is_empty()
    }

    /// The file from its beginning.
    pub(crate) fn reader(&mut self) -> io::Result<&mut File> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(&mut self.file)
    }
}

/// The text of a journal; what is not ours is not there.
fn read(journal: &mut File) -> String {
    let mut text = String::new();
    match journal.take(JOURNAL_LIMIT + 1).read_to_string(&mut text) {
        Ok(_) if text.len() as u64 <= JOURNAL_LIMIT => text,
        _ => String::new(),
    }
}

/// What a journal says of a part of this length.
fn ranges(journal: &str, length: u64) -> Ranges {
    let mut have = Ranges::default();
    for line in journal.lines() {
        let mut words = line.split(' ').map(str::parse);
        if let (Some(Ok(from)), Some(Ok(to)), None) = (words.next(), words.next(), words.next()) {
            have.add(from, u64::min(to, length));
        }
    }
    have
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_written_is_known_after_an_interruption() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        let (part, journal) = names(&["x".into()], "id").unwrap();
        let mut one = Part::open(&tree, &part, &journal, 3 << 20, true).unwrap();
        one.write(1 << 20, &vec![7; 1 << 20]).unwrap();
        one.write(0, &[8; 100]).unwrap();
        drop(one);
        let two = Part::open(&tree, &part, &journal, 3 << 20, true).unwrap();
        let missing = two.have().missing(3 << 20);
        assert_eq!(
            missing,
            [(0, 1 << 20), (2 << 20, 3 << 20)],
            "100 bytes were not written down"
        );
        let other = Part::open(&tree, &part, &journal, 3 << 20, false).unwrap();
        assert_eq!(other.have().total(), 0);
    }

    #[test]
    fn what_a_part_has_needs_no_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        let (part, journal) = names(&["below".into(), "x".into()], "id").unwrap();
        let left = || Part::left(&tree, &part, &journal, 3 << 20);
        assert_eq!(left(), 3 << 20);
        let there = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(there, 0, "nothing is made");
        let mut one = Part::open(&tree, &part, &journal, 3 << 20, true).unwrap();
        assert_eq!(left(), 3 << 20, "its length holds nothing");
        one.write(1 << 20, &vec![7; 1 << 20]).unwrap();
        assert_eq!(left(), 2 << 20);
    }

    #[test]
    fn the_journal_tells_the_latest_however_often_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        let (part, journal) = names(&["x".into()], "id").unwrap();
        let mut one = Part::open(&tree, &part, &journal, 3000, true).unwrap();
        for at in (0..1000).step_by(100) {
            one.write(2 * at, &[7; 100]).unwrap();
            for _ in 0..4000 {
                one.note().unwrap();
            }
        }
        one.write(0, &[7; 2000]).unwrap();
        one.note().unwrap();
        drop(one);
        let two = Part::open(&tree, &part, &journal, 3000, true).unwrap();
        assert_eq!(two.have().missing(3000), [(2000, 3000)]);
        let length = tree.read(&journal).unwrap().metadata().unwrap().len();
        assert!(length < 1000, "{length}");
    }

    #[test]
    fn zeros_become_holes_and_read_as_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        let (part, journal) = names(&["x".into()], "id").unwrap();
        let size = 1 << 20;
        let mut bytes = vec![0; size];
        bytes[5000] = 1;
        bytes[size - 1] = 2;
        let mut file = Part::open(&tree, &part, &journal, size as u64, true).unwrap();
        for (number, piece) in bytes.chunks(60_000).enumerate() {
            file.write(number as u64 * 60_000, piece).unwrap();
        }
        assert!(file.is_complete());
        let mut read = Vec::new();
        file.reader().unwrap().read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        use std::os::unix::fs::MetadataExt;
        let blocks = file.file.metadata().unwrap().blocks();
        assert!(blocks * 512 < 300_000, "{blocks} blocks");
    }

    proptest! {
        #[test]
        fn ranges_are_what_a_list_of_bytes_is(added in prop::collection::vec((0_u64..60, 0_u64..60), 0..12)) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 60];
            for (from, to) in added {
                ranges.add(from, to);
                for byte in from..to {
                    bytes[usize::try_from(byte).unwrap()] = true;
                }
            }
            let mut missing = [true; 60];
            for (start, end) in &ranges.0 {
                prop_assert!(start < end);
                for byte in *start..*end {
                    missing[usize::try_from(byte).unwrap()] = false;
                }
            }
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            prop_assert!(bytes.iter().zip(&missing).all(|(have, missing)| have != missing));
            let gaps: u64 = ranges.missing(60).iter().map(|(start, end)| end - start).sum();
            prop_assert_eq!(gaps + ranges.total(), 60);
        }
    }
}
