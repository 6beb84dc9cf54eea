//! All clusters, services, tasks and containers of an account and region, as rows that arrive while they are listed.
//!
//! [`Client::inventory`](crate::Client::inventory) walks them at a pace that AWS does not mind and sends
//! [events](InventoryEvent); an [`Inventory`] made of them is what a picker shows and what completion offers. It can
//! be kept in a [file](InventoryFile), so that the next one has something to show before the first answer.

mod call;
mod file;
mod load;
#[cfg(test)]
mod load_tests;
mod pace;
mod recents;
mod row;

pub use self::file::InventoryFile;
pub use self::load::{InventoryEvent, InventoryLoad, InventoryOptions, LoadFigures};
pub use self::recents::Recents;
pub use self::row::{Counts, Place, Row, RowKind};

/// Rows in the order of their places, each place once.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    rows: Vec<Row>,
}

/// A part of an inventory that is listed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The clusters.
    Clusters,
    /// The services of a cluster.
    Services(String),
    /// The tasks of a cluster and their containers.
    Tasks(String),
}

impl Inventory {
    /// An inventory of rows in any order; of several at one place the last one stays.
    pub fn of(rows: Vec<Row>) -> Self {
        let mut inventory = Self::default();
        inventory.put(rows);
        inventory
    }

    /// Adds rows and replaces those at the same places.
    pub fn put(&mut self, rows: Vec<Row>) {
        for row in &rows {
            if let Some(position) = self.position(&row.place) {
                self.rows[position].absorb(row);
            }
        }
        let new = rows
            .into_iter()
            .filter(|row| self.position(&row.place).is_none());
        let new: Vec<Row> = new.collect();
        if new.is_empty() {
            return;
        }
        self.rows.extend(new);
        // The sort is stable: of two new rows at one place the later one is the second.
        self.rows.sort_by(|a, b| a.place.cmp(&b.place));
        self.rows.dedup_by(|later, first| {
            let same = later.place == first.place;
            if same {
                std::mem::swap(later, first);
            }
            same
        });
    }

    /// Drops what was not seen since the last [`Inventory::expect_news`] in a part that has been listed to its end.
    /// A cluster that is gone takes everything in it along.
    pub fn complete(&mut self, extent: &Extent) {
        let gone: Vec<_> = match extent {
            Extent::Clusters => self
                .rows
                .iter()
                .filter(|row| row.kind() == RowKind::Cluster && !row.seen)
                .map(|row| row.place.cluster.clone())
                .collect(),
            _ => Vec::new(),
        };
        self.rows.retain(|row| {
            !gone.contains(&row.place.cluster)
                && (row.seen || !extent.covers(row) || *extent == Extent::Clusters)
        });
    }

    /// From now on every row has to be seen again, or it goes when its part has been listed.
    pub fn expect_news(&mut self) {
        for row in &mut self.rows {
            row.seen = false;
        }
    }

    /// The rows, by cluster, then what the cluster has.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Where the row of a place is.
    pub fn position(&self, place: &Place) -> Option<usize> {
        self.rows.binary_search_by(|row| row.place.cmp(place)).ok()
    }

    /// The row of a place.
    pub fn row(&self, place: &Place) -> Option<&Row> {
        self.position(place).map(|position| &self.rows[position])
    }
}

impl Extent {
    fn covers(&self, row: &Row) -> bool {
        let cluster = &*row.place.cluster;
        match self {
            Self::Clusters => row.kind() == RowKind::Cluster,
            Self::Services(of) => row.kind() == RowKind::Service && cluster == of,
            Self::Tasks(of) => {
                matches!(row.kind(), RowKind::Task | RowKind::Container) && cluster == of
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(inventory: &Inventory) -> Vec<String> {
        let rows = inventory.rows().iter();
        rows.map(|row| row.place.to_string()).collect()
    }

    fn row(cluster: &str, service: Option<&str>, task: Option<&str>) -> Row {
        Row {
            seen: true,
            ..Row::at(Place::new(cluster, service, task, None))
        }
    }

    #[test]
    fn rows_stand_in_the_order_of_their_places_and_once() {
        let mut inventory = Inventory::of(vec![
            row("b", None, None),
            row("a", Some("web"), Some("2")),
            row("a", None, Some("9")),
            row("a", Some("web"), None),
            row("a", None, None),
        ]);
        inventory.put(vec![row("a", Some("api"), None), row("b", None, None)]);
        assert_eq!(
            places(&inventory),
            ["a", "a/api", "a/web", "a/web 2", "a 9", "b"]
        );
    }

    #[test]
    fn what_is_not_seen_again_goes_when_its_part_is_complete() {
        let mut inventory = Inventory::of(vec![
            row("a", None, None),
            row("a", Some("old"), None),
            row("a", Some("web"), None),
            row("a", Some("web"), Some("1")),
            row("b", None, None),
            row("b", Some("web"), None),
        ]);
        inventory.expect_news();
        inventory.put(vec![row("a", None, None), row("a", Some("web"), None)]);
        inventory.complete(&Extent::Services("a".into()));
        assert_eq!(
            places(&inventory),
            ["a", "a/web", "a/web 1", "b", "b/web"],
            "another part, and another cluster, are not touched"
        );
        inventory.complete(&Extent::Clusters);
        assert_eq!(places(&inventory), ["a", "a/web", "a/web 1"]);
        inventory.complete(&Extent::Tasks("a".into()));
        assert_eq!(places(&inventory), ["a", "a/web"]);
    }

    #[test]
    fn a_bare_name_does_not_wipe_what_is_known() {
        let known = Row {
            events: vec!["steady".into()],
            ..row("a", Some("web"), None)
        };
        let mut inventory = Inventory::of(vec![known]);
        inventory.put(vec![row("a", Some("web"), None)]);
        assert_eq!(inventory.rows()[0].events, ["steady"]);
    }
}
