//! The binary under test as a process: its sandbox, its runs, its time and memory.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Linux counts the times in `/proc/PID/stat` in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// Longer than any single run takes on a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// The binary, and where it is pointed to.
#[derive(Clone, Debug)]
pub(crate) struct Bowline {
    program: PathBuf,
    environment: Vec<(String, String)>,
}

/// A sandbox of our own. It ends with this: it sees the end of its stdin.
#[derive(Debug)]
pub(crate) struct SandboxProcess {
    child: Child,
    lifeline: Option<ChildStdin>,
    pub(crate) environment: Vec<(String, String)>,
}

/// What a run needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    /// Of all threads, user and system; to 10 ms.
    pub(crate) cpu: Duration,
}

impl SandboxProcess {
    /// Starts `bowline sandbox` with agents that start after `delay`, and waits until it serves.
    pub(super) fn start(program: &Path, agent: &str, delay: &str) -> anyhow::Result<Self> {
        Self::start_with(program, agent, delay, &[])
    }

    /// The same with more options.
    pub(crate) fn start_with(
        program: &Path,
        agent: &str,
        delay: &str,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let mut child = clean(program)
            .args(["sandbox", "--private", "--port", "0"])
            .args(["--agent", agent, "--agent-start-delay", delay])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let lifeline = child.stdin.take();
        let stdout = child.stdout.take().context("the sandbox has no output")?;
        let mut environment = Vec::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.context("the sandbox's output cannot be read")?;
            let Some((name, value)) = line
                .strip_prefix("export ")
                .and_then(|line| line.split_once('='))
            else {
                break;
            };
            environment.push((name.to_owned(), value.trim_matches('\'').to_owned()));
        }
        let sandbox = Self {
            child,
            lifeline,
            environment,
        };
        sandbox.value("AWS_ENDPOINT_URL")?;
        Ok(sandbox)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// One of the variables that lead to it.
    pub(crate) fn value(&self, name: &str) -> anyhow::Result<String> {
        let found = self.environment.iter().find(|(other, _)| other == name);
        let (_, value) = found.with_context(|| format!("the sandbox names no {name}"))?;
        Ok(value.clone())
    }

    /// One JSON call past bowline, to a sandbox that was started with `--accept-any-credentials`.
    pub(crate) fn control(&self, target: &str, body: &str) -> anyhow::Result<serde_json::Value> {
        let endpoint = self.value("AWS_ENDPOINT_URL")?;
        let address = endpoint.strip_prefix("http://").context("not http")?;
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\n\
             x-amz-target: {target}\r\nx-amz-date: 20260101T000000Z\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/ecs/aws4_request, SignedHeaders=host, \
             Signature=00\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").context("no body")?.1;
        Ok(serde_json::from_str(body)?)
    }
}

impl Drop for SandboxProcess {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        // Its containers notice by themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bowline {
    /// The binary, with `environment` and nothing else that could lead it elsewhere.
    pub(crate) fn new(program: &Path, environment: &[(String, String)]) -> Self {
        Self {
            program: program.to_owned(),
            environment: environment.to_vec(),
        }
    }

    /// Runs it with nothing to read, its output thrown away by the kernel.
    pub(crate) fn discard(&self, arguments: &[&str]) -> anyhow::Result<Usage> {
        let begun = Instant::now();
        let child = self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let usage = Running::new(child).finish(begun);
        usage.with_context(|| format!("bowline {}", arguments.join(" ")))
    }

