//! Telling the target from what to forward: both are words.

use bowline::forward::ForwardTemplate;
use bowline::target::TargetSpec;

use crate::error::CommandError;

/// The kinds of targets that stand before a colon.
const KINDS: [&str; 4] = ["service:", "task:", "family:", "tag:"];

/// The target, if the first word is none of a forward's, and what to forward.
pub(super) fn split(
    words: &[String],
) -> Result<(Option<TargetSpec>, Vec<ForwardTemplate>), CommandError> {
    let (target, specs) = match words {
        [first, rest @ ..] if is_target(first) => (Some(first), rest),
        specs => (None, specs),
    };
    let target = target
        .map(|word| word.parse::<TargetSpec>())
        .transpose()
        .map_err(|error| match words {
            [only] => CommandError::usage(
                only.parse::<ForwardTemplate>()
                    .err()
                    .map_or_else(|| error.to_string(), |spec| spec.to_string()),
            ),
            _ => CommandError::usage(error.to_string()),
        })?;
    let specs = specs.iter().map(|word| word.parse());
    let specs = specs
        .collect::<Result<_, _>>()
        .map_err(|error: bowline::forward::SpecError| {
            CommandError::usage(error.to_string())
                .hint("write: bowline forward TARGET 8080:80 5432:db.internal:5432")
        })?;
    Ok((target, specs))
}

/// Nothing is to be forwarded.
pub(super) fn nothing(target: Option<&TargetSpec>) -> CommandError {
    let target = target.map_or_else(|| "TARGET".to_owned(), ToString::to_string);
    CommandError::usage("it is not said what to forward").hint(format!(
        "write: bowline forward {target} 8080:80, or {target} 5432:db.internal:5432"
    ))
}

fn is_target(word: &str) -> bool {
    KINDS.iter().any(|kind| word.starts_with(kind)) || word.parse::<ForwardTemplate>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_target_unless_it_can_be_forwarded() {
        for (line, target, specs) in [
            ("8080:80", None, 1),
            ("80", None, 1),
            ("db.internal:5432", None, 1),
            ("web 8080:80", Some("web"), 1),
            ("prod/web/app 80 5432:db:5432", Some("prod/web/app"), 2),
            ("task:1234 80", Some("task:1234"), 1),
            ("web", Some("web"), 0),
            ("unix:/tmp/s:db:1", None, 1),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let (found, forwarded) = split(&words).unwrap();
            assert_eq!(found.map(|it| it.to_string()).as_deref(), target, "{line}");
            assert_eq!(forwarded.len(), specs, "{line}");
        }
        for wrong in ["web 8080:80:", "web api", "80 web", "1:2:3:4:5"] {
            let words: Vec<String> = wrong.split(' ').map(str::to_owned).collect();
            assert!(split(&words).is_err(), "{wrong}");
        }
    }
}
