//! How long ago something was, in one short word.

use std::time::{SystemTime, UNIX_EPOCH};

/// The present as seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}

/// `12s`, `5m`, `3h`, `9d`; `-` when it never happened.
pub(crate) fn since(second: Option<i64>, now: i64) -> String {
    let Some(second) = second else {
        return "-".to_owned();
    };
    let age = now.saturating_sub(second).max(0);
    match age {
        0..=119 => format!("{age}s"),
        120..=7_199 => format!("{}m", age / 60),
        7_200..=172_799 => format!("{}h", age / 3_600),
        _ => format!("{}d", age / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_grows_with_the_age() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (200_000, "2d"),
        ];
        for (age, word) in cases {
            assert_eq!(since(Some(1_000_000 - age), 1_000_000), word);
        }
        assert_eq!(since(None, 5), "-");
        assert_eq!(since(Some(10), 5), "0s", "a clock that is behind");
    }
}
