//! The recipes of `examples/`: each is run as it stands, against a sandbox.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod chatops;
mod lambda;
mod steps;
#[path = "../exec/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the harness of tests/exec serves here in part"
)]
mod support;

use std::path::{Path, PathBuf};

use support::BOWLINE;

/// An example of the library, which `cargo test --workspace` builds before any test runs.
fn example(name: &str) -> PathBuf {
    let path = Path::new(BOWLINE).with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: cargo build -p bowline --examples makes it",
        path.display()
    );
    path
}

/// What `examples/` has.
fn recipe(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(path)
}
