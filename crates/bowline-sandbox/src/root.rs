//! The private folder of a sandbox, and what sandboxes that were killed left behind.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "bowline-sandbox-";

/// Makes the folder, for nobody else to read; its name carries the process that it belongs to.
pub(crate) fn make() -> io::Result<TempDir> {
    let parent = std::env::temp_dir();
    sweep(&parent);
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
}

/// Removes the folders of ours whose process is gone: it was killed and could not do so itself.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    let ours = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| {
            let (pid, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
            pid.parse::<u32>().ok()
        });
        let Some(owner) = owner else { continue };
        let is_ours = entry
            .metadata()
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == ours);
        if is_ours && !Path::new("/proc").join(owner.to_string()).exists() {
            // Somebody else may be sweeping too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_ended_processes_are_removed_and_others_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        // Process ids end far below this.
        let names = [
            format!("{PREFIX}4294967290-a"),
            format!("{PREFIX}{}-b", std::process::id()),
            "other-4294967290-c".to_owned(),
        ];
        for name in &names {
            fs::create_dir_all(parent.path().join(name).join("inside")).unwrap();
        }
        sweep(parent.path());
        let left: Vec<bool> = names
            .iter()
            .map(|name| parent.path().join(name).exists())
            .collect();
        assert_eq!(left, [false, true, true]);
    }

    #[test]
    fn the_folder_is_private() {
        let folder = make().unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
    }
}
