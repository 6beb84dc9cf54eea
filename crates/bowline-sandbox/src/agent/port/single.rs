//! One connection at a time: the payloads are its bytes, as with old agents and clients and in SSH sessions.

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use bowline_proto::{Event, Flag, PayloadType};

use super::connection::{self, FromTarget, PIECES};
use crate::agent::AgentOptions;
use crate::agent::line::{Line, Turn};
use crate::init::system_text;
use crate::reach::Reach;

/// Input that waits for the target; beyond it input is not acknowledged and comes again.
const INPUT: usize = 1 << 20;

/// Serves a session after its handshake. `again`: a connection that has ended is followed by another one.
pub(super) async fn serve(
    line: Line,
    reach: Reach,
    again: bool,
    options: &AgentOptions,
    cancel: &CancellationToken,
) -> String {
    let connected = tokio::select! {
        connected = reach.dial() => connected,
        () = cancel.cancelled() => return String::new(),
    };
    let stream = match connected {
        Ok(stream) => stream,
        Err(error) => return refused(&error),
    };
    let mut agent = Agent {
        line,
        reach,
        again,
        target: None,
        number: 0,
        input: BytesMut::new(),
        output: BytesMut::new(),
        chunk: options.chunk(),
    };
    agent.connect(async { Ok(stream) });
    agent.run(cancel).await
}

fn refused(error: &std::io::Error) -> String {
    let reason = system_text(error);
    format!("Unable to connect to specified port: dial tcp: connect: {reason}")
}

struct Agent {
    line: Line,
    reach: Reach,
    again: bool,
    target: Option<Target>,
    /// Of the connection.
    number: u64,
    /// Not yet taken by the target.
    input: BytesMut,
    /// Not yet taken by the session.
    output: BytesMut,
    chunk: usize,
}

struct Target {
    pieces: mpsc::Sender<Bytes>,
    said: mpsc::Receiver<(u64, FromTarget)>,
    taken: mpsc::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

/// What happened first.
enum Step {
    Line(Turn),
    Said(Option<FromTarget>),
    Taken,
}

impl Agent {
    async fn run(mut self, cancel: &CancellationToken) -> String {
        loop {
            if let Some(end) = self.handle_events().await {
                return end;
            }
            self.feed();
            self.line.write(PayloadType::Output, &mut self.output);
            self.line.transmit();
            match self.step(cancel).await {
                Step::Line(Turn::Served) | Step::Taken => {}
                Step::Line(Turn::Cancelled | Turn::Gone) => return String::new(),
                Step::Said(Some(FromTarget::Bytes(bytes))) => self.output = BytesMut::from(bytes),
                Step::Said(Some(FromTarget::Refused(error))) => return refused(&error),
                // The client is not told: it finds out, or never does.
                Step::Said(Some(FromTarget::End) | None) if self.again => self.target = None,
                Step::Said(_) => {
                    self.target = None;
                    self.line.finish();
                }
            }
        }
    }

    async fn step(&mut self, cancel: &CancellationToken) -> Step {
        self.line.session.set_ready(self.input.len() < INPUT);
        let wants = self.output.is_empty() && self.line.takes_output();
        let Self { line, target, .. } = self;
        let Some(target) = target else {
            return Step::Line(line.turn(None, cancel).await);
        };
        // All are cancel-safe: the line (see there), channels.
        tokio::select! {
            turn = line.turn(None, cancel) => Step::Line(turn),
            said = target.said.recv(), if wants => Step::Said(said.map(|(_, said)| said)),
            Some(_) = target.taken.recv() => Step::Taken,
        }
    }

    async fn handle_events(&mut self) -> Option<String> {
        while let Some(event) = self.line.session.poll_event() {
            match event {
                Event::Input(bytes) => {
                    if self.target.is_none() {
                        // Dialled within the reader, as the real agent does.
                        match self.reach.dial().await {
                            Ok(stream) => self.connect(async { Ok(stream) }),
                            Err(error) => return Some(refused(&error)),
                        }
                    }
                    self.input.extend_from_slice(&bytes);
                }
                Event::Flag(Flag::DisconnectToPort) => {
                    self.target = None;
                    self.input.clear();
                    self.output.clear();
                }
                Event::Flag(Flag::TerminateSession) | Event::Closed { .. } => {
                    return Some(String::new());
                }
                Event::Finished => {
                    self.line.transmit();
                    return Some(String::new());
                }
                _ => {}
            }
        }
        None
    }

    fn connect(
        &mut self,
        dialling: impl Future<Output = std::io::Result<crate::reach::Stream>> + Send + 'static,
    ) {
        let (pieces, from_us) = mpsc::channel(PIECES);
        let (to_us, said) = mpsc::channel(PIECES);
        let (note, taken) = mpsc::channel(PIECES);
        self.number += 1;
        let task = connection::converse(self.number, dialling, from_us, to_us, note, self.chunk);
        self.target = Some(Target {
            pieces,
            said,
            taken,
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        });
    }

    fn feed(&mut self) {
        if let Some(target) = &self.target
            && !self.input.is_empty()
            && let Ok(permit) = target.pieces.try_reserve()
        {
            permit.send(self.input.split().freeze());
        }
    }
}
