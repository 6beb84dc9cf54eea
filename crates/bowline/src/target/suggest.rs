//! Names near the one that was not found.

/// The candidates closest to `name`, best first, at most three.
pub(crate) fn near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_ascii_lowercase();
    let mut scored: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            score(&wanted, &candidate.to_ascii_lowercase()).map(|s| (s, candidate))
        })
        .collect();
    scored.sort_unstable();
    scored.dedup();
    scored
        .into_iter()
        .take(3)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}

/// The number of edits between two names if they are alike; a name inside the other counts as one edit.
fn score(wanted: &str, candidate: &str) -> Option<usize> {
    if wanted.is_empty() || candidate.is_empty() {
        return None;
    }
    let contained = candidate.contains(wanted) || wanted.contains(candidate);
    let edits = match contained && wanted.len().min(candidate.len()) >= 3 {
        true => 1,
        false => distance(wanted.as_bytes(), candidate.as_bytes()),
    };
    (edits <= (wanted.len() / 3).max(1)).then_some(edits)
}

/// The optimal string alignment distance: insert, delete, replace, or swap two neighbours.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted() {
        for (a, b, edits) in [
            ("web", "web", 0),
            ("wbe", "web", 1),
            ("wev", "web", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), edits, "{a} {b}");
        }
    }

    #[test]
    fn near_names_come_first_and_far_ones_not_at_all() {
        let names = ["web", "worker", "web-admin", "database"];
        assert_eq!(near("wbe", names), ["web"]);
        assert_eq!(near("databse", names), ["database"]);
        assert_eq!(near("web-admi", names), ["web", "web-admin"]);
        assert!(near("zzz", names).is_empty());
    }
}
