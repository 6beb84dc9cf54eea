//! `--explain`, of any verb: the AWS calls it needs and the least policy for them. Nothing is asked of AWS.
//!
//! The command line is read once more as the parser saw it, by names of options: what a verb means for AWS stands here
//! in one place, and not in every verb.

use std::path::Path;

use bowline::config::{self, Setting};
use bowline::explain::{
    Automation, Deed, Described, Explanation, Listed, Place, Submitted, When, Who, explain,
};
use bowline::operation::Via;
use bowline::record::Destination;
use bowline::target::{ArnKind, ContainerPart, Selector, TargetSpec};
use clap::{ArgMatches, CommandFactory};
use serde_json::json;

use super::{Context, runbook};
use crate::cli::{Cli, OutputFormat};
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::{json as json_text, table};
use crate::{picker, terminal};

/// Explains the command line that the context has.
pub(crate) async fn run(context: &Context) -> Result<ExitCode, CommandError> {
    let matches = Cli::command()
        .try_get_matches_from(&context.arguments)
        .map_err(|error| CommandError::usage(error.to_string()))?;
    let (verb, words) = matches
        .subcommand()
        .ok_or_else(|| CommandError::usage("there is no command to explain"))?;
    let words = Words(words);
    let mut deeds = deeds(verb, words, context)?;
    deeds.extend(further(verb, words, context));
    let place = place(verb, words, context).await;
    let explanation = explain(&deeds, &place);
    let who = match context.global.explain.as_deref() {
        Some("task-role") => Who::TaskRole,
        Some("caller") | None => Who::Caller,
        Some(other) => {
            let text = format!("--explain={other}: it is caller or task-role");
            return Err(CommandError::usage(text));
        }
    };
    let text = match context.global.output {
        Some(OutputFormat::Json | OutputFormat::Ndjson) => {
            json_text::document(&explanation.policy(who))?
        }
        _ => told(&explanation, who)?,
    };
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

/// The options of a verb by their names.
#[derive(Clone, Copy)]
struct Words<'m>(&'m ArgMatches);

impl<'m> Words<'m> {
    fn flag(self, name: &str) -> bool {
        matches!(self.0.try_get_one::<bool>(name), Ok(Some(true)))
    }

    /// The texts of an option or a place, as they were typed.
    fn texts(self, name: &str) -> Vec<String> {
        let raw = self.0.try_get_raw(name).ok().flatten();
        raw.into_iter()
            .flatten()
            .map(|text| text.to_string_lossy().into_owned())
            .collect()
    }

    fn text(self, name: &str) -> Option<String> {
        self.texts(name).into_iter().next()
    }

    fn given(self, name: &str) -> bool {
        !self.texts(name).is_empty()
    }

    fn sub(self) -> Option<(&'m str, Self)> {
        let (name, matches) = self.0.subcommand()?;
        Some((name, Self(matches)))
    }
}

