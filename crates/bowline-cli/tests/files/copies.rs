//! Round trips, and where a copy lands.

use std::fs;

use tempfile::TempDir;

use crate::support::{BOWLINE, LATER, Shared, Terminal, run, run_with};
use crate::tree::{assert_no_parts, assert_same, fill, noise};

/// A folder of the machine, which a container of the sandbox sees under the same path.
fn folder() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn a_directory_comes_back_as_it_was() {
    let sandbox = Shared::get();
    let (folder, path) = folder();
    fill(&folder.path().join("there"));
    let down =
        run(&mut sandbox.bowline(&["cp", &format!("web:{path}/there"), &format!("{path}/here")]));
    assert!(
        down.stderr.contains("sha256 the same on both sides"),
        "{}",
        down.stderr
    );
    assert_same(&folder.path().join("there"), &folder.path().join("here"));
    run(&mut sandbox.bowline(&["cp", &format!("{path}/here"), &format!("web:{path}/again")]))
        .code(0);
    assert_same(&folder.path().join("there"), &folder.path().join("again"));
    // Into what is there: under its own name, and beside what is there already.
    fs::write(folder.path().join("again/kept"), "kept").unwrap();
    run(&mut sandbox.bowline(&[
        "cp",
        &format!("{path}/here/."),
        &format!("web:{path}/again"),
    ]))
    .code(0);
    fs::remove_file(folder.path().join("again/kept")).unwrap();
    assert_same(&folder.path().join("there"), &folder.path().join("again"));
    run(&mut sandbox.bowline(&["cp", &format!("web:{path}/there"), &format!("{path}/here")]))
        .code(0);
    assert_same(
        &folder.path().join("there"),
        &folder.path().join("here/there"),
    );
    assert_no_parts(folder.path());
}

#[test]
fn files_patterns_and_streams_land_where_they_should() {
    let sandbox = Shared::get();
    let (folder, path) = folder();
    let at = |name: &str| folder.path().join(name);
    let large = noise(3_000_000, 7);
    fs::create_dir(at("logs")).unwrap();
    fs::write(at("logs/a.log"), "a").unwrap();
    fs::write(at("logs/b.log"), &large).unwrap();
    fs::write(at("logs/c.txt"), "c").unwrap();
    fs::create_dir(at("to")).unwrap();
    run(&mut sandbox.bowline(&[
        "cp",
        &format!("web:{path}/logs/*.log"),
        &format!("{path}/to"),
    ]))
    .code(0);
    assert_eq!(fs::read(at("to/b.log")).unwrap(), large);
    assert!(at("to/a.log").exists() && !at("to/c.txt").exists());
    run(&mut sandbox.bowline(&[
        "cp",
        &format!("{path}/to/a.log"),
        &format!("{path}/to/b.log"),
        &format!("web:{path}/logs"),
    ]))
    .code(0);
    run(&mut sandbox.bowline(&["cp", &format!("web:{path}/logs/b.log"), "-"]))
        .code(0)
        .stdout(&large);
    run_with(
        &mut sandbox.bowline(&["cp", "-", &format!("web:{path}/streamed")]),
        large.clone(),
        LATER,
    )
    .code(0);
    assert_eq!(fs::read(at("streamed")).unwrap(), large);
    run_with(
        &mut sandbox.bowline(&["cp", "-", &format!("web:{path}/nothing")]),
        Vec::new(),
        LATER,
    )
    .code(0);
    assert_eq!(fs::read(at("nothing")).unwrap(), b"");
    // One word is enough where there is one service, and `-` needs a name.
    run(&mut sandbox.bowline(&["cp", &format!(":{path}/logs/a.log"), &format!("{path}/new")]))
        .code(0);
    run_with(
        &mut sandbox.bowline(&["cp", "-", &format!("web:{path}/to/")]),
        b"x".to_vec(),
        LATER,
    )
    .code(1)
    .stderr_has("a stream has no name");
    assert_no_parts(folder.path());
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_half_done() {
    let sandbox = Shared::get();
    let (folder, path) = folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("here/x")).unwrap();
    fs::create_dir(at("there")).unwrap();
    fs::write(at("there/a"), "a").unwrap();
    fs::write(at("there/x"), "x").unwrap();
    let web = |name: &str| format!("web:{path}/{name}");
    let here = |name: &str| format!("{path}/{name}");
    for (words, code, said) in [
        (vec!["cp", &web("nope"), "."], 1, "there is no"),
        (vec!["cp", &web("no*pe"), "."], 1, "there is no"),
        (vec!["cp", &here("nope"), &web("x")], 1, "cannot read"),
        (
            vec!["cp", &web("there/a"), &here("no/where")],
            1,
            "there is no directory",
        ),
        (
            vec!["cp", &here("there/a"), &web("no/where")],
            1,
            "there is no directory",
        ),
        (
            vec!["cp", &here("there/a"), &web("no/")],
            1,
            "there is no directory",
        ),
        (
            vec!["cp", &web("there/."), &here("here")],
            1,
            "is a directory here",
        ),
        (vec!["cp", &web("there"), "-"], 1, "only one file"),
        (vec!["cp", "a", "b"], 2, "neither side is in a container"),
        (vec!["cp", "web:a", "b"], 2, "web:./a"),
        (
            vec!["cp", &web("a"), "web:/b"],
            2,
            "both sides are in containers",
        ),
        (vec!["cp", &web("a")], 2, "a source and a destination"),
        (vec!["cp", "nope:/x", "."], 3, "nope"),
    ] {
        run(&mut sandbox.bowline(&words))
            .code(code)
            .stderr_has(said);
    }
    assert!(
        !at("here/a").exists(),
        "nothing was written before the conflict was found"
    );
    assert_no_parts(folder.path());
}

