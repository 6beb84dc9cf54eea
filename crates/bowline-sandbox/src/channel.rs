//! The service's half of a data channel: the WebSocket of the client, its token, and the relay to the agent.

mod relay;
mod service;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use bowline_proto::OpenDataChannel;

use crate::faults::session::SocketFaults;
use crate::faults::wire::Wire;
use crate::sessions::Sessions;

/// For the client to present its token.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// For the client to take a refusal.
const REFUSE_LIMIT: Duration = Duration::from_secs(2);
/// The largest message taken from a client. The reference programs send about 1.2 KB; the real agent took 64 KB. With
/// the lengths of the queues this bounds what a client can make a session hold.
const MESSAGE_LIMIT: usize = 128 * 1024;
/// Cleared before each read, so no larger than it serves.
const READ_BUFFER: usize = 32 * 1024;
/// What may wait for the socket. Frames wait elsewhere, so that only the pongs for a client that sends pings and never
/// reads get there.
const WRITE_BUFFER: usize = 1 << 20;

type Socket = WebSocketStream<Wire<TokioIo<Upgraded>>>;

/// What a socket gets before its token is known to be right.
pub(crate) struct Ticket {
    pub(crate) session_id: String,
    pub(crate) faults: Arc<SocketFaults>,
    /// Held as long as the socket is there.
    pub(crate) place: OwnedSemaphorePermit,
}

/// Answers an upgrade request. The future serves the socket afterwards; there is none if the request is refused.
pub(crate) fn upgrade(
    sessions: Sessions,
    ticket: Ticket,
    mut request: Request<Body>,
) -> (Response<Body>, Option<impl Future<Output = ()> + Send>) {
    match switch(&mut request) {
        Ok((response, pending)) => (response, Some(serve(sessions, ticket, pending))),
        Err(refusal) => (refusal, None),
    }
}

/// The answer to an upgrade request, and what it upgrades to; or a refusal.
#[expect(
    clippy::result_large_err,
    reason = "an answer is what it is, and made once"
)]
pub(crate) fn switch(
    request: &mut Request<Body>,
) -> Result<(Response<Body>, OnUpgrade), Response<Body>> {
    let Some(key) = websocket_key(request.headers()) else {
        let mut refusal = Response::new(Body::from("not a WebSocket upgrade\n"));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Err(refusal);
    };
    let accept = derive_accept_key(key.as_bytes());
    let pending = hyper::upgrade::on(request);
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Body::empty())
        .expect("constant headers and base64 are valid");
    Ok((response, pending))
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

async fn serve(sessions: Sessions, ticket: Ticket, pending: OnUpgrade) {
    let Ticket {
        session_id,
        faults,
        place: _place,
    } = ticket;
    let Ok(Ok(upgraded)) = timeout(OPEN_LIMIT, pending).await else {
        return;
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT))
        .max_write_buffer_size(WRITE_BUFFER);
    let wire = Wire::new(TokioIo::new(upgraded), Arc::clone(&faults));
    let mut socket = WebSocketStream::from_raw_socket(wire, Role::Server, Some(config)).await;
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
    let told = relay::relay(socket, &link, &faults).await;
    sessions.disconnected(&link, told);
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
    let _ = timeout(REFUSE_LIMIT, socket.close(Some(frame))).await;
}