fn deeds(verb: &str, words: Words<'_>, context: &Context) -> Result<Vec<Deed>, CommandError> {
    let session = match words.text("via").as_deref() {
        Some("ssm") => Deed::SsmSession {
            document: (verb == "exec").then_some("AWS-StartNonInteractiveCommand"),
        },
        _ => Deed::Exec,
    };
    Ok(match verb {
        "login" | "exec" | "script" => vec![Deed::Resolve, session],
        "op" => return operation(words, context),
        "run" => run_task(words),
        "attach" => match words
            .texts("tasks")
            .iter()
            .any(|task| task.starts_with("job-"))
        {
            true => vec![Deed::Resolve, Deed::Exec],
            false => vec![Deed::Resolve, Deed::Watch],
        },
        "forward" => return forward(words, context),
        "db" => {
            let stores = Deed::Stores {
                rds: true,
                elasticache: true,
            };
            match words.sub() {
                Some(("connect", _)) => vec![stores, Deed::Resolve, Deed::Forward],
                _ => vec![stores],
            }
        }
        "jobs" => vec![Deed::Resolve, Deed::Exec],
        "cp" => vec![Deed::Resolve, Deed::CountSessions, Deed::Exec],
        "logs" if words.flag("exec") => vec![Deed::Resolve, Deed::ExecLogs],
        "logs" => vec![
            Deed::Resolve,
            Deed::Logs {
                live: words.flag("live"),
            },
        ],
        "ls" => list(words),
        "describe" => vec![described(words)],
        "stop" => vec![Deed::Resolve, Deed::StopTask],
        "service" => match words.sub() {
            Some(("events", _)) => vec![Deed::Service],
            _ => vec![Deed::Service, Deed::UpdateService],
        },
        "doctor" => vec![Deed::Doctor {
            fix: words.flag("fix"),
        }],
        "runbook" => return with_runbooks(words),
        "record" => match words.sub() {
            Some(("export", words)) => destinations(&words.texts("to")),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    })
}

/// What options do that many verbs have.
fn further(verb: &str, words: Words<'_>, context: &Context) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let given = |name: &str| words.given(name);
    let picks = matches!(verb, "login" | "exec" | "script" | "doctor" | "forward");
    let asks =
        picks && !given("target") && !given("targets") && !given("words") && picker::is_possible();
    let asks = asks && context.config.defaults.target.is_none();
    if asks || (picks && (words.flag("pick") || given("query"))) {
        deeds.push(Deed::Inventory);
    }
    deeds.extend(words.texts("role").into_iter().map(Deed::AssumeRole));
    let accounts = words.texts("accounts");
    let is_id = |text: &String| text.len() == 12 && text.bytes().all(|it| it.is_ascii_digit());
    if !accounts.iter().all(is_id) {
        let all = accounts.iter().any(|text| text == "all");
        deeds.extend([Deed::Accounts { all }, Deed::Caller]);
    }
    if words.texts("regions").iter().any(|text| text == "all") {
        deeds.push(Deed::Regions);
    }
    if given("profiles") {
        deeds.push(Deed::Caller);
    }
    let enters = !matches!(
        verb,
        "ls" | "describe"
            | "logs"
            | "config"
            | "completion"
            | "help"
            | "version"
            | "sandbox"
            | "record"
    );
    let recorded = context.global.record || context.config.record.always.is_some();
    if enters && recorded {
        deeds.push(Deed::Caller);
        let copies = context.config.record.copy.iter().cloned();
        deeds.extend(copies.map(Deed::Copy));
    }
    deeds
}

fn operation(words: Words<'_>, context: &Context) -> Result<Vec<Deed>, CommandError> {
    let name = words.text("name").unwrap_or_default();
    if matches!(name.as_str(), "ls" | "list" | "show") {
        return Ok(Vec::new());
    }
    let operation = context.config.operations.get(&name).ok_or_else(|| {
        CommandError::new(ErrorKind::NotFound, format!("there is no operation {name}"))
            .hint("`bowline op ls` lists what there is")
    })?;
    let operation = &operation.value;
    let asks = operation
        .param
        .values()
        .any(|it| !it.values_from.is_empty());
    let mut deeds = vec![Deed::Caller];
    if operation.via == Via::Exec || asks {
        deeds.extend([Deed::Resolve, Deed::Exec]);
    }
    if operation.via == Via::Run {
        deeds.push(Deed::RunTask {
            family: operation.target.as_deref().and_then(family),
            tags: false,
            follows: true,
        });
    }
    Ok(deeds)
}

fn run_task(words: Words<'_>) -> Vec<Deed> {
    let targets = words.texts("targets");
    let mut families: Vec<Option<String>> = targets.iter().map(|it| family(it)).collect();
    if families.is_empty() {
        families.push(None);
    }
    let tasks = families.into_iter().map(|family| Deed::RunTask {
        family,
        tags: words.given("tag"),
        follows: !words.flag("detach") && !words.flag("rm"),
    });
    let mut deeds: Vec<Deed> = tasks.collect();
    if words.flag("all") || targets.iter().any(|it| it.contains(['*', '?'])) {
        deeds.push(Deed::List(Listed::Services));
    }
    if words.flag("rm") {
        deeds.extend([Deed::Resolve, Deed::Exec, Deed::StopTask]);
    }
    deeds
}

fn family(target: &str) -> Option<String> {
    let name = target.strip_prefix("family:")?;
    name.split([':', '/']).next().map(str::to_owned)
}

fn forward(words: Words<'_>, context: &Context) -> Result<Vec<Deed>, CommandError> {
    let mut deeds = vec![Deed::Resolve, Deed::Forward];
    let mut texts = words.texts("words");
    texts.extend(words.texts("specs"));
    match words.sub() {
        Some(("up", words)) => {
            let sets = context.config.forwards.iter();
            let named = words.0.ids().find(|id| id.as_str() != "help");
            let named = named.map(|id| words.texts(id.as_str())).unwrap_or_default();
            let wanted = sets.filter(|(name, _)| named.is_empty() || named.contains(*name));
            let ports = wanted.flat_map(|(_, set)| set.value.ports.iter());
            texts.extend(ports.map(ToString::to_string));
        }
        // Nothing of AWS's is asked for.
        Some(_) => return Ok(Vec::new()),
        None => {}
    }
    if words.given("rds") || words.given("cache") {
        deeds.push(Deed::Stores {
            rds: words.given("rds"),
            elasticache: words.given("cache"),
        });
    }
    for text in texts {
        let values = text
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next());
        for value in values {
            match value.split_once(':') {
                Some(("ssm", name)) => deeds.push(Deed::Parameter(name.to_owned())),
                Some(("secret", name)) => {
                    let name = name.split('#').next().unwrap_or_default();
                    deeds.push(Deed::Secret(name.to_owned()));
                }
                // It may be a parameter or a secret of the definition.
                Some(("env", _)) => deeds.push(Deed::Describe(Described::Family)),
                _ => {}
            }
        }
    }
    if words.flag("relay") {
        deeds.push(Deed::Exec);
    }
    Ok(deeds)
}

