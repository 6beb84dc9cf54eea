//! `bowline help`: the help of a command, or a topic.

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::error::CommandError;
use crate::exit_code;

/// Show the help of a command or a topic
///
/// Topics: exit-codes, targets.
///
/// Examples:
///   bowline help exec
///   bowline help service restart
///   bowline help exit-codes
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct HelpArgs {
    /// A command's words, or a topic
    #[arg(value_name = "COMMAND|TOPIC")]
    pub about: Vec<String>,
}

/// The help text asked for.
pub(crate) fn text(args: &HelpArgs) -> Result<String, CommandError> {
    let mut tree = Cli::command();
    if let [name] = args.about.as_slice()
        && let Some(text) = topic(name)
    {
        return Ok(text);
    }
    tree.build();
    let mut command = &mut tree;
    for word in &args.about {
        command = match command.find_subcommand_mut(word) {
            Some(inner) if !inner.is_hide_set() => inner,
            _ => {
                let about = args.about.join(" ");
                let text = format!("there is no command or topic {about:?}");
                return Err(CommandError::usage(text).hint(format!(
                    "the topics are {}; `bowline help` lists the commands",
                    TOPICS.join(", ")
                )));
            }
        };
    }
    Ok(command.render_long_help().to_string())
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

    fn about(words: &str) -> Result<String, CommandError> {
        text(&HelpArgs {
            about: words.split(' ').map(str::to_owned).collect(),
        })
    }

    #[test]
    fn commands_aliases_and_topics_have_help() {
        assert!(about("ls").unwrap().contains("bowline ls"));
        assert!(about("list").unwrap().contains("bowline ls"));
        assert_eq!(about("exit-codes").unwrap(), exit_code::help());
        let nested = about("service restart").unwrap();
        assert!(
            nested.contains("Usage: bowline service restart"),
            "{nested}"
        );
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
