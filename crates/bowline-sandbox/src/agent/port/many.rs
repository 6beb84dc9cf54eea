//! Many connections in one session: smux inside the payloads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use bowline_proto::smux::{Mux, MuxConfig, MuxEvent, MuxRole, StreamId};
use bowline_proto::{Event, Flag, PayloadType};

use super::connection::{self, FromTarget, PIECES};
use crate::agent::AgentOptions;
use crate::agent::line::{Line, Turn};
use crate::reach::Reach;

/// What the targets said and the session has not taken yet.
const DATA: usize = 16;
const NOTES: usize = 256;
/// Bytes that wait in the streams before targets are not read any more.
const UNSENT: usize = 64 * 1024;
/// The stock agent sleeps after each payload.
const STOCK_PAUSE: Duration = Duration::from_millis(1);

/// Serves a session after its handshake.
pub(super) async fn serve(
    line: Line,
    reach: Reach,
    keep_alive: bool,
    options: &AgentOptions,
    cancel: &CancellationToken,
) -> String {
    let config = MuxConfig {
        role: MuxRole::Server,
        keep_alive,
        patience: None,
    };
    let (to_us, data) = mpsc::channel(DATA);
    let (note, notes) = mpsc::channel(NOTES);
    let agent = Agent {
        mux: Mux::new(config, line.clock.now()),
        line,
        reach: Arc::new(reach),
        // The real agent dials one at a time, and the others wait.
        dialling: Arc::new(Semaphore::new(if options.stock { 1 } else { 64 })),
        open: BTreeMap::new(),
        tasks: JoinSet::new(),
        to_us,
        note,
        data,
        notes,
        out: BytesMut::new(),
        chunk: options.chunk(),
        stock: options.stock,
        next_write: Instant::now(),
        errors: 0,
    };
    agent.run(cancel).await
}

struct Agent {
    line: Line,
    mux: Mux,
    reach: Arc<Reach>,
    dialling: Arc<Semaphore>,
    open: BTreeMap<StreamId, mpsc::Sender<Bytes>>,
    /// The connections; they end with the session.
    tasks: JoinSet<()>,
    to_us: mpsc::Sender<(StreamId, FromTarget)>,
    note: mpsc::Sender<StreamId>,
    data: mpsc::Receiver<(StreamId, FromTarget)>,
    notes: mpsc::Receiver<StreamId>,
    /// Not yet taken by the session.
    out: BytesMut,
    chunk: usize,
    stock: bool,
    /// No write before this moment.
    next_write: Instant,
    /// Failed dials that the client has not been told of.
    errors: usize,
}

/// What happened first.
enum Step {
    Line(Turn),
    Data(StreamId, FromTarget),
    Taken(StreamId),
    Ended,
}

impl Agent {
    async fn run(mut self, cancel: &CancellationToken) -> String {
        loop {
            if let Some(end) = self.handle_events() {
                return end;
            }
            self.serve_streams();
            self.write();
            self.line.transmit();
            match self.step(cancel).await {
                Step::Line(Turn::Served) => {
                    let now = self.line.clock.now();
                    self.mux.handle_timeout(now);
                }
                Step::Line(Turn::Cancelled | Turn::Gone) => return String::new(),
                Step::Data(id, said) => self.said(id, said),
                Step::Taken(id) => self.feed(id),
                Step::Ended => {}
            }
        }
    }

    async fn step(&mut self, cancel: &CancellationToken) -> Step {
        let full = !self.mux.has_room();
        // Refused, input comes again. As long as the client has nothing of ours to acknowledge it is left in the queue,
        // which is what the reference does always.
        self.line.session.set_ready(!full);
        self.line.deaf = full && self.line.session.is_idle();
        let wants = self.out.is_empty() && self.mux.unsent() < UNSENT && self.line.takes_output();
        let mux = self
            .mux
            .poll_timeout()
            .map(|at| self.line.clock.instant(at));
        let waiting = !self.out.is_empty() || !self.mux.is_idle();
        let pause = waiting.then_some(self.next_write);
        let pause = pause.filter(|at| *at > Instant::now());
        let wake = mux.into_iter().chain(pause).min();
        // All are cancel-safe: the line (see there), channels, waiting for a task.
        tokio::select! {
            turn = self.line.turn(wake, cancel) => Step::Line(turn),
            Some((id, said)) = self.data.recv(), if wants => Step::Data(id, said),
            Some(id) = self.notes.recv() => Step::Taken(id),
            Some(_) = self.tasks.join_next() => Step::Ended,
        }
    }

