//! `bowline cp`: files to and from a container.

mod place;
mod progress;
mod streams;

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bowline::ResolvedTarget;
use bowline::files::{Algorithm, CopyError, CopyEvent, CopyOptions, CopyReport};
use clap::Args;
use serde_json::json;

pub(crate) use self::place::Place;
use self::progress::Progress;
use super::{Context, guard};
use crate::cli::OutputFormat;
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::picker::{self, Found, PickArgs};
use crate::signals::Signals;

/// Copy files to and from a container
///
/// A path in a container is TARGET:/path, or TARGET:./path from its working directory; `:/path` where the target is
/// clear. Modes, times and links are kept, every file's digest is compared on both sides, and a file gets its name only
/// when it is complete and right. The same command after an interruption goes on where it was. Nothing is needed in
/// the image but a shell and the usual small tools.
///
/// Examples:
///   bowline cp web:/var/log/app.log .
///   bowline cp './config' prod/web/app:/srv/        a directory, into /srv
///   bowline cp 'web:/var/log/*.log' logs/           what matches in the container
///   bowline cp --delta web:/data ./data             only what is different
///   pg_dump shop | bowline cp - web:/efs/shop.sql   a stream
#[derive(Args, Debug)]
#[command(
    verbatim_doc_comment,
    override_usage = "bowline cp [OPTIONS] <SRC>... <DST>"
)]
pub struct CpArgs {
    /// What to copy and where to: one side is in a container; - is stdin or stdout
    #[arg(required = true, num_args = 1.., value_name = "SRC... DST", allow_hyphen_values = false)]
    paths: Vec<Place>,
    /// Leave files alone that are the same on both sides
    #[arg(long)]
    delta: bool,
    /// Only say what would be copied
    #[arg(long)]
    dry_run: bool,
    /// Sessions to use at most; by default two, while nobody else has one in the container
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=16))]
    sessions: Option<u8>,
    /// Copy the rest where something is refused or unreadable; the exit code is still 1
    #[arg(long)]
    skip_refused: bool,
    /// Take names that differ only in upper and lower case
    #[arg(long)]
    case_twins: bool,
    /// How long to wait for an exec agent that is not ready (90s, 2m)
    #[arg(long, value_parser = duration::parse, default_value = "60s", value_name = "TIME")]
    wait: Duration,
    /// How long to try to restore a lost connection. 0 never tries
    #[arg(long, value_parser = duration::parse, default_value = "5m", value_name = "TIME")]
    reconnect_for: Duration,
}

/// Which way.
enum Way {
    Up { sources: Vec<PathBuf>, to: Vec<u8> },
    Down { sources: Vec<Vec<u8>>, to: PathBuf },
    In(Vec<u8>),
    Out(Vec<u8>),
}

/// What a dry run has found out besides its report.
#[derive(Clone, Copy)]
struct Plan {
    /// What would be copied, unless it is a stream.
    bytes: Option<u64>,
}