fn list(words: Words<'_>) -> Vec<Deed> {
    let kind = words.text("first").or_else(|| words.text("kind"));
    match kind.as_deref() {
        Some("clusters" | "cluster") => vec![Deed::List(Listed::Clusters)],
        Some("services" | "service") => vec![Deed::List(Listed::Services)],
        Some("tasks" | "containers" | "task" | "container") => vec![Deed::List(Listed::Tasks)],
        Some(_) => vec![
            Deed::Resolve,
            Deed::List(Listed::Tasks),
            Deed::List(Listed::Services),
        ],
        None => vec![Deed::List(Listed::Services), Deed::List(Listed::Tasks)],
    }
}

fn described(words: Words<'_>) -> Deed {
    Deed::Describe(match words.text("first").as_deref() {
        Some("cluster" | "clusters") => Described::Cluster,
        Some("service" | "services") => Described::Service,
        Some("family" | "families" | "definition") => Described::Family,
        Some(text) if text.starts_with("service:") => Described::Service,
        _ => Described::Task,
    })
}

/// The calls that a runbook's steps name, and those with which it is run.
fn with_runbooks(words: Words<'_>) -> Result<Vec<Deed>, CommandError> {
    let automation = |automation| Ok(vec![Deed::Automation(automation)]);
    match words.sub() {
        Some(("run", words)) => {
            let (role, steps) = document(words)?;
            let mut deeds = vec![Deed::Caller];
            deeds.extend(role.then(|| Deed::AssumeRole("*".to_owned())));
            deeds.extend(steps);
            Ok(deeds)
        }
        Some(("submit", words)) => submit(words),
        Some(("compare", words)) => {
            let (role, steps) = document(words)?;
            let document = Submitted::Temporary { kept: false };
            let mut deeds = vec![Deed::Caller];
            deeds.extend(steps);
            deeds.push(Deed::Automation(Automation::Submit {
                document,
                follows: true,
            }));
            deeds.extend(role.then_some(Deed::PassAutomationRole));
            Ok(deeds)
        }
        Some(("follow", _)) => automation(Automation::Follow),
        Some(("stop", _)) => automation(Automation::Stop),
        Some(("signal", words)) => automation(Automation::Signal {
            resumes: words.text("answer").as_deref() == Some("resume"),
        }),
        _ => Ok(Vec::new()),
    }
}

