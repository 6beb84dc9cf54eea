//! Times on the command line: `500ms`, `2s`, `1m`, `1h`; a bare number means seconds.

use std::time::Duration;

/// Reads a time; the error is for the user.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time looks like 500ms, 2s, 1m or 1h".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| "a time looks like 500ms, 2s, 1m or 1h".to_owned())
}

/// The shortest pause between two looks: a service is not asked without end.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Reads the pause between two looks at something; the error is for the user.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse(text)?;
    match interval < SHORTEST_INTERVAL {
        true => Err("it is 100ms at least".to_owned()),
        false => Ok(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, millis) in [
            ("0", 0),
            ("500ms", 500),
            ("2s", 2000),
            ("3", 3000),
            ("1m", 60_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn looks_are_not_taken_without_a_pause() {
        assert_eq!(interval("100ms"), Ok(Duration::from_millis(100)));
        for text in ["0", "0s", "99ms", "x"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
