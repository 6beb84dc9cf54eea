//! One socket of a session: carries messages both ways, with whatever faults are wanted.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use bowline_proto::{DigestCheck, Frame, MessageType, PayloadType};

use super::Socket;
use super::service::Service;
use crate::agent::FromService;
use crate::faults::Direction;
use crate::faults::lane::Lane;
use crate::faults::session::{SocketFaults, Upshot};
use crate::sessions::Link;

/// For the client to go away after `channel_closed` or "Bye".
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Messages on their way to a client's socket.
const QUEUE: usize = 64;

/// Carries messages both ways until the session ends, the client goes, or another socket takes over. True if the
/// client was told of the session's end and then went.
pub(super) async fn relay(socket: Socket, link: &Link, faults: &SocketFaults) -> bool {
    let (sink, stream) = socket.split();
    let (to_client, from_agent) = mpsc::channel(QUEUE);
    let relay = Relay {
        link,
        faults,
        service: Service::new(),
        gate: Mutex::new(None),
    };
    let opened = faults.opened();
    if opened.cut {
        return false;
    }
    // The agent waited if its client had gone away before.
    let start = relay.service.publication(MessageType::StartPublication);
    for message in [
        FromService::Attached(link.socket, to_client),
        FromService::Frame(start),
    ] {
        // An agent that ended already is found out below.
        let _ = link.agent.send(message).await;
    }
    let mut upward = std::pin::pin!(relay.upward(stream));
    let told = tokio::select! {
        () = &mut upward => false,
        () = link.replaced.cancelled() => false,
        // The socket is dropped at once: what was on its way is lost, as on a bad network.
        () = link.cut.cancelled() => false,
        () = faults.lost() => false,
        end = relay.downward(sink, from_agent, opened) => match end {
            // Neither reference program sends a close frame: the client drops the connection.
            Ok(End::Told) => tokio::select! {
                () = &mut upward => true,
                () = faults.lost() => false,
                () = link.cut.cancelled() => false,
                () = tokio::time::sleep(CLOSE_LIMIT) => true,
            },
            Ok(End::Bye) => {
                let _ = timeout(CLOSE_LIMIT, upward).await;
                false
            }
            Ok(End::Cut) | Err(_) => false,
        },
    };
    // Tells the agent that nobody listens. One that does not take it finds its queue closed.
    let pause = relay.service.publication(MessageType::PausePublication);
    let _ = link
        .agent
        .try_send(FromService::Detached(link.socket, pause));
    told
}

struct Relay<'a> {
    link: &'a Link,
    faults: &'a SocketFaults,
    service: Service,
    /// Nothing passes before this moment.
    gate: Mutex<Option<Instant>>,
}

/// Why nothing more goes to the client.
enum End {
    /// It was told that the session is over.
    Told,
    /// The service said "Bye".
    Bye,
    /// The socket is to be lost.
    Cut,
}

type Sink = SplitSink<Socket, Message>;

