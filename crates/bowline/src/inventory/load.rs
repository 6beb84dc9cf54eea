//! The walk: clusters, their services, their tasks with containers, one task and one pace for all calls.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::call::{Call, Found};
use super::pace::Pace;
use super::{Extent, Place, Row};
use crate::aws::error::{AwsError, AwsErrorKind};
use crate::client::Client;
use crate::target::ClusterName;

/// What to list, and what of it first.
#[derive(Clone, Debug, Default)]
pub struct InventoryOptions {
    /// This cluster and no other.
    pub only: Option<ClusterName>,
    /// Clusters to be listed before all others, in this order.
    pub first: Vec<String>,
}

/// What a walk has to say.
#[derive(Debug)]
#[non_exhaustive]
pub enum InventoryEvent {
    /// Rows that are there.
    Rows(Vec<Row>),
    /// All rows of this part have been sent.
    Complete(Extent),
    /// A part could not be listed, for instance for want of a permission; the rest goes on.
    Problem {
        /// The cluster it is about.
        cluster: Option<String>,
        /// What went wrong.
        error: AwsError,
    },
    /// The walk ended early: nothing can be listed.
    Failed(AwsError),
    /// Everything was listed that can be. Services are still described when asked for.
    Done(LoadFigures),
}

/// What a walk cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadFigures {
    /// Calls made.
    pub calls: usize,
    /// Calls that are known to be needed still.
    pub waiting: usize,
    /// The most calls that were started in one second.
    pub peak: usize,
    /// Calls that AWS throttled.
    pub throttled: usize,
}

/// A walk in progress. Dropping it ends the walk.
#[derive(Debug)]
pub struct InventoryLoad {
    events: mpsc::Receiver<InventoryEvent>,
    wishes: mpsc::Sender<Place>,
    figures: Arc<std::sync::Mutex<LoadFigures>>,
    _task: AbortOnDropHandle<()>,
}

