//! Names that come from a container are hostile input: which of them may be written here, and how they are shown.
//!
//! Pure functions of bytes. A copy is checked as a whole before anything of it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The longest name and path that file systems take.
const NAME_LIMIT: usize = 255;
const PATH_LIMIT: usize = 4096;
/// More is not shown of a name.
const SHOWN: usize = 160;

/// What an entry of a copy is, as far as the rules are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What<'a> {
    File,
    Directory,
    /// With where it leads.
    Link(&'a [u8]),
    /// Neither: a device, a socket, a pipe.
    Special(&'static str),
}

/// Why an entry is not written here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It would be written outside of the copy.
    #[error("its path is not below what was asked for")]
    Outside,
    /// It has `..`, `.` or nothing between two slashes.
    #[error("its path has a part that is \"..\", \".\" or empty")]
    Parts,
    /// It has control characters besides newline and tab, which change what a terminal shows.
    #[error("its name has control characters")]
    Control,
    /// No file system takes it.
    #[error("its name is too long")]
    TooLong,
    /// It is a device or something else that is no file.
    #[error("it is {0}, not a file")]
    Special(&'static str),
    /// A symbolic link that leads out of the copy.
    #[error("it is a link that leads out of the copy, to {0}")]
    LinkOut(String),
    /// It lies behind something that is no directory.
    #[error("it would be written through {0}, which is not a directory")]
    Through(String),
    /// The same path comes twice.
    #[error("it comes twice")]
    Twice,
    /// Another name differs from it only in case.
    #[error("it differs from {0} only in upper and lower case")]
    Twin(String),
    /// It could not be read in the container.
    #[error("it cannot be read in the container")]
    Unreadable,
}

/// The parts of a path below a root, if it is one that may be written.
pub(crate) fn parts(path: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    if path.len() > PATH_LIMIT {
        return Err(Refusal::TooLong);
    }
    if path.starts_with(b"/") {
        return Err(Refusal::Outside);
    }
    let parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    for part in &parts {
        match *part {
            b"" | b"." | b".." => return Err(Refusal::Parts),
            part if part.contains(&0) => return Err(Refusal::Control),
            part if part.len() > NAME_LIMIT => return Err(Refusal::TooLong),
            part if has_control(part) => return Err(Refusal::Control),
            _ => {}
        }
    }
    Ok(parts)
}

/// Whether a link at this depth (0 is the top of the copy) leads nowhere but into the copy.
///
/// `..` may only stand in front: behind a name, which may itself be a link, nobody can say where it leads.
pub(crate) fn stays_inside(target: &[u8], depth: usize) -> bool {
    if target.is_empty() || target.starts_with(b"/") || target.contains(&0) {
        return false;
    }
    let mut ups = 0;
    let mut names = false;
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if names => return false,
            b".." => ups += 1,
            _ => names = true,
        }
    }
    ups <= depth
}

/// What is wrong with the entries of a copy taken together, by their place in the list. `twins` allows names that
/// differ only in case.
pub(crate) fn check<'a>(
    entries: impl IntoIterator<Item = (&'a [u8], What<'a>)>,
    twins: bool,
) -> Vec<(usize, Refusal)> {
    let entries: Vec<_> = entries.into_iter().collect();
    let mut refusals = Vec::new();
    let mut seen: BTreeMap<&[u8], What<'_>> = BTreeMap::new();
    let mut folded: BTreeMap<Vec<u8>, &[u8]> = BTreeMap::new();
    let mut good = Vec::new();
    for (place, (path, what)) in entries.iter().enumerate() {
        let depth = match parts(path) {
            Ok(parts) => parts.len() - 1,
            Err(refusal) => {
                refusals.push((place, refusal));
                continue;
            }
        };
        let problem = match what {
            What::Special(kind) => Some(Refusal::Special(kind)),
            What::Link(target) if !stays_inside(target, depth) => {
                Some(Refusal::LinkOut(shown(target)))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            refusals.push((place, problem));
            continue;
        }
        if seen.insert(path, *what).is_some() {
            refusals.push((place, Refusal::Twice));
            continue;
        }
        if let Some(twin) = folded.insert(fold(path), path)
            && !twins
        {
            refusals.push((place, Refusal::Twin(shown(twin))));
            continue;
        }
        good.push(place);
    }
    // Whether something lies behind what is no directory can only be said when all are known.
    let mut reported = BTreeSet::new();
    for place in good {
        let path = entries[place].0;
        let parents = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| &path[..at]);
        for parent in parents {
            let through = match seen.get(parent) {
                Some(What::Directory) | None => false,
                Some(_) => true,
            };
            if through && reported.insert(place) {
                refusals.push((place, Refusal::Through(shown(parent))));
            }
        }
    }
    refusals.sort_by_key(|(place, _)| *place);
    refusals
}

