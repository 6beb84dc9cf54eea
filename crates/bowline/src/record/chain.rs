//! The seals of a recording: a digest of all bytes before each, so that no byte, line or order can be changed alone.
//!
//! The seal is the SHA-256 of the file up to where the seal's line begins. Lines of JSON begin with it
//! (`{"seal":"…",`); in an asciicast a comment with it follows each line. The last line is nothing but a seal, in one
//! fixed form, so that it needs none itself; without it the recording is unfinished.

use std::io::{self, BufRead};

use serde::Serialize;
use sha2::{Digest, Sha256};

/// No line is longer, and a longer one is not written. The words of a command are in one line: Linux takes 2 MiB of them
/// by default, and JSON has six characters for a byte at most.
pub(super) const LINE_LIMIT: u64 = 16 << 20;

pub(super) const CAST_SEAL: &str = "#bowline:seal ";
pub(super) const CAST_END: &str = "#bowline:end ";
pub(super) const CAST_NOTE: &str = "#bowline:note ";
const JSON_SEAL: &str = "{\"seal\":\"";
const HEX: usize = 64;

/// What was written so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    hash: Sha256,
}

impl Chain {
    /// More of the file.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// The seal of all of it.
    pub(super) fn seal(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }
}

/// The last line of a recording of JSON lines.
pub(super) fn json_end(seal: &str) -> String {
    format!("{JSON_SEAL}{seal}\",\"type\":\"seal\"}}")
}

/// A line of JSON with its seal in front. `object` is an object with members.
pub(super) fn json_line(seal: &str, object: &str) -> String {
    let members = object.strip_prefix('{').unwrap_or(object);
    format!("{JSON_SEAL}{seal}\",{members}")
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verified {
    /// Whether it is as it was written.
    pub verdict: Verdict,
    /// Lines that were read and are right.
    pub lines: u64,
    /// The newest seal that is right: of a whole recording, the one to keep elsewhere.
    pub seal: String,
}

/// Whether a recording is as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
#[non_exhaustive]
pub enum Verdict {
    /// From its first byte to its closing line.
    Whole,
    /// What there is, is right, but the closing line is missing: it is being written, its writer was killed, or its end
    /// was cut off.
    Unfinished {
        /// Bytes at the end that no seal covers.
        loose: u64,
    },
    /// It was changed.
    Broken {
        /// The line where that shows, counted from one.
        line: u64,
        /// How.
        why: Broken,
    },
    /// A recording of another program, without seals.
    Unsealed,
}

/// How a change shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Broken {
    /// What stands before the line is not what was written.
    #[error("what stands before it is not what was written")]
    Seal,
    /// The line has no seal.
    #[error("it has no seal")]
    NoSeal,
    /// There is something behind the closing line.
    #[error("it stands behind the closing line")]
    BehindTheEnd,
    /// The line is longer than any of a recording.
    #[error("it is longer than any line of a recording")]
    TooLong,
}

