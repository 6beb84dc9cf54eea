//! Looks at the tasks of many runs in one account and region: those that are asked for at about the same time share a
//! call.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::model::Task;
use crate::{AwsError, Client};

/// How long a question waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// Questions that wait; more wait in front of the channel.
const QUESTIONS: usize = 128;

type Answer = Result<Vec<Task>, AwsError>;

struct Question {
    cluster: String,
    tasks: Vec<String>,
    answer: oneshot::Sender<Answer>,
}

/// Asks for many. Clones are the same; after the last one is dropped it ends.
#[derive(Clone, Debug)]
pub(crate) struct Looks {
    questions: mpsc::Sender<Question>,
    _task: std::sync::Arc<AbortOnDropHandle<()>>,
}

impl Looks {
    /// For an account and region. Needs a runtime.
    pub(crate) fn new(client: Client) -> Self {
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let task = tokio::spawn(answer(client, asked));
        Self {
            questions,
            _task: std::sync::Arc::new(AbortOnDropHandle::new(task)),
        }
    }

    /// Describes tasks; unknown ones are left out.
    pub(super) async fn tasks(&self, cluster: &str, tasks: &[String]) -> Answer {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            cluster: cluster.to_owned(),
            tasks: tasks.to_vec(),
            answer,
        };
        let lost = || AwsError::missing("ecs:DescribeTasks", "tasks");
        self.questions.send(question).await.map_err(|_| lost())?;
        answered.await.map_err(|_| lost())?
    }
}

async fn answer(client: Client, mut asked: mpsc::Receiver<Question>) {
    while let Some(first) = asked.recv().await {
        let until = Instant::now() + GATHER;
        let mut questions: BTreeMap<String, Vec<Question>> = BTreeMap::new();
        let mut next = Some(first);
        while let Some(question) = next {
            let here = questions.entry(question.cluster.clone()).or_default();
            here.push(question);
            next = tokio::select! {
                question = asked.recv() => question,
                () = sleep_until(until) => None,
            };
        }
        for (cluster, questions) in questions {
            let tasks: Vec<String> = questions
                .iter()
                .filter(|question| !question.answer.is_closed())
                .flat_map(|question| question.tasks.iter().cloned())
                .collect();
            if tasks.is_empty() {
                continue;
            }
            let found = client.ecs().tasks(&cluster, &tasks).await;
            for question in questions {
                let mine = match &found {
                    Ok(found) => Ok(found
                        .iter()
                        .filter(|task| question.tasks.contains(&task.task_arn))
                        .cloned()
                        .collect()),
                    Err(error) => Err(error.for_another()),
                };
                // Who has left needs no answer.
                let _ = question.answer.send(mine);
            }
        }
    }
}
