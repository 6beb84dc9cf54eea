//! `bowline help`: the help of a command, or a topic.

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::error::CommandError;
use crate::exit_code;

/// Show the help of a command or a topic
///
/// Topics: exit-codes.
#[derive(Args, Debug)]
pub struct HelpArgs {
    /// A command's name or a topic
    #[arg(value_name = "COMMAND|TOPIC")]
    pub about: Option<String>,
}

/// The help text asked for.
pub(crate) fn text(args: &HelpArgs) -> Result<String, CommandError> {
    let mut tree = Cli::command();
    let Some(about) = args.about.as_deref() else {
        return Ok(tree.render_long_help().to_string());
    };
    if let Some(text) = topic(about) {
        return Ok(text);
    }
    tree.build();
    match tree.find_subcommand_mut(about) {
        Some(command) if !command.is_hide_set() => Ok(command.render_long_help().to_string()),
        _ => Err(
            CommandError::usage(format!("there is no command or topic {about:?}")).hint(format!(
                "the topics are {}; `bowline help` lists the commands",
                TOPICS.join(", ")
            )),
        ),
    }
}

fn topic(name: &str) -> Option<String> {
    match name {
        "exit-codes" => Some(exit_code::help()),
        _ => None,
    }
}

/// The topics there are.
const TOPICS: [&str; 1] = ["exit-codes"];

#[cfg(test)]
mod tests {
    use super::*;

    fn about(name: &str) -> Result<String, CommandError> {
        text(&HelpArgs {
            about: Some(name.into()),
        })
    }

    #[test]
    fn commands_aliases_and_topics_have_help() {
        assert!(about("ls").unwrap().contains("bowline ls"));
        assert!(about("list").unwrap().contains("bowline ls"));
        assert_eq!(about("exit-codes").unwrap(), exit_code::help());
    }

    #[test]
    fn an_unknown_topic_is_a_usage_error_that_names_the_topics() {
        let error = about("nope").unwrap_err();
        assert_eq!(error.exit_code().value(), 2);
        assert!(error.hints()[0].contains("exit-codes"));
    }
}
