//! Watching tasks by DescribeTasks: when to look, what an answer means, what changed.
//!
//! A task that RunTask has just returned may be MISSING for seconds, answers can be older than the one before, and a
//! short task is STOPPED at the first look.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::model::Task;

/// A task that ECS does not know is "not yet" for so long; after that it is gone.
const MISSING_LIMIT: Duration = Duration::from_secs(15);
/// … unless it was missing only so many times.
const MISSING_LOOKS: u32 = 3;

/// Tasks that are watched until they have stopped.
#[derive(Debug)]
pub(super) struct Watch {
    begun: Instant,
    /// Something is about to happen: look often.
    hurry: Option<Instant>,
    tasks: Vec<Watched>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) arn: String,
    pub(super) task: Task,
    /// Essential or not: containers that were seen stopped while others were not.
    pub(super) stopped_first: Vec<String>,
    missing: Option<(Instant, u32)>,
    pull_told: bool,
    /// It had stopped before anybody looked.
    found_stopped: bool,
}

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The task with this number has another status, or something of note.
    Status(usize, String),
    /// ECS does not know the task any more.
    Gone(usize),
}

impl Watch {
    /// Watches tasks as RunTask or DescribeTasks gave them.
    pub(super) fn new(now: Instant, tasks: Vec<Task>) -> Self {
        let tasks = tasks.into_iter().map(|task| Watched {
            arn: task.task_arn.clone(),
            found_stopped: is_stopped(&task),
            task,
            stopped_first: Vec::new(),
            missing: None,
            pull_told: false,
        });
        Self {
            begun: now,
            hurry: None,
            tasks: tasks.collect(),
        }
    }

    /// The tasks, in the order they were given.
    pub(super) fn tasks(&self) -> &[Watched] {
        &self.tasks
    }

    /// The ARNs of those that have not stopped.
    pub(super) fn open(&self) -> Vec<String> {
        self.tasks
            .iter()
            .filter(|watched| !is_stopped(&watched.task))
            .map(|watched| watched.arn.clone())
            .collect()
    }

    /// Whether all have stopped.
    pub(super) fn is_done(&self) -> bool {
        self.tasks.iter().all(|watched| is_stopped(&watched.task))
    }

    /// Somebody asked for a stop: its end is near.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.hurry = Some(now);
    }

    /// How long to wait before the next look: a second at first, more and more for tasks that take long.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let since = now - self.hurry.unwrap_or(self.begun);
        let pause = match since.as_secs() {
            0..10 => 1000,
            10..60 => 2500,
            _ => 6000,
        };
        // Spread over a tenth, so that many runs that began together do not ask together.
        let spread = u64::from(now.elapsed().subsec_nanos() ^ since.subsec_nanos()) % (pause / 10);
        Duration::from_millis(pause + spread)
    }

    /// Takes the answer to a question for the tasks `asked`.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        asked: &[String],
        answer: &[Task],
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (number, watched) in self.tasks.iter_mut().enumerate() {
            if let Some(task) = answer.iter().find(|task| task.task_arn == watched.arn) {
                watched.missing = None;
                watched.update(number, task, &mut changes);
            } else if asked.contains(&watched.arn) {
                let (since, looks) = watched.missing.unwrap_or((now, 0));
                watched.missing = Some((since, looks + 1));
                if now - since >= MISSING_LIMIT && looks >= MISSING_LOOKS {
                    changes.push(Change::Gone(number));
                }
            }
        }
        changes
    }
}

impl Watched {
    /// How long ago the task's containers had ended when that was first seen. Where the end itself was seen this is no
    /// time at all: the difference between two clocks says nothing then.
    pub(super) fn stopped_ago(&self, now: Timestamp) -> Duration {
        match self.found_stopped {
            true => stopped_ago(&self.task, now),
            false => Duration::ZERO,
        }
    }

    fn update(&mut self, number: usize, task: &Task, changes: &mut Vec<Change>) {
        if task.version < self.task.version {
            return;
        }
        let before = self.task.last_status.clone();
        self.task = task.clone();
        if !self.pull_told
            && let Some(text) = pull(task)
        {
            self.pull_told = true;
            changes.push(Change::Status(number, text));
        }
        if before != task.last_status
            && let Some(status) = &task.last_status
        {
            changes.push(Change::Status(number, format!("is {status}")));
        }
        if self.stopped_first.is_empty() && !is_stopped(task) {
            let stopped =
                |one: &&crate::model::Container| one.last_status.as_deref() == Some("STOPPED");
            let down: Vec<String> = task
                .containers
                .iter()
                .filter(stopped)
                .map(|one| one.name.clone())
                .collect();
            if down.len() < task.containers.len() {
                self.stopped_first = down;
            }
        }
    }
}

/// Whether nothing more will happen to a task.
pub(super) fn is_stopped(task: &Task) -> bool {
    matches!(task.last_status.as_deref(), Some("STOPPED" | "DELETED"))
}

/// How long the images took.
fn pull(task: &Task) -> Option<String> {
    let took = task.pull_stopped_at?.duration_since(task.pull_started_at?);
    Some(format!(
        "has its images after {}",
        seconds(took.as_millis())
    ))
}

