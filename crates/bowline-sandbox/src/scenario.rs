//! Scenarios: what can be wrong with the demo world, by name.

mod prerequisite;

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

pub use self::prerequisite::Prerequisite;
pub(crate) use self::prerequisite::Prerequisites;
use crate::image::Image;
use crate::kms::DEMO_ALIAS;
use crate::landscape::Extent;
use crate::logs::LogDelay;
use crate::mishaps::{CallError, Mishaps, Placement, StartFailure};
use crate::simulated::Fleet;
use crate::state::Shared;

/// The group of `exec-logging` without another one.
const LOG_GROUP: &str = "/ecs/exec";

/// The reason of `agent-stopped` without another one.
const STOPPED: &str = "Received Container Stopped event";

/// Something that is different from the usual demo world. Several may be given; of those about the same thing the
/// last one counts, except that those about tools add up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scenario {
    /// The tasks were started without ECS Exec.
    ExecDisabled,
    /// Exec agents are PENDING for this long, on the sandbox's clock.
    AgentPending(Duration),
    /// Exec agents started and stopped, for this reason.
    AgentStopped(String),
    /// The service wants no tasks.
    NoTasks,
    /// What the images have, in the words of the label `bowline.sandbox.tools`.
    Tools(String),
    /// Sessions end after so much idle time, on the sandbox's clock, instead of 20 minutes.
    IdleLimit(Duration),
    /// The cluster has ECS Exec sessions logged.
    ExecLogging(ExecLogging),
    /// Tasks of RunTask find no place: each becomes a failure with this reason, or a short word for one.
    RunFailure(String),
    /// Tasks of RunTask do not start, for this reason, or a short word for one.
    StartFailure(String),
    /// An operation always answers this error.
    Fail {
        /// The operation, such as `RunTask`.
        operation: String,
        /// The error's code.
        code: String,
    },
    /// DescribeTasks and ListTasks do not know tasks of RunTask for so long, on the sandbox's clock.
    LateTasks(Duration),
    /// Images are pulled for so long, on the sandbox's clock.
    Pull(Duration),
    /// Log lines of containers are ingested late, in uneven batches: after between so long and so long, on the
    /// sandbox's clock.
    LogDelay(Duration, Duration),
    /// So many events are looked at for one page of a log, so that pages are short, and often empty.
    LogPages(usize),
    /// CloudWatch Logs answers only so many calls per second as in AWS.
    LogLimits,
    /// The cluster has ECS Exec sessions encrypted, under this KMS key.
    Encrypted(String),
    /// A service `fleet` of tasks without processes, some of which fail on purpose.
    Fleet(Fleet),
    /// So many more accounts in the caller's organisation, each with the role `operations`.
    Accounts(usize),
    /// The number of one of them, in which the role refuses the caller.
    DeniedAccount(usize),
    /// Regions beside the sandbox's own, each with a world of its own.
    Regions(Vec<String>),
    /// Something that ECS Exec needs is not there.
    Prerequisite(Prerequisite),
}

/// Where ECS Exec sessions are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecLogging {
    /// In the container's own log group (`DEFAULT`).
    Container,
    /// In this group (`OVERRIDE`).
    Group(String),
}

