//! Transfers that are interrupted: gone on with, never half done under the final name.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{LATER, Running, Sandbox, run, wait_for};
use crate::tree::{assert_no_parts, assert_same, fill, noise};

const SIZE: usize = 1_500_000;

/// Kills the sandbox once so much of a part is there; the next sandbox sees the same files.
#[track_caller]
fn interrupt(folder: &TempDir, words: &[&str], part: &str, amount: u64) {
    let sandbox = Sandbox::start(&["--agent", "stock"]);
    let mut running =
        Running::start(&mut sandbox.bowline(&[words, &["--reconnect-for", "0"]].concat()));
    wait_for("a part", LATER, || {
        let entries = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap());
        let mut parts = entries.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with(part) && name.ends_with(".bowline-part")
        });
        let enough = parts.any(|entry| {
            use std::os::unix::fs::MetadataExt;
            entry
                .metadata()
                .is_ok_and(|about| about.blocks() * 512 >= amount)
        });
        (enough || running.has_ended()).then_some(())
    });
    sandbox.kill();
    let finished = running.finish(LATER);
    assert!(
        !finished.status.success(),
        "it was over before it could be interrupted"
    );
}

#[test]
fn a_download_goes_on_where_it_was_and_no_half_file_has_the_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    let content = noise(SIZE, 11);
    fs::write(folder.path().join("there"), &content).unwrap();
    let words = ["cp", &format!("web:{path}/there"), &format!("{path}/here")];
    for amount in [1, 300_000, 1_100_000] {
        interrupt(&folder, &words, ".here.", amount);
        assert!(!folder.path().join("here").exists());
    }
    let sandbox = Sandbox::start(&[]);
    run(&mut sandbox.bowline(&words))
        .code(0)
        .stderr_has("going on with an interrupted copy");
    assert!(fs::read(folder.path().join("here")).unwrap() == content);
    assert_no_parts(folder.path());
}

#[test]
fn a_part_of_another_content_is_not_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    let words = ["cp", &format!("web:{path}/there"), &format!("{path}/here")];
    fs::write(folder.path().join("there"), noise(SIZE, 12)).unwrap();
    interrupt(&folder, &words, ".here.", 300_000);
    // The same length, the same name.
    let content = noise(SIZE, 13);
    fs::write(folder.path().join("there"), &content).unwrap();
    let sandbox = Sandbox::start(&[]);
    let finished = run(&mut sandbox.bowline(&words)).code(0);
    assert!(!finished.stderr.contains("going on"), "{}", finished.stderr);
    assert!(fs::read(folder.path().join("here")).unwrap() == content);
}

#[test]
fn an_upload_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    // Input is not paced: it takes more to be interrupted.
    let content = noise(24_000_000, 14);
    fs::write(folder.path().join("here"), &content).unwrap();
    let words = ["cp", &format!("{path}/here"), &format!("web:{path}/there")];
    interrupt(&folder, &words, ".there.", 500_000);
    assert!(!folder.path().join("there").exists());
    let sandbox = Sandbox::start(&[]);
    let finished = Running::start(&mut sandbox.bowline(&words))
        .finish(LATER)
        .code(0);
    assert!(
        finished
            .stderr
            .contains("going on with an interrupted copy"),
        "{}",
        finished.stderr
    );
    assert!(fs::read(folder.path().join("there")).unwrap() == content);
    assert_no_parts(folder.path());
}

#[test]
fn a_connection_that_breaks_again_and_again_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    fill(&folder.path().join("a"));
    fs::write(folder.path().join("a/large"), noise(SIZE, 15)).unwrap();
    let sandbox = Sandbox::start(&["--fault", "loss=1%,cut-every=frame:300,seed=3"]);
    let bowline = |words: &[&str]| {
        let finished = Running::start(&mut sandbox.bowline(words)).finish(Duration::from_secs(300));
        finished.code(0);
    };
    bowline(&["cp", &format!("web:{path}/a"), &format!("{path}/b")]);
    assert_same(&folder.path().join("a"), &folder.path().join("b"));
    bowline(&["cp", &format!("{path}/b"), &format!("web:{path}/c")]);
    assert_same(&folder.path().join("a"), &folder.path().join("c"));
}
