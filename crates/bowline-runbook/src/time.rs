//! Durations and moments of sleep steps.

use jiff::{SignedDuration, Timestamp};

/// The longest sleep that the service allows, in seconds.
pub(crate) const LONGEST_SLEEP: i64 = 604_799;

/// An ISO 8601 duration of days to seconds: years and months have no length of their own. \[X\]
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    let refused = || format!("{text} is no ISO 8601 duration of days, hours, minutes and seconds");
    let span: jiff::Span = text.trim().parse().map_err(|_| refused())?;
    let is_iso = text.trim_start().starts_with(['P', 'p']);
    if !is_iso || span.get_years() != 0 || span.get_months() != 0 {
        return Err(refused());
    }
    let days = i64::from(span.get_weeks()) * 7 + i64::from(span.get_days());
    let rest = span.weeks(0).days(0);
    let rest = SignedDuration::try_from(rest).map_err(|_| refused())?;
    let days = days.checked_mul(86_400).map(SignedDuration::from_secs);
    let total = days
        .and_then(|days| days.checked_add(rest))
        .ok_or_else(refused)?;
    match total.as_secs() {
        0..=LONGEST_SLEEP => Ok(total),
        seconds if seconds < 0 => Err(format!("{text} is negative")),
        _ => Err(format!(
            "{text} is longer than the {LONGEST_SLEEP} seconds that the service allows"
        )),
    }
}

/// An ISO 8601 moment.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("{text} is no ISO 8601 moment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_days_to_seconds() {
        for (text, seconds) in [
            ("PT3S", Some(3)),
            ("P1DT1H", Some(90_000)),
            ("PT10M", Some(600)),
            ("P1W", None),
            ("P6D", Some(518_400)),
            ("PT0S", Some(0)),
            ("-PT3S", None),
            ("P1M", None),
            ("3s", None),
            ("10", None),
            ("P8D", None),
        ] {
            let read = duration(text).ok().map(|it| it.as_secs());
            assert_eq!(read, seconds, "{text}");
        }
    }
}
