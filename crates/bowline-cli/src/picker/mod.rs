//! Choosing a target by eye: a fuzzy finder over all clusters, services, tasks and containers.
//!
//! `state.rs` is what it knows and does, `view.rs` what it looks like, `run.rs` the loop that joins both with a
//! terminal and a walk through the account. It never opens where nobody can answer.

mod inline;
mod keys;
mod line;
mod one_liner;
mod preview;
mod query;
mod run;
mod state;
mod view;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bowline::inventory::{Inventory, InventoryOptions, Place, Row, RowKind};
use bowline::target::{Selector, TargetSpec};
use bowline::{Client, ResolvedTarget, TargetError, TargetOptions};
use clap::Args;

use self::run::{Ended, News};
use self::state::{Purpose, State};
use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::kept::Kept;
use crate::terminal;

/// Options of the verbs that open the picker.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PickArgs {
    /// Choose from a list, even if the target is clear
    #[arg(long)]
    pub(crate) pick: bool,
    /// Open the list with this query (words, 'exact, ^begin, end$, !not, a | b)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) query: Option<String>,
}

/// What became of the question.
#[derive(Debug)]
pub(crate) enum Found {
    /// There is a target.
    Target(Box<ResolvedTarget>),
    /// The user left without choosing one.
    Left(ExitCode),
}

/// Whether somebody can be asked: a terminal at stdin and stderr, and no CI. stdout may be a pipe.
pub(crate) fn is_possible() -> bool {
    let set =
        |name: &str| std::env::var(name).is_ok_and(|value| !matches!(&*value, "" | "false" | "0"));
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    terminal::stdin_is_terminal() && terminal::stderr_is_terminal() && !set("CI") && !dumb
}

/// The one container that is meant. Where that is not clear, and where it was asked for, the user chooses; `action` is
/// what Enter is going to do.
pub(crate) async fn resolve(
    client: &Client,
    target: Option<&TargetSpec>,
    pick: &PickArgs,
    action: &'static str,
    context: &Context,
) -> Result<Found, CommandError> {
    let options = context.global.target_options();
    let typed = target;
    let by_choice = pick.pick || pick.query.is_some();
    // A usual target is no restriction for whoever wants to choose.
    let target = match (typed, by_choice) {
        (None, true) => None,
        (typed, _) => context.target(typed),
    };
    let target = target.as_ref();
    let question = Question {
        client,
        target,
        typed,
        pick,
        action,
        context,
        options: &options,
    };
    if by_choice {
        if !is_possible() {
            return Err(CommandError::usage(
                "there is nobody to choose a target: --pick needs a terminal",
            )
            .hint("name the target; `bowline ls` shows what there is"));
        }
        return question.ask(Kept::open(client, context)).await;
    }
    if let Some(target) = target {
        return found(client.resolve(target, &options).await);
    }
    let named = options.service.is_some() || options.task.is_some();
    if named || !is_possible() {
        return found(client.resolve_only(&options).await);
    }
    let kept = Kept::open(client, context);
    if is_ambiguous(&kept.inventory, &options) {
        return question.ask(kept).await;
    }
    match client.resolve_only(&options).await {
        Err(TargetError::Ambiguous { .. } | TargetError::ClusterAmbiguous { .. }) => {
            question.ask(kept).await
        }
        other => found(other),
    }
}

fn found(target: Result<ResolvedTarget, TargetError>) -> Result<Found, CommandError> {
    Ok(Found::Target(Box::new(target?)))
}

struct Question<'a> {
    client: &'a Client,
    target: Option<&'a TargetSpec>,
    /// As it stands on the command line.
    typed: Option<&'a TargetSpec>,
    pick: &'a PickArgs,
    action: &'static str,
    context: &'a Context,
    options: &'a TargetOptions,
}

