//! One session with an agent from outside: its data channel on one side, the client's on the other.
//!
//! Messages pass as they are; what the agent tells the service about its state stays here. Either side may be away for
//! a while: what the other one says then waits, and with it that side's socket.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use bowline_proto::{DigestCheck, Frame, MessageType, PayloadType};

use super::socket::{Caller, passage};
use super::{Attached, Channel, message};
use crate::agent::{FromService, Job};
use crate::logs::LogStream;

/// For an agent that has lost its control channel to have another one.
const ARRIVAL: Duration = Duration::from_secs(10);
/// For an agent to come for a session; it needs some 30 ms.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// For an agent to come back: it gives up after five tries within some ten seconds. If its session's process has
/// died instead, it notices after a minute, and says so.
const RETURN_LIMIT: Duration = Duration::from_secs(90);
/// For the last word after the agent said that it is terminating. It comes within milliseconds, or two seconds after a
/// command that could not be started.
const LAST_WORD: Duration = Duration::from_secs(3);
/// For the socket to end after the last word.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// For a client to come for what a command has left that has ended already.
const CLAIM_LIMIT: Duration = Duration::from_secs(60);

/// Serves one session to its end. The text is for `channel_closed`: empty after a normal end.
pub(crate) async fn serve(
    attached: &Attached,
    job: &Job,
    service: mpsc::Receiver<FromService>,
    cancel: CancellationToken,
) -> String {
    let (callers, completed, _entry) = enter(attached, job);
    let target = &job.target;
    tokio::select! {
        there = attached.arrival(target, ARRIVAL) => if !there {
            return format!("The agent of {target} is not connected.");
        },
        () = cancel.cancelled() => return String::new(),
    }
    if !attached.tell(target, message::start(job)).await {
        return format!("The agent of {target} is not connected.");
    }
    let log = match &job.log {
        // What is encrypted is no text.
        Some(log) if job.encryption.is_none() => Some(LogStream::open(log, &job.session_id).await),
        _ => None,
    };
    let relay = Relay {
        service,
        callers,
        completed,
        agent: None,
        client: None,
        upward: None,
        downward: None,
        log,
        logged: 0,
        stage: Stage::Open,
        deadline: Some(Instant::now() + CALL_LIMIT),
    };
    relay.run(attached, job, &cancel).await
}

/// Makes the session one that the agent may come for, until the guard is dropped.
fn enter<'a>(
    attached: &'a Attached,
    job: &'a Job,
) -> (
    mpsc::Receiver<Caller>,
    watch::Receiver<Option<String>>,
    Entry<'a>,
) {
    let (door, callers) = mpsc::channel(1);
    let (completed, completion) = watch::channel(None);
    let channel = Channel {
        target: job.target.clone(),
        token: None,
        door,
        completed,
    };
    let session = &job.session_id;
    attached.table().channels.insert(session.clone(), channel);
    (callers, completion, Entry { attached, session })
}

struct Entry<'a> {
    attached: &'a Attached,
    session: &'a str,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.attached.table().channels.remove(self.session);
    }
}

/// How far a session has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The agent says that nothing follows.
    Terminating,
    /// The agent has said its last word; its socket may hold something still.
    Completed,
}

struct Relay {
    service: mpsc::Receiver<FromService>,
    callers: mpsc::Receiver<Caller>,
    completed: watch::Receiver<Option<String>>,
    agent: Option<Caller>,
    /// The number of the client's socket, and the way there.
    client: Option<(u64, mpsc::Sender<Bytes>)>,
    /// What the other side does not take yet.
    upward: Option<Bytes>,
    downward: Option<Bytes>,
    log: Option<LogStream>,
    /// The number of the next message that is not in the log.
    logged: i64,
    stage: Stage,
    /// When the session ends if nothing else happens.
    deadline: Option<Instant>,
}

impl Relay {
    async fn run(mut self, attached: &Attached, job: &Job, cancel: &CancellationToken) -> String {
        loop {
            if self.is_over() {
                return self.last_word().await;
            }
            let reading = self.downward.is_none();
            let to_agent = self.agent.as_ref().map(|agent| agent.messages.clone());
            tokio::select! {
                () = cancel.cancelled() => {
                    self.end(attached, job).await;
                    return String::new();
                }
                Some(caller) = self.callers.recv() => {
                    self.agent = Some(caller);
                    self.deadline = None;
                }
                order = self.service.recv(), if self.upward.is_none() => match order {
                    Some(order) => self.heed(order),
                    None => return String::new(),
                },
                () = pass_up(to_agent, &mut self.upward), if self.agent.is_some() && self.upward.is_some() => {}
                sent = pass_down(self.client.as_ref(), &mut self.downward), if self.client.is_some() && !reading => {
                    if !sent {
                        self.client = None;
                    }
                }
                said = hear(&mut self.agent), if self.agent.is_some() && reading => self.heard(said).await,
                changed = self.completed.changed(), if self.stage != Stage::Completed => {
                    if changed.is_err() {
                        return String::new();
                    }
                    self.stage = Stage::Completed;
                    let wait = if self.client.is_some() { AFTERWARDS } else { CLAIM_LIMIT };
                    self.deadline = Some(Instant::now() + wait);
                }
                () = at(self.deadline) => return self.last_word().await,
            }
        }
    }

