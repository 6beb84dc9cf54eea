//! What is different from the definition: a JSON document, and options that win over it.

use std::path::{Path, PathBuf};

use bowline::run::{EphemeralStorage, Overrides, RunRequest, Tag};
use clap::Args;

use super::environment::{self, Variable};
use crate::error::CommandError;

/// The options.
#[derive(Args, Debug)]
#[command(next_help_heading = "What is different")]
pub(super) struct OverrideArgs {
    /// Overrides as JSON in the form of `aws ecs run-task --overrides`, or a file with it; options win over it
    #[arg(long, value_name = "FILE|JSON")]
    overrides: Option<String>,
    /// Set a variable of the container, or copy ours; may be given several times
    #[arg(short = 'e', long, value_name = "NAME[=VALUE]", value_parser = Variable::parse)]
    env: Vec<Variable>,
    /// Variables from a file: NAME=VALUE or NAME on each line, # for comments
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// CPU of the task (512, "1 vCPU")
    #[arg(long, value_name = "UNITS")]
    cpu: Option<String>,
    /// Memory of the task (2048, "2 GB")
    #[arg(long, value_name = "MIB")]
    memory: Option<String>,
    /// The role of the containers, by ARN or name
    #[arg(long, value_name = "ROLE")]
    task_role: Option<String>,
    /// The role that pulls images and writes logs, by ARN or name
    #[arg(long, value_name = "ROLE")]
    execution_role: Option<String>,
    /// Disk of a Fargate task, 21 to 200 GiB
    #[arg(long, value_name = "GIB")]
    ephemeral_storage: Option<i32>,
    /// Let commands be executed in the task (`bowline exec`, `bowline login`)
    #[arg(long)]
    enable_execute_command: bool,
    /// Tag the task; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    tag: Vec<Tag>,
    /// Say who started it; `aws ecs list-tasks --started-by` finds it
    #[arg(long, value_name = "TEXT")]
    started_by: Option<String>,
    /// Make repeated runs one: the same token and request never start a second task
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    client_token: Option<String>,
}

impl OverrideArgs {
    /// The JSON document.
    pub(super) fn read(&self) -> Result<Overrides, CommandError> {
        let Some(given) = &self.overrides else {
            return Ok(Overrides::default());
        };
        if given.trim_start().starts_with('{') {
            return Overrides::parse(given).map_err(CommandError::usage);
        }
        let path = Path::new(given.strip_prefix("file://").unwrap_or(given));
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            CommandError::usage(format!("cannot read the overrides from {shown}: {error}"))
                .hint("JSON on the command line begins with {")
        })?;
        Overrides::parse(&text).map_err(|error| CommandError::usage(format!("{shown}: {error}")))
    }

    /// The variables, with their values.
    pub(super) fn variables(&self) -> Result<Vec<(String, String)>, CommandError> {
        let mut variables = Vec::new();
        for path in &self.env_file {
            variables.extend(environment::file(path)?);
        }
        variables.extend(self.env.iter().cloned());
        let valued = variables.into_iter().map(|variable| {
            let name = variable.name.clone();
            let value = variable.value(|name| std::env::var(name).ok())?;
            Ok((name, value))
        });
        valued.collect()
    }

    /// Whether a client token is given.
    pub(super) fn has_token(&self) -> bool {
        self.client_token.is_some()
    }

    /// The options and variables, over what is there already.
    pub(super) fn apply(
        &self,
        request: &mut RunRequest,
        container: &str,
        variables: &[(String, String)],
    ) {
        for (name, value) in variables {
            request.overrides.container(container).set(name, value);
        }
        let overrides = &mut request.overrides;
        let set = |to: &mut Option<String>, from: &Option<String>| {
            if from.is_some() {
                to.clone_from(from);
            }
        };
        set(&mut overrides.cpu, &self.cpu);
        set(&mut overrides.memory, &self.memory);
        set(&mut overrides.task_role_arn, &self.task_role);
        set(&mut overrides.execution_role_arn, &self.execution_role);
        if let Some(size_in_gi_b) = self.ephemeral_storage {
            overrides.ephemeral_storage = Some(EphemeralStorage { size_in_gi_b });
        }
        request.enable_execute_command |= self.enable_execute_command;
        request.tags.extend(self.tag.iter().cloned());
        set(&mut request.started_by, &self.started_by);
        if let Some(token) = &self.client_token {
            request.client_token.clone_from(token);
        }
    }
}

fn tag(text: &str) -> Result<Tag, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Tag {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("a tag is given as KEY=VALUE".to_owned()),
    }
}

fn token(text: &str) -> Result<String, String> {
    let fits =
        (1..=64).contains(&text.len()) && text.bytes().all(|byte| (33..=126).contains(&byte));
    match fits {
        true => Ok(text.to_owned()),
        false => Err("a token has 1 to 64 printable ASCII characters and no spaces".to_owned()),
    }
}
