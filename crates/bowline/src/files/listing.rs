//! Reading what the listing program prints. Pure: bytes in, entries out, and nothing in them is believed.
//!
//! ```text
//! T <digest tool> <tool>…            what the container has
//! R <asked>\0<actual>\0              a source, and where it really is
//! B <n>                              a batch: n lines "mode size mtime", n names with a NUL each, for each link
//!                                    its target, a newline and a NUL, for each file a line with its digest or "-"
//! N <pattern>\0                      nothing is there
//! E <0|1>                            the end; 1 if something could not be read
//! ```

use super::digest::{Algorithm, Digest};
use super::{CopyEvent, Observer};

/// Entries of one copy: more are refused before they fill the memory.
const ENTRIES: usize = 2_000_000;

/// What a container has for copying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tools {
    pub(crate) algorithm: Algorithm,
    pub(crate) names: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) tools: Tools,
    pub(crate) roots: Vec<Root>,
    /// What was asked for and is not there.
    pub(crate) missing: Vec<Vec<u8>>,
    /// Nothing was unreadable.
    pub(crate) complete: bool,
}

/// One source and everything below it, the source itself first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) asked: Vec<u8>,
    pub(crate) actual: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As the container names it.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permissions only.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) modified: Option<i64>,
    pub(crate) digest: Option<Digest>,
    pub(crate) link: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    Special(&'static str),
    /// It went away while it was listed.
    Gone,
}

/// The listing is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the container listed is unreadable ({0})")]
pub(crate) struct Unreadable(&'static str);

impl Tools {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|have| have == name)
    }

    /// Says what there is, and what is not checked where nothing makes digests.
    pub(crate) fn say(&self, tell: Observer<'_>) {
        tell(CopyEvent::Detail(format!(
            "the container has {}; digests by {}",
            self.names.join(", "),
            self.algorithm.as_str()
        )));
        if self.algorithm == Algorithm::None {
            let text = "the container has nothing to make digests with: only the transfer itself is checked";
            tell(CopyEvent::Notice(text.to_owned()));
        }
    }

    /// Reads the line behind the `T`.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Unreadable> {
        let line = std::str::from_utf8(line).map_err(|_| Unreadable("tools"))?;
        let mut words = line.split_ascii_whitespace();
        let algorithm = words
            .next()
            .and_then(Algorithm::of_name)
            .ok_or(Unreadable("digest tool"))?;
        Ok(Self {
            algorithm,
            names: words.take(20).map(str::to_owned).collect(),
        })
    }
}

impl Entry {
    /// The path below its root: empty for the root itself. `None` if it is not below it.
    pub(crate) fn below(&self, root: &Root) -> Option<&[u8]> {
        let rest = self.path.strip_prefix(root.actual.as_slice())?;
        if rest.is_empty() {
            return Some(rest);
        }
        let slash = rest.starts_with(b"/") || root.actual.ends_with(b"/");
        let start = rest.iter().position(|&byte| byte != b'/')?;
        slash.then(|| &rest[start..])
    }
}

/// Reads a whole listing.
pub(crate) fn parse(bytes: &[u8]) -> Result<Listing, Unreadable> {
    let mut reader = Reader { bytes };
    let mut listing = Listing {
        tools: Tools::parse(reader.tagged(b'T')?)?,
        roots: Vec::new(),
        missing: Vec::new(),
        complete: false,
    };
    let mut count = 0;
    loop {
        match reader.bytes.get(..2) {
            Some(b"R ") => {
                reader.skip(2);
                let asked = reader.until(0)?.to_vec();
                let actual = reader.until(0)?.to_vec();
                listing.roots.push(Root {
                    asked,
                    actual,
                    entries: Vec::new(),
                });
            }
            Some(b"N ") => {
                reader.skip(2);
                listing.missing.push(reader.until(0)?.to_vec());
            }
            Some(b"B ") => {
                let size = number(reader.tagged(b'B')?).ok_or(Unreadable("batch"))?;
                let size = usize::try_from(size).map_err(|_| Unreadable("batch"))?;
                count += size;
                // Every entry takes more than a byte, so that this bounds what is set aside for them.
                if count > ENTRIES || size > reader.bytes.len() {
                    return Err(Unreadable("more than two million entries"));
                }
                let root = listing.roots.last_mut().ok_or(Unreadable("order"))?;
                batch(
                    &mut reader,
                    size,
                    listing.tools.algorithm,
                    &mut root.entries,
                )?;
            }
            Some(b"E ") => {
                listing.complete = reader.tagged(b'E')? == b"0";
                return match reader.bytes {
                    b"" => Ok(listing),
                    _ => Err(Unreadable("end")),
                };
            }
            _ => return Err(Unreadable("record")),
        }
    }
}

fn batch(
    reader: &mut Reader<'_>,
    size: usize,
    algorithm: Algorithm,
    entries: &mut Vec<Entry>,
) -> Result<(), Unreadable> {
    let first = entries.len();
    for _ in 0..size {
        entries.push(attributes(reader.until(b'\n')?)?);
    }
    let batch = &mut entries[first..];
    for entry in &mut *batch {
        entry.path = reader.until(0)?.to_vec();
    }
    for entry in batch.iter_mut().filter(|entry| entry.kind == Kind::Link) {
        let target = reader.until(0)?;
        entry.link = target.strip_suffix(b"\n").unwrap_or(target).to_vec();
    }
    // Without digests, because there is no tool or nobody asked, the next record follows at once.
    let follows =
        |reader: &Reader<'_>| matches!(reader.bytes.get(..2), Some(b"B " | b"R " | b"N " | b"E "));
    if algorithm != Algorithm::None && !follows(reader) {
        for entry in batch.iter_mut().filter(|entry| entry.kind == Kind::File) {
            entry.digest = algorithm.parse(reader.until(b'\n')?);
        }
    }
    Ok(())
}