/// Copies.
pub async fn run(args: CpArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let json = match context.global.output {
        None => false,
        Some(OutputFormat::Json | OutputFormat::Ndjson) => true,
        Some(_) => return Err(CommandError::usage("cp reports with -o json, or in words")),
    };
    let (target, way) = args.way()?;
    if json && matches!(way, Way::Out(_)) {
        return Err(CommandError::usage(
            "stdout is the copy: -o json has no place there",
        ));
    }
    let client = context.client().await?;
    let pick = PickArgs::default();
    let asked = picker::resolve(&client, target.as_ref(), &pick, "copy there", context);
    let target = match asked.await? {
        Found::Target(target) => *target,
        Found::Left(code) => return Ok(code),
    };
    for note in &target.notes {
        context.printer.note(note);
    }
    if matches!(way, Way::Up { .. } | Way::In(_)) && !args.dry_run {
        guard::check(context, &target).await?;
    }
    let begun = Instant::now();
    let mut progress = Progress::new(context.printer, args.dry_run && !json);
    let options = args.options();
    // Until the end: nothing cuts off what a signal leaves to be done.
    let mut signals = Signals::listen()?;
    let copy = transfer(&client, target, &way, &options, &mut progress);
    let report = tokio::select! {
        report = copy => report,
        signal = signals.next() => {
            progress.finish();
            // What was being written is finished, left as a part, or removed if it is a stream's; sessions are ended.
            client.finish().await;
            context.printer.note(match way {
                Way::Up { .. } | Way::Down { .. } => {
                    "interrupted; the same command goes on where this one was"
                }
                Way::In(_) => "interrupted; nothing of the stream is kept in the container",
                Way::Out(_) => "interrupted; the stream ends early",
            });
            return Ok(signal.code());
        }
    };
    progress.finish();
    let report = report.map_err(error)?;
    for (name, why) in &report.skipped {
        context
            .printer
            .warning(&format!("left out \"{name}\": {why}"));
    }
    let plan = match way {
        _ if !args.dry_run => None,
        Way::In(_) => Some(Plan { bytes: None }),
        _ => Some(Plan {
            bytes: Some(report.bytes),
        }),
    };
    if json {
        context.printer.document(&document(&report, plan))?;
    } else {
        context
            .printer
            .note(&summary(&report, begun.elapsed(), plan));
    }
    Ok(match report.skipped.is_empty() {
        true => ExitCode::Success,
        false => ExitCode::Failed,
    })
}

async fn transfer(
    client: &bowline::Client,
    target: ResolvedTarget,
    way: &Way,
    options: &CopyOptions,
    progress: &mut Progress,
) -> Result<CopyReport, CopyError> {
    let mut tell = |event: CopyEvent| progress.take(event);
    match way {
        Way::Up { sources, to } => client.upload(target, sources, to, options, &mut tell).await,
        Way::Down { sources, to } => {
            client
                .download(target, sources, to, options, &mut tell)
                .await
        }
        Way::In(to) => {
            let input = streams::stdin();
            client
                .upload_stream(target, input, to, options, &mut tell)
                .await
        }
        Way::Out(source) => {
            let (output, written) = streams::stdout().map_err(CopyError::Unwanted)?;
            let copying = client.download_stream(target, source, output, options, &mut tell);
            let (report, written) = tokio::join!(copying, written);
            written.map_err(CopyError::Unwanted)?;
            report
        }
    }
}

impl CpArgs {
    fn options(&self) -> CopyOptions {
        CopyOptions {
            wait: self.wait,
            reconnect_for: self.reconnect_for,
            sessions: self.sessions.map(usize::from),
            delta: self.delta,
            dry_run: self.dry_run,
            skip_refused: self.skip_refused,
            case_twins: self.case_twins,
        }
    }

    /// Which side is in a container.
    fn way(&self) -> Result<(Option<bowline::TargetSpec>, Way), CommandError> {
        let usage = |text: &str, hint: &str| Err(CommandError::usage(text).hint(hint));
        let form = "write: bowline cp TARGET:/path LOCAL, or bowline cp LOCAL TARGET:/path";
        let Some((to, sources @ [first, ..])) = self.paths.split_last() else {
            return usage("cp needs a source and a destination", form);
        };
        let dash = |place: &Place| *place == Place::Stream;
        if sources.iter().any(dash) && sources.len() > 1 {
            return usage("a stream is copied alone", form);
        }
        match (first, to) {
            (Place::Remote { target, .. }, Place::Local(_) | Place::Stream) => {
                let mut paths = Vec::new();
                for source in sources {
                    match source {
                        Place::Remote {
                            target: other,
                            path,
                        } if other == target => {
                            paths.push(path.clone().into_vec());
                        }
                        Place::Remote { .. } => {
                            return usage(
                                "the sources are in different containers",
                                "copy from one at a time",
                            );
                        }
                        _ => return usage("some sources are here and some in a container", form),
                    }
                }
                let way = match (to, &paths[..]) {
                    (Place::Stream, [path]) => Way::Out(path.clone()),
                    (Place::Stream, _) => {
                        return usage("only one file can be copied to a stream", form);
                    }
                    (Place::Local(to), _) => Way::Down {
                        sources: paths,
                        to: to.clone(),
                    },
                    (Place::Remote { .. }, _) => {
                        return usage("both sides are in containers", form);
                    }
                };
                Ok((target.clone(), way))
            }
            (_, Place::Remote { target, path }) => {
                let to = path.clone().into_vec();
                let mut paths = Vec::new();
                for source in sources {
                    match source {
                        Place::Local(path) => paths.push(path.clone()),
                        Place::Stream => return Ok((target.clone(), Way::In(to))),
                        Place::Remote { .. } => {
                            return usage(
                                "both sides are in containers",
                                "copy here first, then there",
                            );
                        }
                    }
                }
                Ok((target.clone(), Way::Up { sources: paths, to }))
            }
            _ => {
                let near = self.paths.iter().find_map(Place::forgotten_slash);
                usage(
                    "neither side is in a container",
                    &near.unwrap_or_else(|| form.to_owned()),
                )
            }
        }
    }
}

