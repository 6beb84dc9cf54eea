//! What was picked last, newest first, in a private file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Place;
use super::file::{identity_name, read_bounded, write_private};

/// The places picked last in one account and region.
#[derive(Clone, Debug)]
pub struct Recents {
    path: PathBuf,
    places: Vec<Place>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    places: Vec<Place>,
}

impl Recents {
    /// Reads them from a directory. A file that is missing, damaged or of another version is an empty list.
    ///
    /// `identity` tells accounts, regions and endpoints apart; it is not stored.
    pub fn read(directory: &Path, identity: &str) -> Self {
        let path = directory.join(format!("{}.json", identity_name(identity)));
        let stored =
            read_bounded(&path).and_then(|text| serde_json::from_str::<Stored>(&text).ok());
        let places = match stored {
            Some(stored) if stored.version == VERSION => stored.places,
            _ => Vec::new(),
        };
        Self { path, places }
    }

    /// The places, newest first.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Puts a place in front, and its service behind it: tasks come and go, their service stays.
    pub fn add(&mut self, place: &Place) {
        let service = place.of_service().filter(|service| service != place);
        let newest: Vec<Place> = [place.clone()].into_iter().chain(service).collect();
        self.places.retain(|known| !newest.contains(known));
        self.places.splice(0..0, newest);
        self.places.truncate(KEPT);
    }

    /// Writes them.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self) -> std::io::Result<()> {
        let stored = Stored {
            version: VERSION,
            places: self.places.clone(),
        };
        write_private(&self.path, &serde_json::to_vec(&stored)?)
    }
}

const VERSION: u32 = 1;
/// More than one can remember.
const KEPT: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_first_and_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let web = Place::new("prod", Some("web"), Some("1"), Some("app"));
        let api = Place::new("prod", Some("api"), None, None);
        let mut recents = Recents::read(directory.path(), "me");
        recents.add(&web);
        recents.add(&api);
        recents.write().unwrap();

        let mut recents = Recents::read(directory.path(), "me");
        let shown = |recents: &Recents| -> Vec<String> {
            recents.places().iter().map(Place::to_string).collect()
        };
        assert_eq!(shown(&recents), ["prod/api", "prod/web/app 1", "prod/web"]);
        recents.add(&web);
        assert_eq!(shown(&recents), ["prod/web/app 1", "prod/web", "prod/api"]);
        assert!(
            Recents::read(directory.path(), "someone else")
                .places()
                .is_empty()
        );
    }

    #[test]
    fn damage_is_an_empty_list() {
        let directory = tempfile::tempdir().unwrap();
        let mut recents = Recents::read(directory.path(), "me");
        recents.add(&Place::new("prod", None, None, None));
        for damage in ["", "{", "{\"version\":2,\"places\":[]}", "\u{0}"] {
            recents.write().unwrap();
            std::fs::write(&recents.path, damage).unwrap();
            assert!(Recents::read(directory.path(), "me").places().is_empty());
        }
    }
}
