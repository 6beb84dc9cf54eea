//! A run of a command: fed, watched line by line, and bound to end.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{SOON, signal};

/// A finished run.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Finished {
    /// Checks the exit code, showing what was said when it is another.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.status.code(), Some(expected), "{}", self.shown());
        self
    }

    /// Checks the whole of stdout.
    #[track_caller]
    pub(crate) fn stdout(self, expected: impl AsRef<[u8]>) -> Self {
        assert!(self.stdout == expected.as_ref(), "{}", self.shown());
        self
    }

    /// Checks that stderr mentions this.
    #[track_caller]
    pub(crate) fn stderr_has(self, expected: &str) -> Self {
        assert!(
            self.stderr.contains(expected),
            "no {expected:?} in stderr; {}",
            self.shown()
        );
        self
    }

    fn shown(&self) -> String {
        let end = self.stdout.len().min(2000);
        let mut text = format!("{} after {:?}\n", self.status, self.took);
        let head = String::from_utf8_lossy(&self.stdout[..end]);
        let _ = write!(
            text,
            "stdout ({} bytes): {head:?}\nstderr: {}",
            self.stdout.len(),
            self.stderr
        );
        text
    }
}

/// Runs to the end with no standard input.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Finished {
    Running::start(command.stdin(Stdio::null())).finish(SOON)
}

/// Runs to the end, feeding these bytes and then the end of input.
#[track_caller]
pub(crate) fn run_with(command: &mut Command, input: Vec<u8>, limit: Duration) -> Finished {
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    // A reader that leaves early is the business of the assertions on its result.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let finished = running.finish(limit);
    feeder.join().unwrap();
    finished
}

/// Runs to the end with no standard input, and with a stdout whose reader is gone.
#[track_caller]
pub(crate) fn run_unread(command: &mut Command) -> Finished {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdin(Stdio::null()).stdout(writer);
    Running::begin(command).finish(SOON)
}

/// A run in progress, killed when dropped.
pub(crate) struct Running {
    child: Child,
    started: Instant,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    lines: Option<Receiver<(Instant, Vec<u8>)>>,
    taken: Vec<u8>,
}

impl Running {
    /// Starts with both outputs collected.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut running = Self::spawn(command);
        let stdout = running.child.stdout.take().unwrap();
        running.stdout = Some(collect(stdout));
        running
    }

    /// Starts with stdout handed out line by line.
    #[track_caller]
    pub(crate) fn start_lines(command: &mut Command) -> Self {
        let mut running = Self::spawn(command);
        let mut stdout = BufReader::new(running.child.stdout.take().unwrap());
        let (sender, receiver) = sync_channel(1024);
        running.lines = Some(receiver);
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                match stdout.read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                // When the test is done reading, so is this thread: the pipe closes behind it.
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        running
    }

    #[track_caller]
    fn spawn(command: &mut Command) -> Self {
        Self::begin(command.stdout(Stdio::piped()))
    }

    #[track_caller]
    fn begin(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Some(collect(child.stderr.take().unwrap()));
        Self {
            child,
            started: Instant::now(),
            stdout: None,
            stderr,
            lines: None,
            taken: Vec::new(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    pub(crate) fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// The next line of stdout and when it came.
    #[track_caller]
    pub(crate) fn line(&mut self) -> (Instant, String) {
        let lines = self.lines.as_ref().unwrap();
        match lines.recv_timeout(SOON) {
            Ok((at, line)) => {
                self.taken.extend_from_slice(&line);
                (at, String::from_utf8(line).unwrap())
            }
            Err(RecvTimeoutError::Timeout) => panic!("no further line within {SOON:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.wait(SOON);
                let said = self.stderr.take().unwrap().join().unwrap();
                panic!(
                    "output ended early; {status}; {}",
                    String::from_utf8_lossy(&said)
                );
            }
        }
    }

    /// Closes our end of stdout, as `head -1` does.
    pub(crate) fn hang_up(&mut self) {
        self.lines = None;
    }

    /// Sends a signal by its number, through the shell's own kill.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the end and takes everything that is still to come.
    #[track_caller]
    pub(crate) fn finish(mut self, limit: Duration) -> Finished {
        self.close_stdin();
        let lines = self.lines.take();
        let rest = std::thread::spawn(move || {
            lines.map(|lines| lines.iter().flat_map(|(_, line)| line).collect::<Vec<u8>>())
        });
        let status = self.wait(limit);
        let took = self.started.elapsed();
        let mut stdout = std::mem::take(&mut self.taken);
        stdout.extend(rest.join().unwrap().unwrap_or_default());
        stdout.extend(
            self.stdout
                .take()
                .map(|reader| reader.join().unwrap())
                .unwrap_or_default(),
        );
        let stderr = self.stderr.take().unwrap().join().unwrap();
        Finished {
            status,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            took,
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end, leaving the output alone.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let said = self.stderr.take().map(|reader| reader.join().unwrap());
                let said = said.unwrap_or_default();
                panic!(
                    "still running after {limit:?}; stderr: {}",
                    String::from_utf8_lossy(&said)
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
