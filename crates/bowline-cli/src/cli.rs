//! The argument tree. Texts become strong types here and nowhere else.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use bowline::config::{Defaults, Origin, OutputForm, Setting};
use bowline::target::{ClusterName, ContainerName, ServiceName, TaskId};
use bowline::{ClientOptions, TargetOptions};

use crate::commands::attach::AttachArgs;
use crate::commands::completion::CompletionArgs;
use crate::commands::config::ConfigArgs;
use crate::commands::cp::CpArgs;
use crate::commands::db::DbArgs;
use crate::commands::describe::DescribeArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::exec::ExecArgs;
use crate::commands::forward::ForwardArgs;
use crate::commands::help::HelpArgs;
use crate::commands::jobs::JobsArgs;
use crate::commands::login::LoginArgs;
use crate::commands::logs::LogsArgs;
use crate::commands::ls::LsArgs;
use crate::commands::op::OpArgs;
use crate::commands::plugin::PluginArgs;
use crate::commands::record::RecordArgs;
use crate::commands::run::RunArgs;
use crate::commands::runbook::RunbookArgs;
use crate::commands::sandbox::SandboxArgs;
use crate::commands::script::ScriptArgs;
use crate::commands::service::ServiceArgs;
use crate::commands::stop::StopArgs;
use crate::prompt;

/// Work inside Amazon ECS tasks: one short command and you are in the container
///
/// Every byte and the real exit code come back, and nothing else is installed. Try it without an AWS account:
/// `bowline --sandbox exec web -- echo hello`
#[derive(Debug, Parser)]
#[command(
    name = "bowline",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Options that every command takes, before or after its name.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes, before or after its name.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// The cluster, where the target names none
    #[arg(short, long, global = true, value_name = "NAME")]
    pub cluster: Option<ClusterName>,
    /// Whether the cluster was named on the command line: then it is not only the usual one.
    #[arg(skip)]
    pub cluster_by_flag: bool,
    /// The service, in place of a target
    #[arg(short, long, global = true, value_name = "NAME")]
    pub service: Option<ServiceName>,
    /// The task, in place of a target
    #[arg(long, global = true, value_name = "ID")]
    pub task: Option<TaskId>,
    /// The container, where the target names none
    #[arg(short = 'C', long, global = true, value_name = "NAME")]
    pub container: Option<ContainerName>,
    /// Refuse to choose where several tasks or containers match
    #[arg(long, global = true, hide_short_help = true)]
    pub strict: bool,
    /// The profile of the AWS configuration files
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// The AWS region
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// One endpoint for every AWS service
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Open sessions at this host and no other: a PrivateLink endpoint without private DNS [env: BOWLINE_STREAM_HOST]
    #[arg(long, global = true, value_name = "HOST", hide_short_help = true)]
    pub stream_host: Option<String>,
    /// The output: table, wide, json, ndjson or name
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORM",
        hide_possible_values = true
    )]
    pub output: Option<OutputFormat>,
    /// Do not ask before something is done
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Record what is done: each session in a file of its own; `bowline record` shows them
    #[arg(long, global = true, hide_short_help = true)]
    pub record: bool,
    /// With --record: also what is typed and sent, passwords included
    #[arg(long, global = true, requires = "record", hide_short_help = true)]
    pub record_input: bool,
    /// The folder of recordings
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub record_dir: Option<PathBuf>,
    /// Print which AWS calls this needs, and the least policy for them, and do nothing; with -o json the policy alone, of
    /// the caller or, with =task-role, of the task's role
    ///
    /// `runbook check` has one of its own, which says what a rule is about: both are texts.
    #[arg(
        long,
        global = true,
        value_name = "WHOSE",
        num_args = 0..=1,
        default_missing_value = "caller",
        require_equals = true,
        hide_short_help = true
    )]
    pub explain: Option<String>,
    /// Run against a private sandbox of this command
    #[arg(long, global = true)]
    pub sandbox: bool,
    /// What goes wrong in the sandbox: loss=10%,seed=7 (repeatable); `help` lists what there is
    #[arg(long, global = true, value_name = "FAULTS", hide_short_help = true)]
    pub fault: Vec<String>,
    /// Say more on stderr; -vv and -vvv say more still
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// The profile of the configuration, which keys in the environment go before
    #[arg(skip)]
    pub(crate) default_profile: Option<String>,
}

