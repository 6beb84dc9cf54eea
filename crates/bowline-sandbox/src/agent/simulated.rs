//! The agent of a container that has no processes: it speaks the protocol as all do, and plays the shell itself.
//!
//! A client that wraps its commands is answered as the shell would: `sh -c SCRIPT NAME NONCE MODE argv…` with lines of
//! base64 that carry cksum's sums. That form is bowline's own; any other command runs bare. The programs are `echo`,
//! `hostname`, `lines N`, `sleep SECONDS`, `true`, `false` and `sh -c 'exit N'`.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use crc::{CRC_32_CKSUM, Crc};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use bowline_proto::{Event, PayloadType, SessionType};

use super::handshake::Handshake;
use super::line::{Line, Turn};
use super::{AgentOptions, FromService, Job, start_failure};
use crate::simulated::Fate;

const CKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_CKSUM);
/// Characters of base64 in a line, and lines in a chunk, as the shell's.
const LINE: usize = 900;
const CHUNK: usize = 61_440;
/// For the client's last word, after which the shell ends.
const FAREWELL: Duration = Duration::from_secs(300);
/// The most that `lines` prints.
const MOST_LINES: usize = 1_000_000;

/// Serves one session to its end.
pub(super) async fn serve(
    job: &Job,
    words: Result<Vec<String>, String>,
    fate: Fate,
    options: AgentOptions,
    service: mpsc::Receiver<FromService>,
    cancel: CancellationToken,
) -> String {
    let (handshake, request) = Handshake::new(job, &SessionType::InteractiveCommands, &options);
    let mut line = Line::new(&job.session_id, &options, request, service);
    if let Some(handshake) = handshake
        && let Err(reason) = handshake.shake(&mut line, &cancel).await
    {
        return reason;
    }
    let words = match words {
        Ok(words) => words,
        Err(reason) => return start_failure(&reason),
    };
    let host = job.place.variable("HOSTNAME").unwrap_or_default();
    let (wrapper, argv) = Wrapper::of(&words);
    let ran = run(argv, host, fate);
    let begin = Instant::now() + options.start_delay;
    let mut player = Player {
        line,
        // Small and whole: what a program prints is known before it runs.
        output: BytesMut::from(&wrapper.opening()[..]),
        steps: vec![(begin + ran.after, wrapper.closing(&ran))],
        speaks_at: begin,
        hangs: fate == Fate::Hangs,
        lasting: wrapper.waits(),
        said_all: false,
        leave_at: None,
    };
    player.play(&cancel).await;
    String::new()
}

/// What carries the command.
enum Wrapper<'a> {
    Framed { nonce: &'a str },
    Bare,
}

impl<'a> Wrapper<'a> {
    fn of(words: &'a [String]) -> (Self, &'a [String]) {
        match words {
            [sh, c, _script, _name, nonce, mode, argv @ ..]
                if sh == "sh" && c == "-c" && mode.starts_with('n') =>
            {
                (Self::Framed { nonce }, argv)
            }
            _ => (Self::Bare, words),
        }
    }

    fn waits(&self) -> bool {
        matches!(self, Self::Framed { .. })
    }

    /// The ready mark.
    fn opening(&self) -> Vec<u8> {
        match self {
            Self::Framed { nonce } => format!("\x1e{nonce}r64 1 64\n").into_bytes(),
            Self::Bare => Vec::new(),
        }
    }

    /// All that follows.
    fn closing(&self, ran: &Ran) -> Vec<u8> {
        let Self::Framed { nonce } = self else {
            return [&ran.stdout[..], &ran.stderr[..]].concat();
        };
        let mut text = String::new();
        frame(&mut text, nonce, 'o', &ran.stdout);
        frame(&mut text, nonce, 'e', &ran.stderr);
        let _ = write!(text, "\x1e{nonce}x{}\n\x1e{nonce}z\n", ran.code);
        text.into_bytes()
    }
}

/// One stream, in chunks of lines. Writing to a String cannot fail.
fn frame(text: &mut String, nonce: &str, tag: char, bytes: &[u8]) {
    let mut chunks = 0;
    for chunk in bytes.chunks(CHUNK) {
        chunks += 1;
        let encoded = STANDARD.encode(chunk);
        let mut lines = Vec::new();
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(LINE));
            let _ = writeln!(text, "\x1e{nonce}{tag}{line}");
            lines.push(line);
            rest = more;
        }
        let joined = lines.join("\n");
        let sum = cksum(joined.as_bytes());
        let _ = writeln!(text, "\x1e{nonce}{tag}={chunks} {sum} {}", joined.len());
    }
    let _ = writeln!(text, "\x1e{nonce}{tag}.{chunks}");
}

