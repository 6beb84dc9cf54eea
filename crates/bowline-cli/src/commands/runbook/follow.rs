//! `bowline runbook follow`, `stop` and `signal`: executions of the service.

use std::time::Duration;

use bowline::Client;
use bowline::runbook::remote::{self, Follow, Signal};
use bowline_runbook::{Event, Status};
use clap::{Args, ValueEnum};

use super::interrupts::Interrupts;
use super::progress::Progress;
use super::submit::unusable;
use crate::commands::Context;
use crate::duration;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// Follow an execution of the service until it ends
///
/// Shows what a local run shows, from the beginning, and ends with its exit code. Ctrl-C
/// cancels the execution; a second one leaves it.
///
/// Example: bowline runbook follow 0d5f3c1e-1111-4222-8333-123456789012
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct FollowArgs {
    /// The id of the execution
    id: String,
    /// Look at it this often
    #[arg(long, value_parser = duration::interval, value_name = "TIME", default_value = "2s")]
    poll_interval: Duration,
}

/// Stop an execution of the service
///
/// The step at work is given up and its onCancel followed, unless you say --after-step.
///
/// Example: bowline runbook stop 0d5f3c1e-1111-4222-8333-123456789012
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct StopArgs {
    /// The id of the execution
    id: String,
    /// Let the step at work end first
    #[arg(long)]
    after_step: bool,
}

/// Answer an execution of the service that waits for somebody
///
/// Example: bowline runbook signal 0d5f3c1e-1111-4222-8333-123456789012 approve
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct SignalArgs {
    /// The id of the execution
    id: String,
    /// The answer
    #[arg(value_enum)]
    answer: AnswerName,
    /// Said with an approval or a rejection
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AnswerName {
    /// Approve
    Approve,
    /// Reject: the step fails
    Reject,
    /// Go on after a pause
    Resume,
}

/// How watching an execution came to its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    /// The execution ended so.
    So(Status),
    /// The person left, and the execution goes on.
    Left,
}

/// Who sees an execution.
pub(super) trait Viewer {
    /// Something happened in it.
    fn event(&mut self, event: Event);
    /// A remark on stderr.
    fn note(&mut self, text: &str);
    /// A second has passed.
    fn tick(&mut self) {}
}

impl Viewer for Progress {
    fn event(&mut self, event: Event) {
        self.show(&event);
    }

    fn note(&mut self, text: &str) {
        Self::note(self, text);
    }

    fn tick(&mut self) {
        Self::tick(self);
    }
}

pub(super) async fn follow(args: FollowArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let mut interrupts = Interrupts::new()?;
    let client = context.client().await?;
    let mut progress = Progress::new(context, None);
    let ended = watch(
        &client,
        &args.id,
        args.poll_interval,
        context.global.verbose > 0,
        &mut interrupts,
        &mut progress,
    )
    .await;
    progress.clear();
    Ok(ended?.code(&interrupts))
}

pub(super) async fn stop(args: StopArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let client = context.client().await?;
    remote::stop(&client, &args.id, args.after_step).await?;
    let when = match args.after_step {
        true => "ends after the step at work",
        false => "is being cancelled",
    };
    context.printer.note(&format!("{} {when}", args.id));
    Ok(ExitCode::Success)
}

pub(super) async fn answer(args: SignalArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let kind = match args.answer {
        AnswerName::Approve => Signal::Approve,
        AnswerName::Reject => Signal::Reject,
        AnswerName::Resume => Signal::Resume,
    };
    if args.comment.is_some() && kind == Signal::Resume {
        return Err(unusable(
            "a comment goes with an approval or a rejection".to_owned(),
        ));
    }
    let client = context.client().await?;
    remote::signal(&client, &args.id, kind, args.comment.as_deref()).await?;
    context.printer.note(&format!("{} was told", args.id));
    Ok(ExitCode::Success)
}

/// Shows an execution until its end. An interrupt that came before cancels it at once.
pub(super) async fn watch(
    client: &Client,
    id: &str,
    interval: Duration,
    is_verbatim: bool,
    interrupts: &mut Interrupts,
    viewer: &mut dyn Viewer,
) -> Result<Ended, CommandError> {
    let mut follow = Follow::new(client.clone(), id, Some(interval), is_verbatim);
    let mut cancelled = false;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        let event = tokio::select! {
            biased;
            () = interrupts.next() => None,
            event = follow.next() => Some(event?),
            _ = tick.tick() => {
                viewer.tick();
                continue;
            }
        };
        match event {
            None if cancelled => {
                viewer.note(&format!("left at once; the execution goes on. `bowline runbook follow {id}` comes back to it"));
                return Ok(Ended::Left);
            }
            None => {
                cancelled = true;
                viewer.note("cancelling the execution; once more leaves it");
                // It may have ended just now, and then its end is seen.
                if let Err(error) = remote::stop(client, id, false).await {
                    viewer.note(&format!("it was not cancelled: {error}"));
                }
            }
            Some(Some(event)) => viewer.event(event),
            Some(None) => break,
        }
    }
    Ok(Ended::So(follow.status().unwrap_or(Status::Failed)))
}
