//! Which engine carries the output of a command.

use std::io::{IsTerminal, stdout};

use bowline::config::EngineName;
use bowline::session::exec::Engine;
use clap::{Args, ValueEnum};

use super::Via;
use super::report::Report;
use crate::error::CommandError;

/// The options that decide.
#[derive(Args, Debug)]
pub(super) struct EngineArgs {
    /// Run the command on a terminal, with stdout and stderr as one; at a terminal your keys go to it
    #[arg(short = 't', long)]
    pub(super) tty: bool,
    /// How the output is carried; chosen by itself unless given
    #[arg(long, value_enum, value_name = "ENGINE")]
    engine: Option<Name>,
    /// Run the command without a shell around it: its exit code cannot be learned
    #[arg(long, conflicts_with_all = ["engine", "tty"])]
    no_shell: bool,
    /// Which AWS API starts the session; ssm means AWS-StartNonInteractiveCommand, which AWS may not allow for ECS tasks
    #[arg(long, value_enum, default_value_t = Via::Ecs, value_name = "API")]
    via: Via,
}

/// The engines that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Every byte of both streams, checked; the default when stdout is not a terminal
    Framed,
    /// Readable as it passes, for clusters that log sessions; the default on a terminal
    Plain,
    /// The command on the terminal itself, as with -t
    Tty,
}

impl EngineArgs {
    /// A terminal of its own for `-t`, exact streams for programs and for stdin, readable text for people.
    /// A preference of the configuration counts only where nothing else asks for another engine.
    pub(super) fn choose(
        &self,
        stdin: bool,
        report: Report,
        preferred: Option<EngineName>,
    ) -> Result<Engine, CommandError> {
        if self.via == Via::Ssm {
            if self.tty || stdin || self.no_shell || self.engine.is_some() {
                let text = "--via ssm has neither a terminal nor stdin nor another engine";
                return Err(
                    CommandError::usage(text).hint("leave out -t, -i, --engine and --no-shell")
                );
            }
            return Ok(Engine::Native);
        }
        match self.engine {
            _ if self.no_shell => Ok(Engine::Bare),
            Some(Name::Plain) if stdin => Err(CommandError::usage("the plain engine has no stdin")
                .hint("use --engine framed with -i")),
            Some(Name::Framed | Name::Plain) if self.tty => {
                Err(CommandError::usage("-t means --engine tty").hint("give only one of the two"))
            }
            Some(Name::Framed) => Ok(Engine::Framed),
            Some(Name::Plain) => Ok(Engine::Plain),
            Some(Name::Tty) => Ok(Engine::Tty),
            None if self.tty => Ok(Engine::Tty),
            None if preferred == Some(EngineName::Framed) => Ok(Engine::Framed),
            None if preferred == Some(EngineName::Tty) && report == Report::Streams => {
                Ok(Engine::Tty)
            }
            None if preferred == Some(EngineName::Plain) && !stdin => Ok(Engine::Plain),
            None if !stdin && report == Report::Streams && stdout().is_terminal() => {
                Ok(Engine::Plain)
            }
            None => Ok(Engine::Framed),
        }
    }
}
