//! One attempt at one target: a command in a container.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::run::{Deed, FleetEvent, Outcome, Stream};
use super::target::{Aim, FleetTarget};
use crate::session::exec::{ExecError, ExecEvent, ExecRequest};
use crate::{AwsErrorKind, ResolvedTarget};

/// Ended sessions are told to the service within two seconds; what hangs longer is left behind.
const LEAVE_LIMIT: Duration = Duration::from_millis(2500);

/// How an attempt went.
pub(super) struct Attempt {
    pub(super) index: usize,
    pub(super) outcome: Outcome,
    /// Nothing was run, and another attempt may fare better.
    pub(super) passing: bool,
}

/// One attempt at one target.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) targets: Arc<Vec<FleetTarget>>,
    pub(super) deed: Deed,
    pub(super) reader: mpsc::Sender<FleetEvent>,
    pub(super) started: mpsc::Sender<usize>,
    pub(super) stop: CancellationToken,
    pub(super) expire: CancellationToken,
    pub(super) limit: Duration,
}

impl Worker {
    pub(super) async fn run(self, attempt: u32) -> Attempt {
        let target = self.index;
        self.tell(FleetEvent::Starting { target, attempt }).await;
        match (&self.target().aim, &self.deed) {
            (Aim::Container(container), Deed::Exec(request)) => self.exec(container, request).await,
            (Aim::Fresh(fresh), Deed::Run(options)) => self.follow(fresh, options).await,
            (Aim::Container(_), Deed::Run(_)) => {
                self.over(Outcome::Unreachable("it runs already".to_owned()), false)
            }
            (Aim::Fresh(_), Deed::Exec(_)) => self.over(
                Outcome::Unreachable("it does not run yet".to_owned()),
                false,
            ),
        }
    }

    pub(super) fn target(&self) -> &FleetTarget {
        &self.targets[self.index]
    }

    async fn exec(&self, container: &ResolvedTarget, request: &ExecRequest) -> Attempt {
        let target = self.index;
        let client = &self.target().place.client;
        let mut exec = client.exec(container.clone(), request.clone());
        let mut runs = false;
        let cut = loop {
            let event = tokio::select! {
                biased;
                () = self.stop.cancelled() => break Outcome::Interrupted,
                () = self.expire.cancelled() => break Outcome::TimedOut(self.limit),
                event = exec.next() => event,
            };
            let event = match event {
                Some(ExecEvent::Exit { code }) => return self.over(Outcome::Exit(code), false),
                Some(ExecEvent::Closed { reason }) => {
                    let (text, passing) = (words(&reason), !runs && may_pass(&reason));
                    let outcome = match runs {
                        true => Outcome::Unknown(text),
                        false => Outcome::Unreachable(text),
                    };
                    return self.over(outcome, passing);
                }
                None => {
                    return self.over(
                        Outcome::Unknown("it ended without a word".to_owned()),
                        false,
                    );
                }
                Some(ExecEvent::Started { session_id }) => {
                    runs = true;
                    let _ = self.started.send(target).await;
                    FleetEvent::Started { target, session_id }
                }
                Some(ExecEvent::Stdout(bytes)) => FleetEvent::Output {
                    target,
                    stream: Stream::Stdout,
                    bytes,
                },
                Some(ExecEvent::Stderr(bytes)) => FleetEvent::Output {
                    target,
                    stream: Stream::Stderr,
                    bytes,
                },
                Some(ExecEvent::Notice(text)) => FleetEvent::Notice { target, text },
            };
            // A reader that does not read must not keep a session from being ended.
            tokio::select! {
                () = self.tell(event) => {}
                () = self.stop.cancelled() => break Outcome::Interrupted,
                () = self.expire.cancelled() => break Outcome::TimedOut(self.limit),
            }
        };
        let _ = timeout(LEAVE_LIMIT, exec.terminate()).await;
        self.over(cut, false)
    }

    pub(super) fn over(&self, outcome: Outcome, passing: bool) -> Attempt {
        Attempt {
            index: self.index,
            outcome,
            passing,
        }
    }

    pub(super) async fn tell(&self, event: FleetEvent) {
        // The driver notices a reader that has left.
        let _ = self.reader.send(event).await;
    }
}

/// What happened, with its cause where the text does not say it already.
fn words(error: &ExecError) -> String {
    let cause = match error {
        ExecError::Open(cause) | ExecError::Lost { source: cause, .. } => Some(cause.to_string()),
        ExecError::Target(cause) => Some(cause.to_string()),
        _ => None,
    };
    match cause {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Whether nothing was run, for certain, and another attempt may fare better. A session that was opened may have run
/// its command already, and is never tried again.
fn may_pass(error: &ExecError) -> bool {
    match error {
        ExecError::Aws(error) => error.is_throttled() || error.kind == AwsErrorKind::Unreachable,
        _ => false,
    }
}