fn submit(words: Words<'_>) -> Result<Vec<Deed>, CommandError> {
    let (document, role, steps) = match (words.text("document"), words.text("name")) {
        (Some(named), _) => {
            let (name, _) = runbook::name_and_version(&named);
            // What is in it is not known without asking.
            (Submitted::There(name.to_owned()), true, Vec::new())
        }
        (None, name) => {
            let (role, steps) = document(words)?;
            let kept = words.flag("keep");
            let document = name.map_or(Submitted::Temporary { kept }, Submitted::Named);
            (document, role, steps)
        }
    };
    let follows = !words.flag("detach");
    let mut deeds = vec![Deed::Automation(Automation::Submit { document, follows })];
    match role {
        true => deeds.push(Deed::PassAutomationRole),
        // Without a role of its own it is run as whoever starts it.
        false => deeds.extend(steps),
    }
    Ok(deeds)
}

/// Whether the runbook has a role of its own, and the calls that its steps name.
fn document(words: Words<'_>) -> Result<(bool, Vec<Deed>), CommandError> {
    let text = runbook::read(Path::new(&words.text("file").unwrap_or_default()))?;
    let mut deeds = Vec::new();
    let Some(document) = bowline_runbook::check(&text).document else {
        return Ok((false, deeds));
    };
    steps(&document.steps, &mut deeds);
    Ok((document.assume_role.is_some(), deeds))
}

fn steps(steps: &[bowline_runbook::Step], deeds: &mut Vec<Deed>) {
    for step in steps {
        let input = |name: &str| {
            let entry = step.inputs.iter().find(|entry| entry.key == name);
            entry
                .and_then(|entry| entry.value.as_str())
                .map(str::to_owned)
        };
        let action = step.action.map_or("", bowline_runbook::Action::name);
        let named = match action {
            "aws:invokeLambdaFunction" => Some(("lambda".to_owned(), "Invoke".to_owned())),
            _ => input("Service").zip(input("Api")),
        };
        if let Some((service, operation)) = named {
            deeds.push(Deed::Api { service, operation });
        }
        self::steps(&step.body, deeds);
    }
}

fn destinations(texts: &[String]) -> Vec<Deed> {
    let read = texts
        .iter()
        .filter_map(|text| text.parse::<Destination>().ok());
    read.map(Deed::Copy).collect()
}

/// What the command line and the configuration say of where it is.
async fn place(verb: &str, words: Words<'_>, context: &Context) -> Place {
    let global = &context.global;
    let mut place = Place::new();
    place.region.clone_from(&global.region);
    if place.region.is_none() && !global.sandbox {
        let found = config::aws_region(global.profile.as_deref()).await;
        place.region = found.map(|(region, _)| region);
    }
    place.cluster = global.cluster.as_ref().map(ToString::to_string);
    place.service = global.service.as_ref().map(ToString::to_string);
    place.container = global.container.as_ref().map(ToString::to_string);
    let text = |name: &str| words.text(name);
    match (verb, text("first").as_deref()) {
        ("describe", Some("cluster" | "clusters")) => {
            place.cluster = text("second").or(place.cluster);
            return place;
        }
        ("describe", Some("family" | "families" | "definition")) => return place,
        _ => {}
    }
    let targets = targets(verb, words, context);
    let [target] = &targets[..] else {
        // Several are in several places.
        if targets.len() > 1 {
            place.cluster = None;
        }
        return place;
    };
    let Some(target) = target.parse::<TargetSpec>().ok() else {
        return place;
    };
    let target = context.config.expand(&target).target;
    if let Some(cluster) = &target.cluster {
        place.cluster = Some(cluster.to_string());
    }
    if let Some(ContainerPart::Named(container)) = &target.container {
        place.container = Some(container.to_string());
    }
    match &target.selector {
        Selector::Service(service) => place.service = Some(service.to_string()),
        Selector::Task(task) if task.as_str().len() == 32 => place.task = Some(task.to_string()),
        Selector::Arn(arn) => {
            place.region = Some(arn.region.clone());
            place.account = Some(arn.account.clone());
            if let Some(cluster) = &arn.cluster {
                place.cluster = Some(cluster.to_string());
            }
            match arn.kind {
                ArnKind::Task => place.task = Some(arn.name.clone()),
                ArnKind::Service => place.service = Some(arn.name.clone()),
                ArnKind::Cluster => place.cluster = Some(arn.name.clone()),
                _ => {}
            }
        }
        _ => {}
    }
    place
}

