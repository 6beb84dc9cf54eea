//! The least a client can do: read messages, acknowledge them, throw them away.

use std::collections::VecDeque;
use std::fs;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bowline_proto::{Flags, Frame, IdSource, MessageId, MessageType, OpenDataChannel};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::process::{PATIENCE, Usage};

/// The reference agent misses an acknowledgement that comes sooner.
const ACK_DELAY: Duration = Duration::from_millis(1);

/// What came until the channel was closed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drained {
    pub(super) bytes: u64,
    /// When the first of them came.
    pub(super) first: Option<Instant>,
    /// The number of the next message. The link is loopback: order is not lost.
    expected: i64,
}

/// Runs `work` on a thread of its own and says what that thread needed.
pub(super) fn measured<T: Send>(
    work: impl AsyncFnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<(T, Usage)> {
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (begun, before) = (Instant::now(), thread_time()?);
        let result = runtime.block_on(async {
            let limited = timeout(PATIENCE, work()).await;
            limited.context("the raw client did not come to its end")?
        })?;
        let usage = Usage {
            wall: begun.elapsed(),
            cpu: thread_time()? - before,
        };
        Ok((result, usage))
    };
    thread::scope(|scope| {
        let thread = scope.spawn(body);
        thread.join().expect("a panic is a bug of the bench itself")
    })
}

/// Opens the channel behind `url`, and reads until it is closed.
pub(super) async fn drain(url: &str, token: &str) -> anyhow::Result<Drained> {
    let address = url
        .strip_prefix("ws://")
        .and_then(|rest| rest.split('/').next())
        .context("the stream url is not a local one")?;
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let (mut socket, _) = client_async(url, tcp).await?;
    let mut ids = IdSource::new(1);
    let opening = OpenDataChannel::client(token, ids.next_id(), ids.next_id(), "1.2.896.0");
    socket.send(Message::text(opening.encode())).await?;
    let mut drained = Drained::default();
    let mut acks = VecDeque::<Ack>::new();
    loop {
        let due = acks.front().map(|(due, ..)| *due);
        let message = tokio::select! {
            message = socket.next() => Some(message),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
        };
        let mut next = message;
        while let Some(message) = next {
            let message = message.context("closed without channel_closed")??;
            if let Message::Binary(frame) = message
                && taken(&frame, &mut drained, &mut acks)?
            {
                return Ok(drained);
            }
            // Acknowledgements must not wait for a pause of the sender: it would take them for lost.
            let due = acks.front().is_some_and(|(due, ..)| *due <= Instant::now());
            next = if due {
                None
            } else {
                socket.next().now_or_never()
            };
        }
        acknowledge(&mut socket, &mut acks, &mut ids).await?;
    }
}

/// When it is due, and what is acknowledged.
type Ack = (Instant, i64, MessageId);

/// True at the end. Only the fields that are needed are looked at.
fn taken(frame: &Bytes, drained: &mut Drained, acks: &mut VecDeque<Ack>) -> anyhow::Result<bool> {
    let Some((head, payload)) = frame.split_at_checked(120) else {
        bail!("a message of {} bytes", frame.len());
    };
    if head[4..].starts_with(b"channel_closed") {
        return Ok(true);
    }
    if head[4..].starts_with(b"output_stream_data") {
        let frame = Frame::decode(&frame.slice(..120), bowline_proto::DigestCheck::Ignore)?;
        // A message that comes again is acknowledged again, nothing more.
        if frame.sequence == drained.expected {
            drained.expected += 1;
            drained.first.get_or_insert_with(Instant::now);
            drained.bytes += payload.len() as u64;
        }
        acks.push_back((Instant::now() + ACK_DELAY, frame.sequence, frame.id));
    }
    Ok(false)
}

async fn acknowledge(
    socket: &mut WebSocketStream<TcpStream>,
    acks: &mut VecDeque<Ack>,
    ids: &mut IdSource,
) -> anyhow::Result<()> {
    let now = Instant::now();
    let created = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let mut any = false;
    while let Some((_, sequence, id)) = acks.pop_front_if(|(due, ..)| *due <= now) {
        let payload = format!(
            r#"{{"AcknowledgedMessageType":"output_stream_data","AcknowledgedMessageId":"{id}","AcknowledgedMessageSequenceNumber":{sequence},"IsSequentialMessage":true}}"#
        );
        let frame = Frame {
            message_type: MessageType::Acknowledge,
            schema_version: 1,
            created_millis: u64::try_from(created)?,
            sequence: 0,
            flags: Flags::SYN_FIN,
            id: ids.next_id(),
            payload_type: 0,
            payload: payload.into(),
        };
        socket.feed(Message::Binary(frame.encode())).await?;
        any = true;
    }
    if any {
        socket.flush().await?;
    }
    Ok(())
}

/// Processor time of this thread so far, to the nanosecond.
fn thread_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_ascii_whitespace().next();
    let nanoseconds = nanoseconds.context("no time in schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
