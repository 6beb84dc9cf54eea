//! One file, read into a layer.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path};

use toml::Spanned;

use super::Defaults;
use super::error::ConfigError;
use super::guard::Guard;
use super::origin::{Origin, Setting};
use super::record::Section;
use super::schema::{Document, ForwardSet};
use crate::forward::ForwardTemplate;
use crate::operation::Operation;
use crate::target::{AnyName, TargetSpec};

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct FileLayer {
    pub(super) defaults: Defaults,
    pub(super) aliases: BTreeMap<String, Setting<TargetSpec>>,
    pub(super) forwards: BTreeMap<String, Setting<ForwardSet>>,
    pub(super) guards: Vec<Setting<Guard>>,
    pub(super) operations: BTreeMap<String, Setting<Operation>>,
    pub(super) accounts: BTreeMap<String, String>,
    pub(super) groups: BTreeMap<String, Vec<String>>,
    pub(super) record: Option<Setting<Section>>,
}

/// Reads the user's file.
pub(super) fn read_user(path: &Path) -> Result<FileLayer, ConfigError> {
    let text = read(path)?;
    let document = parse(path, &text)?;
    layer(path, &text, document, |line| Origin::User {
        path: path.to_owned(),
        line,
    })
}

/// Reads a project's file, and refuses in it what must not come with a checkout.
pub(super) fn read_project(path: &Path) -> Result<FileLayer, ConfigError> {
    let text = read(path)?;
    let document = parse(path, &text)?;
    if let Some((key, span, why)) = document.forbidden() {
        let message = format!("a project's file may not set {key}: {why}");
        let hint = Some("set it in your own file; `bowline config path` names it".to_owned());
        return Err(ConfigError::at(path, &text, span, message, hint));
    }
    if let Some(record) = &document.record
        && let Some((key, why)) = record.get_ref().forbidden()
    {
        let message = format!("a project's file may not set {key}: {why}");
        let hint = Some("set it in your own file; `bowline config path` names it".to_owned());
        return Err(ConfigError::at(path, &text, record.span(), message, hint));
    }
    let exposed = |set: &&Spanned<ForwardSet>| {
        let mut ports = set.get_ref().ports.iter();
        ports.any(ForwardTemplate::is_exposed)
    };
    if let Some(set) = document.forward.values().find(exposed) {
        let message = "a project's file may forward to addresses of loopback only".to_owned();
        let hint = Some("name the address on the command line, or in your own file".to_owned());
        return Err(ConfigError::at(path, &text, set.span(), message, hint));
    }
    for (name, operation) in &document.op {
        let log = operation.get_ref().log.as_deref();
        let inside = |log: &Path| {
            log.components()
                .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        };
        if log.is_some_and(|log| !inside(log)) {
            let message = format!("a project's operation {name} may only log below the project");
            return Err(ConfigError::at(
                path,
                &text,
                operation.span(),
                message,
                None,
            ));
        }
    }
    layer(path, &text, document, |line| Origin::Project {
        path: path.to_owned(),
        line,
    })
}

fn parse(path: &Path, text: &str) -> Result<Document, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::of_toml(path, text, &error))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let refuse = |why: &str| Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, why)));
    let about = fs::metadata(path).map_err(unreadable)?;
    // A pipe or a device could keep us for ever; the null device is how one says "no file".
    if path == Path::new("/dev/null") {
        return Ok(String::new());
    }
    if !about.is_file() {
        return refuse("it is no file");
    }
    if about.len() > LARGEST {
        return refuse("it is larger than 1 MiB");
    }
    fs::read_to_string(path).map_err(unreadable)
}

fn layer(
    path: &Path,
    text: &str,
    document: Document,
    origin: impl Fn(usize) -> Origin,
) -> Result<FileLayer, ConfigError> {
    fn setting<T>(text: &str, origin: impl Fn(usize) -> Origin, value: Spanned<T>) -> Setting<T> {
        let before = text.get(..value.span().start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Setting::new(value.into_inner(), origin(line))
    }
    macro_rules! settings {
        ($($key:ident),+) => {
            Defaults { $($key: document.$key.map(|value| setting(text, &origin, value))),+ }
        };
    }

    for (name, target) in &document.alias {
        if let Err(error) = name.parse::<AnyName>() {
            let message = format!("an alias is one word: {error}");
            return Err(ConfigError::at(path, text, target.span(), message, None));
        }
    }
    for (name, set) in &document.forward {
        let problem = match name.parse::<AnyName>() {
            Err(error) => Some(format!("the name of a set is one word: {error}")),
            Ok(_) if set.get_ref().ports.is_empty() => {
                Some("nothing is to be forwarded".to_owned())
            }
            Ok(_) => None,
        };
        if let Some(message) = problem {
            return Err(ConfigError::at(path, text, set.span(), message, None));
        }
    }
    for guard in &document.guard {
        if let Some(problem) = guard.get_ref().problem() {
            return Err(ConfigError::at(
                path,
                text,
                guard.span(),
                problem.to_owned(),
                None,
            ));
        }
    }
    for (name, operation) in &document.op {
        if let Some(problem) = operation.get_ref().problem(name) {
            let message = format!("operation {name}: {problem}");
            return Err(ConfigError::at(path, text, operation.span(), message, None));
        }
    }
    if let Some(record) = &document.record
        && let Some(problem) = record.get_ref().problem()
    {
        return Err(ConfigError::at(path, text, record.span(), problem, None));
    }
    Ok(FileLayer {
        accounts: document.account,
        groups: document.group,
        record: document.record.map(|record| setting(text, &origin, record)),
        operations: document
            .op
            .into_iter()
            .map(|(name, mut operation)| {
                // A log is named from where the file is.
                let place = operation.get_mut();
                place.log = place
                    .log
                    .take()
                    .map(|log| path.parent().unwrap_or_else(|| Path::new(".")).join(log));
                (name, setting(text, &origin, operation))
            })
            .collect(),
        aliases: document
            .alias
            .into_iter()
            .map(|(name, target)| (name, setting(text, &origin, target)))
            .collect(),
        forwards: document
            .forward
            .into_iter()
            .map(|(name, set)| (name, setting(text, &origin, set)))
            .collect(),
        guards: document
            .guard
            .into_iter()
            .map(|guard| setting(text, &origin, guard))
            .collect(),
        defaults: settings!(
            cluster,
            target,
            container,
            shell,
            output,
            engine,
            region,
            profile,
            endpoint_url,
            stream_host
        ),
    })
}

/// More is no configuration.
const LARGEST: u64 = 1024 * 1024;
