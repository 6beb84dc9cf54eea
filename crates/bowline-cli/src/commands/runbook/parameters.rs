//! The values that a runbook is given: on the command line, in files, at the terminal.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bowline_runbook::{Document, Given};
use clap::Args;

use super::read;
use crate::error::CommandError;

/// Parameters of a runbook.
#[derive(Args, Debug)]
pub(super) struct ParameterArgs {
    /// A parameter; several times for a StringList, JSON for maps
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    param: Vec<(String, String)>,
    /// Parameters in a YAML or JSON file; --param goes before
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
}

impl ParameterArgs {
    /// What was given.
    pub(super) fn given(&self) -> Result<BTreeMap<String, Given>, CommandError> {
        let mut given = BTreeMap::new();
        if let Some(path) = &self.params {
            let wrong = |what: &str| CommandError::usage(format!("{}: {what}", path.display()));
            let node =
                bowline_runbook::read(&read(path)?).map_err(|error| wrong(&error.to_string()))?;
            let entries = node
                .as_map()
                .ok_or_else(|| wrong("a map of parameters is needed"))?;
            for entry in entries {
                given.insert(entry.key.clone(), Given::Value(entry.value.value()));
            }
        }
        let mut texts: BTreeMap<&String, Vec<String>> = BTreeMap::new();
        for (name, value) in &self.param {
            texts.entry(name).or_default().push(value.clone());
        }
        for (name, texts) in texts {
            given.insert(name.clone(), Given::Texts(texts));
        }
        Ok(given)
    }
}

/// The parameters without a default that were not given.
pub(super) fn missing<'d>(document: &'d Document, given: &BTreeMap<String, Given>) -> Vec<&'d str> {
    let open = document.parameters.iter().filter(|it| it.default.is_none());
    open.map(|it| it.name.name.as_str())
        .filter(|name| !given.contains_key(*name))
        .collect()
}

/// All that is wrong with the parameters, as one error.
pub(super) fn refused(problems: &[String]) -> CommandError {
    CommandError::usage(problems.join("\n"))
        .hint("give parameters with --param NAME=VALUE or --params FILE")
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a parameter is written NAME=VALUE".to_owned()),
    }
}
