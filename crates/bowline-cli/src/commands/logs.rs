//! `bowline logs`: what containers write.

use std::io;
use std::time::Duration;

use bowline::logs::{LogError, LogEvent, LogLine, LogRequest};
use bowline::target::TargetSpec;
use bytes::Bytes;
use clap::Args;
use jiff::{Span, Timestamp, Zoned};
use regex::Regex;

use super::Context;
use super::follow::unwritten;
use super::run::report::{Report, log};
use crate::duration;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::log_lines::Style;
use crate::signals::{Signal, Signals};
use crate::writer::{Stream, Writers};

/// Lines of each container without --since, --until and --tail.
const USUAL_TAIL: usize = 100;

/// Show what containers write
///
/// All containers of all tasks of the targets, merged by time; without --since and
/// --tail the last 100 lines of each. With -f new tasks join and old ones leave, through
/// deployments. Where no task runs, the last one that stopped is shown.
///
/// Examples:
///   bowline logs web
///   bowline logs -f web worker --since 10m --exclude healthz
///   bowline logs prod/web/app --since 2026-11-21T08:00Z --until 2026-11-21T09:00Z
///   bowline logs family:job --previous --tail all -o json
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct LogsArgs {
    /// Services, tasks or families, with a container for only its lines; not needed where there is only one
    targets: Vec<TargetSpec>,
    /// Go on with what comes
    #[arg(short = 'f', long, conflicts_with_all = ["until", "previous", "exec"])]
    follow: bool,
    /// From here on: a time ago (10m, "2 hours", 1d) or a point in time (2026-11-21T08:00Z)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Up to here
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only the last lines of each container, or all
    #[arg(short = 'n', long, value_name = "N|all", value_parser = Tail::parse)]
    tail: Option<Tail>,
    /// The last task that has stopped, in place of those that run
    #[arg(short = 'p', long)]
    previous: bool,
    /// Only lines that match this regular expression, or another one if given several times
    #[arg(short = 'i', long, value_name = "REGEX")]
    include: Vec<Regex>,
    /// No lines that match
    #[arg(short = 'x', long, value_name = "REGEX")]
    exclude: Vec<Regex>,
    /// Make what matches stand out
    #[arg(long, value_name = "REGEX")]
    highlight: Vec<Regex>,
    /// Put the time in front of each line
    #[arg(short = 'T', long)]
    timestamps: bool,
    /// Leave out task and container in front of each line
    #[arg(long)]
    no_prefix: bool,
    /// The logs of ECS Exec sessions in place of the containers' output
    #[arg(long)]
    exec: bool,
    /// With --exec: the logs as they are, also what carried the output of bowline's own sessions
    #[arg(long, requires = "exec")]
    raw: bool,
    /// With -f: see new lines sooner through Live Tail, which costs by the minute
    #[arg(long, requires = "follow")]
    live: bool,
    /// With -f: how long to read output after a container's end
    #[arg(long, value_parser = duration::parse, default_value = "30s", value_name = "TIME")]
    log_wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    All,
    Lines(usize),
}

impl Tail {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => match number.parse() {
                Ok(number) if number <= 1_000_000 => Ok(Self::Lines(number)),
                _ => Err("it is a number up to 1000000, or all".to_owned()),
            },
        }
    }
}

/// Prints the lines.
pub async fn run(args: LogsArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let report = Report::new(context.global.output, "logs")?;
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since >= until
    {
        return Err(CommandError::usage("--since has to be before --until"));
    }
    let mut signals = Signals::listen()?;
    let client = tokio::select! {
        client = context.client() => client?,
        signal = signals.next() => return Ok(signal.code()),
    };
    let style = Style::for_stdout(!args.no_prefix, args.timestamps, args.highlight.clone());
    let mut reading = client.logs(args.request(context));
    let mut writers = Writers::start()?;
    let mut unwritten: Option<(Stream, Bytes)> = None;
    let ended = loop {
        // Every arm is cancel-safe: what was written is counted at once, channels, signals that are kept.
        tokio::select! {
            result = writers.write(&mut unwritten), if unwritten.is_some() => {
                if let Err(error) = result {
                    return gone(&error);
                }
            }
            event = reading.next(), if unwritten.is_none() => match event {
                Some(LogEvent::Lines(lines)) => {
                    let wanted = lines.iter().filter(|line| args.wants(line));
                    let text: String = wanted
                        .map(|line| match report {
                            Report::Lines => style.line(line),
                            Report::Json => format!("{}\n", log(line)),
                        })
                        .collect();
                    unwritten = (!text.is_empty()).then(|| (Stream::Stdout, text.into()));
                }
                Some(LogEvent::Notice(text)) => context.printer.note(&text),
                Some(LogEvent::Ended { readable, unreadable }) => break judged(readable, unreadable),
                None => break Ok(ExitCode::Success),
                Some(LogEvent::Failed(error)) => break Err(error.into()),
                Some(_) => {}
            },
            // Following ends like this; there is nothing to clean up.
            signal = signals.next() => break Ok(match signal {
                Signal::Interrupt if args.follow => ExitCode::Interrupted,
                signal => signal.code(),
            }),
        }
    };
    tokio::select! {
        result = writers.finish() => if let Err(error) = result { return gone(&error); },
        signal = signals.next() => return Ok(signal.code()),
    }
    ended
}

