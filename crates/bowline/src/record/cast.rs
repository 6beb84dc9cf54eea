//! Reading asciicasts, version 2 and 3: ours and those of others.

use std::io::{self, BufRead};

use bowline_proto::Size;
use serde::Deserialize;
use serde_json::Value;

use super::chain::LINE_LIMIT;

/// How a recording of a terminal begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CastHeader {
    /// Of the format: 2 or 3.
    pub version: u8,
    /// The terminal's size at the beginning.
    pub size: Size,
    /// What bowline says of the session; null in recordings of others.
    pub bowline: Value,
}

/// What happened at a time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CastEvent {
    /// Seconds since the beginning.
    pub seconds: f64,
    /// What.
    pub kind: CastKind,
}

impl CastEvent {
    /// Something that happened so many seconds after the beginning.
    #[must_use]
    pub fn new(seconds: f64, kind: CastKind) -> Self {
        Self { seconds, kind }
    }
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CastKind {
    /// The terminal was written to.
    Output(String),
    /// Somebody typed.
    Input(String),
    /// The terminal has another size.
    Resize(Size),
    /// The command has ended with this status.
    Exit(i64),
    /// A mark, or something of a later version.
    Other(String, String),
}

/// Why a file is no recording of a terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CastError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is something else.
    #[error("line {line} is no line of an asciicast: {reason}")]
    Foreign {
        /// Counted from one.
        line: u64,
        /// Why.
        reason: String,
    },
}

/// A recording being read.
#[derive(Debug)]
pub struct Cast<R> {
    /// How it begins.
    pub header: CastHeader,
    from: R,
    line: u64,
    seconds: f64,
}

#[derive(Deserialize)]
struct Header {
    version: u8,
    width: Option<u32>,
    height: Option<u32>,
    term: Option<Term>,
    #[serde(default)]
    bowline: Value,
}

#[derive(Deserialize)]
struct Term {
    cols: u32,
    rows: u32,
}

impl<R: BufRead> Cast<R> {
    /// Reads how it begins.
    ///
    /// # Errors
    /// It is no asciicast.
    pub fn open(mut from: R) -> Result<Self, CastError> {
        let foreign = |reason: &str| CastError::Foreign {
            line: 1,
            reason: reason.to_owned(),
        };
        let text = line(&mut from)?.ok_or_else(|| foreign("the file is empty"))?;
        let header: Header =
            serde_json::from_slice(&text).map_err(|error| foreign(&error.to_string()))?;
        let size = match (header.version, header.term, header.width, header.height) {
            (3, Some(term), _, _) => (term.cols, term.rows),
            (2, _, Some(width), Some(height)) => (width, height),
            (2 | 3, ..) => return Err(foreign("it has no size")),
            (version, ..) => return Err(foreign(&format!("version {version} is not known"))),
        };
        Ok(Self {
            header: CastHeader {
                version: header.version,
                size: Size {
                    cols: size.0,
                    rows: size.1,
                },
                bowline: header.bowline,
            },
            from,
            line: 1,
            seconds: 0.0,
        })
    }

    /// The next event; `None` behind the last one. A line that was torn in the middle ends it.
    ///
    /// # Errors
    /// A line is none of an asciicast.
    pub fn read(&mut self) -> Result<Option<CastEvent>, CastError> {
        while let Some(text) = line(&mut self.from)? {
            self.line += 1;
            let is_torn = !text.ends_with(b"\n");
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let (time, code, data): (f64, String, String) = match serde_json::from_slice(text) {
                Ok(event) => event,
                Err(_) if is_torn => return Ok(None),
                Err(error) => return Err(self.foreign(&error.to_string())),
            };
            if !time.is_finite() || time < 0.0 {
                return Err(self.foreign("its time is no time"));
            }
            self.seconds = match self.header.version {
                2 => time.max(self.seconds),
                _ => self.seconds + time,
            };
            let kind = match code.as_str() {
                "o" => CastKind::Output(data),
                "i" => CastKind::Input(data),
                "r" => match size(&data) {
                    Some(size) => CastKind::Resize(size),
                    None => return Err(self.foreign("a size looks like 80x24")),
                },
                "x" => match data.parse() {
                    Ok(code) => CastKind::Exit(code),
                    Err(_) => return Err(self.foreign("a status is a number")),
                },
                _ => CastKind::Other(code, data),
            };
            return Ok(Some(CastEvent {
                seconds: self.seconds,
                kind,
            }));
        }
        Ok(None)
    }

    fn foreign(&self, reason: &str) -> CastError {
        CastError::Foreign {
            line: self.line,
            reason: reason.to_owned(),
        }
    }
}

fn size(text: &str) -> Option<Size> {
    let (cols, rows) = text.split_once('x')?;
    Some(Size {
        cols: cols.parse().ok()?,
        rows: rows.parse().ok()?,
    })
}

fn line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = io::Read::take(from, LINE_LIMIT).read_until(b'\n', &mut line)?;
    if length as u64 == LINE_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line is too long",
        ));
    }
    Ok((length > 0).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Result<Vec<(f64, CastKind)>, CastError> {
        let mut cast = Cast::open(text.as_bytes())?;
        let mut events = Vec::new();
        while let Some(event) = cast.read()? {
            events.push((event.seconds, event.kind));
        }
        Ok(events)
    }

    #[test]
    fn both_versions_are_read() {
        let second = "{\"version\":2,\"width\":80,\"height\":24}\n[0.5,\"o\",\"a\"]\n[2,\"r\",\"90x30\"]\n[2.5,\"m\",\"\"]\n[3,\"o\",\"b";
        let third = "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n# a comment\n[0.5,\"o\",\"a\"]\n[1.5,\"r\",\"90x30\"]\n[0.5,\"m\",\"\"]\n";
        let expected = [
            (0.5, CastKind::Output("a".to_owned())),
            (2.0, CastKind::Resize(Size { cols: 90, rows: 30 })),
            (2.5, CastKind::Other("m".to_owned(), String::new())),
        ];
        assert_eq!(events(second).unwrap(), expected);
        assert_eq!(events(third).unwrap(), expected);
    }

    #[test]
    fn what_is_none_is_refused() {
        for wrong in [
            "",
            "[]",
            "{\"version\":1}",
            "{\"version\":3}",
            "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n[-1,\"o\",\"a\"]\n",
            "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n[1,\"r\",\"80\"]\n",
            "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\nhello\n",
        ] {
            assert!(events(wrong).is_err(), "{wrong}");
        }
    }
}
