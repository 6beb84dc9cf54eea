//! The one place that reads YAML: budgets, strictness, and errors with the line they are about.

use serde::de::DeserializeOwned;
use serde_saphyr::{Location, MergeKeyPolicy, Options, Spanned};

use super::WorldFileError;

/// The longest file. The example of 5,000 tasks has 5 KB.
const FILE_LIMIT: usize = 4 * 1024 * 1024;

/// Deeper nesting than any world has.
const DEPTH: usize = 32;

/// A text and where it stands.
pub(super) type At<T> = Spanned<T>;

/// Reads a document. JSON is read as the YAML that it also is.
pub(super) fn read<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, WorldFileError> {
    if text.len() > FILE_LIMIT {
        return Err(WorldFileError::new(
            file,
            None,
            format!("is longer than {} MiB", FILE_LIMIT / 1024 / 1024),
        ));
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let place = error.location().map(place);
        WorldFileError::new(file, place, plain(&error.without_snippet().to_string()))
    })
}

/// Line and column, from 1.
pub(super) fn place(location: Location) -> (u64, u64) {
    (location.line(), location.column())
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH,
            max_documents: 1,
        },
        // `no`, `on` and `off` are the names of environments and countries.
        strict_booleans: true,
        merge_keys: MergeKeyPolicy::Merge,
        with_snippet: false,
    }
}

/// The reader's text without the place, which stands before it already, and without advice to its programmers.
fn plain(text: &str) -> String {
    let text = text.replace(", set DuplicateKeyPolicy in Options if acceptable", "");
    let end = text.rfind(" at line ").or_else(|| text.rfind(" (line "));
    text[..end.unwrap_or(text.len())]
        .trim_start_matches("error: ")
        .to_owned()
}
