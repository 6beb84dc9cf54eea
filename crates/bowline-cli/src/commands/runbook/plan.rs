//! `bowline runbook plan`.

use std::fmt::Write as _;
use std::path::PathBuf;

use bowline_runbook::{Document, Given, Parameters, Plan, Planned, Reference, Runs, draw, plan};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::parameters::{self, ParameterArgs};
use super::{checked, read};
use crate::cli::OutputFormat;
use crate::commands::Context;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::output::json;

/// Say what a runbook would do, and draw its steps
///
/// The calls in their order with their inputs. What a result decides is shown as
/// ‹step.output: Type›, and branches that depend on it are followed both ways. No
/// call is made with --offline; without it the account is asked for where the
/// runbook uses it.
///
/// Examples:
///   bowline runbook plan deploy.yaml --offline --param Cluster=prod
///   bowline runbook plan deploy.yaml --offline --graph          the steps as a drawing
///   bowline runbook plan deploy.yaml --offline --graph svg > deploy.svg
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct PlanArgs {
    /// The runbook; - is stdin
    file: PathBuf,
    #[command(flatten)]
    parameters: ParameterArgs,
    /// Make no calls and need no credentials
    #[arg(long)]
    offline: bool,
    /// Draw the steps and the ways between them instead
    #[arg(long, value_name = "FORM", num_args = 0..=1, default_missing_value = "terminal")]
    graph: Option<Drawing>,
}

/// Forms of the drawing.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Drawing {
    /// Lines of text
    Terminal,
    /// A Mermaid flow chart
    Mermaid,
    /// A picture
    Svg,
}

pub(super) async fn run(args: PlanArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let source = read(&args.file)?;
    let document = match checked(&args.file, &source, context)? {
        Ok(document) => document,
        Err(code) => return Ok(code),
    };
    if let Some(drawing) = args.graph {
        let text = match drawing {
            Drawing::Terminal => draw::terminal(&document),
            Drawing::Mermaid => draw::mermaid(&document),
            Drawing::Svg => draw::svg(&document),
        };
        context.printer.document(&text)?;
        return Ok(ExitCode::Success);
    }
    let known = Known::gather(&args, context).await?;
    let planned = known.plan(&document, &args)?;
    let text = match context.global.output.unwrap_or(OutputFormat::Table) {
        OutputFormat::Json => json::document(&planned)?,
        OutputFormat::Ndjson => planned
            .steps
            .iter()
            .map(|it| json::line("step", it))
            .collect::<Result<_, _>>()?,
        OutputFormat::Table | OutputFormat::Wide => rendered(&planned),
        _ => {
            return Err(CommandError::usage("runbook plan prints text or JSON").hint("use -o json"));
        }
    };
    context.printer.document(&text)?;
    Ok(ExitCode::Success)
}

/// What is known of the surroundings without calls, or with them.
struct Known {
    region: Option<String>,
    account: Option<String>,
}

impl Known {
    async fn gather(args: &PlanArgs, context: &Context) -> Result<Self, CommandError> {
        if args.offline {
            return Ok(Self {
                region: context.global.region.clone(),
                account: None,
            });
        }
        let client = context.client().await?;
        Ok(Self {
            region: Some(client.region().to_owned()),
            account: None,
        })
    }

    fn plan(&self, document: &Document, args: &PlanArgs) -> Result<Plan, CommandError> {
        let system = |reference: &Reference| match reference {
            Reference::Global(name) if name == "REGION" => self.region.clone(),
            Reference::Global(name) if name == "ACCOUNT_ID" => self.account.clone(),
            Reference::Global(name) if name == "AWS_PARTITION" => self
                .region
                .as_deref()
                .map(|it| bowline::regions::partition(it).to_owned()),
            _ => None,
        };
        let mut given = args.parameters.given()?;
        // What is not given yet is shown as open; a plan is often the first thing one asks for.
        let open: Vec<&str> = parameters::missing(document, &given);
        let mut shown = document.clone();
        shown
            .parameters
            .retain(|it| !open.contains(&it.name.name.as_str()));
        given.retain(|_, value| !matches!(value, Given::Texts(texts) if texts.is_empty()));
        let stored = |name: &str| Ok(Value::from(format!("\u{2039}ssm:{name}\u{203a}")));
        let values = Parameters::new(&shown, &given, &system, &stored)
            .map_err(|problems| parameters::refused(&problems))?;
        Ok(plan(document, &values, &system))
    }
}

fn rendered(planned: &Plan) -> String {
    let mut text = String::new();
    for step in &planned.steps {
        let when = match step.runs {
            Runs::Yes => "",
            Runs::Maybe => "  (a result decides)",
            Runs::No => "  (not unless a step fails)",
        };
        let calls = step
            .calls
            .as_deref()
            .map(|calls| format!("  {calls}"))
            .unwrap_or_default();
        let _ = writeln!(text, "{}  {}{calls}{when}", step.step, step.action);
        if !step.is_supported {
            text.push_str("    this action does not run locally yet\n");
        }
        for (name, value) in &step.inputs {
            let _ = writeln!(text, "    {name}: {}", shown(value));
        }
        let _ = writeln!(text, "    {}", limits(step));
        for onward in &step.next {
            let to = onward.to.as_deref().unwrap_or("END");
            let _ = writeln!(text, "    \u{2192} {to} ({})", onward.why);
        }
    }
    text.push_str("\nif a step fails\n");
    let width = planned
        .steps
        .iter()
        .map(|it| it.step.chars().count())
        .max()
        .unwrap_or_default();
    for step in &planned.steps {
        let route = match step.on_failure.as_str() {
            "END" => "the run ends".to_owned(),
            "goes on" => "the run goes on".to_owned(),
            handler => format!("{handler} is next"),
        };
        let _ = writeln!(
            text,
            "    {:width$}  {route}, and the run ends as {}",
            step.step, step.ends
        );
    }
    text
}

fn limits(step: &Planned) -> String {
    let limit = step.limit.map_or_else(
        || "no time limit".to_owned(),
        |limit| format!("at most {limit} s"),
    );
    match step.attempts {
        1 => limit,
        attempts => format!("{limit} an attempt, {attempts} attempts"),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains('\n') => text.clone(),
        other => other.to_string(),
    }
}