impl InventoryLoad {
    pub(crate) fn start(client: Client, options: InventoryOptions) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_WAITING);
        let (wishes, wished) = mpsc::channel(WISHES_WAITING);
        let figures = Arc::default();
        let walk = Walk {
            client,
            options,
            events: sender,
            figures: Arc::clone(&figures),
            pace: Pace::new(),
            pending: BinaryHeap::new(),
            asked: 0,
            tasks: HashMap::new(),
            ranks: HashMap::new(),
            described: HashSet::new(),
            throttled: 0,
            unheard: None,
        };
        Self {
            events,
            wishes,
            figures,
            _task: AbortOnDropHandle::new(tokio::spawn(walk.run(wished))),
        }
    }

    /// The next event; `None` after a failure. Cancel-safe.
    pub async fn next(&mut self) -> Option<InventoryEvent> {
        self.events.recv().await
    }

    /// Asks for the state and events of a service before all else. Services are described only when asked for: it
    /// takes one call for ten of them.
    pub fn describe(&self, service: &Place) {
        // If too much was wished for already, this is not what the user waits for.
        let _ = self.wishes.try_send(service.clone());
    }

    /// What the walk has cost so far.
    pub fn figures(&self) -> LoadFigures {
        *self
            .figures
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Pending {
    urgency: Urgency,
    attempts: u32,
    call: Call,
}

/// Smaller is sooner: the stage, the cluster's rank, then as it was asked.
type Urgency = (u8, usize, usize);

struct Walk {
    client: Client,
    options: InventoryOptions,
    events: mpsc::Sender<InventoryEvent>,
    figures: Arc<std::sync::Mutex<LoadFigures>>,
    pace: Pace,
    pending: BinaryHeap<Reverse<Pending>>,
    asked: usize,
    /// Calls about the tasks of a cluster that are still to be answered.
    tasks: HashMap<Arc<str>, Outstanding>,
    ranks: HashMap<Arc<str>, usize>,
    described: HashSet<Place>,
    throttled: usize,
    /// Calls that did not reach AWS since one was answered, if only by an error; `None` before the first answer.
    unheard: Option<usize>,
}

#[derive(Debug, Default)]
struct Outstanding {
    calls: usize,
    failed: bool,
}

impl Walk {
    async fn run(mut self, mut wished: mpsc::Receiver<Place>) {
        self.begin();
        let mut running = JoinSet::new();
        let mut done = false;
        loop {
            while let Some(pending) = self.start_next() {
                let client = self.client.clone();
                running.spawn(async move {
                    let answer = pending.call.make(&client).await;
                    (pending, answer)
                });
            }
            self.publish_figures();
            if self.pending.is_empty() && running.is_empty() && !done {
                done = true;
                let figures = self.figures();
                if self
                    .events
                    .send(InventoryEvent::Done(figures))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            let free = match self.pending.is_empty() {
                true => None,
                false => self.pace.next_free(Instant::now()),
            };
            // Every arm is cancel-safe: a joined task is handed out whole, wishes stay in their channel.
            tokio::select! {
                Some(ended) = running.join_next() => {
                    // A call that panicked is a bug that has been reported; its part stays incomplete.
                    let Ok((pending, answer)) = ended else { continue };
                    if self.answered(pending, answer).await.is_err() {
                        return;
                    }
                }
                wish = wished.recv() => match wish {
                    Some(service) => self.wish(&service),
                    None => return,
                },
                () = sleep_until(free.unwrap_or_else(Instant::now)), if free.is_some() => {}
            }
        }
    }

    fn begin(&mut self) {
        for (rank, name) in self.options.first.iter().enumerate() {
            self.ranks.insert(name.as_str().into(), rank);
        }
        match self.options.only.clone() {
            Some(cluster) => {
                let cluster: Arc<str> = cluster.as_str().into();
                self.ranks.insert(Arc::clone(&cluster), 0);
                let arns = vec![cluster.to_string()];
                self.ask(Call::DescribeClusters { arns });
            }
            None => self.ask(Call::Clusters { after: None }),
        }
    }

    fn ask(&mut self, call: Call) {
        if let Some(cluster) = call.about_tasks() {
            self.tasks.entry(Arc::clone(cluster)).or_default().calls += 1;
        }
        self.ask_again(call, 0);
    }

    fn ask_again(&mut self, call: Call, attempts: u32) {
        let rank = call.cluster().and_then(|cluster| self.ranks.get(cluster));
        self.asked += 1;
        let urgency = (
            call.stage(rank.is_some_and(|rank| *rank == 0)),
            rank.copied().unwrap_or(usize::MAX),
            self.asked,
        );
        self.pending.push(Reverse(Pending {
            urgency,
            attempts,
            call,
        }));
    }

    fn wish(&mut self, service: &Place) {
        let Some(name) = &service.service else { return };
        if self.described.insert(service.clone()) {
            self.ask(Call::DescribeServices {
                cluster: Arc::clone(&service.cluster),
                names: vec![name.to_string()],
            });
        }
    }

    fn start_next(&mut self) -> Option<Pending> {
        if self.pending.is_empty() || !self.pace.start(Instant::now()) {
            return None;
        }
        self.pending.pop().map(|next| next.0)
    }

    /// An error says that nobody listens any more, or that there is nothing to go on with.
    async fn answered(
        &mut self,
        pending: Pending,
        answer: Result<Found, AwsError>,
    ) -> Result<(), ()> {
        let throttled = matches!(&answer, Err(error) if error.is_throttled());
        self.throttled += usize::from(throttled);
        self.pace.ended(Instant::now(), throttled.then(jitter));
        match &answer {
            Err(error) if error.kind == AwsErrorKind::Unreachable => {
                self.unheard = self.unheard.map(|calls| calls + 1);
            }
            Err(error) if error.status.is_none() => {}
            _ => self.unheard = Some(0),
        }
        let found = match answer {
            Ok(found) => found,
            Err(error) => return self.failed(pending, error).await,
        };
        for call in found.calls {
            self.ask(call);
        }
        if !found.rows.is_empty() {
            self.send(InventoryEvent::Rows(found.rows)).await?;
        }
        for extent in found.complete {
            self.send(InventoryEvent::Complete(extent)).await?;
        }
        self.tasks_answered(&pending.call, false).await
    }

    /// The tasks of a cluster are complete when the last call about them has been answered.
    async fn tasks_answered(&mut self, call: &Call, failed: bool) -> Result<(), ()> {
        let Some(cluster) = call.about_tasks() else {
            return Ok(());
        };
        let outstanding = self.tasks.entry(Arc::clone(cluster)).or_default();
        outstanding.failed |= failed;
        outstanding.calls = outstanding.calls.saturating_sub(1);
        if outstanding.calls > 0 || outstanding.failed {
            return Ok(());
        }
        let extent = Extent::Tasks(cluster.to_string());
        self.send(InventoryEvent::Complete(extent)).await
    }

    async fn failed(&mut self, pending: Pending, error: AwsError) -> Result<(), ()> {
        let unreachable = error.kind == AwsErrorKind::Unreachable
            && self.unheard.is_none_or(|calls| calls >= UNHEARD);
        if pending.attempts < attempts_after(&error) && !unreachable {
            tracing::debug!(%error, "asking again");
            self.ask_again(pending.call, pending.attempts + 1);
            return Ok(());
        }
        let hopeless = unreachable
            || matches!(error.kind, AwsErrorKind::Credentials | AwsErrorKind::Trust)
            || error.is_rejected_credentials()
            || matches!(pending.call, Call::Clusters { .. });
        if hopeless {
            self.send(InventoryEvent::Failed(error)).await?;
            return Err(());
        }
        let cluster = pending.call.cluster().map(|cluster| cluster.to_string());
        self.send(InventoryEvent::Problem { cluster, error })
            .await?;
        self.tasks_answered(&pending.call, true).await
    }

    async fn send(&self, event: InventoryEvent) -> Result<(), ()> {
        self.events.send(event).await.map_err(drop)
    }

    fn figures(&self) -> LoadFigures {
        LoadFigures {
            calls: self.pace.calls(),
            waiting: self.pending.len(),
            peak: self.pace.peak(),
            throttled: self.throttled,
        }
    }

    fn publish_figures(&self) {
        let figures = self.figures();
        *self
            .figures
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = figures;
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.urgency == other.urgency
    }
}

impl Eq for Pending {}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.urgency.cmp(&other.urgency)
    }
}

/// How often a call is repeated after this error.
fn attempts_after(error: &AwsError) -> u32 {
    match error.kind {
        _ if error.is_throttled() => 10,
        AwsErrorKind::TimedOut => 1,
        // Of many connections one breaks now and then.
        AwsErrorKind::Unreachable => 2,
        AwsErrorKind::Service | AwsErrorKind::NotAws
            if error.status.is_some_and(|status| status >= 500) =>
        {
            3
        }
        _ => 0,
    }
}

fn jitter() -> u8 {
    let mut byte = [0];
    // Without randomness there is no jitter, which only matters among many.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

/// So many calls that do not reach AWS, one after the other, are an outage and no accident.
const UNHEARD: usize = 20;
/// Batches of rows that wait for whoever shows them; at ten calls a second that is several seconds' worth.
const EVENTS_WAITING: usize = 64;
/// Services one may ask for before the first of them was described.
const WISHES_WAITING: usize = 8;