/// Where the copy failed is said by its words; what it costs, by its kind.
pub(crate) fn error(error: CopyError) -> CommandError {
    match error {
        CopyError::Session(error) => {
            let error = CommandError::from(*error);
            let hints = error.hints().to_vec();
            CommandError::new(error.kind(), error.to_string()).with_only(hints)
        }
        CopyError::Unwanted(error) => error.into(),
        CopyError::NotFound { .. } => CommandError::new(ErrorKind::Failed, error).hint(
            "a pattern is expanded in the container: keep your own shell from it with quotes",
        ),
        CopyError::Refused { .. } => CommandError::new(ErrorKind::Failed, error).hint(
            "--skip-refused copies the rest; --case-twins takes names that differ only in case",
        ),
        CopyError::Changed { .. } => CommandError::new(ErrorKind::Failed, error).hint(
            "nothing of them is under its final name; copy them again when nobody writes them",
        ),
        CopyError::NoRoom { .. } => CommandError::new(ErrorKind::Failed, error)
            .hint("a container can claim any size: look at what it lists with --dry-run"),
        error => CommandError::new(ErrorKind::Failed, error),
    }
}

fn summary(report: &CopyReport, took: Duration, plan: Option<Plan>) -> String {
    let plural = |count: u64, one: &str, many: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    };
    let files = plural(report.files, "file", "files");
    if let Some(plan) = plan {
        let bytes = plan.bytes.map(progress::size);
        let bytes = bytes.unwrap_or_else(|| "as long as the stream".to_owned());
        return format!("would copy {files}, {bytes}{}", unchanged(report));
    }
    let bytes = progress::size(report.bytes);
    let seconds = took.as_secs_f64();
    let moved = report.bytes.saturating_sub(report.resumed);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    let rate = (moved as f64 / seconds.max(0.001)) as u64;
    let checked = match report.algorithm {
        Some(Algorithm::None) | None => "no digests to compare".to_owned(),
        Some(algorithm) => format!("{} the same on both sides", algorithm.as_str()),
    };
    format!(
        "copied {files}, {bytes} in {seconds:.1} s ({}/s), {checked}{}",
        progress::size(rate),
        unchanged(report)
    )
}

fn unchanged(report: &CopyReport) -> String {
    match report.unchanged {
        0 => String::new(),
        count => format!("; {count} unchanged"),
    }
}

fn document(report: &CopyReport, plan: Option<Plan>) -> String {
    let skipped: Vec<_> = report
        .skipped
        .iter()
        .map(|(name, why)| json!({"name": name, "reason": why.to_string()}))
        .collect();
    let document = json!({
        "dryRun": plan.is_some(),
        "files": report.files,
        "directories": report.directories,
        "links": report.links,
        "bytes": plan.map_or(Some(report.bytes), |plan| plan.bytes),
        "resumedBytes": report.resumed,
        "unchanged": report.unchanged,
        "skipped": skipped,
        "digest": report.algorithm.map(Algorithm::as_str),
        "sessions": report.sessions,
        "destination": report.destination.to_string_lossy(),
    });
    format!("{document}\n")
}
