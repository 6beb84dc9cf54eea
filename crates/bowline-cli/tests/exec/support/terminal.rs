//! A program on a real terminal, driven as a user would.

use std::io::{Read as _, Write as _};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use super::{BOWLINE, SOON, Sandbox, wait_for};

/// A program on a terminal of its own, killed when dropped.
pub(crate) struct Terminal {
    pty: std::sync::Arc<Pty>,
    child: Child,
    output: Receiver<Vec<u8>>,
    screen: Vec<u8>,
    /// From which byte on it has had which size.
    sizes: Vec<(usize, (u16, u16))>,
}

impl Terminal {
    pub(crate) fn start(sandbox: &Sandbox, program: &str, words: &[&str]) -> Self {
        Self::start_sized(sandbox, program, words, (33, 101))
    }

    /// The same with so many rows and columns.
    pub(crate) fn start_sized(
        sandbox: &Sandbox,
        program: &str,
        words: &[&str],
        size: (u16, u16),
    ) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(size.0, size.1)).unwrap();
        let child = Command::new(program)
            .args(words)
            .env_clear()
            .envs(sandbox.environment())
            .env("TERM", "xterm-256color")
            .spawn(pts)
            .unwrap();
        let pty = std::sync::Arc::new(pty);
        let (sender, output) = sync_channel(1024);
        let reading = std::sync::Arc::clone(&pty);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The terminal answers with an error once its last user is gone.
            while let Ok(count @ 1..) = (&*reading).read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            pty,
            child,
            output,
            screen: Vec::new(),
            sizes: vec![(0, size)],
        }
    }

    pub(crate) fn bowline(sandbox: &Sandbox, words: &[&str]) -> Self {
        Self::start(sandbox, BOWLINE, words)
    }

    /// Gives the window this many rows and columns.
    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        self.sizes.push((self.screen.len(), (rows, columns)));
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    /// The lines of the screen as a terminal would show them now.
    pub(crate) fn picture(&self) -> Vec<String> {
        let ends = self.sizes[1..].iter().map(|(from, _)| *from);
        let ends = ends.chain([self.screen.len()]);
        let mut screen = avt::Terminal::new(1, 1).unwrap();
        for ((from, (rows, columns)), end) in self.sizes.iter().zip(ends) {
            screen.resize(usize::from(*columns), usize::from(*rows));
            let text = String::from_utf8_lossy(&self.screen[*from..end]);
            screen.feed(&*text);
        }
        let lines = screen.screen().visible_lines();
        lines
            .map(|line| line.text().trim_end().to_owned())
            .collect()
    }

    /// Reads until some line of the screen is as it should be.
    #[track_caller]
    pub(crate) fn until_line(&mut self, what: &str, check: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        loop {
            let picture = self.picture();
            if picture.iter().any(|line| check(line)) {
                return picture;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.screen.extend(bytes),
                Err(error) => panic!("no {what:?}: {error}; shown:\n{}", picture.join("\n")),
            }
        }
    }

    /// Reads until some line of the screen begins like this.
    #[track_caller]
    pub(crate) fn until_begins(&mut self, text: &str) -> Vec<String> {
        self.until_line(text, |line| line.starts_with(text))
    }

    /// Reads until some line of the screen has this in it.
    #[track_caller]
    pub(crate) fn until_shown(&mut self, text: &str) -> Vec<String> {
        self.until_line(text, |line| line.contains(text))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn press(&self, keys: &[u8]) {
        (&*self.pty).write_all(keys).unwrap();
    }

    /// Reads until this text is on the terminal.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) {
        self.until_nth(text, 1);
    }

    /// Reads until this text was shown so many times.
    #[track_caller]
    pub(crate) fn until_nth(&mut self, text: &str, times: usize) {
        let deadline = Instant::now() + SOON;
        while self.text().matches(text).count() < times {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.screen.extend(bytes),
                Err(error) => panic!("no {text:?}: {error}; the terminal shows {:?}", self.text()),
            }
        }
    }

    /// Whether this text is on the terminal, now or within a time.
    pub(crate) fn shows(&mut self, text: &str, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while !self.text().contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.screen.extend(bytes),
                Err(_) => return false,
            }
        }
        true
    }

    /// Waits for the program's end and returns its status and all it showed.
    #[track_caller]
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + SOON;
        while let Ok(bytes) = self
            .output
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.screen.extend(bytes);
        }
        let status = wait_for(&format!("the end; shown {:?}", self.text()), SOON, || {
            self.child.try_wait().unwrap()
        });
        (status, self.text())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