    /// What the session said; a text when it is over.
    fn handle_events(&mut self) -> Option<String> {
        let now = self.line.clock.now();
        while let Some(event) = self.line.session.poll_event() {
            match event {
                Event::Input(bytes) => {
                    if let Err(error) = self.mux.receive(now, bytes) {
                        return Some(super::failure(&format!("smux: {error}")));
                    }
                }
                Event::Flag(Flag::TerminateSession) | Event::Closed { .. } => {
                    return Some(String::new());
                }
                _ => {}
            }
        }
        None
    }

    fn serve_streams(&mut self) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                MuxEvent::Opened(id) => self.start(id),
                MuxEvent::Readable(id) | MuxEvent::Finished(id) => self.feed(id),
                // The real agent closes its half and lets the session be.
                MuxEvent::Silent => self.open.clear(),
                _ => {}
            }
        }
    }

    fn start(&mut self, id: StreamId) {
        let (pieces, from_us) = mpsc::channel(PIECES);
        self.open.insert(id, pieces);
        let (reach, dialling) = (Arc::clone(&self.reach), Arc::clone(&self.dialling));
        let dial = async move {
            // It is never closed.
            let _turn = dialling.acquire().await;
            reach.dial().await
        };
        let (to_us, note, chunk) = (self.to_us.clone(), self.note.clone(), self.chunk);
        self.tasks
            .spawn(connection::converse(id, dial, from_us, to_us, note, chunk));
    }

    /// Hands a target what came for it, as far as it takes it; its end too.
    fn feed(&mut self, id: StreamId) {
        let now = self.line.clock.now();
        let Some(pieces) = self.open.get(&id) else {
            return;
        };
        loop {
            match pieces.try_reserve() {
                Ok(permit) => match self.mux.read(now, id) {
                    Some(bytes) => permit.send(bytes),
                    None => break,
                },
                Err(_) => return,
            }
        }
        if self.mux.is_finished(id) {
            // Behind what it was handed comes the end.
            self.open.remove(&id);
            self.mux.close(id);
        }
    }

    fn said(&mut self, id: StreamId, said: FromTarget) {
        match said {
            // The session takes no more than there is room for, by UNSENT.
            FromTarget::Bytes(mut bytes) => self.mux.write(id, &mut bytes),
            FromTarget::End => {
                self.open.remove(&id);
                self.mux.close(id);
            }
            FromTarget::Refused(error) => {
                tracing::debug!(%error, "a target could not be dialled");
                self.errors += 1;
                self.open.remove(&id);
                self.mux.close(id);
            }
        }
    }

    fn write(&mut self) {
        while self.errors > 0 {
            let mut flag = BytesMut::from(&Flag::ConnectToPortError.encode()[..]);
            self.line.write(PayloadType::Flag, &mut flag);
            if !flag.is_empty() {
                return;
            }
            self.errors -= 1;
        }
        loop {
            if self.stock && self.next_write > Instant::now() {
                return;
            }
            if self.out.is_empty() {
                match self.mux.poll_transmit(self.chunk) {
                    Some(bytes) => self.out = BytesMut::from(bytes),
                    None => return,
                }
            }
            self.line.write(PayloadType::Output, &mut self.out);
            if !self.out.is_empty() {
                return;
            }
            if self.stock {
                self.next_write = Instant::now() + STOCK_PAUSE;
            }
        }
    }
}
