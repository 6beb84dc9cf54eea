//! The service's half of a data channel: the WebSocket of the client, its token, and the relay to the agent.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use bowline_proto::{
    ChannelClosed, DigestCheck, Flags, Frame, IdSource, MessageType, OpenDataChannel, PayloadType,
    Timestamp,
};

use crate::agent::FromService;
use crate::clock::Clock;
use crate::sessions::{Link, Sessions};

/// For the client to present its token.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// For the client to go away after `channel_closed`.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Messages on their way to a client's socket.
const QUEUE: usize = 64;
/// The largest message taken from a client; the reference programs send about 1.2 KB.
const MESSAGE_LIMIT: usize = 1 << 20;
/// Cleared before each read, so no larger than it serves.
const READ_BUFFER: usize = 32 * 1024;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers an upgrade request. The future serves the socket afterwards; there is none if the request is refused.
pub(crate) fn upgrade(
    sessions: Sessions,
    session_id: String,
    mut request: Request<Body>,
) -> (Response<Body>, Option<impl Future<Output = ()> + Send>) {
    let Some(key) = websocket_key(request.headers()) else {
        let mut refusal = Response::new(Body::from("not a WebSocket upgrade\n"));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return (refusal, None);
    };
    let accept = derive_accept_key(key.as_bytes());
    let pending = hyper::upgrade::on(&mut request);
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Body::empty())
        .expect("constant headers and base64 are valid");
    (response, Some(serve(sessions, session_id, pending)))
}

fn websocket_key(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let upgrades =
        text(header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let version = text(header::SEC_WEBSOCKET_VERSION) == Some("13");
    text(header::SEC_WEBSOCKET_KEY)
        .filter(|_| upgrades && version)
        .map(str::to_owned)
}

async fn serve(sessions: Sessions, session_id: String, pending: OnUpgrade) {
    let Ok(Ok(upgraded)) = timeout(OPEN_LIMIT, pending).await else {
        return;
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT));
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let open = timeout(OPEN_LIMIT, first_text(&mut socket))
        .await
        .ok()
        .flatten();
    let link = open.and_then(|open| sessions.connect(&session_id, &open.token_value));
    let Some(link) = link else {
        let reason = format!(
            "Channel : {session_id} : request to open data channel does not contain a valid token."
        );
        refuse(&mut socket, &reason).await;
        return;
    };
    relay(socket, &link).await;
    sessions.disconnected(&link);
}

/// Pings may come first: the reference plugin sends its first one from another thread.
async fn first_text(socket: &mut Socket) -> Option<OpenDataChannel> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return OpenDataChannel::decode(&text).ok(),
            Message::Binary(bytes) => {
                return OpenDataChannel::decode(std::str::from_utf8(&bytes).ok()?).ok();
            }
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

async fn refuse(socket: &mut Socket, reason: &str) {
    let frame = CloseFrame {
        code: CloseCode::Unsupported,
        reason: reason.into(),
    };
    // The client may be gone already.
    let _ = timeout(CLOSE_LIMIT, socket.close(Some(frame))).await;
}

/// Carries frames both ways until the session ends, the client goes, or another socket takes over.
async fn relay(socket: Socket, link: &Link) {
    let (mut sink, mut stream) = socket.split();
    let (to_client, mut from_agent) = mpsc::channel(QUEUE);
    let service = Service::new();
    // The agent waited if its client had gone away before.
    for message in [
        FromService::Attached(to_client),
        FromService::Frame(service.publication(MessageType::StartPublication)),
    ] {
        // An agent that ended already is found out below.
        let _ = link.agent.send(message).await;
    }
    let mut closed = link.closed.clone();
    let downward = async {
        loop {
            let message = tokio::select! {
                // What the agent sent comes before the end of the session.
                biased;
                message = from_agent.recv() => message,
                output = ending(&mut closed) => {
                    drain(&mut sink, &mut from_agent).await?;
                    return sink.send(Message::Binary(service.channel_closed(link, &output))).await;
                }
            };
            let Some(message) = message else {
                // The agent let go of its end; the reason follows at once.
                let output = timeout(CLOSE_LIMIT, ending(&mut closed))
                    .await
                    .unwrap_or_default();
                return sink
                    .send(Message::Binary(service.channel_closed(link, &output)))
                    .await;
            };
            feed(&mut sink, message).await?;
            drain(&mut sink, &mut from_agent).await?;
        }
    };
    let upward = async {
        while let Some(Ok(message)) = stream.next().await {
            let frame = match message {
                Message::Binary(frame) => frame,
                Message::Close(_) => return,
                _ => continue,
            };
            if is_activity(&frame) {
                link.idle.touch();
            }
            if link.agent.send(FromService::Frame(frame)).await.is_err() {
                // The session is over; the client is being told.
                std::future::pending::<()>().await;
            }
        }
    };
    let mut upward = std::pin::pin!(upward);
    tokio::select! {
        () = &mut upward => {}
        () = link.replaced.cancelled() => {}
        // The socket is dropped at once: what was on its way is lost, as on a bad network.
        () = link.cut.cancelled() => {}
        result = downward => {
            if result.is_ok() {
                // Neither reference program sends a close frame: the client drops the connection.
                let _ = timeout(CLOSE_LIMIT, upward).await;
            }
        }
    }
    // Tells the agent that nobody listens.
    let _ = link.agent.try_send(FromService::Frame(
        service.publication(MessageType::PausePublication),
    ));
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

type Sink = futures_util::stream::SplitSink<Socket, Message>;

/// Everything that is there goes out with one flush.
async fn drain(sink: &mut Sink, from_agent: &mut mpsc::Receiver<Bytes>) -> Result<(), Error> {
    while let Ok(message) = from_agent.try_recv() {
        feed(sink, message).await?;
    }
    sink.flush().await
}

async fn feed(sink: &mut Sink, message: Bytes) -> Result<(), Error> {
    // The agent tells its state to the service, not to the client.
    if message
        .get(4..)
        .is_some_and(|kind| kind.starts_with(b"agent_session_state"))
    {
        return Ok(());
    }
    sink.feed(Message::Binary(message)).await
}

/// Makes the messages that the service itself sends.
struct Service {
    clock: Clock,
}

impl Service {
    fn new() -> Self {
        Self {
            clock: Clock::start(),
        }
    }

    fn channel_closed(&self, link: &Link, output: &str) -> Bytes {
        let (id, now) = (IdSource::new(self.clock.seed()).next_id(), self.clock.now());
        let closed = ChannelClosed {
            message_id: id.to_string(),
            created_date: now.as_millis().to_string(),
            destination_id: link.target.clone(),
            session_id: link.session_id.clone(),
            message_type: MessageType::ChannelClosed.as_str().to_owned(),
            schema_version: 1,
            output: Some(output.to_owned()),
        };
        let payload = serde_json::to_vec(&closed).unwrap_or_default();
        message(MessageType::ChannelClosed, id, now, payload)
    }

    fn publication(&self, kind: MessageType) -> Bytes {
        message(
            kind,
            IdSource::new(self.clock.seed()).next_id(),
            self.clock.now(),
            b"{}".to_vec(),
        )
    }
}

fn message(
    message_type: MessageType,
    id: bowline_proto::MessageId,
    now: Timestamp,
    payload: Vec<u8>,
) -> Bytes {
    let frame = Frame {
        message_type,
        schema_version: 1,
        created_millis: now.as_millis(),
        sequence: 0,
        flags: Flags::NONE,
        id,
        payload_type: 0,
        payload: payload.into(),
    };
    frame.encode()
}
