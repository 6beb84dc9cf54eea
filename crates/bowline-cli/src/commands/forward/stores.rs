//! Databases and caches by name, in place of their hosts and ports.

use std::str::FromStr;

use bowline::Client;
use bowline::forward::{ForwardSpec, Local, Remote};
use bowline::stores::Store;

use crate::commands::Context;
use crate::error::{CommandError, ErrorKind};
use crate::{prompt, terminal};

/// A store by name, or one to be chosen, and its port here.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    local: Option<u16>,
    name: Option<String>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (local, name) = match text.split_once(':') {
            Some((local, name)) => {
                let port = local.parse();
                (
                    Some(port.map_err(|_| format!("{local:?} is no port"))?),
                    name,
                )
            }
            None => (None, text),
        };
        match name {
            "" => Err("the name is empty".to_owned()),
            "?" => Ok(Self { local, name: None }),
            name => Ok(Self {
                local,
                name: Some(name.to_owned()),
            }),
        }
    }
}

/// What to forward for all of them.
pub(super) async fn specs(
    client: &Client,
    rds: &[Wanted],
    cache: &[Wanted],
    context: &Context,
) -> Result<Vec<ForwardSpec>, CommandError> {
    let mut specs = Vec::new();
    for (wanted, what) in [(rds, "database"), (cache, "cache")] {
        if wanted.is_empty() {
            continue;
        }
        let stores = match what {
            "database" => client.databases().await?,
            _ => client.caches().await?,
        };
        for wanted in wanted {
            let store = find(&stores, wanted.name.as_deref(), what, context).await?;
            specs.push(ForwardSpec {
                local: Local::Port {
                    address: None,
                    port: wanted.local.unwrap_or(store.port),
                },
                remote: remote(store),
            });
        }
    }
    Ok(specs)
}

/// Where a store is.
pub(crate) fn remote(store: &Store) -> Remote {
    Remote {
        host: Some(store.host.clone()),
        port: store.port,
    }
}

/// The one of this name, or the one that is chosen.
pub(crate) async fn find<'s>(
    stores: &'s [Store],
    name: Option<&str>,
    what: &str,
    context: &Context,
) -> Result<&'s Store, CommandError> {
    let names: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
    let Some(name) = name else {
        return choose(stores, what, context).await;
    };
    stores
        .iter()
        .find(|store| store.name == name)
        .ok_or_else(|| {
            let error =
                CommandError::new(ErrorKind::NotFound, format!("{what} {name} was not found"));
            match names.is_empty() {
                true => error.hint(format!("there is no {what} in this region")),
                false => error.hint(format!("there are {}", names.join(", "))),
            }
        })
}

async fn choose<'s>(
    stores: &'s [Store],
    what: &str,
    context: &Context,
) -> Result<&'s Store, CommandError> {
    let none = || CommandError::new(ErrorKind::NotFound, format!("there is no {what} to choose"));
    if !(terminal::stdin_is_terminal() && terminal::stderr_is_terminal()) {
        let names: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
        return Err(
            CommandError::usage(format!("there is nobody to choose a {what}"))
                .hint(format!("there are {}", names.join(", "))),
        );
    }
    match stores {
        [] => return Err(none()),
        [only] => return Ok(only),
        _ => {}
    }
    for (number, store) in (1..).zip(stores) {
        let Store {
            name,
            engine,
            host,
            port,
            ..
        } = store;
        context
            .printer
            .note(&format!("{number}  {name}  {engine}  {host}:{port}"));
    }
    let answer = prompt::ask(format!("which {what}? (1 to {}) ", stores.len())).await;
    let answer =
        answer.map_err(|reason| CommandError::usage(format!("no {what} was chosen: {reason}")))?;
    let number: Option<usize> = answer.trim().parse().ok();
    number
        .and_then(|number| stores.get(number.checked_sub(1)?))
        .ok_or_else(|| CommandError::usage(format!("{answer:?} is none of them")))
}