impl Relay<'_> {
    async fn upward(&self, mut stream: SplitStream<Socket>) {
        let mut lane = Lane::new(Instant::now());
        loop {
            while self.is_open()
                && let Some(frame) = lane.pop(Instant::now())
            {
                if is_activity(&frame) {
                    self.link.idle.touch();
                }
                if self
                    .link
                    .agent
                    .send(FromService::Frame(frame))
                    .await
                    .is_err()
                {
                    // The session is over; the client is being told.
                    return self.until_gone(stream).await;
                }
                if self.faults.passed(Direction::Up).cut {
                    return;
                }
            }
            tokio::select! {
                message = stream.next(), if lane.has_room() => match message {
                    Some(Ok(Message::Binary(_))) if self.faults.is_silent() => {}
                    Some(Ok(Message::Binary(frame))) => {
                        lane.offer(&frame, self.faults.fate(Direction::Up), Instant::now());
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
                () = at(self.due(&lane)) => {}
            }
        }
    }

    /// Reads until the client goes away.
    async fn until_gone(&self, mut stream: SplitStream<Socket>) {
        while let Some(Ok(message)) = stream.next().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
        }
    }

    async fn downward(
        &self,
        mut sink: Sink,
        mut from_agent: mpsc::Receiver<Bytes>,
        opened: Upshot,
    ) -> Result<End, Error> {
        let mut lane = Lane::new(Instant::now());
        let mut closed = self.link.closed.clone();
        let bye = self.faults.bye_after().map(|span| Instant::now() + span);
        let mut pausing = None;
        if let Some(end) = self.heed(opened, &mut sink, &mut pausing).await? {
            return Ok(end);
        }
        let mut agent_is_there = true;
        let output = loop {
            if pausing.is_some() && self.is_open() {
                pausing = None;
                self.publish(MessageType::StartPublication, &mut sink)
                    .await?;
            }
            // Everything that is there goes out with one flush.
            while lane.has_room()
                && let Ok(message) = from_agent.try_recv()
            {
                self.offer(&mut lane, &message);
            }
            if let Some(end) = self.forward(&mut lane, &mut sink, &mut pausing).await? {
                return Ok(end);
            }
            tokio::select! {
                // What the agent sent comes before the end of the session.
                biased;
                message = from_agent.recv(), if agent_is_there && lane.has_room() => match message {
                    Some(message) => self.offer(&mut lane, &message),
                    // The agent let go of its end; the reason follows at once.
                    None => agent_is_there = false,
                },
                () = at(self.due(&lane)) => {}
                () = at(bye) => return self.bye(&mut sink).await,
                output = ending(&mut closed), if lane.is_empty() && self.is_open() => {
                    match from_agent.try_recv() {
                        Ok(message) => self.offer(&mut lane, &message),
                        Err(_) => break output,
                    }
                }
            }
        };
        self.farewell(&mut sink, &output).await
    }

    /// Sends what may go on, with one flush.
    async fn forward(
        &self,
        lane: &mut Lane,
        sink: &mut Sink,
        pausing: &mut Option<Instant>,
    ) -> Result<Option<End>, Error> {
        let mut sent = false;
        while self.is_open()
            && let Some(message) = lane.pop(Instant::now())
        {
            if !self.faults.is_silent() {
                sink.feed(Message::Binary(message)).await?;
                sent = true;
            }
            let upshot = self.faults.passed(Direction::Down);
            if upshot != Upshot::default() {
                sink.flush().await?;
                if let Some(end) = self.heed(upshot, sink, pausing).await? {
                    return Ok(Some(end));
                }
            }
        }
        if sent {
            sink.flush().await?;
        }
        Ok(None)
    }

    fn offer(&self, lane: &mut Lane, message: &Bytes) {
        // The agent tells its state to the service, not to the client.
        let is = |kind: &[u8]| message.get(4..).is_some_and(|rest| rest.starts_with(kind));
        if is(b"agent_session_state") || (is(b"acknowledge ") && self.faults.drops_acks()) {
            return;
        }
        lane.offer(message, self.faults.fate(Direction::Down), Instant::now());
    }

    async fn heed(
        &self,
        upshot: Upshot,
        sink: &mut Sink,
        pausing: &mut Option<Instant>,
    ) -> Result<Option<End>, Error> {
        if upshot.cut {
            return Ok(Some(End::Cut));
        }
        if upshot.bye {
            return self.bye(sink).await.map(Some);
        }
        if let Some(span) = upshot.pause {
            let until = Instant::now() + span;
            *pausing = Some(until);
            *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
            self.publish(MessageType::PausePublication, sink).await?;
        }
        Ok(None)
    }

    /// Tells both ends that the other one is away, or back.
    async fn publish(&self, kind: MessageType, sink: &mut Sink) -> Result<(), Error> {
        let message = self.service.publication(kind);
        // An agent that is gone is found out elsewhere.
        let _ = self
            .link
            .agent
            .send(FromService::Frame(message.clone()))
            .await;
        sink.send(Message::Binary(message)).await
    }

    async fn bye(&self, sink: &mut Sink) -> Result<End, Error> {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "Bye".into(),
        };
        sink.send(Message::Close(Some(frame))).await?;
        Ok(End::Bye)
    }

    async fn farewell(&self, sink: &mut Sink, output: &str) -> Result<End, Error> {
        let (late, times) = self.faults.farewell();
        tokio::time::sleep(late).await;
        for _ in 0..times {
            if self.faults.is_silent() {
                std::future::pending::<()>().await;
            }
            let message = self.service.channel_closed(self.link, output);
            sink.send(Message::Binary(message)).await?;
            if self.faults.passed(Direction::Down).cut {
                return Ok(End::Cut);
            }
        }
        Ok(End::Told)
    }

    /// Whether messages may pass now.
    fn is_open(&self) -> bool {
        self.gate().is_none_or(|until| until <= Instant::now())
    }

    fn gate(&self) -> Option<Instant> {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When there is something to do with what the lane holds.
    fn due(&self, lane: &Lane) -> Option<Instant> {
        let gate = self.gate().filter(|until| *until > Instant::now());
        match (lane.due(), gate) {
            (Some(due), Some(gate)) => Some(due.max(gate)),
            (due, gate) => due.or(gate),
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Input and terminal sizes keep a session alive; acknowledgements, and so output, do not.
fn is_activity(message: &Bytes) -> bool {
    Frame::decode(message, DigestCheck::Ignore).is_ok_and(|frame| {
        frame.message_type == MessageType::InputStreamData
            && matches!(
                frame.payload_type.into(),
                PayloadType::Output | PayloadType::Size
            )
    })
}

/// Waits for the end of the session; what comes back is the text for `channel_closed`.
async fn ending(closed: &mut watch::Receiver<Option<String>>) -> String {
    closed
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|output| output.clone())
        .unwrap_or_default()
}
