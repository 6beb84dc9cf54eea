//! Containers that lie about their files: nothing is written but below the destination, and what is refused is named
//! so that no terminal is fooled.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::support::{Sandbox, run};

/// A sandbox whose containers have a `find` that prints a file.
fn liar(folder: &TempDir) -> Sandbox {
    let root = folder.path().to_str().unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    let find = folder.path().join("bin/find");
    fs::write(&find, format!("#!/bin/sh\ncat {root}/listing\n")).unwrap();
    fs::set_permissions(&find, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    let world = format!(
        "families:\n  - name: web\n    containers:\n      - name: app\n        image: web\n        \
         command: [sleep, '3600']\n        environment: {{ PATH: '{root}/bin:/usr/bin:/bin' }}\n\
         clusters:\n  - name: demo\n    services:\n      - {{ name: web, family: web, desired: 1, exec: true }}\n"
    );
    let file = folder.path().join("world.yaml");
    fs::write(&file, world).unwrap();
    Sandbox::start(&["--world", file.to_str().unwrap()])
}

/// An entry: attributes, name, target of a link.
type Entry<'a> = (&'a str, &'a str, Option<&'a str>);

const FOLDER: &str = "41ed 0 0";
const FILE: &str = "81a4 5 0";
const LINK: &str = "a1ff 1 0";
/// Of `hello`.
const DIGEST: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// What the liar prints for a source with these entries below it.
fn listing(source: &str, entries: &[Entry<'_>]) -> Vec<u8> {
    let all: Vec<Entry<'_>> = [(FOLDER, "", None)]
        .iter()
        .chain(entries)
        .copied()
        .collect();
    let path = |name: &str| match name {
        "" => format!("{source}\0"),
        name if name.starts_with('/') => format!("{name}\0"),
        name => format!("{source}/{name}\0"),
    };
    let files = all
        .iter()
        .filter(|(attributes, _, _)| attributes.starts_with('8'));
    let head = [format!("B {}\n", all.len())].into_iter();
    let attributes = all
        .iter()
        .map(|(attributes, _, _)| format!("{attributes}\n"));
    let names = all.iter().map(|(_, name, _)| path(name));
    let targets = all.iter().filter_map(|(_, _, target)| *target);
    let targets = targets.map(|target| format!("{target}\n\0"));
    let digests = files.map(|_| format!("{DIGEST}  x\n"));
    let all = head.chain(attributes).chain(names).chain(targets);
    all.chain(digests).collect::<String>().into_bytes()
}

#[test]
fn every_known_attack_is_refused_before_anything_is_written() {
    let folder = TempDir::new().unwrap();
    let sandbox = liar(&folder);
    let at = |name: &str| folder.path().join(name);
    let source = at("src").to_str().unwrap().to_owned();
    let target = at("out").to_str().unwrap().to_owned();
    let huge = "81a4 9000000000000000 0";
    for (entries, said) in [
        (
            vec![(FILE, "/etc/pwned", None)],
            "not below what was asked for",
        ),
        (vec![(FILE, "../pwned", None)], "\"..\""),
        (vec![(FILE, "a/../../pwned", None)], "\"..\""),
        (
            vec![(LINK, "l", Some("/etc"))],
            "leads out of the copy, to /etc",
        ),
        (vec![(LINK, "l", Some("../.."))], "leads out of the copy"),
        (
            vec![(LINK, "l", Some("x/../../.."))],
            "leads out of the copy",
        ),
        (
            vec![
                (LINK, "l", Some("d")),
                (FOLDER, "d", None),
                (FILE, "l/x", None),
            ],
            "written through",
        ),
        (
            vec![(FILE, "f", None), (FILE, "f/x", None)],
            "written through",
        ),
        (vec![("61b0 0 0", "disk", None)], "it is a device"),
        (vec![("21b0 0 0", "null", None)], "it is a device"),
        (vec![("11b0 0 0", "pipe", None)], "it is a pipe"),
        (
            vec![(FILE, "README", None), (FILE, "readme", None)],
            "upper and lower case",
        ),
        (
            vec![(FILE, "same", None), (FILE, "same", None)],
            "comes twice",
        ),
        (
            vec![(FILE, "a\u{1b}[2Jb", None)],
            "a\\u{1b}[2Jb\": its name has control characters",
        ),
        (vec![(FILE, "a\u{202e}\u{7}", None)], "\\u{202e}\\u{7}"),
        (vec![(huge, "sparse", None)], "there is room for"),
    ] {
        fs::write(at("listing"), listing(&source, &entries)).unwrap();
        let finished = run(&mut sandbox.bowline(&["cp", &format!("web:{source}"), &target]))
            .code(1)
            .stderr_has(said);
        assert!(!finished.stderr.contains('\u{1b}') && !finished.stderr.contains('\u{202e}'));
        assert!(!at("out").exists(), "{said}: something was written");
        assert!(!at("pwned").exists());
    }
    for broken in [
        &b""[..],
        b"B 99\n",
        b"B 1\n81a4 5 0\nx",
        b"R \0\0R",
        b"E 0\n",
        b"\xff\xfe\n",
    ] {
        fs::write(at("listing"), broken).unwrap();
        let finished =
            run(&mut sandbox.bowline(&["cp", &format!("web:{source}"), &target])).code(1);
        assert!(
            finished.stderr.starts_with("error: ") || finished.stderr.contains("\nerror: "),
            "{}",
            finished.stderr
        );
        assert!(!at("out").exists());
    }
}

#[test]
fn the_rest_is_copied_where_that_is_asked_for_and_lies_about_content_are_found() {
    let folder = TempDir::new().unwrap();
    let sandbox = liar(&folder);
    let at = |name: &str| folder.path().join(name);
    let source = at("src").to_str().unwrap().to_owned();
    let target = at("out").to_str().unwrap().to_owned();
    fs::write(at("src/good"), "hello").unwrap();
    fs::write(at("src/bad"), "HELLO").unwrap();
    let entries = [(FILE, "good", None), (LINK, "l", Some("/etc/passwd"))];
    fs::write(at("listing"), listing(&source, &entries)).unwrap();
    let words = ["cp", "--skip-refused", &format!("web:{source}"), &target];
    run(&mut sandbox.bowline(&words))
        .code(1)
        .stderr_has("left out")
        .stderr_has("copied 1 file");
    assert_eq!(fs::read(at("out/good")).unwrap(), b"hello");
    assert!(at("out/l").symlink_metadata().is_err());
    // A link that was here before is not written through.
    fs::create_dir(at("elsewhere")).unwrap();
    fs::remove_dir_all(at("out")).unwrap();
    fs::create_dir(at("out")).unwrap();
    std::os::unix::fs::symlink(at("elsewhere"), at("out/d")).unwrap();
    fs::create_dir(at("src/d")).unwrap();
    fs::write(at("src/d/x"), "hello").unwrap();
    let entries = [(FOLDER, "d", None), (FILE, "d/x", None)];
    let contents = format!("{source}/.");
    fs::write(at("listing"), listing(&contents, &entries)).unwrap();
    run(&mut sandbox.bowline(&["cp", &format!("web:{contents}"), &target]))
        .code(1)
        .stderr_has("here");
    assert_eq!(fs::read_dir(at("elsewhere")).unwrap().count(), 0);
}