/// The forms of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns for people
    Table,
    /// More columns, whole identifiers
    Wide,
    /// One JSON document
    Json,
    /// One JSON object per line
    Ndjson,
    /// Names only, one per line, to be used as targets
    Name,
    /// What code scanners read; `runbook check` alone has it
    #[value(hide = true)]
    Sarif,
}

impl From<OutputForm> for OutputFormat {
    fn from(form: OutputForm) -> Self {
        match form {
            OutputForm::Table => Self::Table,
            OutputForm::Wide => Self::Wide,
            OutputForm::Json => Self::Json,
            OutputForm::Ndjson => Self::Ndjson,
            OutputForm::Name => Self::Name,
        }
    }
}

impl From<OutputFormat> for OutputForm {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Table => Self::Table,
            OutputFormat::Wide => Self::Wide,
            // It is no form of a listing, and only read back from the command line.
            OutputFormat::Json | OutputFormat::Sarif => Self::Json,
            OutputFormat::Ndjson => Self::Ndjson,
            OutputFormat::Name => Self::Name,
        }
    }
}

/// What bowline can do.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the doc comment of the arguments is the help; one on a variant would replace it"
)]
pub enum Command {
    Login(LoginArgs),
    Exec(ExecArgs),
    Script(ScriptArgs),
    Op(OpArgs),
    Record(RecordArgs),
    Run(Box<RunArgs>),
    Runbook(RunbookArgs),
    Attach(AttachArgs),
    Forward(Box<ForwardArgs>),
    Db(DbArgs),
    Jobs(JobsArgs),
    Logs(LogsArgs),
    Cp(CpArgs),
    #[command(alias = "list")]
    Ls(LsArgs),
    Config(ConfigArgs),
    Describe(DescribeArgs),
    Stop(StopArgs),
    Doctor(DoctorArgs),
    Service(ServiceArgs),
    Sandbox(SandboxArgs),
    Plugin(PluginArgs),
    Completion(CompletionArgs),
    Help(HelpArgs),
    /// Print the version
    Version,
}

/// Reads a command line.
///
/// # Errors
/// What clap has to say; also help and version, which are not failures.
pub fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.global.cluster_by_flag = matches.value_source("cluster") == Some(ValueSource::CommandLine);
    Ok(cli)
}

/// Whether all that is wrong with a command line is that it names no command.
pub(crate) fn lacks_command(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    )
}

impl GlobalArgs {
    /// What the command line says, as the first layer of the configuration.
    pub(crate) fn flags(&self) -> Defaults {
        fn flag<T: Clone>(value: Option<&T>, name: &'static str) -> Option<Setting<T>> {
            value.map(|value| Setting::new(value.clone(), Origin::Flag(name)))
        }
        let mut flags = Defaults::default();
        flags.cluster = flag(self.cluster.as_ref(), "--cluster");
        flags.container = flag(self.container.as_ref(), "--container");
        flags.output = flag(self.output.map(OutputForm::from).as_ref(), "--output");
        flags.region = flag(self.region.as_ref(), "--region");
        flags.profile = flag(self.profile.as_ref(), "--profile");
        flags.endpoint_url = flag(self.endpoint_url.as_ref(), "--endpoint-url");
        flags.stream_host = flag(self.stream_host.as_ref(), "--stream-host");
        flags
    }

