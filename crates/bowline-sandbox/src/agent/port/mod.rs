//! Port sessions: the bytes of connections to a port of the task, or of a host that the task reaches.
//!
//! A handshake always, and never encryption. The client's version decides between many connections at once
//! (`many.rs`) and one (`single.rs`). (Specification of the data channel, §7.3 and §8.)

mod connection;
mod many;
mod single;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use bowline_proto::{PortMode, SessionType};

use super::handshake::Handshake;
use super::line::Line;
use super::{AgentOptions, FromService, Job};
use crate::reach::{PortRequest, Reach};
use crate::room::Room;

/// Bytes on their way to the client at most, or 32 messages.
const WINDOW: usize = 1 << 20;
/// Agents that can connect many clients at once.
const MULTIPLEXES: [u32; 4] = [3, 0, 222, 0];

/// Serves one session to its end.
pub(super) async fn serve(
    job: &Job,
    request: &PortRequest,
    options: AgentOptions,
    service: mpsc::Receiver<FromService>,
    cancel: CancellationToken,
) -> String {
    let (handshake, asked) =
        Handshake::with_properties(job, &SessionType::Port, &options, &request.properties());
    let window = (WINDOW / options.chunk()).max(32);
    let session_id = &job.session_id;
    let mut line = Line::with_window(session_id, &options, Some(asked), service, window);
    let version = match handshake.shake(&mut line, &cancel).await {
        Ok(version) => version.unwrap_or_default(),
        Err(reason) => return reason,
    };
    // Only now, and bare: the real agent's words for what it does not even try.
    let space = job.place.room.as_ref().and_then(Room::space).cloned();
    let reach = match Reach::new(request, space, &options) {
        Ok(reach) => reach,
        Err(reason) => return reason,
    };
    let mode = match request.forwards && options.is_at_least(MULTIPLEXES) {
        true => PortMode::of_client(&version),
        false => PortMode::Single,
    };
    match mode {
        PortMode::Multiplexed { keep_alive } => {
            many::serve(line, reach, keep_alive, &options, &cancel).await
        }
        PortMode::Single => single::serve(line, reach, request.forwards, &options, &cancel).await,
    }
}

/// In the words of the agent (data-channel specification §2.2).
fn failure(reason: &str) -> String {
    format!("\n----------ERROR-------\n{reason}\n\n")
}
