//! What a recording is about, without reading all of it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::chain::{CAST_NOTE, LINE_LIMIT};

/// The last lines are found in so much of the end: a result and seals.
const TAIL: u64 = 64 * 1024;

/// What a recording is about. It says nothing of whether it was changed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Summary {
    /// Its name: the file's without its ending.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// Whether it is of a terminal.
    pub terminal: bool,
    /// How the session began; null in recordings of other programs.
    pub start: Value,
    /// How it ended; null if that is not there.
    pub end: Value,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Reads the beginning and the end of a file; `None` if it is no recording.
///
/// # Errors
/// It cannot be read.
pub fn summary(path: &Path) -> io::Result<Option<Summary>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut head = Vec::new();
    BufReader::new(Read::take(&mut file, LINE_LIMIT)).read_until(b'\n', &mut head)?;
    let Ok(mut first) = serde_json::from_slice::<Value>(&head) else {
        return Ok(None);
    };
    let is_lines = first.get("format").and_then(Value::as_str) == Some("bowline-record");
    let terminal = !is_lines && first.get("version").is_some();
    if !is_lines && !terminal {
        return Ok(None);
    }
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    Read::take(&mut file, TAIL).read_to_end(&mut tail)?;
    let tail = String::from_utf8_lossy(&tail);
    let end = tail.lines().rev().take(6).find_map(|line| {
        let line = line.strip_prefix(CAST_NOTE).unwrap_or(line);
        let value: Value = serde_json::from_str(line).ok()?;
        (value.get("type").and_then(Value::as_str) == Some("end")).then_some(value)
    });
    let id = path.file_stem().unwrap_or_default();
    Ok(Some(Summary {
        id: id.to_string_lossy().into_owned(),
        path: path.to_owned(),
        terminal,
        start: match terminal {
            true => first["bowline"].take(),
            false => first,
        },
        end: end.unwrap_or_default(),
        bytes,
    }))
}
