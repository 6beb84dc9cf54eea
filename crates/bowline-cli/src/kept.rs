//! What is kept between two runs, for one account, region and endpoint: the last inventory, and what was picked.
//!
//! The inventory is in the cache folder of XDG, the picks in its state folder. Nothing of it is needed: whatever
//! cannot be read is not there, and what cannot be written is said in the log.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use bowline::Client;
use bowline::inventory::{Inventory, InventoryFile, Place, Recents};
use bowline::target::ClusterName;

use crate::cli::GlobalArgs;
use crate::commands::Context;

/// What is known from before.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The last inventory.
    pub(crate) inventory: Inventory,
    file: Option<InventoryFile>,
    recents: Option<Recents>,
}

impl Kept {
    /// Reads it. A private sandbox has nothing from before.
    pub(crate) fn open(client: &Client, context: &Context) -> Self {
        match context.global.sandbox {
            true => Self::default(),
            false => Self::of(client, &context.global),
        }
    }

    pub(crate) fn of(client: &Client, global: &GlobalArgs) -> Self {
        let identity = identity(client, global);
        let cache = folder("XDG_CACHE_HOME", ".cache").map(|folder| folder.join("inventory"));
        let state = folder("XDG_STATE_HOME", ".local/state").map(|folder| folder.join("recents"));
        let file = cache.map(|cache| InventoryFile::new(&cache, &identity));
        Self {
            inventory: file.as_ref().map(InventoryFile::read).unwrap_or_default(),
            file,
            recents: state.map(|state| Recents::read(&state, &identity)),
        }
    }

    /// How old the inventory is, if there is one.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.file.as_ref()?.age()
    }

    /// What was picked, newest first.
    pub(crate) fn recents(&self) -> Vec<Place> {
        let recents = self.recents.as_ref();
        recents
            .map(|recents| recents.places().to_vec())
            .unwrap_or_default()
    }

    /// Takes the inventory, or what there is of one cluster; the rest waits until it is put back.
    pub(crate) fn take(&mut self, only: Option<&ClusterName>) -> Inventory {
        let inventory = std::mem::take(&mut self.inventory);
        let Some(only) = only else {
            return inventory;
        };
        let rows = inventory.rows().iter().cloned();
        let (inside, outside) = rows.partition(|row| *row.place.cluster == *only.as_str());
        self.inventory = Inventory::of(outside);
        Inventory::of(inside)
    }

    /// Keeps what was taken and has been refreshed, unless nothing was seen.
    pub(crate) async fn keep(&self, mut inventory: Inventory) {
        inventory.put(self.inventory.rows().to_vec());
        let Some(file) = self.file.clone().filter(|_| !inventory.rows().is_empty()) else {
            return;
        };
        let written = tokio::task::spawn_blocking(move || file.write(&inventory)).await;
        if let Ok(Err(error)) = written {
            tracing::info!(%error, "the inventory is not kept");
        }
    }

    /// Keeps what was picked.
    pub(crate) fn picked(&mut self, place: &Place) {
        let Some(recents) = &mut self.recents else {
            return;
        };
        recents.add(place);
        if let Err(error) = recents.write() {
            tracing::info!(%error, "the pick is not kept");
        }
    }
}

/// What tells accounts apart before the first call: where the calls go, and whose they are by name.
fn identity(client: &Client, global: &GlobalArgs) -> String {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let profile = global
        .profile
        .clone()
        .unwrap_or_else(|| variable("AWS_PROFILE"));
    [
        client.endpoint().unwrap_or_default(),
        client.region().to_owned(),
        profile,
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_ROLE_ARN"),
        variable("AWS_CONFIG_FILE"),
        variable("AWS_SHARED_CREDENTIALS_FILE"),
    ]
    .join("\n")
}

/// The folder for what is worth keeping.
pub(crate) fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

/// Our folder below one of XDG's. A relative path in the variable is to be ignored, by the specification.
pub(crate) fn folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let given = env::var_os(variable).map(PathBuf::from).filter(absolute);
    let home = || env::var_os("HOME").map(PathBuf::from).filter(absolute);
    let base = given.or_else(|| Some(home()?.join(below_home)))?;
    Some(base.join("bowline"))
}
