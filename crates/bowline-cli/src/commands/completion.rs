//! `bowline completion`: the script that makes a shell complete our words.

use clap::{Args, ValueEnum};

use super::Context;
use crate::complete;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;

/// Print a script for live completion in a shell
///
/// Clusters, services, tasks and containers are those of the account: what was
/// seen last, refreshed as far as that takes less than a second. Profiles are
/// those of the AWS configuration files.
///
/// Examples, for the shell's start-up file:
///   bash         source <(bowline completion bash)
///   zsh          source <(bowline completion zsh)   (behind compinit)
///   fish         bowline completion fish | source
///   PowerShell   bowline completion powershell | Out-String | Invoke-Expression
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    #[value(alias = "pwsh")]
    Powershell,
    Zsh,
}

/// Prints the script.
pub fn run(args: &CompletionArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let shell = args.shell.to_possible_value();
    let shell = shell.as_ref().map_or("", |value| value.get_name());
    let program = context.arguments.first().cloned().unwrap_or_default();
    let script = complete::script(shell, &program)
        .ok_or_else(|| CommandError::usage(format!("there is no script for {shell}")))?;
    let script = script.map_err(|error| CommandError::new(ErrorKind::Failed, error))?;
    context.printer.document(&script)?;
    Ok(ExitCode::Success)
}