impl LogsArgs {
    fn request(&self, context: &Context) -> LogRequest {
        let limited = self.since.is_some() || self.until.is_some() || self.exec;
        LogRequest {
            options: context.global.target_options(),
            follow: self.follow,
            since: self.since,
            until: self.until,
            tail: match self.tail {
                Some(Tail::Lines(lines)) => Some(lines),
                Some(Tail::All) => None,
                None => (!limited).then_some(USUAL_TAIL),
            },
            previous: self.previous,
            exec: self.exec,
            raw: self.raw,
            live: self.live,
            log_wait: self.log_wait,
            ..LogRequest::new(match &self.targets[..] {
                [] => context.target(None).into_iter().collect(),
                given => given
                    .iter()
                    .filter_map(|one| context.target(Some(one)))
                    .collect(),
            })
        }
    }

    fn wants(&self, line: &LogLine) -> bool {
        let matches =
            |expressions: &[Regex]| expressions.iter().any(|one| one.is_match(&line.message));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

impl From<LogError> for CommandError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Target(error) => error.into(),
            LogError::Aws(error) => error.into(),
            LogError::NoPrevious { .. } => Self::new(ErrorKind::NotFound, error)
                .hint("ECS forgets stopped tasks after about an hour; their lines stay in CloudWatch Logs"),
            error => Self::new(ErrorKind::Unavailable, error),
        }
    }
}

/// Why each one could not be read was said when that was found.
fn judged(readable: usize, unreadable: usize) -> Result<ExitCode, CommandError> {
    match (readable, unreadable) {
        (_, 0) => Ok(ExitCode::Success),
        (0, _) => Err(CommandError::new(
            ErrorKind::Unavailable,
            "nothing of the output could be read",
        )
        .hint("the lines above say why; what it takes is logs:GetLogEvents and ecs:DescribeTaskDefinition")),
        _ => Ok(ExitCode::SomeFailed),
    }
}

/// A reader that has seen enough is no failure.
fn gone(error: &io::Error) -> Result<ExitCode, CommandError> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(ExitCode::Success),
        _ => Err(unwritten(error)),
    }
}

/// A time ago, or a point in time; without a zone it is local.
fn moment(text: &str) -> Result<Timestamp, String> {
    let bad = || "a time looks like 10m, \"2 hours\", 1d or 2026-11-21T08:00Z".to_owned();
    let now = Zoned::now();
    let number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    // A bare number means seconds, as everywhere.
    let with_unit = if number {
        format!("{text}s")
    } else {
        text.to_owned()
    };
    if let Ok(span) = with_unit.trim_end_matches(" ago").parse::<Span>() {
        return now
            .checked_sub(span.abs())
            .map(|then| then.timestamp())
            .map_err(|_| bad());
    }
    if let Ok(point) = text.parse::<Timestamp>() {
        return Ok(point);
    }
    let local = text.parse::<jiff::civil::DateTime>().map_err(|_| bad())?;
    let zoned = local.to_zoned(now.time_zone().clone()).map_err(|_| bad())?;
    Ok(zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_or_points() {
        let now = Timestamp::now().as_second();
        for (text, ago) in [
            ("10m", 600),
            ("90", 90),
            ("2 hours", 7200),
            ("1d", 86_400),
            ("1h ago", 3600),
        ] {
            let then = moment(text).unwrap().as_second();
            assert!(
                (now - then - ago).abs() < 3700 * i64::from(text == "1d") + 5,
                "{text}"
            );
        }
        assert_eq!(moment("1970-01-01T00:01Z").unwrap().as_second(), 60);
        assert!(moment("2026-11-21T08:00").is_ok() && moment("2026-11-21").is_ok());
        for wrong in ["", "soon", "10x", "2026-13-01"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tail_is_a_number_or_all() {
        assert_eq!(Tail::parse("all"), Ok(Tail::All));
        assert_eq!(Tail::parse("0"), Ok(Tail::Lines(0)));
        assert!(Tail::parse("-1").is_err() && Tail::parse("9999999").is_err());
    }
}