#[test]
fn only_what_differs_is_moved_and_a_dry_run_moves_nothing() {
    let sandbox = Shared::get();
    let (folder, path) = folder();
    let at = |name: &str| folder.path().join(name);
    fill(&at("there"));
    let words = [
        "cp",
        "--delta",
        &format!("web:{path}/there/."),
        &format!("{path}/here/"),
    ];
    let dry = [&words[..], &["--dry-run"]].concat();
    run(&mut sandbox.bowline(&dry))
        .code(0)
        .stderr_has("would copy 12 files");
    assert!(!at("here").exists());
    run(&mut sandbox.bowline(&words))
        .code(0)
        .stderr_has("copied 12 files");
    fs::write(at("there/one"), "2").unwrap();
    run(&mut sandbox.bowline(&words))
        .code(0)
        .stderr_has("copied 1 file, 1 B")
        .stderr_has("11 unchanged");
    assert_eq!(fs::read(at("here/one")).unwrap(), b"2");
    let up = [
        "cp",
        "--delta",
        &format!("{path}/here/."),
        &format!("web:{path}/up/"),
    ];
    run(&mut sandbox.bowline(&up))
        .code(0)
        .stderr_has("copied 12 files");
    fs::write(at("here/one"), "3").unwrap();
    let finished = run(&mut sandbox.bowline(&[&up[..], &["-o", "json"]].concat())).code(0);
    let report: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(
        (&report["files"], &report["unchanged"]),
        (&1.into(), &11.into())
    );
    assert_eq!(fs::read(at("up/one")).unwrap(), b"3");
}

#[test]
fn a_dry_run_of_a_stream_writes_nothing_either() {
    let sandbox = Shared::get();
    let (folder, path) = folder();
    fs::write(folder.path().join("kept"), "kept").unwrap();
    for name in ["kept", "new"] {
        let place = format!("{path}/{name}");
        let words = ["cp", "--dry-run", "-", &format!("web:{place}")];
        run_with(&mut sandbox.bowline(&words), b"x".to_vec(), LATER)
            .code(0)
            .stdout(format!("{place}\n"))
            .stderr_has("would copy 1 file, as long as the stream");
    }
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["kept"]);
    assert_eq!(fs::read(folder.path().join("kept")).unwrap(), b"kept");
    // What would go wrong is found out all the same.
    let words = ["cp", "--dry-run", "-", &format!("web:{path}/no/where")];
    run_with(&mut sandbox.bowline(&words), b"x".to_vec(), LATER)
        .code(1)
        .stderr_has("there is no directory");
}

#[test]
fn a_terminal_sees_a_bar_and_its_end() {
    let sandbox = Shared::get();
    let (folder, path) = folder();
    fs::write(folder.path().join("x"), noise(2_000_000, 3)).unwrap();
    let words = ["cp", &format!("web:{path}/x"), &format!("{path}/y")];
    let mut terminal = Terminal::start(&sandbox, BOWLINE, &words);
    terminal.until("copied 1 file, 2.0 MB");
    assert_eq!(fs::read(folder.path().join("y")).unwrap().len(), 2_000_000);
}
