//! `bowline plugin`: the link is made, found and removed, and nobody else's program is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::support::{BOWLINE, clean};

#[test]
fn the_link_comes_and_goes_and_another_program_stays() {
    let home = TempDir::new().unwrap();
    let own = home.path().join(".local/bin");
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    let real = other.join("session-manager-plugin");
    fs::write(&real, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |words: &[&str]| {
        let path = format!("{}:{}", own.display(), other.display());
        let output = clean(BOWLINE, home.path())
            .env("PATH", path)
            .arg("plugin")
            .args(words)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&home.path().display().to_string(), "~")
                .replace(BOWLINE, "BOWLINE")
        };
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };

    let (code, stdout, _) = run(&["status"]);
    assert_eq!(
        stdout,
        "~/other/session-manager-plugin\tanother program\tused\n"
    );
    assert_eq!(code, 4);
    for _ in 0..2 {
        let (code, stdout, stderr) = run(&["install"]);
        assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
        assert!(
            stderr.starts_with("~/.local/bin/session-manager-plugin is now "),
            "{stderr}"
        );
    }
    let (code, stdout, _) = run(&["status"]);
    assert_eq!(
        stdout,
        "~/.local/bin/session-manager-plugin\tbowline\tused\n~/other/session-manager-plugin\tanother program\tbehind it\n"
    );
    assert_eq!(code, 0);

    for verb in ["install", "uninstall"] {
        let (code, _, stderr) = run(&[verb, "--dir", &other.display().to_string()]);
        assert!(stderr.contains("it was left alone"), "{stderr}");
        assert_eq!(code, 1);
        assert_eq!(fs::read(&real).unwrap(), b"#!/bin/sh\n");
    }
    assert_eq!(run(&["uninstall"]).0, 0);
    assert!(!own.join("session-manager-plugin").exists());
    assert_eq!(run(&["uninstall"]).0, 1);
}
