//! The reference programs on the same sandbox, where they are installed.

use std::path::PathBuf;

use anyhow::{Context, bail};

use super::figures::Figure;
use super::measure::{Bench, MB, SERVICE, find, letters, milliseconds, rate};
use super::process::Usage;
use super::raw;
use super::terminal::Terminal;

const PROGRAMS: [&str; 2] = ["aws", "session-manager-plugin"];
const OUT: usize = 20 * MB;

impl Bench<'_> {
    /// AWS CLI with its plugin beside `exec -t`, both on a terminal: the plugin needs one.
    pub(super) fn reference(&self) -> anyhow::Result<Vec<Figure>> {
        for name in PROGRAMS {
            if on_path(name).is_none() {
                println!("reference: not measured, {name} is not on PATH");
                return Ok(Vec::new());
            }
        }
        let options = self.options()?;
        let ((_, found), _) = raw::measured(async || find(options).await)?;
        let program = self.program.to_string_lossy();
        let mut reference = vec!["aws", "ecs", "execute-command", "--interactive"];
        reference.extend(["--cluster", &found.cluster.name, "--task", &found.task.id]);
        reference.extend(["--container", &found.container, "--command"]);
        let large = letters(OUT);
        let quoted = format!("sh -c '{large}'");
        let ours = [&program, "exec", "-t", SERVICE, "--"];

        let [mut short, mut our_short, mut long, mut our_long] = [const { Vec::new() }; 4];
        for _ in 0..self.transfers {
            let wall = |usage: Usage| milliseconds(usage.wall);
            short.push(wall(self.shown(&reference, &["true"], 0)?));
            our_short.push(wall(self.shown(&ours, &["true"], 0)?));
            let speed = |usage: Usage| rate(usage.wall, OUT);
            long.push(speed(self.shown(&reference, &[&quoted], OUT)?));
            our_long.push(speed(self.shown(&ours, &["sh", "-c", &large], OUT)?));
        }
        Ok(vec![
            Figure::new("aws + plugin, true", "ms", short).beside("exec -t", our_short),
            Figure::new("aws + plugin, 20 MB out", "MB/s", long).beside("exec -t", our_long),
        ])
    }

    /// Runs it on a terminal and expects at least so many bytes: the reference shows texts of its own.
    fn shown(&self, program: &[&str], command: &[&str], bytes: usize) -> anyhow::Result<Usage> {
        let words = [program, command].concat();
        let (usage, received) = Terminal::start(&words, &self.sandbox.environment)?
            .finish()
            .with_context(|| words.join(" "))?;
        if received < bytes {
            bail!("{received} of {bytes} bytes came");
        }
        Ok(usage)
    }
}

pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
