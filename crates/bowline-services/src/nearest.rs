//! "Did you mean": the nearest of many names.

/// The name that differs from `wanted` in the fewest letters, unless it is far off. Names that differ in case and
/// underscores alone are the same.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(wanted);
    let limit = (wanted.len() * 2 / 5).clamp(1, 4);
    names
        .into_iter()
        .map(|name| (distance(&wanted, &plain(name), limit), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

fn plain(name: &str) -> Vec<u8> {
    name.bytes()
        .take(100)
        .filter(|byte| *byte != b'_' && *byte != b'-')
        .map(|byte| byte.to_ascii_lowercase())
        .collect()
}

/// The edit distance, or something above `limit`.
fn distance(left: &[u8], right: &[u8], limit: usize) -> usize {
    if left.len().abs_diff(right.len()) > limit {
        return limit + 1;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, byte) in left.iter().enumerate() {
        let mut before = at;
        let mut left_of = at + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(right) {
            let changed = before + usize::from(byte != other);
            before = *cell;
            left_of = changed.min(*cell + 1).min(left_of + 1);
            *cell = left_of;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["RunTask", "StartTask", "StopTask", "DescribeTasks"];
        assert_eq!(nearest("run_tsk", names), Some("RunTask"));
        assert_eq!(nearest("DescribeTask", names), Some("DescribeTasks"));
        assert_eq!(nearest("Sleep", names), None);
        assert_eq!(distance(b"kitten", b"sitting", 9), 3);
    }
}