    /// Runs it with `input` bytes on its stdin (none: the null device) and expects `output` bytes on its stdout, read
    /// as fast as they come.
    pub(super) fn transfer(
        &self,
        arguments: &[&str],
        input: usize,
        output: usize,
    ) -> anyhow::Result<Usage> {
        let begun = Instant::now();
        let mut child = self
            .command(arguments)
            .stdin(if input > 0 {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let mut stdout = child.stdout.take().context("no stdout")?;
        let running = Running::new(child);
        let received = thread::scope(|scope| {
            if let Some(stdin) = stdin {
                scope.spawn(move || feed(stdin, input));
            }
            let mut buffer = vec![0; 1 << 16];
            let mut received = 0;
            loop {
                match stdout.read(&mut buffer) {
                    Ok(0) => return Ok(received),
                    Ok(length) => received += length,
                    Err(error) => return Err(error),
                }
            }
        })?;
        let usage = running
            .finish(begun)
            .with_context(|| format!("bowline {}", arguments.join(" ")))?;
        if received != output {
            bail!("{received} of {output} bytes came back");
        }
        Ok(usage)
    }

    /// Runs it with a reader that takes 4 KB every millisecond for `slow`, then all there is. The peak memory in MB
    /// at each of the `marks`, which are numbers of bytes read.
    pub(super) fn peaks(
        &self,
        arguments: &[&str],
        slow: Duration,
        marks: &[usize],
    ) -> anyhow::Result<Vec<f64>> {
        let begun = Instant::now();
        let mut child = self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = child.stdout.take().context("no stdout")?;
        let running = Running::new(child);
        let mut buffer = vec![0; 1 << 16];
        let (mut received, mut peaks) = (0, Vec::new());
        while peaks.len() < marks.len() {
            let slowly = begun.elapsed() < slow;
            if slowly {
                thread::sleep(Duration::from_millis(1));
            }
            let piece = if slowly { 4096 } else { 1 << 16 };
            // Taken before the read: once everything is read the process may be gone.
            let peak = running.peak_memory()?;
            let length = stdout.read(&mut buffer[..piece])?;
            received += length;
            if length == 0 {
                bail!("only {received} bytes came");
            }
            if marks.get(peaks.len()).is_some_and(|&mark| received >= mark) {
                peaks.push(peak);
            }
        }
        while stdout.read(&mut buffer)? > 0 {}
        running.finish(begun)?;
        Ok(peaks)
    }

    /// The binary with these arguments, its stderr thrown away.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clean(&self.program);
        command
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stderr(Stdio::null());
        command
    }
}

/// Without anything of the user's that changes where calls go or how long they take.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("AWS_") || text.starts_with("BOWLINE_") {
            command.env_remove(&name);
        }
    }
    command
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

/// Writes so many letters.
pub(super) fn feed(mut stdin: impl Write, mut bytes: usize) {
    let piece = vec![b'x'; 1 << 16];
    while bytes > 0 {
        let length = bytes.min(piece.len());
        // A command that does not read all of it shows in its exit code or its output.
        if stdin.write_all(&piece[..length]).is_err() {
            return;
        }
        bytes -= length;
    }
}

/// Killed when it is not finished, also when it takes too long.
pub(super) struct Running {
    child: Arc<Mutex<Child>>,
    id: u32,
    /// Its end calls the watch off.
    _watch: mpsc::Sender<()>,
}

impl Running {
    pub(super) fn new(child: Child) -> Self {
        let id = child.id();
        let child = Arc::new(Mutex::new(child));
        let (watch, over) = mpsc::channel();
        let watched = Arc::clone(&child);
        thread::spawn(move || {
            if over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // What was read from it ends then, and its exit status tells.
                let _ = lock(&watched).kill();
            }
        });
        Self {
            child,
            id,
            _watch: watch,
        }
    }

    /// Waits for the end. The times are read between the end and the burial: then they are complete.
    pub(super) fn finish(self, begun: Instant) -> anyhow::Result<Usage> {
        self.finish_with(begun, 0)
    }

    /// The same for one that ends with this exit code.
    pub(super) fn finish_with(self, begun: Instant, code: i32) -> anyhow::Result<Usage> {
        let place = format!("/proc/{}/stat", self.id);
        let usage = loop {
            let stat = fs::read_to_string(&place)?;
            // The second field is the name, in parentheses, and may contain anything.
            let fields: Vec<&str> = stat
                .rsplit_once(')')
                .map(|(_, rest)| rest.split_ascii_whitespace().collect())
                .unwrap_or_default();
            if fields.first() == Some(&"Z") {
                let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
                let (user, system) = ticks(11).zip(ticks(12)).context("no times in stat")?;
                break Usage {
                    wall: begun.elapsed(),
                    cpu: TICK * (user + system),
                };
            }
            thread::sleep(Duration::from_micros(200));
        };
        let status = lock(&self.child).wait()?;
        if status.code() != Some(code) {
            bail!("ended with {status}");
        }
        Ok(usage)
    }

    /// The process's number.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// The most memory it ever had, in MB.
    pub(super) fn peak_memory(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok())
            .context("the process has no memory any more")?;
        Ok(kilobytes / 1000.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail after the end, which is then as it should be.
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
