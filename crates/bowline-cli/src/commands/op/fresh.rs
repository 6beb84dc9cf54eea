//! An operation as a fresh task.

use std::collections::BTreeMap;

use bowline::Client;
use bowline::run::{RunEvent, RunOptions, RunTarget, RunWish};
use serde_json::json;

use super::Call;
use super::ledger::Ledger;
use super::values;
use crate::commands::run::verdict::verdict;
use crate::commands::{Context, guard};
use crate::error::{CommandError, ErrorKind, keep};
use crate::exit_code::ExitCode;
use crate::signals::Signals;
use crate::writer::Stream;

impl Call<'_> {
    /// Starts a task with the operation's command and stays until it has ended. A signal stops it.
    pub(super) async fn fresh(
        &self,
        client: &Client,
        given: BTreeMap<String, String>,
        dry_run: bool,
        context: &Context,
    ) -> Result<ExitCode, CommandError> {
        let operation = &self.operation.value;
        let options = context.global.target_options();
        // The values of enums are asked for in a container that is there.
        let choices = match operation
            .param
            .values()
            .any(|parameter| !parameter.values_from.is_empty())
        {
            true => {
                let target = self.target()?;
                let target = match context.target(target.as_ref()) {
                    Some(target) => client.resolve(&target, &options).await?,
                    None => client.resolve_only(&options).await?,
                };
                values::choices(client, &target, operation, self.wait).await?
            }
            false => BTreeMap::new(),
        };
        let bound = values::check(operation, &given, &choices)?;
        let target = match (self.on, &operation.target) {
            (Some(on), _) => Some(RunTarget::Spec(on.clone())),
            (None, Some(target)) => Some(
                target
                    .parse::<RunTarget>()
                    .map_err(|error| CommandError::usage(error.to_string()))?,
            ),
            (None, None) => context.target(None).map(RunTarget::Spec),
        };
        let target = match target {
            Some(RunTarget::Spec(spec)) => context.target(Some(&spec)).map(RunTarget::Spec),
            other => other,
        };
        let mut plan = client
            .plan_run(target.as_ref(), &RunWish::default(), &options)
            .await?;
        for note in &plan.notes {
            context.printer.note(note);
        }
        let container = plan.container.clone();
        plan.request.overrides.container(&container).command = Some(bound.argv.clone());
        plan.request.check().map_err(CommandError::usage)?;
        let place = format!(
            "a fresh task {}:{} in {}",
            plan.definition.family, plan.definition.revision, plan.cluster
        );
        if dry_run {
            return self.say(&bound, &place, context);
        }
        let account = guard::account(&plan.definition.task_definition_arn);
        guard::check_place(context, account, plan.cluster.as_str(), &place).await?;
        self.confirm(&bound, &place, context).await?;
        let mut ledger = Ledger::open(self.name, operation, &bound, client).await?;
        let mut signals = Signals::listen()?;
        let run = RunOptions {
            timeout: operation.time_limit(),
            record: context.recording("op")?,
            ..RunOptions::default()
        };
        let mut run = client.run(plan.request, run);
        let control = run.control();
        let mut stopping = false;
        let ended = 'ended: loop {
            let event = tokio::select! {
                event = run.next() => event,
                signal = signals.next() => {
                    if std::mem::replace(&mut stopping, true) {
                        context.printer.note("the task goes on");
                        break Ok(signal.code());
                    }
                    control.stop("the operation was interrupted");
                    continue;
                }
            };
            match event {
                Some(RunEvent::Launched { tasks, .. }) => {
                    ledger.place(json!({
                        "cluster": plan.cluster.as_str(),
                        "task": tasks.first().map(|task| task.task_id.clone()),
                        "container": container,
                    }));
                }
                Some(RunEvent::Lines(lines)) => {
                    for line in lines {
                        let text = format!("{}\n", line.message);
                        ledger.output(Stream::Stdout, text.as_bytes());
                        if self.json {
                            continue;
                        }
                        if let Err(error) = context.printer.document(&text) {
                            context.printer.note("the task goes on");
                            break 'ended keep(Err(error), Ok(()));
                        }
                    }
                }
                Some(RunEvent::Notice(text)) => context.printer.note(&text),
                Some(RunEvent::Ended(report)) => {
                    break verdict(report, context).map(|ended| ended.code);
                }
                Some(RunEvent::Failed(error)) => break Err(error.into()),
                Some(_) => {}
                None => {
                    break Err(CommandError::new(
                        ErrorKind::Unavailable,
                        "the run ended without a word",
                    ));
                }
            }
        };
        self.finish(ledger, ended, context)
    }
}