impl Question<'_> {
    async fn ask(&self, mut kept: Kept) -> Result<Found, CommandError> {
        let current = self
            .options
            .cluster
            .as_ref()
            .map(|name| name.as_str().to_owned());
        let wanted = self.wanted();
        let (inventory, news) = match &wanted {
            Some(wanted) => (self.matching(wanted).await?, News::None),
            None => {
                let scope = self.scope(&kept.inventory, &kept.recents());
                let inventory = kept.take(scope.only.as_ref());
                (inventory, News::Walk(self.client.inventory(scope)))
            }
        };
        let purpose = Purpose {
            action: self.action,
            several: false,
            clusters: false,
        };
        let query = self.pick.query.as_deref().unwrap_or_default();
        let state = State::new(purpose, inventory, &kept.recents(), current, query);
        let ended = run::run(state, news, self.context.started).await?;
        if wanted.is_none() {
            kept.keep(ended.inventory).await;
        }
        let row = match ended.how {
            Ended::Chosen(rows) => rows.into_iter().next(),
            Ended::Left(code) => return Ok(Found::Left(code)),
            Ended::Failed(error) => return Err(error.into()),
        };
        let Some(row) = row else {
            return Ok(Found::Left(ExitCode::Interrupted));
        };
        let target = target_of(&row)?;
        kept.picked(&row.place);
        let arguments = &self.context.arguments;
        if let Some(line) = one_liner::equivalent(arguments, self.typed, &target) {
            self.context.printer.note(&terminal::dim(&line));
        }
        let options = TargetOptions {
            service: None,
            task: None,
            ..self.options.clone()
        };
        found(self.client.resolve(&target, &options).await)
    }

    /// What the choice is restricted to by a target or an option in its place.
    fn wanted(&self) -> Option<TargetSpec> {
        let task = || self.options.task.clone().map(Selector::Task);
        let service = || self.options.service.clone().map(Selector::Service);
        let by_option = || task().or_else(service).map(TargetSpec::of);
        self.target.cloned().or_else(by_option)
    }

    async fn matching(&self, wanted: &TargetSpec) -> Result<Inventory, CommandError> {
        let options = TargetOptions {
            cluster: self.options.cluster.clone(),
            ..TargetOptions::default()
        };
        let tasks = self.client.matching_tasks(wanted, &options).await?;
        let cluster = tasks.cluster.as_str().into();
        let rows = tasks.tasks.iter();
        Ok(Inventory::of(
            rows.flat_map(|task| Row::of_task(&cluster, task)).collect(),
        ))
    }

    /// A cluster that was named on the command line is all there is; one that is only the usual one comes first. Then
    /// come those that were picked from, and those of which nothing is known yet.
    fn scope(&self, known: &Inventory, recents: &[Place]) -> InventoryOptions {
        let current = self.options.cluster.clone();
        if self.context.global.cluster_by_flag {
            return InventoryOptions {
                only: current,
                ..InventoryOptions::default()
            };
        }
        let rows = known.rows().iter();
        let clusters: Vec<&str> = rows
            .filter(|row| row.kind() == RowKind::Cluster)
            .map(|row| &*row.place.cluster)
            .collect();
        let unknown = clusters.iter().copied().filter(|cluster| {
            let rows = known.rows().iter();
            let mut of_it = rows.filter(|row| *row.place.cluster == **cluster);
            of_it.all(|row| row.place.task.is_none())
        });
        // Whoever picks quickly would otherwise never see the last ones refreshed.
        let turn = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let turn = usize::try_from(turn.as_secs()).unwrap_or(0) % clusters.len().max(1);
        let (later, sooner) = clusters.split_at(turn.min(clusters.len()));
        let mut first: Vec<String> = Vec::new();
        let names = current.iter().map(|name| name.as_str());
        let names = names
            .chain(recents.iter().map(|place| &*place.cluster))
            .chain(unknown)
            .chain(sooner.iter().copied())
            .chain(later.iter().copied());
        for name in names {
            if !first.iter().any(|known| known == name) {
                first.push(name.to_owned());
            }
        }
        InventoryOptions { only: None, first }
    }
}

