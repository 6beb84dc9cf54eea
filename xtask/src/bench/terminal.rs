//! A program on a terminal of its own.

use std::io::{ErrorKind, Read, Write};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, bail};
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use super::process::{Running, Usage};

/// What is on the terminal is read by the caller, the program is killed when it takes too long.
pub(super) struct Terminal {
    pty: Pty,
    running: Running,
    begun: Instant,
    buffer: Vec<u8>,
}

impl Terminal {
    /// Starts a program with `environment` and hardly anything else.
    pub(super) fn start(words: &[&str], environment: &[(String, String)]) -> anyhow::Result<Self> {
        let (program, arguments) = words.split_first().context("no program")?;
        let begun = Instant::now();
        let (pty, pts) = open()?;
        pty.resize(Size::new(24, 80))?;
        let mut command = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("TERM", "xterm-256color")
            .stderr(Stdio::null());
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command = command.env(name, value);
            }
        }
        let running = Running::new(command.spawn(pts)?);
        Ok(Self {
            pty,
            running,
            begun,
            buffer: vec![0; 1 << 16],
        })
    }

    /// Reads until this text is there.
    pub(super) fn until(&mut self, text: &str) -> anyhow::Result<()> {
        let mut shown = Vec::new();
        while !String::from_utf8_lossy(&shown).contains(text) {
            let length = self.read()?;
            if length == 0 {
                bail!("no {text:?} but {:?}", String::from_utf8_lossy(&shown));
            }
            shown.extend_from_slice(&self.buffer[..length]);
        }
        Ok(())
    }

    /// Presses a key and waits for what it brings.
    pub(super) fn press(&mut self, key: u8) -> anyhow::Result<()> {
        self.pty.write_all(&[key])?;
        if self.read()? != 1 || self.buffer[0] != key {
            bail!("something else came than the key that was pressed");
        }
        Ok(())
    }

    /// For keys by the thousand.
    pub(super) fn keyboard(&mut self) -> &mut impl Write {
        &mut self.pty
    }

    /// The program's peak memory in MB, as far as it has come.
    pub(super) fn peak_memory(&self) -> anyhow::Result<f64> {
        self.running.peak_memory()
    }

    /// Reads to the end: what it needed, and how many bytes came.
    pub(super) fn finish(mut self) -> anyhow::Result<(Usage, usize)> {
        let mut received = 0;
        loop {
            match self.read()? {
                0 => break,
                length => received += length,
            }
        }
        Ok((self.running.finish(self.begun)?, received))
    }

    /// None are left when the last user of the terminal is gone; Linux calls that an I/O error.
    fn read(&mut self) -> anyhow::Result<usize> {
        const EIO: i32 = 5;
        loop {
            match self.pty.read(&mut self.buffer) {
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(EIO) => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
