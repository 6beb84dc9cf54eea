//! The program file itself: how large it is, and what it takes before it does anything.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::figures::Figure;
use super::measure::{Bench, milliseconds};
use super::process::Running;
use super::reference::on_path;

impl Bench<'_> {
    pub(super) fn binary(&self) -> anyhow::Result<Vec<Figure>> {
        let size = self.program.metadata()?.len();
        #[expect(clippy::cast_precision_loss, reason = "a size in MB")]
        let size = size as f64 / 1e6;
        let (mut version, mut list) = (Vec::new(), Vec::new());
        let (mut their_version, mut their_list) = (Vec::new(), Vec::new());
        // The first ones read the program from the disk.
        self.bowline.discard(&["--version"])?;
        self.bowline.discard(&["ls", "clusters"])?;
        for _ in 0..self.runs {
            version.push(milliseconds(self.bowline.discard(&["--version"])?.wall));
            let listed = self.bowline.discard(&["ls", "clusters"])?;
            list.push(milliseconds(listed.wall));
        }
        if on_path("aws").is_some() {
            for _ in 0..self.transfers {
                their_version.push(self.aws(&["--version"])?);
                their_list.push(self.aws(&["ecs", "list-clusters"])?);
            }
        }
        let beside = |figure: Figure, theirs: Vec<f64>| match theirs.is_empty() {
            true => figure,
            false => figure.beside("AWS CLI", theirs),
        };
        Ok(vec![
            Figure::new("size of the binary", "MB", vec![size]),
            beside(
                Figure::new("--version", "ms", version).aim("<= 10 ms", "366 ms"),
                their_version,
            ),
            beside(
                Figure::new("ls clusters, signed", "ms", list).aim("<= 20 ms", "459 ms"),
                their_list,
            ),
        ])
    }

    /// The milliseconds of a run of the AWS CLI on our sandbox.
    fn aws(&self, words: &[&str]) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let child = Command::new("aws")
            .args(words)
            .envs(
                self.sandbox
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(milliseconds(Running::new(child).finish(begun)?.wall))
    }
}