/// A line of `stat` (mode in hex), or one made from `ls -l` (mode in letters).
fn attributes(line: &[u8]) -> Result<Entry, Unreadable> {
    let line = std::str::from_utf8(line).map_err(|_| Unreadable("attributes"))?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [mode, size, modified] = words[..] else {
        return Err(Unreadable("attributes"));
    };
    let (kind, mode) = if mode == "-" {
        (Kind::Gone, 0)
    } else if let Ok(mode) = u32::from_str_radix(mode, 16) {
        (kind_of_bits(mode), mode & 0o7777)
    } else {
        of_letters(mode.as_bytes()).ok_or(Unreadable("mode"))?
    };
    let size = match kind {
        Kind::File => size.parse().map_err(|_| Unreadable("size"))?,
        _ => 0,
    };
    Ok(Entry {
        path: Vec::new(),
        kind,
        mode,
        size,
        modified: modified.parse().ok(),
        digest: None,
        link: Vec::new(),
    })
}

fn kind_of_bits(mode: u32) -> Kind {
    match mode & 0o170_000 {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Directory,
        0o120_000 => Kind::Link,
        0o060_000 | 0o020_000 => Kind::Special("a device"),
        0o010_000 => Kind::Special("a pipe"),
        0o140_000 => Kind::Special("a socket"),
        _ => Kind::Special("something unknown"),
    }
}

/// `-rwxr-x---` and what may follow it (`+` for access lists). Bits beyond permissions are not copied anyway.
fn of_letters(letters: &[u8]) -> Option<(Kind, u32)> {
    let kind = match letters.first()? {
        b'-' => Kind::File,
        b'd' => Kind::Directory,
        b'l' => Kind::Link,
        b'b' | b'c' => Kind::Special("a device"),
        b'p' => Kind::Special("a pipe"),
        b's' => Kind::Special("a socket"),
        _ => return None,
    };
    let mut mode = 0;
    for letter in letters.get(1..10)? {
        let set = match letter {
            b'-' | b'S' | b'T' => false,
            b'r' | b'w' | b'x' | b's' | b't' => true,
            _ => return None,
        };
        mode = mode << 1 | u32::from(set);
    }
    Some((kind, mode))
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn skip(&mut self, count: usize) {
        self.bytes = self.bytes.get(count..).unwrap_or_default();
    }

    /// What stands before the next such byte; both are taken.
    fn until(&mut self, end: u8) -> Result<&'a [u8], Unreadable> {
        let at = self
            .bytes
            .iter()
            .position(|&byte| byte == end)
            .ok_or(Unreadable("cut off"))?;
        let (taken, rest) = self.bytes.split_at(at);
        self.bytes = &rest[1..];
        Ok(taken)
    }

    /// The rest of a line that begins with this letter and a space.
    fn tagged(&mut self, tag: u8) -> Result<&'a [u8], Unreadable> {
        let line = self.until(b'\n')?;
        line.strip_prefix(&[tag, b' ']).ok_or(Unreadable("tag"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As dash, GNU find and stat printed it.
    const LISTING: &[u8] = b"T cksum find stat\nR src\0/real/src\0B 4\n41ed 4096 1795272636\n81a4 5 1795272636\n\
        a1ff 8 1795272636\n-rw-r-----+ 7 -\n/real/src\0/real/src/a\nb\0/real/src/l\0/real/src/n\0x\n\n\0\
        3287646509 5 /real/src/a\n-\nN nope*\0E 1\n";

    #[test]
    fn a_listing_is_read() {
        let listing = parse(LISTING).unwrap();
        let root = &listing.roots[0];
        let below: Vec<_> = root.entries.iter().map(|entry| entry.below(root)).collect();
        assert_eq!(below, [&b""[..], b"a\nb", b"l", b"n"].map(Some));
        let [_, file, link, letters] = &root.entries[..] else {
            panic!("{root:?}");
        };
        assert_eq!((file.kind, file.mode, file.size), (Kind::File, 0o644, 5));
        assert_eq!(file.digest, Some(Digest::Cksum(3_287_646_509)));
        assert_eq!((link.kind, link.link.as_slice()), (Kind::Link, &b"x\n"[..]));
        assert_eq!((letters.mode, letters.size), (0o640, 7));
        assert_eq!((letters.modified, letters.digest), (None, None));
        assert_eq!(listing.missing, [b"nope*"]);
        assert!(!listing.complete);
    }

    #[test]
    fn what_is_not_below_its_root_is_seen() {
        let mut root = parse(LISTING).unwrap().roots.remove(0);
        for (path, below) in [
            ("/etc/passwd", None),
            ("/real/srcs", None),
            ("/real/src//x", Some(&b"x"[..])),
            ("/real/src/", None),
        ] {
            root.entries[0].path = path.into();
            assert_eq!(root.entries[0].below(&root), below, "{path}");
        }
    }

    #[test]
    fn a_cut_listing_is_an_error() {
        for end in 0..LISTING.len() {
            assert!(parse(&LISTING[..end]).is_err(), "{end}");
        }
        assert!(parse(b"T none\nR a\0a\0B 99999999999\nE 0\n").is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(noise in prop::collection::vec(prop_oneof![
            any::<Vec<u8>>(),
            "[TRBNE] [0-9a-z ]{0,9}[\n\0]".prop_map(String::into_bytes),
            Just(LISTING[..40].to_vec()),
        ], 0..9)) {
            let _ = parse(&noise.concat());
        }
    }
}