/// Why a text names no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// No scenario of this name.
    #[error("there is no scenario {0:?}")]
    Unknown(String),
    /// The part after `=` is missing, superfluous or wrong.
    #[error("scenario {name}: {reason}")]
    Value {
        /// The scenario.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Scenario {
    /// Every form of [`Self::from_str`] with its meaning, one a line.
    #[must_use]
    pub fn list() -> String {
        let forms = [
            ("exec-disabled", "tasks run without ECS Exec"),
            ("agent-pending=SECONDS", "exec agents come up late"),
            (
                "agent-stopped[=REASON]",
                "exec agents have stopped: TargetNotConnectedException",
            ),
            ("no-tasks", "service web wants no tasks"),
            ("no-shell", "images without any shell"),
            (
                "no-PROGRAM",
                "images without one program: no-base64, no-stty, no-dd …",
            ),
            ("no-tools", "images without any program"),
            ("busybox, bash, dash", "images with this shell only"),
            (
                "tools=WORDS",
                "images as by the label bowline.sandbox.tools: none, busybox, bash, dash, -shells, -PROGRAM",
            ),
            (
                "idle-limit=SECONDS",
                "silent sessions end sooner than after 20 minutes",
            ),
            (
                "exec-logging[=GROUP]",
                "ECS Exec sessions are logged; group \"default\" is the container's own",
            ),
            (
                "run-failure=REASON",
                "RunTask finds no place: capacity, quota, RESOURCE:CPU, AGENT, ATTRIBUTE …",
            ),
            (
                "start-failure=REASON",
                "tasks of RunTask do not start: pull, resources, start, or the whole reason",
            ),
            (
                "fail=OPERATION:CODE",
                "an operation answers an error: fail=RunTask:AccessDeniedException",
            ),
            (
                "late-tasks=SECONDS",
                "tasks are MISSING for a while after RunTask",
            ),
            ("pull=SECONDS", "images take so long to pull"),
            (
                "log-delay=SECONDS",
                "log lines arrive late, in uneven batches; 1-4 is between 1 and 4 seconds",
            ),
            ("log-pages=EVENTS", "log pages are short, and may be empty"),
            (
                "log-limits",
                "log calls are throttled as in AWS: FilterLogEvents to 5 a second, GetLogEvents to 10",
            ),
            (
                "encrypted[=KEY]",
                "ECS Exec sessions are encrypted, under alias/demo or another KMS key",
            ),
            (
                "fleet=TASKS",
                "a service fleet of simulated tasks; fleet=1000:50:20:10 has 50 that fail, 20 unreachable, 10 that hang",
            ),
            (
                "accounts=NUMBER",
                "so many accounts more, with a role operations to assume; ListAccounts names them",
            ),
            (
                "denied-account=NUMBER",
                "the role of this account refuses: denied-account=7",
            ),
            (
                "regions=NAMES",
                "more regions: regions=eu-west-1+ap-south-1",
            ),
        ];
        let mut text = String::new();
        for (form, meaning) in forms.into_iter().chain(prerequisite::FORMS) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {form:<28}{meaning}");
        }
        text
    }

    /// It changes what the demo world holds, and says nothing about any other world.
    #[must_use]
    pub fn is_about_the_demo_world(&self) -> bool {
        match self {
            Self::ExecDisabled
            | Self::NoTasks
            | Self::Tools(_)
            | Self::ExecLogging(_)
            | Self::Fleet(_)
            | Self::Accounts(_)
            | Self::DeniedAccount(_)
            | Self::Regions(_)
            | Self::Encrypted(_) => true,
            Self::Prerequisite(prerequisite) => prerequisite.is_about_the_demo_world(),
            Self::AgentPending(_)
            | Self::AgentStopped(_)
            | Self::IdleLimit(_)
            | Self::RunFailure(_)
            | Self::StartFailure(_)
            | Self::Fail { .. }
            | Self::LateTasks(_)
            | Self::Pull(_)
            | Self::LogDelay(..)
            | Self::LogPages(_)
            | Self::LogLimits => false,
        }
    }
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let wrong = |reason: &str| ScenarioError::Value {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let span = || {
            let seconds = value.and_then(|value| value.trim_end_matches('s').parse().ok());
            let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            span.ok_or_else(|| wrong("a number of seconds is needed, as in idle-limit=30"))
        };
        let tools = |words: &str| {
            Image::parse(words).map_err(|reason| wrong(&reason))?;
            Ok(Self::Tools(words.to_owned()))
        };
        if let Some(prerequisite) = prerequisite::parse(name, value) {
            return prerequisite.map(Self::Prerequisite);
        }
        match name {
            "exec-disabled" | "no-tasks" | "no-shell" | "no-tools" | "busybox" | "bash"
            | "dash" | "log-limits"
                if value.is_some() =>
            {
                Err(wrong("it takes no value"))
            }
            "exec-disabled" => Ok(Self::ExecDisabled),
            "agent-pending" => span().map(Self::AgentPending),
            "agent-stopped" => Ok(Self::AgentStopped(value.unwrap_or(STOPPED).to_owned())),
            "no-tasks" => Ok(Self::NoTasks),
            "log-limits" => Ok(Self::LogLimits),
            "no-shell" => tools("-shells"),
            "no-tools" => tools("none"),
            "busybox" | "bash" | "dash" => tools(name),
            "tools" => tools(value.ok_or_else(|| wrong("words are needed, as in tools=-dd"))?),
            "idle-limit" => span().map(Self::IdleLimit),
            "late-tasks" => span().map(Self::LateTasks),
            "pull" => span().map(Self::Pull),
            "run-failure" | "start-failure" => {
                let reason = value.filter(|value| !value.is_empty());
                let reason = reason
                    .ok_or_else(|| wrong("a reason is needed"))?
                    .to_owned();
                Ok(match name {
                    "run-failure" => Self::RunFailure(reason),
                    _ => Self::StartFailure(reason),
                })
            }
            "fail" => {
                let parts = value.and_then(|value| value.split_once(':'));
                let good = parts.filter(|(operation, code)| is_word(operation) && is_word(code));
                let (operation, code) = good.ok_or_else(|| {
                    wrong(
                        "an operation and an error are needed, as in fail=RunTask:BlockedException",
                    )
                })?;
                Ok(Self::Fail {
                    operation: operation.to_owned(),
                    code: code.to_owned(),
                })
            }
            "log-delay" => {
                let range = value.and_then(delays);
                let (least, most) = range.ok_or_else(|| {
                    wrong("seconds are needed, as in log-delay=4 or log-delay=1-4")
                })?;
                Ok(Self::LogDelay(least, most))
            }
            "log-pages" => {
                let events = value.and_then(|value| value.parse().ok());
                let events = events.filter(|events| *events > 0);
                let events = events.ok_or_else(|| wrong("a number of events is needed"))?;
                Ok(Self::LogPages(events))
            }
            "exec-logging" => Ok(Self::ExecLogging(match value {
                Some("default") => ExecLogging::Container,
                other => ExecLogging::Group(other.unwrap_or(LOG_GROUP).to_owned()),
            })),
            "fleet" => value
                .and_then(Fleet::parse)
                .map(Self::Fleet)
                .ok_or_else(|| wrong("numbers of tasks are needed, as in fleet=60:3:1:1; the later ones are part of the first")),
            "accounts" | "denied-account" => {
                let number = value.and_then(|value| value.parse().ok());
                let number = number.filter(|number| (1..=1000).contains(number));
                let number = number.ok_or_else(|| wrong("a number from 1 to 1000 is needed"))?;
                Ok(match name {
                    "accounts" => Self::Accounts(number),
                    _ => Self::DeniedAccount(number),
                })
            }
            "regions" => {
                let names: Vec<String> = value.unwrap_or_default().split('+').map(str::to_owned).collect();
                match names.iter().all(|name| is_region(name)) {
                    true => Ok(Self::Regions(names)),
                    false => Err(wrong("names are needed, as in regions=eu-west-1+ap-south-1")),
                }
            }
            "encrypted" => Ok(Self::Encrypted(value.unwrap_or(DEMO_ALIAS).to_owned())),
            _ => match text.strip_prefix("no-") {
                Some(program) if value.is_none() => tools(&format!("-{program}")),
                _ => Err(ScenarioError::Unknown(text.to_owned())),
            },
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_region(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    text.len() > 3 && text.bytes().all(word)
}

/// `4` or `1-4`.
fn delays(text: &str) -> Option<(Duration, Duration)> {
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    let text = text.trim_end_matches('s');
    match text.split_once('-') {
        Some((least, most)) => {
            let (least, most) = (seconds(least)?, seconds(most)?);
            (least <= most).then_some((least, most))
        }
        None => Some((seconds(text)?, seconds(text)?)),
    }
}

/// All scenarios of a sandbox together.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) exec_disabled: bool,
    pub(crate) agent_pending: Option<Duration>,
    pub(crate) agent_stopped: Option<String>,
    pub(crate) no_tasks: bool,
    /// The label of the demo world's containers.
    pub(crate) tools: Option<String>,
    pub(crate) idle_limit: Option<Duration>,
    pub(crate) exec_logging: Option<ExecLogging>,
    pub(crate) run_failure: Option<String>,
    pub(crate) start_failure: Option<String>,
    /// Operations with the code of their error.
    pub(crate) failing: Vec<(String, String)>,
    pub(crate) late_tasks: Duration,
    pub(crate) pull: Option<Duration>,
    pub(crate) log_delay: Option<LogDelay>,
    pub(crate) log_pages: Option<usize>,
    pub(crate) log_limits: bool,
    pub(crate) kms_key: Option<String>,
    pub(crate) fleet: Fleet,
    pub(crate) extent: Extent,
    pub(crate) prerequisites: Prerequisites,
}

impl Plan {
    /// Puts them together.
    pub(crate) fn new(scenarios: &[Scenario]) -> Self {
        let mut plan = Self::default();
        for scenario in scenarios.iter().cloned() {
            match scenario {
                Scenario::ExecDisabled => plan.exec_disabled = true,
                Scenario::AgentPending(span) => plan.agent_pending = Some(span),
                Scenario::AgentStopped(reason) => plan.agent_stopped = Some(reason),
                Scenario::NoTasks => plan.no_tasks = true,
                Scenario::Tools(words) => {
                    let tools = plan.tools.get_or_insert_default();
                    tools.push(' ');
                    tools.push_str(&words);
                }
                Scenario::IdleLimit(span) => plan.idle_limit = Some(span),
                Scenario::Encrypted(key) => plan.kms_key = Some(key),
                Scenario::ExecLogging(logging) => plan.exec_logging = Some(logging),
                Scenario::RunFailure(reason) => plan.run_failure = Some(reason),
                Scenario::StartFailure(reason) => plan.start_failure = Some(reason),
                Scenario::Fail { operation, code } => plan.failing.push((operation, code)),
                Scenario::LateTasks(span) => plan.late_tasks = span,
                Scenario::Pull(span) => plan.pull = Some(span),
                Scenario::LogDelay(least, most) => plan.log_delay = Some(LogDelay { least, most }),
                Scenario::LogLimits => plan.log_limits = true,
                Scenario::LogPages(events) => plan.log_pages = Some(events),
                Scenario::Fleet(fleet) => plan.fleet = fleet,
                Scenario::Accounts(number) => plan.extent.accounts = number,
                Scenario::DeniedAccount(number) => plan.extent.denied = Some(number),
                Scenario::Regions(names) => plan.extent.regions = names,
                Scenario::Prerequisite(prerequisite) => plan.prerequisites.add(prerequisite),
            }
        }
        plan
    }

    /// The groups that the containers of a world log to, and how late they get it.
    pub(crate) fn furnish_logs(&self, shared: &Shared) {
        let world = shared.world();
        let mut groups = shared.logs.groups();
        for definition in world.definitions.values().flatten() {
            let containers = definition.outline.container_definitions.iter();
            for group in containers.filter_map(|container| container.log_group()) {
                groups.create_group(group);
            }
        }
        groups.delay = self.log_delay.unwrap_or_default();
        groups.scan = self.log_pages.unwrap_or(groups.scan);
        if self.log_limits {
            shared.logs.limit_rates();
        }
    }

    /// What goes wrong with calls and tasks.
    pub(crate) fn mishaps(&self) -> Mishaps {
        let call = |(operation, code): &(String, String)| CallError {
            operation: operation.clone(),
            code: code.clone(),
            message: None,
            status: None,
        };
        Mishaps::new(
            self.failing.iter().map(call).collect(),
            self.run_failure.as_deref().map(Placement::new),
            self.start_failure.as_deref().map(StartFailure::new),
            self.late_tasks,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_read_from_their_names() {
        let seconds = Duration::from_secs_f64;
        for (text, scenario) in [
            ("exec-disabled", Scenario::ExecDisabled),
            ("agent-pending=0.5", Scenario::AgentPending(seconds(0.5))),
            ("idle-limit=30s", Scenario::IdleLimit(seconds(30.0))),
            (
                "agent-stopped=x=y",
                Scenario::AgentStopped("x=y".to_owned()),
            ),
            ("no-tasks", Scenario::NoTasks),
            ("no-shell", Scenario::Tools("-shells".to_owned())),
            ("no-base64", Scenario::Tools("-base64".to_owned())),
            ("no-tools", Scenario::Tools("none".to_owned())),
            ("busybox", Scenario::Tools("busybox".to_owned())),
            ("tools=-dd -od", Scenario::Tools("-dd -od".to_owned())),
            ("pull=900", Scenario::Pull(seconds(900.0))),
            ("late-tasks=5", Scenario::LateTasks(seconds(5.0))),
            (
                "log-delay=4",
                Scenario::LogDelay(seconds(4.0), seconds(4.0)),
            ),
            (
                "log-delay=0.5-20",
                Scenario::LogDelay(seconds(0.5), seconds(20.0)),
            ),
            ("log-limits", Scenario::LogLimits),
            ("log-pages=7", Scenario::LogPages(7)),
            (
                "run-failure=RESOURCE:CPU",
                Scenario::RunFailure("RESOURCE:CPU".to_owned()),
            ),
            (
                "start-failure=pull",
                Scenario::StartFailure("pull".to_owned()),
            ),
            (
                "fail=RunTask:BlockedException",
                Scenario::Fail {
                    operation: "RunTask".to_owned(),
                    code: "BlockedException".to_owned(),
                },
            ),
            (
                "exec-logging",
                Scenario::ExecLogging(ExecLogging::Group("/ecs/exec".to_owned())),
            ),
            ("encrypted", Scenario::Encrypted("alias/demo".to_owned())),
            (
                "exec-logging=default",
                Scenario::ExecLogging(ExecLogging::Container),
            ),
        ] {
            assert_eq!(text.parse(), Ok(scenario), "{text}");
        }
        for wrong in [
            "nope",
            "",
            "no-",
            "busybox=1",
            "agent-pending",
            "idle-limit=-1",
            "idle-limit=soon",
            "tools",
            "tools=alpine",
            "no-base64=1",
            "log-delay=4-1",
            "log-delay",
            "log-pages=0",
            "fail=RunTask",
            "fail=:X",
            "run-failure=",
        ] {
            assert!(wrong.parse::<Scenario>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn tools_add_up_and_of_the_rest_the_last_counts() {
        let scenarios = ["no-dd", "busybox", "idle-limit=1", "idle-limit=2"];
        let scenarios = scenarios.map(|text| text.parse().unwrap());
        let plan = Plan::new(&scenarios);
        assert_eq!(plan.idle_limit, Some(Duration::from_secs(2)));
        let image = Image::parse(&plan.tools.unwrap()).unwrap();
        assert_eq!(image, Image::parse("busybox -dd").unwrap());
    }
}
