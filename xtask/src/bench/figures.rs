//! The table: a figure, its spread, and what it is compared with.

use std::fmt::Write as _;

/// Measurements of one thing.
#[derive(Clone, Debug)]
pub(super) struct Sample(Vec<f64>);

impl Sample {
    /// The values of the runs; there is at least one.
    pub(super) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The middle one: one slow run on a busy machine does not move it.
    pub(super) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
}

/// One line of the table.
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) sample: Sample,
    /// What a program that does less needs for the same, and what that program is.
    pub(super) beside: Option<(&'static str, Sample)>,
    /// What we aim at, and what the reference programs need.
    pub(super) aim: &'static str,
    pub(super) reference: &'static str,
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit,
            sample: Sample::new(values),
            beside: None,
            aim: "",
            reference: "",
        }
    }

    pub(super) fn beside(mut self, what: &'static str, values: Vec<f64>) -> Self {
        self.beside = Some((what, Sample::new(values)));
        self
    }

    pub(super) fn aim(mut self, aim: &'static str, reference: &'static str) -> Self {
        self.aim = aim;
        self.reference = reference;
        self
    }
}

/// The heading over lines of [`line()`].
pub(super) fn heading() -> String {
    columns([
        "figure",
        "median",
        "min..max",
        "beside",
        "ratio",
        "aim",
        "reference",
    ])
}

/// A figure as a line.
pub(super) fn line(figure: &Figure) -> String {
    let sample = &figure.sample;
    let median = format!("{} {}", short(sample.median()), figure.unit);
    let spread = format!("{}..{}", short(sample.min()), short(sample.max()));
    let (beside, ratio) = figure.beside.as_ref().map_or_else(
        || (String::new(), String::new()),
        |(what, other)| {
            (
                format!("{} {what}", short(other.median())),
                format!("{:.2}", sample.median() / other.median()),
            )
        },
    );
    columns([
        &figure.name,
        &median,
        &spread,
        &beside,
        &ratio,
        figure.aim,
        figure.reference,
    ])
}

fn columns(texts: [&str; 7]) -> String {
    const WIDTHS: [usize; 7] = [42, 12, 15, 24, 7, 10, 0];
    let mut line = String::new();
    for (text, width) in texts.into_iter().zip(WIDTHS) {
        // Writing to a String cannot fail.
        let _ = write!(line, "{text:width$} ");
    }
    line.trim_end().to_owned()
}

/// Three figures are all that such measurements carry.
fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_median_the_spread_and_the_ratio() {
        let figure = Figure::new("exec", "ms", vec![30.0, 10.0, 20.0])
            .beside("raw client", vec![8.0])
            .aim("<= 30 ms", "484 ms");
        let words: Vec<String> = line(&figure)
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        let expected = "exec 20.0 ms 10.0..30.0 8.00 raw client 2.50 <= 30 ms 484 ms";
        assert_eq!(words.join(" "), expected);
    }
}
