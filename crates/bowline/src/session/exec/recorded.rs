//! The events of a command on their way to the reader, and to a recording.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::sync::{SetOnce, mpsc};

use super::worker::Caller;
use super::{ExecError, ExecEvent, ExecRequest};
use crate::record::{End, Output, RecordError, Recorder, WeakRecorder};
use crate::{Client, ResolvedTarget};

/// Runs a command, once its recording has begun.
pub(super) async fn run(
    client: Client,
    target: ResolvedTarget,
    request: ExecRequest,
    caller: Caller,
    tap: Tap,
) {
    if let Some(plan) = &request.record {
        match plan.of_session(&client, &target, &request).await {
            Ok(recorder) => tap.open(recorder),
            Err(error) => {
                let reason = ExecError::Unrecorded(error);
                // The reader may have left.
                let _ = caller.reader.send(ExecEvent::Closed { reason }).await;
                return;
            }
        }
    }
    drop(tap);
    super::run::run(client, target, request, caller).await;
}

/// The two ends of what a recording is handed over with.
pub(super) fn pair(is_recorded: bool) -> (Tap, Recorded) {
    let tap = Tap {
        is_recorded,
        slot: Arc::default(),
    };
    let recorded = Recorded {
        tap: tap.clone(),
        recorder: None,
        is_recorded,
        held: None,
        ended: false,
    };
    (tap, recorded)
}

struct Slot {
    weak: WeakRecorder,
    /// Taken by the reader of events, with whom the recording ends.
    strong: Mutex<Option<Recorder>>,
}

/// Reaches a recording, once it has begun and until it is closed.
#[derive(Clone)]
pub(super) struct Tap {
    is_recorded: bool,
    slot: Arc<SetOnce<Slot>>,
}

impl Tap {
    pub(super) fn open(&self, recorder: Recorder) {
        let slot = Slot {
            weak: recorder.downgrade(),
            strong: Mutex::new(Some(recorder)),
        };
        // It is opened once.
        let _ = self.slot.set(slot);
    }

    /// Waits until the recording has begun.
    pub(super) async fn opened(&self) {
        if self.is_recorded {
            self.slot.wait().await;
        }
    }

    pub(super) fn recorder(&self) -> Option<Recorder> {
        self.slot.get()?.weak.upgrade()
    }

    fn take(&self) -> Option<Recorder> {
        let mut strong = self.slot.get()?.strong.lock();
        strong
            .as_mut()
            .map_or_else(|poisoned| poisoned.get_mut().take(), |strong| strong.take())
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // A keyboard or a control that is kept must not keep the recording open.
        drop(self.tap.take());
    }
}

/// Hands events on once they are recorded.
pub(super) struct Recorded {
    tap: Tap,
    recorder: Option<Recorder>,
    /// A recorder comes with the first event.
    is_recorded: bool,
    /// Taken, but not yet given.
    held: Option<ExecEvent>,
    /// The session was ended for lack of a recording; nothing follows.
    ended: bool,
}

impl Recorded {
    pub(super) fn tap(&self) -> Tap {
        self.tap.clone()
    }

    /// The next event. Cancel-safe: an event is held until it was recorded.
    pub(super) async fn next(
        &mut self,
        events: &mut mpsc::Receiver<ExecEvent>,
    ) -> Option<ExecEvent> {
        if self.ended {
            return None;
        }
        if self.held.is_none() {
            self.held = Some(events.recv().await?);
        }
        // It is there before the first event.
        if self.is_recorded && self.recorder.is_none() {
            self.recorder = self.tap.take();
            self.is_recorded = false;
        }
        let (Some(recorder), Some(event)) = (&self.recorder, &self.held) else {
            return self.held.take();
        };
        match record(recorder, event).await {
            Ok(()) => {}
            Err(error) if recorder.is_required() => {
                self.ended = true;
                self.recorder = None;
                // The worker ends the session when nobody listens.
                events.close();
                let reason = ExecError::Unrecorded(error);
                return Some(ExecEvent::Closed { reason });
            }
            Err(error) => {
                self.recorder = None;
                return Some(ExecEvent::Notice(format!("not recorded any more: {error}")));
            }
        }
        let event = self.held.take();
        if matches!(
            event,
            Some(ExecEvent::Exit { .. } | ExecEvent::Closed { .. })
        ) {
            self.recorder = None;
        }
        event
    }
}

async fn record(recorder: &Recorder, event: &ExecEvent) -> Result<(), RecordError> {
    match event {
        ExecEvent::Stdout(bytes) => recorder.output(Output::Stdout, bytes.clone()).await,
        ExecEvent::Stderr(bytes) => recorder.output(Output::Stderr, bytes.clone()).await,
        ExecEvent::Notice(text) => {
            let event = json!({ "type": "notice", "text": text });
            recorder.event(event).await
        }
        ExecEvent::Started { session_id } => {
            let event = json!({ "type": "session", "sessionId": session_id });
            recorder.event(event).await
        }
        ExecEvent::Exit { code } => recorder.end(End::exit(*code)).await,
        ExecEvent::Closed { reason } => recorder.end(End::because(reason.to_string())).await,
    }
}
