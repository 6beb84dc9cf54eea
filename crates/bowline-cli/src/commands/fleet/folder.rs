//! Output as files: one for each target and stream.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bowline::fleet::{FleetEvent, FleetTarget, Problem, Stream};
use sha2::{Digest, Sha256};

use super::summary::Summary;
use super::{failed, json};
use crate::error::CommandError;

/// A longer name is cut: 255 bytes are usual, and an ending comes behind it.
const LONGEST: usize = 200;

/// The folder, and the files of the targets that run.
pub(super) struct Folder {
    path: PathBuf,
    /// Names of files that are taken, and by whom.
    names: HashMap<String, usize>,
    open: HashMap<usize, [File; 2]>,
    ends: Option<File>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(path);
        made.map_err(|error| failed::unwritten(path, &error))?;
        let file = private(&path.join("ended.ndjson"))?;
        Ok(Self {
            path: path.to_owned(),
            names: HashMap::new(),
            open: HashMap::new(),
            ends: Some(file),
        })
    }

    pub(super) fn event(
        &mut self,
        event: FleetEvent,
        targets: &[FleetTarget],
    ) -> Result<(), CommandError> {
        match event {
            FleetEvent::Starting { target, .. } => {
                let name = self.name(target, &targets[target].label);
                let file = |stream: &str| private(&self.path.join(format!("{name}.{stream}")));
                let files = [file("stdout")?, file("stderr")?];
                self.open.insert(target, files);
                Ok(())
            }
            FleetEvent::Output {
                target,
                stream,
                bytes,
            } => {
                let Some(files) = self.open.get_mut(&target) else {
                    return Ok(());
                };
                let file = &mut files[usize::from(stream == Stream::Stderr)];
                file.write_all(&bytes)
                    .map_err(|error| failed::unwritten(&self.path, &error))
            }
            FleetEvent::Ended {
                target,
                outcome,
                elapsed,
            } => {
                self.open.remove(&target);
                let line = json::ended(&targets[target], &outcome, elapsed);
                let written = self.ends.as_mut().map(|file| writeln!(file, "{line}"));
                written
                    .unwrap_or(Ok(()))
                    .map_err(|error| failed::unwritten(&self.path, &error))
            }
            _ => Ok(()),
        }
    }

    /// A name of its own for each target: labels that differ may look alike as names.
    fn name(&mut self, target: usize, label: &str) -> String {
        let name = file_name(label);
        let owner = *self.names.entry(name.clone()).or_insert(target);
        match owner == target {
            true => name,
            false => marked(&name, label),
        }
    }

    /// What failed, as --retry-failed takes it.
    pub(super) fn finish(
        &mut self,
        targets: &[FleetTarget],
        problems: &[Problem],
        summary: &Summary,
    ) -> Result<(), CommandError> {
        self.open.clear();
        self.ends = None;
        let path = self.path.join("failed.ndjson");
        let text = failed::text(targets, problems, summary)?;
        let written = private(&path)?.write_all(text.as_bytes());
        written.map_err(|error| failed::unwritten(&path, &error))
    }
}

/// An empty file for its owner only: output may hold anything.
fn private(path: &Path) -> Result<File, CommandError> {
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|file| {
            // It may have been there, with another mode.
            file.set_permissions(Permissions::from_mode(0o600))?;
            Ok(file)
        });
    opened.map_err(|error| failed::unwritten(path, &error))
}

/// A label as one name: nothing in it leads elsewhere, and no file system refuses its length.
fn file_name(label: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = label.trim_start_matches('.').chars().map(plain).collect();
    match name.len() > LONGEST {
        true => marked(&name, label),
        false => name,
    }
}

/// A name with a mark that goes by the label.
fn marked(name: &str, label: &str) -> String {
    let digest: String = Sha256::digest(label)[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let short: String = name.chars().take(LONGEST).collect();
    format!("{short}-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stay_in_the_folder() {
        assert_eq!(
            file_name("acc:eu-west-1:demo/web/3f2a"),
            "acc_eu-west-1_demo_web_3f2a"
        );
        assert_eq!(file_name("../../x y"), "_.._x_y");
        let long = "cluster/".repeat(60);
        let (one, other) = (
            file_name(&format!("{long}1")),
            file_name(&format!("{long}2")),
        );
        assert!(one != other && one.len() < 240, "{one}");
    }
}