/// Reads a recording and says whether it is as it was written.
///
/// # Errors
/// It cannot be read.
pub fn verify(mut from: impl BufRead) -> io::Result<Verified> {
    let mut check = Check::default();
    loop {
        let mut line = Vec::new();
        let length = io::Read::take(&mut from, LINE_LIMIT).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(check.finish());
        }
        if !line.ends_with(b"\n") && length as u64 == LINE_LIMIT {
            return Ok(check.broken(Broken::TooLong));
        }
        if let Err(why) = check.line(&line) {
            return Ok(check.broken(why));
        }
        if check.form == Some(Form::Foreign) {
            return Ok(check.report(Verdict::Unsealed));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Cast,
    Foreign,
}

#[derive(Default)]
struct Check {
    chain: Chain,
    form: Option<Form>,
    lines: u64,
    sealed: String,
    /// Bytes behind the newest seal's line.
    loose: u64,
    ended: bool,
}

impl Check {
    fn line(&mut self, line: &[u8]) -> Result<(), Broken> {
        if self.ended {
            return Err(Broken::BehindTheEnd);
        }
        let form = *self.form.get_or_insert_with(|| form(line));
        let Some(text) = line.strip_suffix(b"\n") else {
            // Torn: whatever it is, it does not count.
            self.loose += line.len() as u64;
            return Ok(());
        };
        match form {
            Form::Foreign => return Ok(()),
            Form::Json => self.json(text)?,
            Form::Cast => self.cast(text)?,
        }
        self.chain.take(line);
        self.lines += 1;
        Ok(())
    }

    fn json(&mut self, text: &[u8]) -> Result<(), Broken> {
        let given = text.strip_prefix(JSON_SEAL.as_bytes());
        let given = given
            .and_then(|rest| rest.get(..HEX))
            .ok_or(Broken::NoSeal)?;
        self.check(given)?;
        self.ended = text == json_end(&self.sealed).as_bytes();
        // The last line is covered by none: only its own form says that it is one.
        self.loose = text.len() as u64 + 1;
        Ok(())
    }

    fn cast(&mut self, text: &[u8]) -> Result<(), Broken> {
        if let Some(given) = text.strip_prefix(CAST_SEAL.as_bytes()) {
            self.check(given)?;
            self.loose = 0;
        } else if let Some(given) = text.strip_prefix(CAST_END.as_bytes()) {
            self.check(given)?;
            self.ended = true;
        } else if self.loose > 0 {
            return Err(Broken::NoSeal);
        } else {
            self.loose = text.len() as u64 + 1;
        }
        Ok(())
    }

    fn check(&mut self, given: &[u8]) -> Result<(), Broken> {
        let seal = self.chain.seal();
        if given != seal.as_bytes() {
            return Err(Broken::Seal);
        }
        self.sealed = seal;
        Ok(())
    }

    fn finish(self) -> Verified {
        let loose = self.loose;
        match (self.ended, self.form) {
            (true, _) => self.report(Verdict::Whole),
            (false, Some(Form::Foreign)) => self.report(Verdict::Unsealed),
            (false, _) => self.report(Verdict::Unfinished { loose }),
        }
    }

    fn broken(self, why: Broken) -> Verified {
        let line = self.lines + 1;
        self.report(Verdict::Broken { line, why })
    }

    fn report(self, verdict: Verdict) -> Verified {
        Verified {
            verdict,
            lines: self.lines,
            seal: self.sealed,
        }
    }
}

/// Which kind of recording begins like this.
fn form(line: &[u8]) -> Form {
    if line.starts_with(JSON_SEAL.as_bytes()) {
        return Form::Json;
    }
    let header: Option<serde_json::Value> = serde_json::from_slice(line).ok();
    match header {
        Some(header) if header.get("version").is_some() && header.get("bowline").is_none() => {
            Form::Foreign
        }
        // What was one of ours and is damaged has to show.
        _ => Form::Cast,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(lines: &[String]) -> Vec<u8> {
        let mut chain = Chain::default();
        let mut file = Vec::new();
        for line in lines {
            let object = serde_json::json!({ "text": line }).to_string();
            let line = json_line(&chain.seal(), &object) + "\n";
            chain.take(line.as_bytes());
            file.extend(line.into_bytes());
        }
        file.extend((json_end(&chain.seal()) + "\n").into_bytes());
        file
    }

    fn cast(lines: &[String]) -> Vec<u8> {
        let mut chain = Chain::default();
        let mut file = Vec::new();
        let mut put = |chain: &mut Chain, line: String| {
            chain.take(line.as_bytes());
            file.extend(line.into_bytes());
        };
        let header = serde_json::json!({ "version": 3, "bowline": {} });
        let events = lines
            .iter()
            .map(|line| serde_json::json!([0.1, "o", line]).to_string());
        for line in [header.to_string()].into_iter().chain(events) {
            put(&mut chain, line + "\n");
            let seal = format!("{CAST_SEAL}{}\n", chain.seal());
            put(&mut chain, seal);
        }
        let end = format!("{CAST_END}{}\n", chain.seal());
        put(&mut chain, end);
        file
    }

    fn is_whole(file: &[u8]) -> bool {
        verify(file).unwrap().verdict == Verdict::Whole
    }

    proptest! {
        #[test]
        fn no_change_passes(
            texts in prop::collection::vec(".{0,20}", 2..6),
            as_cast: bool,
            at: prop::sample::Index,
            bit in 0..8u8,
            one: prop::sample::Index,
            other: prop::sample::Index,
        ) {
            let file = if as_cast { cast(&texts) } else { json(&texts) };
            prop_assert!(is_whole(&file));

            // A flipped bit.
            let mut flipped = file.clone();
            flipped[at.index(file.len())] ^= 1 << bit;
            prop_assert!(!is_whole(&flipped));

            // A cut tail, anywhere.
            prop_assert!(!is_whole(&file[..at.index(file.len())]));

            // An entry, with its seal where that is a line of its own, removed or put elsewhere.
            let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
            let width = if as_cast { 2 } else { 1 };
            let entries: Vec<&[&[u8]]> = lines.chunks(width).collect();
            let (one, other) = (one.index(entries.len()), other.index(entries.len()));
            let mut removed = entries.clone();
            removed.remove(one);
            prop_assert!(!is_whole(&removed.concat().concat()));
            let mut swapped = entries.clone();
            swapped.swap(one, other);
            prop_assert_eq!(is_whole(&swapped.concat().concat()), one == other);

            // Single lines likewise.
            let mut removed = lines.clone();
            removed.remove(at.index(lines.len()));
            prop_assert!(!is_whole(&removed.concat()));

            // Something behind the end.
            prop_assert!(!is_whole(&[&file[..], lines[0]].concat()));
        }
    }

    #[test]
    fn a_cut_at_the_end_of_a_line_is_unfinished_and_nothing_else() {
        let file = json(&["a".to_owned(), "b".to_owned()]);
        let cut = file.len() - json_end(&"0".repeat(HEX)).len() - 1;
        let found = verify(&file[..cut]).unwrap();
        assert_eq!(found.lines, 2);
        assert!(matches!(found.verdict, Verdict::Unfinished { .. }));
    }

    #[test]
    fn the_recordings_of_others_are_not_called_broken() {
        let foreign = b"{\"version\":2,\"width\":80,\"height\":24}\n[0.1,\"o\",\"x\"]\n";
        assert_eq!(verify(&foreign[..]).unwrap().verdict, Verdict::Unsealed);
    }
}
