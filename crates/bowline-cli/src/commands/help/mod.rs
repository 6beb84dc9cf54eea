//! `bowline help`: the help of a command, or a topic.

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::error::CommandError;
use crate::exit_code;

/// Show the help of a command or a topic
///
/// Topics: exit-codes, targets.
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
        "targets" => Some(include_str!("targets.txt").to_owned()),
        _ => None,
    }
}

/// The topics there are.
const TOPICS: [&str; 2] = ["exit-codes", "targets"];

#[cfg(test)]
mod tests {
    use bowline::TargetSpec;

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
    fn every_example_of_a_target_is_one() {
        let text = about("targets").unwrap();
        assert!(
            text.lines()
                .all(|line| line.len() <= 80 || line.contains("arn:"))
        );
        let examples: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("  bowline "))
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        assert!(examples.len() > 10, "{examples:?}");
        for example in examples {
            let target: TargetSpec = example.parse().unwrap();
            assert_eq!(target.to_string(), example);
        }
    }

    #[test]
    fn an_unknown_topic_is_a_usage_error_that_names_the_topics() {
        let error = about("nope").unwrap_err();
        assert_eq!(error.exit_code().value(), 2);
        assert!(error.hints()[0].contains("exit-codes"));
    }
}
