//! What a session's log holds, as the command printed it: logs of ECS Exec sessions have our wrappers' lines in them.

use std::sync::LazyLock;

use bytes::Bytes;
use regex::bytes::Regex;

use super::Engine;
use super::protocol::{Protocol, Step};

/// The framed wrapper's first line. Some ways of logging drop control characters.
static FRAMED: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(\x1e?)([0-9A-Za-z]{4,40})r(?:64|16) [01] (?:64|8)\r?$";
    Regex::new(pattern).expect("the pattern is right")
});
/// The first mark of the plain and the tty wrapper.
static MARKED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\x1e([0-9A-Za-z]{4,40})[rg]\x1e").expect("the pattern is right"));

/// Reads a log line by line.
#[derive(Default)]
pub(crate) struct Transcript {
    found: Option<Found>,
    /// A line of output without its end.
    rest: Vec<u8>,
    status: Option<i64>,
    damage: Option<String>,
    /// The command's output is over.
    done: bool,
}

struct Found {
    protocol: Protocol,
    /// What a line begins with whose mark was dropped.
    bare: Option<Vec<u8>>,
}

impl Transcript {
    /// The lines that one line of the log is, or ends.
    pub(crate) fn line(&mut self, text: &str) -> Vec<String> {
        if self.damage.is_some() {
            return vec![text.to_owned()];
        }
        if self.found.is_none() {
            self.found = Found::in_line(text.as_bytes());
        }
        let Some(found) = &mut self.found else {
            return vec![text.to_owned()];
        };
        let mut piece = Vec::with_capacity(text.len() + 2);
        if let Some(nonce) = &found.bare
            && text.as_bytes().starts_with(nonce)
        {
            piece.push(0x1e);
        }
        piece.extend_from_slice(text.as_bytes());
        piece.push(b'\n');
        let mut steps = Vec::new();
        let result = found.protocol.feed(&Bytes::from(piece), &mut steps);
        self.take(steps);
        if self.done {
            // The newline is that of the log's own line.
            self.rest.pop_if(|byte| *byte == b'\n');
        }
        let mut lines = self.lines();
        if let Err(damage) = result {
            self.damage = Some(damage.to_string());
            lines.extend(self.finish());
        }
        lines
    }

    /// The last line, if it has no end.
    pub(crate) fn finish(&mut self) -> Option<String> {
        if let Some(found) = &mut self.found {
            let mut steps = Vec::new();
            found.protocol.finish(&mut steps);
            self.take(steps);
        }
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| text_of(&rest))
    }

    /// The command's exit code, if the log has it.
    pub(crate) fn status(&self) -> Option<i64> {
        self.status
    }

    /// Why the rest of the log is shown as it is.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    fn take(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Stdout(bytes) | Step::Stderr(bytes) => self.rest.extend_from_slice(&bytes),
                Step::Status(status) => self.status = Some(status),
                Step::Done { .. } => self.done = true,
                _ => {}
            }
        }
    }

    fn lines(&mut self) -> Vec<String> {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        let lines = whole[..end].split(|byte| *byte == b'\n');
        lines.map(text_of).collect()
    }
}

impl Found {
    fn in_line(line: &[u8]) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if let Some(found) = FRAMED.captures(line) {
            let nonce = text(&found[2]);
            return Some(Self {
                protocol: Protocol::new(Engine::Framed, &nonce),
                bare: found[1].is_empty().then(|| nonce.into_bytes()),
            });
        }
        let found = MARKED.captures(line)?;
        Some(Self {
            protocol: Protocol::new(Engine::Plain, &text(&found[1])),
            bare: None,
        })
    }
}

fn text_of(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &[&str]) -> (Vec<String>, Option<i64>) {
        let mut transcript = Transcript::default();
        let mut lines: Vec<String> = log.iter().flat_map(|line| transcript.line(line)).collect();
        lines.extend(transcript.finish());
        (lines, transcript.status())
    }

    /// `echo out; echo err >&2; exit 7` as dash printed it.
    const FRAMED_LOG: [&str; 9] = [
        "\x1ekeyer64 1 64",
        "\x1ekeyex7",
        "\x1ekeyeeZXJyCg==",
        "\x1ekeyee=1 1168325113 8",
        "\x1ekeyeob3V0Cg==",
        "\x1ekeyeo=1 2229935227 8",
        "\x1ekeyee.1",
        "\x1ekeyeo.1",
        "\x1ekeyez",
    ];

    #[test]
    fn what_the_framed_engine_carries_is_read_with_its_marks_or_without() {
        let expected = (vec!["err".to_owned(), "out".to_owned()], Some(7));
        assert_eq!(read(&FRAMED_LOG), expected);
        let bare = FRAMED_LOG.map(|line| &line[1..]);
        assert_eq!(read(&bare), expected);
    }

    #[test]
    fn the_plain_engine_is_read_without_its_marks() {
        let log = [
            "Script started",
            "\x1ekeyer\x1ehello",
            "a\x1ekeyeeoops\x1ekeye.b",
            "\x1ekeyex3\x1e\x1ekeyez\x1e",
        ];
        let expected = ["Script started", "hello", "aoopsb"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(read(&log), (expected, Some(3)));
    }

    #[test]
    fn other_sessions_and_damaged_ones_are_shown_as_they_are() {
        let plain = ["$ ls", "a b", "$ exit"];
        assert_eq!(read(&plain).0, plain);
        let mut log = FRAMED_LOG;
        log[4] = "\x1ekeyeob3V1Cg==";
        let (lines, _) = read(&log);
        assert!(
            lines.contains(&"err".to_owned()) && lines.contains(&log[7].to_owned()),
            "{lines:?}"
        );
    }
}
