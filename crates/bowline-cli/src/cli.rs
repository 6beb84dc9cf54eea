//! The argument tree. Texts become strong types here and nowhere else.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use bowline::target::{ClusterName, ContainerName, ServiceName, TaskId};
use bowline::{ClientOptions, TargetOptions};

use crate::commands::doctor::DoctorArgs;
use crate::commands::exec::ExecArgs;
use crate::commands::help::HelpArgs;
use crate::commands::login::LoginArgs;
use crate::commands::ls::LsArgs;
use crate::commands::sandbox::SandboxArgs;
use crate::commands::service::ServiceArgs;

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
    /// The cluster, if the target names none
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        env = "BOWLINE_CLUSTER",
        hide_env_values = true
    )]
    pub cluster: Option<ClusterName>,
    /// The service, in place of a target
    #[arg(short, long, global = true, value_name = "NAME")]
    pub service: Option<ServiceName>,
    /// The task, by its id or the beginning of it, in place of a target
    #[arg(long, global = true, value_name = "ID")]
    pub task: Option<TaskId>,
    /// The container, if the target names none
    #[arg(short = 'C', long, global = true, value_name = "NAME")]
    pub container: Option<ContainerName>,
    /// The profile of the AWS configuration files
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// The AWS region
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// One endpoint for every AWS service, such as a sandbox's
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "BOWLINE_ENDPOINT",
        hide_env_values = true
    )]
    pub endpoint_url: Option<String>,
    /// Open sessions at this host and no other: a PrivateLink endpoint without private DNS
    #[arg(
        long,
        global = true,
        value_name = "HOST",
        env = "BOWLINE_STREAM_HOST",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub stream_host: Option<String>,
    /// The form of the output
    #[arg(short, long, global = true, value_name = "FORM")]
    pub output: Option<OutputFormat>,
    /// Run against a private sandbox that lives as long as this command
    #[arg(long, global = true)]
    pub sandbox: bool,
    /// What goes wrong in the sandbox: loss=10%,seed=7 (repeatable); `help` lists what there is
    #[arg(long, global = true, value_name = "FAULTS", hide_short_help = true)]
    pub fault: Vec<String>,
    /// Say more on stderr; -vv and -vvv say more still
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
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
    #[command(alias = "list")]
    Ls(LsArgs),
    Doctor(DoctorArgs),
    Service(ServiceArgs),
    Sandbox(SandboxArgs),
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
    // A private sandbox has nothing to do with the cluster that the environment names.
    if cli.global.sandbox && matches.value_source("cluster") == Some(ValueSource::EnvVariable) {
        cli.global.cluster = None;
    }
    Ok(cli)
}

impl GlobalArgs {
    /// How to reach AWS.
    pub fn client_options(&self) -> ClientOptions {
        ClientOptions {
            profile: self.profile.clone(),
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            stream_host: self.stream_host.clone(),
            credentials: None,
        }
    }

    /// What narrows a target down.
    pub fn target_options(&self) -> TargetOptions {
        TargetOptions {
            cluster: self.cluster.clone(),
            service: self.service.clone(),
            task: self.task.clone(),
            container: self.container.clone(),
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
          -h, --help  Print help (see more with '--help')

        Global options:
          -c, --cluster <NAME>      The cluster, if the target names none [env:
                                    BOWLINE_CLUSTER]
          -s, --service <NAME>      The service, in place of a target
              --task <ID>           The task, by its id or the beginning of it, in place
                                    of a target
          -C, --container <NAME>    The container, if the target names none
              --profile <NAME>      The profile of the AWS configuration files
              --region <REGION>     The AWS region
              --endpoint-url <URL>  One endpoint for every AWS service, such as a
                                    sandbox's [env: BOWLINE_ENDPOINT]
          -o, --output <FORM>       The form of the output [possible values: table,
                                    wide, json, ndjson, name]
              --sandbox             Run against a private sandbox that lives as long as
                                    this command
          -v, --verbose...          Say more on stderr; -vv and -vvv say more still
        ");
    }

    #[test]
    fn the_short_help_fits_a_screen() {
        let help = Cli::command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 40, "{help}");
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    }
}
