//! What is shown and changed: the built binary against sandboxes with worlds from files.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod changes;
mod described;
#[path = "../exec/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness of the exec tests has more than is needed here"
)]
mod support;

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use support::{Finished, Sandbox, run};

/// A sandbox with one of the example worlds.
fn world(name: &str) -> Sandbox {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/worlds")
        .join(name);
    Sandbox::start(&["--world", file.to_str().unwrap()])
}

fn bowline(sandbox: &Sandbox, words: &[&str]) -> Finished {
    run(&mut sandbox.bowline(words))
}

/// What a successful command printed.
#[track_caller]
fn stdout(sandbox: &Sandbox, words: &[&str]) -> String {
    let done = bowline(sandbox, words).code(0);
    String::from_utf8(done.stdout).unwrap()
}

#[track_caller]
fn json(sandbox: &Sandbox, words: &[&str]) -> Value {
    let words = [words, &["-o", "json"]].concat();
    serde_json::from_str(&stdout(sandbox, &words)).unwrap()
}

/// The text with what differs from run to run replaced: ids, times, addresses.
fn scrubbed(text: &str) -> String {
    let mut scrubbed = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_alphanumeric() || "-.:/".contains(letter) {
            word.push(letter);
            continue;
        }
        scrubbed.push_str(&replaced(&word));
        word.clear();
        scrubbed.push(letter);
    }
    scrubbed.pop();
    // Of what has just been made.
    (0..60).fold(scrubbed, |text, age| {
        text.replace(&format!(" ({age}s ago)"), " (AGE ago)")
    })
}

fn replaced(word: &str) -> String {
    let hex = |text: &str| text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = word.split(['/', '-']).collect::<Vec<_>>();
    if word.len() > 18 && word.starts_with("20") && word.ends_with('Z') {
        return "TIME".to_owned();
    }
    if word.starts_with("127.") {
        return "ADDRESS".to_owned();
    }
    // What comes from the world's file stays.
    if ["fs-", "fsap-", ":iam:"]
        .iter()
        .any(|mark| word.contains(mark))
    {
        return word.to_owned();
    }
    let random = |part: &&&str| {
        hex(part) || part.len() == 10 && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let random = parts.iter().filter(random);
    random.fold(word.to_owned(), |word, part| word.replace(part, "ID"))
}

/// The reference that names every member.
fn reference() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/output.md");
        std::fs::read_to_string(file).unwrap()
    })
}
