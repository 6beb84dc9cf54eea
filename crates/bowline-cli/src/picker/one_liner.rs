//! The command line that does without the picker what was done with it.

use std::ffi::OsString;

use bowline::target::TargetSpec;

use super::PickArgs;
use crate::cli::{self, Cli, Command, GlobalArgs};

/// The line that was typed, with the target that was chosen in place of the question, quoted for a shell. What is
/// offered has been read again and means the same; if no such line is found, nothing is offered.
pub(super) fn equivalent(
    arguments: &[OsString],
    given: Option<&TargetSpec>,
    chosen: &TargetSpec,
) -> Option<String> {
    let words = arguments
        .iter()
        .map(|word| word.to_str().map(str::to_owned));
    let words: Vec<String> = words.collect::<Option<_>>()?;
    let (options, command) = match words.iter().position(|word| word == "--") {
        Some(end) => words.split_at(end),
        None => (&words[..], &[][..]),
    };
    let options = without_question(options);
    let given = given.map(ToString::to_string);
    // A word like the target may also be an option's value: the last one of them is tried first.
    let candidates = match &given {
        None => vec![options],
        Some(given) => {
            let places = (0..options.len()).rev().filter(|at| options[*at] == *given);
            let without = places.map(|at| [&options[..at], &options[at + 1..]].concat());
            without.collect()
        }
    };
    let chosen_word = [chosen.to_string()];
    // What is forwarded stands behind the target; with other verbs nothing does but a command.
    let lines = candidates.into_iter().flat_map(|options| {
        let verb = options.iter().position(|word| word == "forward");
        let places = [verb.map(|at| at + 1), Some(options.len())];
        let lines = places.into_iter().flatten();
        let lines =
            lines.map(|at| [&options[..at], &chosen_word, &options[at..], command].concat());
        lines.collect::<Vec<_>>()
    });
    let mut good = lines.filter(|line| means(line, chosen));
    good.next().map(shell_words::join)
}

fn means(line: &[String], chosen: &TargetSpec) -> bool {
    let words: Vec<OsString> = line.iter().map(OsString::from).collect();
    let Ok(Cli { command, global }) = cli::parse(&words) else {
        return false;
    };
    let (target, pick) = match &command {
        Command::Login(args) => args.question(),
        Command::Exec(args) => args.question(),
        Command::Doctor(args) => args.question(),
        Command::Forward(args) => {
            let (target, pick) = args.question();
            return target.as_ref() == Some(chosen) && !asks(pick, &global);
        }
        _ => return false,
    };
    target == Some(chosen) && !asks(pick, &global)
}

fn asks(pick: &PickArgs, global: &GlobalArgs) -> bool {
    pick.pick || pick.query.is_some() || global.service.is_some() || global.task.is_some()
}

/// Leaves out what asked for the picker or restricted it.
fn without_question(words: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match &**word {
            "--pick" => {}
            "--query" | "--service" | "--task" | "-s" => drop(words.next()),
            word if ["--query=", "--service=", "--task="]
                .iter()
                .any(|option| word.starts_with(option)) => {}
            word => kept.push(word.to_owned()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str], given: Option<&str>, chosen: &str) -> Option<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let given = given.map(|text| text.parse().unwrap());
        equivalent(&words, given.as_ref(), &chosen.parse().unwrap())
    }

    #[test]
    fn the_line_is_the_one_that_was_typed_with_the_target_in_it() {
        let cases: [(&[&str], Option<&str>, &str); 7] = [
            (
                &["bowline", "forward", "--pick", "8080:80"],
                None,
                "bowline forward prod/web 8080:80",
            ),
            (&["bowline", "login"], None, "bowline login prod/web"),
            (
                &[
                    "bowline",
                    "--region",
                    "eu-west-1",
                    "login",
                    "--query",
                    "we b",
                    "--env",
                    "A=b c",
                ],
                None,
                "bowline --region eu-west-1 login --env 'A=b c' prod/web",
            ),
            (
                &[
                    "bowline",
                    "exec",
                    "--pick",
                    "--",
                    "sh",
                    "-c",
                    "echo \"$X\" 'y'",
                ],
                None,
                r#"bowline exec prod/web -- sh -c 'echo "$X" '\''y'\'''"#,
            ),
            (
                &[
                    "bowline", "login", "-c", "web", "--pick", "web", "--cwd", "/a",
                ],
                Some("web"),
                "bowline login -c web --cwd /a prod/web",
            ),
            (
                &["bowline", "login", "--user", "web", "web", "--pick"],
                Some("web"),
                "bowline login --user web prod/web",
            ),
            (
                &["bowline", "-s", "web", "login", "--pick", "--query=x"],
                None,
                "bowline login prod/web",
            ),
        ];
        for (words, given, expected) in cases {
            assert_eq!(line(words, given, "prod/web").as_deref(), Some(expected));
        }
    }

    #[test]
    fn nothing_is_offered_that_would_not_mean_the_same() {
        assert_eq!(line(&["bowline", "ls"], None, "prod/web"), None);
        assert_eq!(line(&["bowline", "login", "web"], None, "prod/web"), None);
    }
}
