//! That sessions are to be recorded, and how: one plan for all that a command starts, a file for each session.

use std::sync::{Arc, Mutex, PoisonError};

use bowline_proto::Size;
use serde_json::{Value, json};

use super::entry::{Start, is_terminal};
use super::recorder::{RecordError, RecordOptions, Recorder, Recording};
use crate::session::exec::ExecRequest;
use crate::{Client, ResolvedTarget};

/// Has sessions recorded, each in a file of its own. Clones are the same plan.
#[derive(Clone, Debug)]
pub struct RecordPlan {
    options: Arc<RecordOptions>,
    verb: Arc<str>,
    user: Option<Arc<str>>,
    /// Further members of how each session begins.
    more: Arc<Value>,
    opened: Arc<Mutex<Vec<Recording>>>,
}

impl RecordPlan {
    /// A plan for what `verb` starts, with further members for how each session begins.
    #[must_use]
    pub fn new(verb: &str, options: RecordOptions, more: Value) -> Self {
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        Self {
            options: Arc::new(options),
            verb: verb.into(),
            user: user.ok().map(Into::into),
            more: Arc::new(more),
            opened: Arc::default(),
        }
    }

    /// How it is done.
    #[must_use]
    pub fn options(&self) -> &RecordOptions {
        &self.options
    }

    /// The recordings that were begun since this was last asked.
    #[must_use]
    pub fn take_opened(&self) -> Vec<Recording> {
        std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins the recording of something that is no session in a container.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn begin(
        &self,
        client: Option<&Client>,
        argv: Vec<String>,
        target: Value,
    ) -> Result<Recorder, RecordError> {
        let mut start = Start::new(&*self.verb, argv);
        let account = target.get("account").and_then(Value::as_str);
        start.account = account.map(str::to_owned);
        start.target = target;
        self.start(client, start).await
    }

    /// Begins the recording of a session, before it is started.
    pub(crate) async fn of_session(
        &self,
        client: &Client,
        target: &ResolvedTarget,
        request: &ExecRequest,
    ) -> Result<Recorder, RecordError> {
        let mut start = Start::new(&*self.verb, words(&request.argv));
        start.terminal = is_terminal(request.engine).then_some(request.size);
        start.account = account(&target.cluster.arn);
        start.target = json!({
            "cluster": target.cluster.name,
            "service": target.service,
            "task": target.task.id,
            "container": target.container,
        });
        self.start(Some(client), start).await
    }

    /// Begins the recording of a session that another program started: its words are known to nobody here.
    pub(crate) async fn of_joined(
        &self,
        client: &Client,
        target: &str,
        terminal: Option<Size>,
    ) -> Result<Recorder, RecordError> {
        let mut start = Start::new(&*self.verb, Vec::new());
        start.terminal = terminal;
        start.target = ssm_target(target);
        self.start(Some(client), start).await
    }

    async fn start(
        &self,
        client: Option<&Client>,
        mut start: Start,
    ) -> Result<Recorder, RecordError> {
        if let Some(client) = client {
            let caller = client.caller_identity().await;
            start.account = start
                .account
                .or_else(|| caller.as_ref().and_then(|caller| caller.account.clone()));
            start.caller = serde_json::to_value(caller).unwrap_or_default();
            start.region = Some(client.region().to_owned());
        }
        start.user = self.user.as_deref().map(str::to_owned);
        start.more = (*self.more).clone();
        let (recorder, recording) = Recorder::start(&start, &self.options)?;
        self.opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(recording);
        Ok(recorder)
    }
}

/// What a target of SSM says: `ecs:CLUSTER_TASK_RUNTIME` for a container, else an id; empty if it is not known.
#[must_use]
pub fn ssm_target(target: &str) -> Value {
    if target.is_empty() {
        return Value::Null;
    }
    let mut value = json!({ "ssm": target });
    // A cluster's name may have underscores, the others have none.
    let parts = target
        .strip_prefix("ecs:")
        .and_then(|rest| rest.rsplit_once('_'))
        .and_then(|(rest, _)| rest.rsplit_once('_'));
    if let Some((cluster, task)) = parts {
        value["cluster"] = cluster.into();
        value["task"] = task.into();
    }
    value
}

/// The account of an ARN.
fn account(arn: &str) -> Option<String> {
    let account = arn.split(':').nth(4).filter(|account| !account.is_empty());
    account.map(str::to_owned)
}

/// The words, readable.
fn words(argv: &[Vec<u8>]) -> Vec<String> {
    argv.iter()
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}