    /// Nothing of the agent is left that the client does not have.
    fn is_over(&mut self) -> bool {
        if self.downward.is_some() {
            return false;
        }
        match self.stage {
            Stage::Open => false,
            Stage::Terminating => true,
            Stage::Completed => self.agent.is_none(),
        }
    }

    fn heed(&mut self, order: FromService) {
        match order {
            FromService::Frame(frame) => self.upward = Some(frame),
            FromService::Attached(socket, client) => self.client = Some((socket, client)),
            FromService::Detached(socket, pause) => {
                if self.client.as_ref().is_some_and(|(own, _)| *own == socket) {
                    self.client = None;
                    self.upward = Some(pause);
                }
            }
        }
    }

    async fn heard(&mut self, said: Option<Bytes>) {
        let Some(said) = said else {
            // It asks for another one at once, unless it has ended.
            self.agent = None;
            if self.stage == Stage::Open {
                self.deadline = Some(Instant::now() + RETURN_LIMIT);
            }
            return;
        };
        let Ok(frame) = Frame::decode(&said, DigestCheck::Ignore) else {
            tracing::debug!("unusable message of an agent");
            return;
        };
        if frame.message_type == MessageType::AgentSessionState {
            if is_terminating(&frame.payload) && self.stage == Stage::Open {
                self.stage = Stage::Terminating;
            }
            return;
        }
        if let Some(log) = &mut self.log
            && frame.message_type == MessageType::OutputStreamData
            && frame.sequence >= self.logged
        {
            self.logged = frame.sequence + 1;
            if PayloadType::from(frame.payload_type) == PayloadType::Output {
                log.append(&frame.payload).await;
            }
        }
        self.downward = Some(said);
    }

    /// The text for the client.
    async fn last_word(&mut self) -> String {
        let word = timeout(LAST_WORD, self.completed.wait_for(Option::is_some)).await;
        match word {
            Ok(Ok(word)) => word.clone().unwrap_or_default(),
            _ => String::new(),
        }
    }

    /// Has the agent kill the command, and waits until it has.
    async fn end(&mut self, attached: &Attached, job: &Job) {
        let stop = message::stop(&job.session_id);
        if !attached.tell(&job.target, stop.clone()).await
            && let Some(agent) = &self.agent
        {
            // An agent that reads nothing is dropped below.
            let _ = agent.messages.try_send((passage(), stop));
        }
        let ending = async {
            let completed = &mut self.completed;
            let agent = &mut self.agent;
            let unread = async {
                while let Some(Caller { words, .. }) = agent {
                    if words.recv().await.is_none() {
                        *agent = None;
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                // It is enough to know that it has ended.
                _ = completed.wait_for(Option::is_some) => {}
                () = unread => {}
            }
        };
        // One that is gone does not answer.
        let _ = timeout(AFTERWARDS, ending).await;
    }
}

/// Cancel-safe: a message is taken when there is room for it.
async fn pass_up(agent: Option<mpsc::Sender<(Instant, Bytes)>>, message: &mut Option<Bytes>) {
    let Some(agent) = agent else { return };
    match agent.reserve().await {
        Ok(permit) => {
            if let Some(message) = message.take() {
                permit.send((passage(), message));
            }
        }
        // The socket is gone, which is noticed by its words; the message is for the next one.
        Err(_) => std::future::pending().await,
    }
}

/// The same towards the client; false if it is gone.
async fn pass_down(
    client: Option<&(u64, mpsc::Sender<Bytes>)>,
    message: &mut Option<Bytes>,
) -> bool {
    let Some((_, client)) = client else {
        return false;
    };
    let Ok(permit) = client.reserve().await else {
        return false;
    };
    if let Some(message) = message.take() {
        permit.send(message);
    }
    true
}

async fn hear(agent: &mut Option<Caller>) -> Option<Bytes> {
    match agent {
        Some(agent) => agent.words.recv().await,
        None => None,
    }
}

fn is_terminating(payload: &[u8]) -> bool {
    let state: Option<Value> = serde_json::from_slice(payload).ok();
    state.is_some_and(|state| state["SessionState"] == "Terminating")
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
