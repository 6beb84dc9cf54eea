//! Sessions on a terminal: `Standard_Stream` and `InteractiveCommands`. Without encryption they have no handshake,
//! and no exit code ever.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use bowline_proto::{Event, PayloadType, SessionType};

use super::handshake::Handshake;
use super::line::{Line, Turn};
use super::{AgentOptions, FromService, Job, start_failure};
use crate::logs::LogStream;
use crate::sessions::SessionKind;
use crate::terminal::{Exchange, Terminal};
use crate::utf8::Utf8Filter;

/// The stock agent sleeps after each chunk of output.
const STOCK_PAUSE: Duration = Duration::from_millis(1);
/// Input waiting for the terminal at most; beyond it input is not acknowledged and comes again.
const INPUT_LIMIT: usize = 256 * 1024;

/// Serves one session to its end.
pub(super) async fn serve(
    job: &Job,
    words: Result<Vec<String>, String>,
    options: AgentOptions,
    service: mpsc::Receiver<FromService>,
    cancel: CancellationToken,
) -> String {
    let kind = match job.kind {
        SessionKind::Shell => SessionType::StandardStream,
        _ => SessionType::InteractiveCommands,
    };
    let (handshake, request) = Handshake::new(job, &kind, &options);
    let mut line = Line::new(&job.session_id, &options, request, service);
    if let Some(handshake) = handshake
        && let Err(reason) = handshake.shake(&mut line, &cancel).await
    {
        return reason;
    }
    let started = match words {
        Ok(words) => Terminal::start(&words, &job.place).await,
        Err(reason) => Err(reason),
    };
    match started {
        Ok(terminal) => {
            let log = match &job.log {
                Some(log) => Some(LogStream::open(log, &job.session_id).await),
                None => None,
            };
            let agent = Agent {
                ready_at: Some(Instant::now() + options.ready_delay)
                    .filter(|_| !options.ready_delay.is_zero()),
                line,
                next_read: Instant::now() + options.start_delay,
                options,
                terminal,
                log,
                filter: Utf8Filter::default(),
                input: BytesMut::new(),
                output: BytesMut::new(),
                ended: false,
            };
            agent.run(&cancel).await
        }
        Err(reason) => {
            // The real agent waits twice as long after a failed start as before its first read.
            tokio::select! {
                () = tokio::time::sleep(options.start_delay * 2) => {}
                () = cancel.cancelled() => return String::new(),
            }
            start_failure(&reason)
        }
    }
}

struct Agent {
    options: AgentOptions,
    line: Line,
    terminal: Terminal,
    log: Option<LogStream>,
    filter: Utf8Filter,
    /// From the client, not yet taken by the terminal.
    input: BytesMut,
    /// From the terminal, not yet taken by the session.
    output: BytesMut,
    /// No read of the terminal before this moment.
    next_read: Instant,
    ended: bool,
    /// No input is taken before this moment.
    ready_at: Option<Instant>,
}

/// What happened first.
enum Step {
    Line(Turn),
    Terminal(Exchange),
}

impl Agent {
    async fn run(mut self, cancel: &CancellationToken) -> String {
        loop {
            if self.ready_at.is_some_and(|at| at <= Instant::now()) {
                self.ready_at = None;
            }
            self.update_ready();
            self.pump_output();
            self.line.transmit();
            if self.handle_events() {
                break;
            }
            match self.step(cancel).await {
                Step::Line(Turn::Served) => {}
                Step::Line(Turn::Gone) => break,
                Step::Line(Turn::Cancelled) => {
                    self.terminal.kill();
                    break;
                }
                Step::Terminal(exchange) => self.exchanged(&exchange).await,
            }
        }
        self.terminal.reap();
        String::new()
    }

    async fn step(&mut self, cancel: &CancellationToken) -> Step {
        let readable = self.line.takes_output() && !self.ended && self.output.is_empty();
        let paced = Instant::now() < self.next_read;
        let read_at = (readable && paced).then_some(self.next_read);
        let wake = read_at.into_iter().chain(self.ready_at).min();
        let input = (!self.input.is_empty()).then_some(&self.input[..]);
        let (chunk, greedy) = (self.options.chunk(), !self.options.stock);
        let output = (readable && !paced).then_some((&mut self.output, chunk, greedy));
        // Both are cancel-safe, see there.
        tokio::select! {
            turn = self.line.turn(wake, cancel) => Step::Line(turn),
            exchange = self.terminal.exchange(input, output), if !self.ended => Step::Terminal(exchange),
        }
    }

    /// Input that is not taken is not acknowledged either, and comes again.
    fn update_ready(&mut self) {
        let ready = self.ready_at.is_none() && self.input.len() < INPUT_LIMIT;
        self.line.session.set_ready(ready);
    }

    async fn exchanged(&mut self, exchange: &Exchange) {
        match exchange {
            Exchange::Written(Ok(count)) => {
                self.input.advance(*count);
                self.update_ready();
            }
            // Nobody reads any more; the end of the output follows.
            Exchange::Written(Err(_)) => self.input.clear(),
            Exchange::Read(0) => {
                self.ended = true;
                self.terminal.reap();
            }
            Exchange::Read(_) => {
                if self.options.stock {
                    let passed = self.filter.pass(&self.output);
                    self.output = BytesMut::from(&passed[..]);
                    self.next_read = Instant::now() + STOCK_PAUSE;
                }
                if let Some(log) = &mut self.log {
                    log.append(&self.output).await;
                }
            }
        }
    }

    /// Moves output into the session, and ends the session when there is no more.
    fn pump_output(&mut self) {
        self.line.write(PayloadType::Output, &mut self.output);
        if self.ended && self.output.is_empty() {
            self.line.finish();
        }
    }

    /// True when the session is over.
    fn handle_events(&mut self) -> bool {
        while let Some(event) = self.line.session.poll_event() {
            match event {
                Event::Input(bytes) => {
                    self.input.extend_from_slice(&bytes);
                    self.update_ready();
                }
                Event::Size(size) => self.terminal.resize(size),
                Event::Finished => {
                    self.line.transmit();
                    return true;
                }
                Event::Closed { .. } => {
                    self.terminal.kill();
                    return true;
                }
                _ => {}
            }
        }
        false
    }
}
