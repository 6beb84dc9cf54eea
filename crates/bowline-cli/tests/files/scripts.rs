//! Local scripts in a container.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{LATER, Sandbox, Shared, has_program, run, run_unread, run_with};
use crate::tree::noise;

fn script(folder: &TempDir, name: &str, text: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[track_caller]
fn nothing_is_left() {
    for place in ["/tmp", "/var/tmp", "/dev/shm"] {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let left = entries.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Other tests may be running theirs: what counts is what stays.
            name.starts_with(".bowline-script-")
                && !Path::new(place).join(name).join("other").exists()
        });
        for entry in left {
            crate::support::wait_for("the script is removed", LATER, || {
                (!entry.path().exists()).then_some(())
            });
        }
    }
}

#[test]
fn a_script_runs_by_its_first_line_with_its_arguments_and_leaves_nothing() {
    let sandbox = Shared::get();
    let folder = TempDir::new().unwrap();
    let sh = script(
        &folder,
        "show me.sh",
        b"#!/bin/sh -u\nfor a do printf '<%s>' \"$a\"; done; printf '%s|' \"$MODE\"; basename \"$0\"; echo err >&2; wc -c; exit 7\n",
    );
    run(&mut sandbox.bowline(&[
        "script",
        "--env",
        "MODE=a b;$c",
        "web",
        &sh,
        "--",
        "x y",
        "",
        "$(id)",
        "-n",
        "日本",
    ]))
    .code(7)
    .stdout("<x y><><$(id)><-n><日本>a b;$c|show me.sh\n0\n")
    .stderr_has("err\n");
    let plain = script(&folder, "plain", b"echo \"$#\"; exit 3");
    run(&mut sandbox.bowline(&["script", "web", &plain]))
        .code(3)
        .stdout("0\n");
    run(&mut sandbox.bowline(&[
        "script",
        "--interpreter",
        "sh -e",
        "web",
        &script(&folder, "e", b"false; echo no"),
    ]))
    .code(1)
    .stdout("");
    run(&mut sandbox.bowline(&["script", "--interpreter", "no-such-thing", "web", &plain]))
        .code(127);
    run(&mut sandbox.bowline(&["script", "web", "no-such-file"]))
        .code(2)
        .stderr_has("cannot read the script");
    run(&mut sandbox.bowline(&["script", "--env", "A B=1", "web", &plain]))
        .code(2)
        .stderr_has("no name for a variable");
    run(&mut sandbox.bowline(&[
        "script",
        "--timeout",
        "1s",
        "web",
        &script(&folder, "slow", b"sleep 60"),
    ]))
    .code(124);
    nothing_is_left();
}

#[test]
fn stdin_is_free_for_data_and_a_script_may_be_long() {
    for shell in ["dash", "bash", "busybox"] {
        if !has_program(shell) {
            continue;
        }
        let sandbox = Sandbox::start(&["--scenario", shell]);
        let folder = TempDir::new().unwrap();
        let mut text = b"#!/bin/sh\nwc -c\nexit 5\n".to_vec();
        text.extend(b"# a long comment without meaning\n".repeat(9000));
        let path = script(&folder, "long", &text);
        let data = noise(200_000, 21);
        run_with(
            &mut sandbox.bowline(&["script", "-i", "web", &path]),
            data,
            LATER,
        )
        .code(5)
        .stdout("200000\n");
        run(&mut sandbox.bowline(&["script", "web", &path]))
            .code(5)
            .stdout("0\n");
    }
    nothing_is_left();
}

#[test]
fn events_that_nobody_reads_are_no_success() {
    let sandbox = Shared::get();
    let folder = TempDir::new().unwrap();
    let sh = script(&folder, "fails.sh", b"exit 7\n");
    run_unread(&mut sandbox.bowline(&["script", "-o", "json", "web", &sh])).code(141);
}
