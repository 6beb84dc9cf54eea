//! Output as files: one for each target and stream.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bowline::fleet::{FleetEvent, FleetTarget, Stream};

use super::summary::Summary;
use super::{failed, json};
use crate::error::CommandError;

/// The folder, and the files of the targets that run.
pub(super) struct Folder {
    path: PathBuf,
    open: HashMap<usize, [File; 2]>,
    ends: Option<File>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        fs::create_dir_all(path).map_err(|error| failed::unwritten(path, &error))?;
        let ends = path.join("ended.ndjson");
        let file = File::create(&ends).map_err(|error| failed::unwritten(&ends, &error))?;
        Ok(Self {
            path: path.to_owned(),
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
                let name = file_name(&targets[target].label);
                let file = |stream: &str| {
                    let path = self.path.join(format!("{name}.{stream}"));
                    File::create(&path).map_err(|error| failed::unwritten(&path, &error))
                };
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

    /// What failed, as --retry-failed takes it.
    pub(super) fn finish(
        &mut self,
        targets: &[FleetTarget],
        summary: &Summary,
    ) -> Result<(), CommandError> {
        self.open.clear();
        self.ends = None;
        let file = self.path.join("failed.ndjson");
        let text = failed::text(targets, summary)?;
        fs::write(&file, text).map_err(|error| failed::unwritten(&file, &error))
    }
}

/// A label as one name: nothing in it leads elsewhere.
fn file_name(label: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    label.trim_start_matches('.').chars().map(plain).collect()
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
    }
}