/// The targets of a command line, as texts.
fn targets(verb: &str, words: Words<'_>, context: &Context) -> Vec<String> {
    let words = match verb {
        "service" | "jobs" | "db" => words.sub().map_or(words, |(_, words)| words),
        _ => words,
    };
    let mut targets = [words.texts("target"), words.texts("targets")].concat();
    match verb {
        "op" => {
            let name = words.text("name").unwrap_or_default();
            let operation = context.config.operations.get(&name);
            targets = operation
                .and_then(|it| it.value.target.clone())
                .into_iter()
                .collect();
        }
        "forward" => {
            let first = words.texts("words").into_iter().take(1);
            targets = first
                .filter(|word| !word.contains(':') && word.parse::<u16>().is_err())
                .collect();
        }
        "cp" => {
            let paths = words.texts("paths");
            let remote = paths.iter().filter_map(|path| path.split_once(':'));
            targets = remote.map(|(target, _)| target.to_owned()).collect();
            targets.dedup();
        }
        "ls" | "describe" => {
            // The first word is a kind, or in place of one the target.
            let kinds = ["cluster", "service", "task", "container", "family"];
            let is_kind = |word: &String| {
                kinds
                    .iter()
                    .any(|kind| word.starts_with(kind) && !word.contains(':'))
            };
            let first = words.text("first").filter(|word| !is_kind(word));
            let given = words
                .text("second")
                .or_else(|| words.text("target"))
                .or(first);
            targets = given.into_iter().collect();
        }
        _ => {}
    }
    if targets.is_empty() {
        let default: Option<&Setting<TargetSpec>> = context.config.defaults.target.as_ref();
        targets.extend(default.map(|target| target.value.to_string()));
    }
    targets
}

/// A table of the calls, and the policy.
fn told(explanation: &Explanation, who: Who) -> Result<String, CommandError> {
    if explanation.calls.is_empty() {
        return Ok("nothing is asked of AWS\n".to_owned());
    }
    let rows = explanation.calls.iter().map(|call| {
        let when = match call.when {
            When::Always => call.why.clone(),
            When::If => format!("if {}", call.why),
            When::Optional => format!("{} (can be refused)", call.why),
            _ => format!("{} (needs no permission)", call.why),
        };
        let whose = match call.who {
            Who::TaskRole => "task role",
            _ => "caller",
        };
        vec![call.action.clone(), whose.to_owned(), when]
    });
    let table = table::render(
        &["CALL", "WHOSE", "WHAT FOR"],
        rows,
        terminal::stdout_width(),
    );
    let policy = |who: Who| json_text::document(&json!(explanation.policy(who)));
    let has_role = explanation
        .calls
        .iter()
        .any(|call| call.who == Who::TaskRole);
    let mut text = format!("{table}\n");
    if who == Who::Caller {
        text += "The caller's policy:\n";
        text += &policy(Who::Caller)?;
    }
    if has_role {
        text += "\nThe task role's policy:\n";
        text += &policy(Who::TaskRole)?;
    }
    Ok(text)
}