/// Whether what is known from the last time leaves a question open: then nobody has to be asked for it first.
fn is_ambiguous(known: &Inventory, options: &TargetOptions) -> bool {
    let rows = known.rows().iter();
    let clusters: Vec<&Row> = rows.filter(|row| row.kind() == RowKind::Cluster).collect();
    let cluster = match (&options.cluster, &clusters[..]) {
        (Some(cluster), _) => cluster.as_str(),
        (None, []) => return false,
        (None, [only]) => &only.place.cluster,
        (None, several) => match several.iter().find(|row| &*row.place.cluster == "default") {
            Some(default) => &default.place.cluster,
            None => return true,
        },
    };
    let rows = known.rows().iter();
    let of_it = rows.filter(|row| *row.place.cluster == *cluster);
    let mut groups: Vec<(&Option<_>, Option<_>)> = of_it
        .filter(|row| row.kind() == RowKind::Task)
        .map(|row| match &row.place.service {
            Some(_) => (&row.place.service, None),
            None => (&None, row.place.task.as_ref()),
        })
        .collect();
    groups.dedup();
    groups.len() > 1
}

/// The target that means a row. Services stay what they are when their tasks are replaced; a task is named whole.
fn target_of(row: &Row) -> Result<TargetSpec, CommandError> {
    let Place {
        cluster,
        service,
        task,
        container,
    } = &row.place;
    let text = match (service, task, container) {
        (_, Some(task), Some(container)) => format!("task:{cluster}/{task}/{container}"),
        (_, Some(task), None) => format!("task:{cluster}/{task}"),
        (Some(service), ..) => format!("{cluster}/{service}"),
        _ => cluster.to_string(),
    };
    text.parse()
        .map_err(|error| CommandError::new(ErrorKind::NotFound, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        cluster: &str,
        service: Option<&str>,
        task: Option<&str>,
        container: Option<&str>,
    ) -> Row {
        Row::at(Place::new(cluster, service, task, container))
    }

    #[test]
    fn a_row_is_named_so_that_it_is_found_again() {
        let id = "0123456789abcdef0123456789abcdef";
        for (row, target) in [
            (row("prod", Some("web"), None, None), "prod/web".to_owned()),
            (
                row("prod", Some("web"), Some(id), None),
                format!("task:prod/{id}"),
            ),
            (
                row("prod", None, Some(id), Some("app")),
                format!("task:prod/{id}/app"),
            ),
        ] {
            assert_eq!(target_of(&row).unwrap().to_string(), target);
        }
    }

    #[test]
    fn the_last_time_tells_whether_there_is_a_question() {
        let cases: [(&[Row], Option<&str>, bool); 6] = [
            (&[], None, false),
            (
                &[row("a", None, None, None), row("b", None, None, None)],
                None,
                true,
            ),
            (
                &[
                    row("a", None, None, None),
                    row("default", None, None, None),
                    row("default", Some("web"), Some("1"), None),
                    row("default", Some("web"), Some("2"), None),
                ],
                None,
                false,
            ),
            (
                &[
                    row("a", None, None, None),
                    row("a", Some("api"), Some("1"), None),
                    row("a", Some("web"), Some("2"), None),
                ],
                None,
                true,
            ),
            (
                &[
                    row("a", None, None, None),
                    row("a", None, Some("1"), None),
                    row("a", None, Some("2"), None),
                    row("b", None, None, None),
                ],
                Some("a"),
                true,
            ),
            (
                &[row("a", None, None, None), row("b", None, None, None)],
                Some("b"),
                false,
            ),
        ];
        for (at, (rows, cluster, ambiguous)) in cases.into_iter().enumerate() {
            let options = TargetOptions {
                cluster: cluster.map(|name| name.parse().unwrap()),
                ..TargetOptions::default()
            };
            let known = Inventory::of(rows.to_vec());
            assert_eq!(is_ambiguous(&known, &options), ambiguous, "case {at}");
        }
    }
}