/// A name as it can be shown on any terminal and put into a line of a log.
pub fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    'all: for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '"' | '\'' => text.push(letter),
                letter => text.extend(letter.escape_debug()),
            }
            if text.len() > SHOWN {
                text.push('…');
                break 'all;
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Control characters that a name may have: both are shown escaped.
fn has_control(name: &[u8]) -> bool {
    name.utf8_chunks().any(|chunk| {
        chunk
            .valid()
            .chars()
            .any(|letter| letter.is_control() && !matches!(letter, '\n' | '\t'))
    })
}

/// The same for all names that a file system without upper and lower case takes for one.
fn fold(path: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(path) {
        Ok(text) => text.to_uppercase().to_lowercase().into_bytes(),
        Err(_) => path.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(entries: &[(&str, What<'_>)]) -> Vec<(usize, Refusal)> {
        check(
            entries.iter().map(|(path, what)| (path.as_bytes(), *what)),
            false,
        )
    }

    #[test]
    fn what_is_usual_is_taken() {
        let entries = [
            ("a", What::Directory),
            ("a/b c", What::File),
            ("a/new\nline", What::File),
            ("a/日本語", What::File),
            ("a/$(id)", What::File),
            ("a/up", What::Link(b"../x/y")),
            ("a/here", What::Link(b".")),
            ("x", What::Link(b"a/b c")),
        ];
        assert_eq!(refused(&entries), []);
    }

    #[test]
    fn each_known_attack_is_refused() {
        use What as W;
        let out = |to: &str| Refusal::LinkOut(to.to_owned());
        for (entries, expected) in [
            (vec![("/etc/passwd", W::File)], Refusal::Outside),
            (vec![("../x", W::File)], Refusal::Parts),
            (vec![("a/../../x", W::File)], Refusal::Parts),
            (vec![("a//x", W::File)], Refusal::Parts),
            (vec![("..", W::Directory)], Refusal::Parts),
            (vec![("", W::File)], Refusal::Parts),
            (vec![("a\u{1b}[2Jb", W::File)], Refusal::Control),
            (vec![("a\rb", W::File)], Refusal::Control),
            (vec![("a\u{9b}b", W::File)], Refusal::Control),
            (vec![("l", W::Link(b"/etc"))], out("/etc")),
            (vec![("l", W::Link(b".."))], out("..")),
            (vec![("d/l", W::Link(b"../../x"))], out("../../x")),
            (vec![("d/l", W::Link(b"k/../../x"))], out("k/../../x")),
            (vec![("l", W::Link(b""))], out("")),
            (
                vec![("d", W::Special("a device"))],
                Refusal::Special("a device"),
            ),
        ] {
            assert_eq!(refused(&entries), [(0, expected)], "{entries:?}");
        }
        let through = [("l", W::Link(b"d")), ("l/x", W::File), ("d", W::Directory)];
        assert_eq!(refused(&through), [(1, Refusal::Through("l".into()))]);
        // In whatever order they come.
        let through = [("l/x/y", W::File), ("l", W::Link(b"d"))];
        assert_eq!(refused(&through), [(0, Refusal::Through("l".into()))]);
        let file = [("f", W::File), ("f/x", W::File)];
        assert_eq!(refused(&file), [(1, Refusal::Through("f".into()))]);
        let twice = [("f", W::File), ("f", W::Link(b"x"))];
        assert_eq!(refused(&twice), [(1, Refusal::Twice)]);
        let twins = [
            ("README", W::File),
            ("ReadMe", W::File),
            ("straße", W::File),
            ("STRASSE", W::File),
        ];
        let expected = [
            (1, Refusal::Twin("README".into())),
            (3, Refusal::Twin("straße".into())),
        ];
        assert_eq!(refused(&twins), expected);
        let long = "x".repeat(256);
        assert_eq!(refused(&[(&long, W::File)]), [(0, Refusal::TooLong)]);
    }

    #[test]
    fn names_are_shown_safely() {
        assert_eq!(shown("a b/日本.txt".as_bytes()), "a b/日本.txt");
        assert_eq!(shown(b"\x1b[2J\n\\\xff"), "\\u{1b}[2J\\n\\\\\\xff");
        assert_eq!(shown("abc\u{202e}gpj".as_bytes()), "abc\\u{202e}gpj");
        assert!(shown(&[b'x'; 9000]).len() < 200);
    }

    /// Where a link leads when every link of the copy is followed, or `None` when it leaves the copy.
    fn follow(
        links: &BTreeMap<Vec<String>, String>,
        at: &[String],
        target: &str,
        left: usize,
    ) -> Option<Vec<String>> {
        let mut place = at.to_vec();
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    place.pop()?;
                }
                name => {
                    place.push(name.to_owned());
                    if let Some(next) = links.get(&place).cloned() {
                        if left == 0 {
                            return Some(place);
                        }
                        place.pop();
                        place = follow(links, &place, &next, left - 1)?;
                    }
                }
            }
        }
        Some(place)
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_inside(
            links in prop::collection::btree_map("[ab](/[ab]){0,2}", "((\\.\\./){0,3})[ab](/([ab]|\\.\\.)){0,3}", 0..6)
        ) {
            let listed: Vec<_> = links.iter().map(|(path, to)| (path.as_bytes(), What::Link(to.as_bytes()))).collect();
            let refused: BTreeSet<usize> = check(listed, true).into_iter().map(|(place, _)| place).collect();
            let split = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
            let accepted: BTreeMap<_, _> = links.iter().enumerate()
                .filter(|(place, _)| !refused.contains(place))
                .map(|(_, (path, to))| (split(path), to.clone()))
                .collect();
            for (path, to) in &accepted {
                prop_assert!(follow(&accepted, &path[..path.len() - 1], to, 8).is_some(), "{path:?} -> {to}");
            }
        }

        #[test]
        fn nothing_makes_it_panic_and_what_is_shown_is_plain(entries in prop::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let listed = entries.iter().map(|path| (path.as_slice(), What::File));
            let _ = check(listed, false);
            for path in &entries {
                prop_assert!(shown(path).chars().all(|letter| !letter.is_control()));
            }
        }
    }
}
