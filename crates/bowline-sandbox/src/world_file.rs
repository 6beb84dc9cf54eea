//! World files: clusters, services and tasks in place of the demo world, described in YAML.

mod build;
mod definition;
mod schema;
mod scope;
mod yaml;

use std::fmt;
use std::sync::Arc;

use crate::landscape::Extent;
use crate::state::Shared;

/// What a sandbox shall hold, read from a file. `docs/reference/sandbox-world.md` describes the form.
#[derive(Clone)]
pub struct WorldFile {
    name: String,
    file: Arc<schema::File>,
}

impl WorldFile {
    /// Reads YAML, or the JSON that is a part of it. `name` stands in errors, and is the file's usually.
    ///
    /// # Errors
    ///
    /// What is wrong first, with its line: unknown keys and wrong values. Names that do not exist are found when the
    /// sandbox starts.
    pub fn parse(text: &str, name: &str) -> Result<Self, WorldFileError> {
        let file = yaml::read(text, name)?;
        Ok(Self {
            name: name.to_owned(),
            file: Arc::new(file),
        })
    }

    /// The JSON schema of such files, for editors.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(schema::File).to_value()
    }

    /// Adds it to a world that is in use. A mistake changes nothing.
    pub(crate) fn load(&self, shared: &Arc<Shared>) -> Result<(), WorldFileError> {
        shared.change(|world| build::load(&self.file, &self.name, shared, world))
    }

    /// What it wants beside its own account and region.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            accounts: self.file.accounts.map_or(0, |accounts| accounts.0),
            denied: None,
            regions: self.file.regions.iter().map(|it| it.0.clone()).collect(),
        }
    }

    /// Puts it all into the sandbox's empty world.
    pub(crate) fn furnish(&self, shared: &Arc<Shared>) -> Result<(), WorldFileError> {
        shared.change(|world| build::furnish(&self.file, &self.name, shared, world))
    }
}

impl fmt::Debug for WorldFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its environments may hold secrets.
        f.debug_struct("WorldFile")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a world file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{place}: {text}")]
pub struct WorldFileError {
    file: String,
    /// `:<line>:<column>`, from 1, if it is about a place.
    place: String,
    text: String,
}

impl WorldFileError {
    fn new(file: &str, place: Option<(u64, u64)>, text: String) -> Self {
        Self {
            file: file.to_owned(),
            place: place.map_or_else(String::new, |(line, column)| format!(":{line}:{column}")),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_said_with_their_place() {
        let long = format!("start: {}", " ".repeat(5 << 20));
        for (text, expected) in [
            (
                "clusters: [{name: a, servces: []}]",
                "w.yaml:1:22: unknown field `servces`, expected one of name, repeat, each, tags, exec_logging, services, tasks",
            ),
            (
                "clusters:\n- name: a\n  tasks:\n  - {family: f, age: 9w}",
                "w.yaml:4:22: \"9w\" is not an age: write 45s, 2h30m or 9d",
            ),
            (
                "clusters:\n- name: a\n  services:\n  - {name: b, desired: maybe}",
                "w.yaml:4:15: invalid type: string \"maybe\", expected usize",
            ),
            (
                "families: [{name: f, containers: [{name: a, image: x, ports: [99999]}]}]",
                "w.yaml:1:63: \"99999\" is not a port: write 8080, 8080/tcp or 53/udp",
            ),
            (
                "families: [{name: f}]",
                "w.yaml:1:13: missing field `containers`",
            ),
            ("clusters: [{name: a}", "w.yaml:1:11: unclosed bracket '['"),
            (
                "{start: lazy, start: lazy}",
                "w.yaml:1:15: duplicate mapping key: start",
            ),
            (&long, "w.yaml: is longer than 4 MiB"),
        ] {
            let error = WorldFile::parse(text, "w.yaml").unwrap_err().to_string();
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn json_is_yaml() {
        let text =
            r#"{"clusters": [{"name": "a", "services": [{"name": "b", "desired": [1, 2]}]}]}"#;
        assert_eq!(
            WorldFile::parse(text, "w.json")
                .unwrap()
                .file
                .clusters
                .len(),
            1
        );
    }
}
