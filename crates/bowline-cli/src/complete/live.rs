//! An inventory within the time that a prompt may take: what was kept, and what answers meanwhile.

use std::ffi::OsString;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bowline::inventory::{Inventory, InventoryEvent, InventoryOptions, RowKind};
use bowline::{Client, ClientOptions};
use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, GlobalArgs};
use crate::commands::config;
use crate::kept::Kept;

/// How long a prompt may wait, all in all.
const LIMIT: Duration = Duration::from_millis(700);
/// When a walk is cut off, so that what it found can be kept.
const WALK: Duration = Duration::from_millis(500);
/// What is as young as this is good enough: several Tabs in a row ask once.
const YOUNG: Duration = Duration::from_secs(10);

/// What is known within the limit.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) inventory: Inventory,
    /// The cluster that is meant when none is named.
    pub(super) cluster: Option<String>,
}

/// What there is, most of all in a cluster that is named in what is being typed.
pub(super) fn inventory(cluster: Option<&str>) -> Known {
    let global = global();
    if global.sandbox {
        return Known::default();
    }
    let deadline = Instant::now() + LIMIT;
    let wanted = cluster.map(str::to_owned);
    let wanted = wanted.or_else(|| global.cluster.as_ref().map(ToString::to_string));
    let given = global.cluster.as_ref().map(ToString::to_string);
    let (sender, found) = sync_channel(2);
    // It ends with the process, which does not wait for it longer than the limit.
    std::thread::spawn(move || find(&global, wanted.as_deref(), &sender));
    let inventory = newest(&found, deadline);
    let cluster = given.or_else(|| usual_cluster(&inventory));
    Known { inventory, cluster }
}

/// The last inventory that arrives in time.
fn newest(found: &Receiver<Inventory>, deadline: Instant) -> Inventory {
    let mut newest = Inventory::default();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match found.recv_timeout(left) {
            Ok(inventory) => newest = inventory,
            Err(_) => return newest,
        }
    }
}

/// Sends what was kept, then the same refreshed. Whatever fails ends it.
fn find(global: &GlobalArgs, cluster: Option<&str>, sender: &SyncSender<Inventory>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        // Whoever presses Tab is not asked for a code.
        let options = ClientOptions {
            mfa: None,
            ..global.client_options()
        };
        let Ok(client) = Client::connect(options).await else {
            return;
        };
        let mut kept = Kept::of(&client, global);
        let inventory = kept.take(None);
        if sender.send(inventory.clone()).is_err() || kept.age().is_some_and(|age| age < YOUNG) {
            return;
        }
        let (inventory, has_news) = refreshed(&client, inventory, cluster).await;
        if has_news {
            // Offered first; whoever waits goes on waiting for the end of this, up to the limit.
            let _ = sender.send(inventory.clone());
            kept.keep(inventory).await;
        }
    });
}

async fn refreshed(
    client: &Client,
    mut inventory: Inventory,
    cluster: Option<&str>,
) -> (Inventory, bool) {
    let mut walk = client.inventory(InventoryOptions {
        only: cluster.and_then(|name| name.parse().ok()),
        first: usual_cluster(&inventory).into_iter().collect(),
    });
    inventory.expect_news();
    let mut has_news = false;
    let walking = async {
        while let Some(event) = walk.next().await {
            match event {
                InventoryEvent::Rows(rows) => {
                    has_news = true;
                    inventory.put(rows);
                }
                InventoryEvent::Complete(extent) => inventory.complete(&extent),
                InventoryEvent::Done(_) | InventoryEvent::Failed(_) => return,
                _ => {}
            }
        }
    };
    // Not to the end is not in vain: what has come is offered and kept.
    let _ = tokio::time::timeout(WALK, walking).await;
    (inventory, has_news)
}

/// The only cluster, else `default`, as everywhere.
fn usual_cluster(inventory: &Inventory) -> Option<String> {
    let rows = inventory.rows().iter();
    let rows = rows.filter(|row| row.kind() == RowKind::Cluster);
    let names: Vec<&str> = rows.map(|row| &*row.place.cluster).collect();
    match names[..] {
        [only] => Some(only.to_owned()),
        _ => names.contains(&"default").then(|| "default".to_owned()),
    }
}

/// The global options of the line that is being typed, as far as it goes.
fn global() -> GlobalArgs {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let mut words: Vec<OsString> = words.collect();
    // bash hands over its line as one word.
    if let [line] = &words[..] {
        words = super::bash::words(&line.to_string_lossy())
            .into_iter()
            .map(Into::into)
            .collect();
    }
    // The word that is being typed may be anything yet.
    let index = std::env::var("_CLAP_COMPLETE_INDEX")
        .ok()
        .and_then(|index| index.parse().ok());
    words.truncate(index.unwrap_or_else(|| words.len().saturating_sub(1)));
    let tree = Cli::command()
        .ignore_errors(true)
        .subcommand_required(false)
        .arg_required_else_help(false);
    let matches = tree.try_get_matches_from(words);
    let global = matches.and_then(|matches| GlobalArgs::from_arg_matches(&matches));
    let mut global = global.unwrap_or_default();
    config::apply_silently(&mut global);
    global
}
