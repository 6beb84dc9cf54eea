//! Variables for a task: `NAME=value`, `NAME` for a copy of ours, and files of both.

use std::path::Path;

use crate::error::CommandError;

/// A variable that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    /// Without one it is copied from our environment.
    value: Option<String>,
}

impl Variable {
    /// Reads `NAME=value` or `NAME`; the error is for the user.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err("a variable is given as NAME=value, or as NAME to copy it".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }

    /// Its value, which may be ours.
    pub(super) fn value(self, of: impl Fn(&str) -> Option<String>) -> Result<String, CommandError> {
        let name = &self.name;
        self.value.or_else(|| of(name)).ok_or_else(|| {
            CommandError::usage(format!(
                "{name} is to be copied and is not set here (or is not text)"
            ))
            .hint(format!("set it, or give a value: --env {name}=VALUE"))
        })
    }
}

/// Reads a file: a variable a line, `#` begins a comment line, nothing is unquoted.
pub(super) fn file(path: &Path) -> Result<Vec<Variable>, CommandError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| CommandError::usage(format!("cannot read {shown}: {error}")))?;
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The text of the line may be a secret.
        let variable = Variable::parse(line).map_err(|error| {
            CommandError::usage(format!("line {} of {shown} is wrong: {error}", number + 1))
        })?;
        variables.push(variable);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_they_are_and_copies_must_exist() {
        let value = |text: &str| {
            let ours = |name: &str| (name == "HOME").then(|| "/root".to_owned());
            Variable::parse(text)
                .unwrap()
                .value(ours)
                .map_err(|error| error.to_string())
        };
        assert_eq!(value("A=b=c d"), Ok("b=c d".into()));
        assert_eq!(value("A="), Ok(String::new()));
        assert_eq!(value("HOME"), Ok("/root".into()));
        assert!(value("NOPE").unwrap_err().contains("NOPE is to be copied"));
        for wrong in ["", "=x", "A B=x"] {
            assert!(Variable::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_have_comments_and_errors_name_the_line_and_not_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        std::fs::write(&path, "# all of it\n\nA=1\n  B\nC=\"x\"\n").unwrap();
        let names: Vec<String> = file(&path)
            .unwrap()
            .into_iter()
            .map(|one| one.name)
            .collect();
        assert_eq!(names, ["A", "B", "C"]);
        std::fs::write(&path, "A=1\n=secret\n").unwrap();
        let error = file(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && !error.contains("secret"),
            "{error}"
        );
    }
}