fn seconds(millis: i128) -> String {
    match millis {
        ..=999 => format!("{millis} ms"),
        1000..=9999 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => format!("{} s", millis / 1000),
    }
}

/// How long ago a task's containers ended. The local clock may be off by a minute, so that much is taken away.
pub(crate) fn stopped_ago(task: &Task, now: Timestamp) -> Duration {
    let stopped = task.execution_stopped_at.or(task.stopped_at);
    let ago = stopped.map_or(0, |stopped| now.duration_since(stopped).as_secs() - 60);
    Duration::from_secs(u64::try_from(ago).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Container;

    fn task(status: &str, version: i64, containers: &[(&str, &str)]) -> Task {
        Task {
            task_arn: "t".into(),
            last_status: Some(status.into()),
            version,
            containers: containers
                .iter()
                .map(|(name, status)| Container {
                    name: (*name).into(),
                    last_status: Some((*status).into()),
                    ..Container::default()
                })
                .collect(),
            ..Task::default()
        }
    }

    fn status(text: &str) -> Change {
        Change::Status(0, text.to_owned())
    }

    #[test]
    fn missing_is_not_yet_for_a_while_and_then_gone() {
        let start = Instant::now();
        let mut watch = Watch::new(start, vec![task("PROVISIONING", 1, &[])]);
        let asked = watch.open();
        for second in 0..15 {
            let now = start + Duration::from_secs(second);
            assert_eq!(watch.answered(now, &asked, &[]), []);
        }
        let seen = watch.answered(start, &asked, &[task("PENDING", 2, &[])]);
        assert_eq!(seen, [status("is PENDING")]);
        for second in 0..15 {
            let now = start + Duration::from_secs(second);
            assert_eq!(watch.answered(now, &asked, &[]), []);
        }
        let late = start + Duration::from_secs(15);
        assert_eq!(watch.answered(late, &asked, &[]), [Change::Gone(0)]);
    }

    #[test]
    fn older_answers_are_dropped_and_the_first_to_stop_is_remembered() {
        let start = Instant::now();
        let mut watch = Watch::new(start, vec![task("PENDING", 1, &[])]);
        let asked = watch.open();
        let both = task("RUNNING", 4, &[("a", "RUNNING"), ("b", "STOPPED")]);
        assert_eq!(
            watch.answered(start, &asked, &[both]),
            [status("is RUNNING")]
        );
        assert_eq!(
            watch.answered(start, &asked, &[task("PENDING", 3, &[])]),
            []
        );
        let over = task("STOPPED", 6, &[("a", "STOPPED"), ("b", "STOPPED")]);
        assert_eq!(
            watch.answered(start, &asked, &[over]),
            [status("is STOPPED")]
        );
        assert_eq!(watch.tasks()[0].stopped_first, ["b"]);
        assert!(watch.is_done());
        assert!(watch.open().is_empty());
    }

    /// The local clock is ten minutes fast, and output is still to come.
    #[test]
    fn an_end_that_was_seen_has_just_been_whatever_the_clocks_say() {
        let start = Instant::now();
        let over = Task {
            stopped_at: Some(Timestamp::from_second(1000).unwrap()),
            ..task("STOPPED", 2, &[])
        };
        let now = Timestamp::from_second(1600).unwrap();
        let mut watch = Watch::new(start, vec![task("RUNNING", 1, &[])]);
        let asked = watch.open();
        watch.answered(start, &asked, std::slice::from_ref(&over));
        assert_eq!(watch.tasks()[0].stopped_ago(now), Duration::ZERO);
        // One that had stopped before is read only as long as that is worth it.
        let watch = Watch::new(start, vec![over]);
        assert_eq!(
            watch.tasks()[0].stopped_ago(now),
            Duration::from_secs(600 - 60)
        );
    }

    #[test]
    fn looks_are_frequent_at_first_and_after_a_request_to_stop() {
        let start = Instant::now();
        let mut watch = Watch::new(start, Vec::new());
        let pause =
            |watch: &Watch, second| watch.pause(start + Duration::from_secs(second)).as_millis();
        assert!((1000..1100).contains(&pause(&watch, 3)));
        assert!((2500..2750).contains(&pause(&watch, 30)));
        assert!((6000..6600).contains(&pause(&watch, 900)));
        watch.hurry(start + Duration::from_secs(900));
        assert!((1000..1100).contains(&pause(&watch, 905)));
    }

    #[test]
    fn the_time_of_the_pull_is_told_once() {
        let start = Instant::now();
        let mut watch = Watch::new(start, vec![task("PENDING", 1, &[])]);
        let asked = watch.open();
        let second = |number| Some(Timestamp::from_second(number).unwrap());
        let pulled = Task {
            pull_started_at: second(100),
            pull_stopped_at: second(112),
            ..task("RUNNING", 2, &[])
        };
        let changes = watch.answered(start, &asked, std::slice::from_ref(&pulled));
        assert_eq!(
            changes,
            [status("has its images after 12 s"), status("is RUNNING")]
        );
        assert_eq!(watch.answered(start, &asked, &[pulled]), []);
    }
}
