//! A directory with all that a copy has to keep, and whether another is the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// Bytes that no compression shortens, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut number = 0_u64;
    while bytes.len() < length {
        let block = [seed.to_le_bytes(), number.to_le_bytes()].concat();
        bytes.extend_from_slice(&Sha256::digest(block));
        number += 1;
    }
    bytes.truncate(length);
    bytes
}

/// Fills a directory: empty and small and larger files, odd names, links, modes, times.
pub(crate) fn fill(root: &Path) {
    fs::create_dir_all(root.join("sub/deep er")).unwrap();
    let long = "n".repeat(200);
    for (name, content) in [
        ("empty", Vec::new()),
        ("one", b"1".to_vec()),
        ("a b  c", b"spaces".to_vec()),
        ("new\nline", b"newline".to_vec()),
        ("日本語.txt", "日本".into()),
        ("$(id >&2) `x` ; '\"\\ *", b"shell".to_vec()),
        ("-rf", b"dash".to_vec()),
        (long.as_str(), b"long".to_vec()),
        ("sub/text", b"the same line again\n".repeat(20_000)),
        ("sub/noise", noise(300_001, 1)),
        ("sub/zeros", vec![0; 500_000]),
        ("sub/deep er/x", (0..=255).collect()),
    ] {
        fs::write(root.join(name), content).unwrap();
    }
    symlink("../one", root.join("sub/link")).unwrap();
    symlink("nowhere\n", root.join("dangling")).unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("one", 0o755);
    mode("sub/noise", 0o640);
    mode("sub/deep er", 0o750);
    let old = UNIX_EPOCH + Duration::from_secs(981_173_106);
    let file = fs::File::options()
        .write(true)
        .open(root.join("sub/text"))
        .unwrap();
    file.set_modified(old).unwrap();
}

/// What there is below a directory: kind, mode, content or target, and of files the time.
pub(crate) fn read(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let about = fs::symlink_metadata(&path).unwrap();
        let mode = about.mode() & 0o777;
        let text = if about.is_symlink() {
            format!("link {:?}", fs::read_link(&path).unwrap())
        } else if about.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            format!("directory {mode:o}")
        } else {
            let digest = Sha256::digest(fs::read(&path).unwrap());
            format!("file {mode:o} {} {}", about.mtime(), hex::encode(digest))
        };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), text);
    }
    found
}

/// Fails with the first difference.
#[track_caller]
pub(crate) fn assert_same(one: &Path, two: &Path) {
    let (one, two) = (read(one), read(two));
    for (path, what) in &one {
        assert_eq!(Some(what), two.get(path), "{}", path.display());
    }
    for path in two.keys() {
        assert!(one.contains_key(path), "{} is too much", path.display());
    }
}

/// No parts are left anywhere below.
#[track_caller]
pub(crate) fn assert_no_parts(root: &Path) {
    for path in read(root).keys() {
        assert!(
            !path.to_string_lossy().contains("bowline-part"),
            "{}",
            path.display()
        );
    }
}