    /// Takes over what all layers together say, so that every command sees one set of options. The form of the output
    /// is not among it: a default for listings must not turn an exec into JSON.
    pub(crate) fn apply(&mut self, defaults: &Defaults) {
        fn value<T: Clone>(setting: Option<&Setting<T>>) -> Option<T> {
            setting.map(|setting| setting.value.clone())
        }
        self.cluster = value(defaults.cluster.as_ref());
        self.container = value(defaults.container.as_ref());
        self.region = value(defaults.region.as_ref());
        self.endpoint_url = value(defaults.endpoint_url.as_ref());
        self.stream_host = value(defaults.stream_host.as_ref());
        let explicit = defaults
            .profile
            .as_ref()
            .is_some_and(|profile| profile.origin.is_explicit());
        let profile = value(defaults.profile.as_ref());
        (self.profile, self.default_profile) = match explicit {
            true => (profile, None),
            false => (None, profile),
        };
    }

    /// How to reach AWS.
    pub fn client_options(&self) -> ClientOptions {
        ClientOptions {
            profile: self.profile.clone(),
            default_profile: self.default_profile.clone(),
            mfa: Some(prompt::mfa()),
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            stream_host: self.stream_host.clone(),
            ..ClientOptions::default()
        }
    }

    /// What narrows a target down.
    pub fn target_options(&self) -> TargetOptions {
        TargetOptions {
            cluster: self.cluster.clone(),
            service: self.service.clone(),
            task: self.task.clone(),
            container: self.container.clone(),
            strict: self.strict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb() {
        for line in [
            ["bowline", "--sandbox", "-c", "prod", "ls"],
            ["bowline", "ls", "--sandbox", "--cluster", "prod"],
            ["bowline", "list", "-c", "prod", "--sandbox"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert!(cli.global.sandbox);
            assert_eq!(cli.global.cluster.unwrap().as_str(), "prod");
        }
    }

    #[test]
    fn bad_names_are_refused_while_parsing() {
        let error = Cli::try_parse_from(["bowline", "ls", "-c", "a b"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("may hold only letters"),
            "{error}"
        );
    }

    #[test]
    fn the_help_of_ls_is_what_people_read() {
        let mut tree = Cli::command().term_width(80);
        tree.build();
        let ls = tree.find_subcommand_mut("ls").unwrap();
        insta::assert_snapshot!(ls.render_help(), @r"
        List clusters, services, tasks and containers

        Usage: bowline ls [OPTIONS] [KIND|TARGET] [TARGET]

        Arguments:
          [KIND|TARGET]  What to list: clusters, services, tasks or containers; then, or
                         instead, a target
          [TARGET]       Only what belongs to this target

        Options:
              --query <JMESPATH>  Print only this JMESPath part of the JSON form, which
                                  it implies
          -h, --help              Print help (see more with '--help')

        Global options:
          -c, --cluster <NAME>      The cluster, where the target names none
          -s, --service <NAME>      The service, in place of a target
              --task <ID>           The task, in place of a target
          -C, --container <NAME>    The container, where the target names none
              --profile <NAME>      The profile of the AWS configuration files
              --region <REGION>     The AWS region
              --endpoint-url <URL>  One endpoint for every AWS service
          -o, --output <FORM>       The output: table, wide, json, ndjson or name
          -y, --yes                 Do not ask before something is done
              --sandbox             Run against a private sandbox of this command
          -v, --verbose...          Say more on stderr; -vv and -vvv say more still
        ");
    }

    #[test]
    fn every_command_shows_an_example() {
        fn without(command: &mut clap::Command, path: &str, bare: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            if !command.render_long_help().to_string().contains("Example") {
                bare.push(path.clone());
            }
            // clap's own `help` of a group is not ours to write.
            for inner in command
                .get_subcommands_mut()
                .filter(|inner| inner.get_name() != "help")
            {
                without(inner, &path, bare);
            }
        }
        let mut bare = Vec::new();
        for command in Cli::command().get_subcommands_mut() {
            without(command, "bowline", &mut bare);
        }
        bare.retain(|path| !path.ends_with(" version"));
        assert_eq!(bare, [""; 0]);
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let help = Cli::command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 48, "{help}");
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    }
}
