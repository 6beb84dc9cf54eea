//! Transfers that are interrupted: gone on with, never half done under the final name.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{LATER, Running, SOON, Sandbox, post, run, wait_for};
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

/// A stream that has begun to arrive and says nothing more.
#[track_caller]
fn silent_stream(sandbox: &Sandbox, folder: &TempDir) -> Running {
    let place = format!("web:{}/streamed", folder.path().to_str().unwrap());
    let mut command = sandbox.bowline(&["cp", "-", &place]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    running.stdin().write_all(b"a beginning\n").unwrap();
    wait_for("a part", LATER, || {
        let mut entries = fs::read_dir(folder.path()).unwrap();
        let part = entries.find_map(|entry| {
            let entry = entry.unwrap();
            entry
                .file_name()
                .to_string_lossy()
                .ends_with(".bowline-part")
                .then_some(entry)
        })?;
        (part.metadata().is_ok_and(|about| about.len() > 0) || running.has_ended()).then_some(())
    });
    running
}

#[test]
fn a_stream_whose_session_ends_does_not_wait_for_more_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let sandbox = Sandbox::start(&["--accept-any-credentials"]);
    let mut running = silent_stream(&sandbox, &folder);
    let active = post(
        &sandbox,
        "AmazonSSM",
        "DescribeSessions",
        &json!({ "State": "Active" }),
    );
    let sessions = active["Sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1);
    let ended = json!({ "SessionId": sessions[0]["SessionId"] });
    post(&sandbox, "AmazonSSM", "TerminateSession", &ended);
    // Its stdin is open still.
    running.wait(SOON);
    let finished = running.finish(SOON);
    assert!(!finished.status.success());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_stream_leaves_nothing_and_says_so() {
    let folder = TempDir::new().unwrap();
    let sandbox = Sandbox::start(&[]);
    let mut running = silent_stream(&sandbox, &folder);
    running.signal("INT");
    running.wait(SOON);
    running
        .finish(SOON)
        .code(130)
        .stderr_has("nothing of the stream is kept");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
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