/// As `cksum(1)`: the length is part of it, low byte first, without leading zeros.
fn cksum(text: &[u8]) -> u32 {
    let mut digest = CKSUM.digest();
    digest.update(text);
    let bytes = text.len().to_le_bytes();
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    digest.update(&bytes[..used]);
    digest.finalize()
}

/// What a program does.
struct Ran {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    code: u8,
    after: Duration,
}

fn run(argv: &[String], host: &str, fate: Fate) -> Ran {
    let mut ran = Ran {
        stdout: Vec::new(),
        stderr: Vec::new(),
        code: 0,
        after: Duration::ZERO,
    };
    let number = |text: &String| text.parse::<f64>().ok().filter(|number| *number >= 0.0);
    match argv {
        [echo, words @ ..] if echo == "echo" => {
            ran.stdout = format!("{}\n", words.join(" ")).into_bytes();
        }
        [hostname] if hostname == "hostname" => ran.stdout = format!("{host}\n").into_bytes(),
        [lines, count] if lines == "lines" => {
            let count = count.parse().unwrap_or(0).min(MOST_LINES);
            let lines = (1..=count).map(|line| format!("line {line} of {count}\n"));
            ran.stdout = lines.collect::<String>().into_bytes();
        }
        [sleep, time] if sleep == "sleep" && number(time).is_some() => {
            let seconds = number(time).unwrap_or_default().min(86_400.0);
            ran.after = Duration::from_secs_f64(seconds);
        }
        [yes] if yes == "true" => {}
        [no] if no == "false" => ran.code = 1,
        [sh, c, exit] if sh == "sh" && c == "-c" && exit.starts_with("exit ") => {
            ran.code = exit[5..].trim().parse().unwrap_or(2);
        }
        _ => {
            let program = argv.first().map_or("", String::as_str);
            ran.stderr = format!("sh: {program}: not found\n").into_bytes();
            ran.code = 127;
        }
    }
    if fate == Fate::Fails {
        ran.stderr
            .extend_from_slice(b"this task fails on purpose\n");
        ran.code = 1;
    }
    ran
}

/// The agent's loop.
struct Player {
    line: Line,
    output: BytesMut,
    /// What is printed, and when.
    steps: Vec<(Instant, Vec<u8>)>,
    speaks_at: Instant,
    hangs: bool,
    /// It ends at the client's next word.
    lasting: bool,
    said_all: bool,
    leave_at: Option<Instant>,
}

impl Player {
    async fn play(&mut self, cancel: &CancellationToken) {
        loop {
            let wake = self.advance();
            self.line.transmit();
            if self.handle_events() {
                return;
            }
            if self.line.turn(wake, cancel).await != Turn::Served {
                return;
            }
        }
    }

    /// Does what is due, and says when there is more to do.
    fn advance(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if now < self.speaks_at || !self.line.takes_output() {
            return (now < self.speaks_at).then_some(self.speaks_at);
        }
        self.line.write(PayloadType::Output, &mut self.output);
        if !self.output.is_empty() {
            return None;
        }
        if let Some((at, _)) = self.steps.last().filter(|_| !self.hangs) {
            if *at > now {
                return Some(*at);
            }
            if let Some((_, bytes)) = self.steps.pop() {
                self.output.extend_from_slice(&bytes);
                self.line.write(PayloadType::Output, &mut self.output);
            }
        }
        if self.steps.is_empty() && self.output.is_empty() && !self.said_all {
            self.said_all = true;
            self.leave_at = Some(if self.lasting { now + FAREWELL } else { now });
        }
        if self.leave_at.is_some_and(|at| at <= now) {
            self.leave_at = None;
            self.line.finish();
        }
        self.leave_at
    }

    /// True when the session is over.
    fn handle_events(&mut self) -> bool {
        while let Some(event) = self.line.session.poll_event() {
            match event {
                // The client has all it wants.
                Event::Input(_) if self.said_all && self.leave_at.is_some() => {
                    self.leave_at = None;
                    self.line.finish();
                    self.line.transmit();
                }
                Event::Finished => {
                    self.line.transmit();
                    return true;
                }
                Event::Closed { .. } => return true,
                _ => {}
            }
        }
        false
    }
}
