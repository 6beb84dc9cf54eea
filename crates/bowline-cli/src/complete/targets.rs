//! Clusters, services, tasks, containers and whole targets, from an inventory.

use bowline::inventory::{Inventory, Row, RowKind};

use super::{Candidate, live};

/// Values of `--cluster`.
pub(super) fn clusters(_typed: &str) -> Vec<Candidate> {
    let known = live::inventory(None);
    let rows = known.inventory.rows().iter();
    let rows = rows.filter(|row| row.kind() == RowKind::Cluster);
    rows.map(|row| Candidate::new(&*row.place.cluster))
        .collect()
}

/// Values of `--service`.
pub(super) fn services(_typed: &str) -> Vec<Candidate> {
    let known = live::inventory(None);
    services_of(&known.inventory, known.cluster.as_deref(), "")
}

/// Values of `--task`.
pub(super) fn tasks(_typed: &str) -> Vec<Candidate> {
    let known = live::inventory(None);
    tasks_of(&known.inventory, known.cluster.as_deref(), "")
}

/// Values of `--container`.
pub(super) fn containers(_typed: &str) -> Vec<Candidate> {
    let known = live::inventory(None);
    let of_cluster = in_cluster(&known.inventory, known.cluster.as_deref());
    unique(of_cluster.filter_map(|row| Some(row.place.container.as_deref()?.to_owned())))
}

/// Whole targets.
pub(super) fn targets(typed: &str) -> Vec<Candidate> {
    let path = typed.split_once(':').map_or(typed, |(_, path)| path);
    let known = live::inventory(path.split_once('/').map(|(cluster, _)| cluster));
    of_target(typed, &known.inventory, known.cluster.as_deref())
}

/// What a target that begins like this may become: a step further, to its next slash.
fn of_target(typed: &str, inventory: &Inventory, current: Option<&str>) -> Vec<Candidate> {
    let (kind, path) = match typed.split_once(':') {
        Some((kind, path)) => (Some(kind), path),
        None => (None, typed),
    };
    let prefix = kind.map_or_else(String::new, |kind| format!("{kind}:"));
    let (services, tasks) = match kind {
        None => (true, true),
        Some("service") => (true, false),
        Some("task") => (false, true),
        Some(_) => return Vec::new(),
    };
    let parts: Vec<&str> = path.split('/').collect();
    let mut found = Vec::new();
    match parts[..] {
        [begun] => {
            if services {
                found.extend(services_of(inventory, current, &prefix));
            }
            // Ids come when one has begun to type one: nobody chooses among them by their looks.
            if tasks && (kind.is_some() || is_hex(begun)) {
                found.extend(tasks_of(inventory, current, &prefix));
            }
            let clusters = inventory.rows().iter();
            let clusters = clusters.filter(|row| row.kind() == RowKind::Cluster);
            let clusters: Vec<&Row> = clusters.collect();
            if clusters.len() > 1 || current.is_none() {
                let names = clusters
                    .iter()
                    .map(|row| format!("{prefix}{}/", row.place.cluster));
                found.extend(names.map(Candidate::new));
            }
        }
        [cluster, begun] => {
            let prefix = format!("{prefix}{cluster}/");
            if services {
                found.extend(services_of(inventory, Some(cluster), &prefix));
            }
            if tasks && (kind.is_some() || is_hex(begun)) {
                found.extend(tasks_of(inventory, Some(cluster), &prefix));
            }
        }
        [cluster, name, _] => {
            let rows = in_cluster(inventory, Some(cluster)).filter(|row| {
                let place = &row.place;
                place.service.as_deref() == Some(name)
                    || place.task.as_deref().is_some_and(|id| id.starts_with(name))
            });
            let names = rows.filter_map(|row| row.place.container.as_deref());
            found.extend(unique(
                names.map(|container| format!("{prefix}{cluster}/{name}/{container}")),
            ));
        }
        _ => {}
    }
    found
}

fn services_of(inventory: &Inventory, cluster: Option<&str>, prefix: &str) -> Vec<Candidate> {
    let rows = in_cluster(inventory, cluster).filter(|row| row.kind() == RowKind::Service);
    unique(rows.filter_map(|row| Some(format!("{prefix}{}", row.place.service.as_deref()?))))
}

fn tasks_of(inventory: &Inventory, cluster: Option<&str>, prefix: &str) -> Vec<Candidate> {
    let rows = in_cluster(inventory, cluster).filter(|row| row.kind() == RowKind::Task);
    let found = rows.filter_map(|row| {
        let value = format!("{prefix}{}", row.place.task.as_deref()?);
        let of = row.place.service.as_deref().or_else(|| row.family());
        Some(match of {
            Some(of) => Candidate::with_help(value, of),
            None => Candidate::new(value),
        })
    });
    found.collect()
}

fn in_cluster<'a>(
    inventory: &'a Inventory,
    cluster: Option<&'a str>,
) -> impl Iterator<Item = &'a Row> {
    let rows = inventory.rows().iter();
    rows.filter(move |row| cluster.is_some_and(|cluster| *row.place.cluster == *cluster))
}

fn unique(values: impl Iterator<Item = String>) -> Vec<Candidate> {
    let mut values: Vec<String> = values.collect();
    values.sort();
    values.dedup();
    values.into_iter().map(Candidate::new).collect()
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use bowline::inventory::Place;

    use super::*;

    fn inventory() -> Inventory {
        let row = |cluster, service, task, container| {
            Row::at(Place::new(cluster, service, task, container))
        };
        Inventory::of(vec![
            row("dev", None, None, None),
            row("dev", Some("api"), None, None),
            row("prod", None, None, None),
            row("prod", Some("web"), None, None),
            row("prod", Some("web"), Some("3f2a"), None),
            row("prod", Some("web"), Some("3f2a"), Some("app")),
            row("prod", Some("web"), Some("77cc"), None),
            row("prod", Some("web"), Some("77cc"), Some("app")),
            row("prod", Some("web"), Some("77cc"), Some("proxy")),
        ])
    }

    #[test]
    fn each_part_of_a_target_has_its_candidates() {
        let cases: [(&str, Option<&str>, &[&str]); 10] = [
            ("", Some("prod"), &["web", "dev/", "prod/"]),
            ("", None, &["dev/", "prod/"]),
            ("3", Some("prod"), &["3f2a"]),
            ("pr", Some("prod"), &["prod/"]),
            ("prod/", None, &["prod/web"]),
            ("prod/7", None, &["prod/77cc"]),
            ("prod/web/", None, &["prod/web/app", "prod/web/proxy"]),
            ("task:prod/", None, &["task:prod/3f2a", "task:prod/77cc"]),
            (
                "service:",
                Some("dev"),
                &["service:api", "service:dev/", "service:prod/"],
            ),
            ("nowhere/", Some("prod"), &[]),
        ];
        for (typed, current, expected) in cases {
            let found = of_target(typed, &inventory(), current).into_iter();
            let found = found.filter(|candidate| candidate.value.starts_with(typed));
            let values: Vec<String> = found.map(|candidate| candidate.value).collect();
            assert_eq!(values, expected, "{typed:?} in {current:?}");
        }
    }
}
