//! The words for faults: reading them, and listing what there is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Both, Bye, Cuts, Direction, Frames, Mark, Pause, Rate, Resume, Rule, Span, Throttle};

/// A set of faults. Read from words with commas between them: `loss=10%,cut-down=frame:20,seed=7`.
///
/// [`Self::list`] names all words. Of a repeated word the last one counts, except that `throttle`, `rate` and
/// `latency` add up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// As they were given, for those who ask.
    words: BTreeMap<String, Value>,
    pub(super) seed: Option<u64>,
    pub(super) frames: Both<Frames>,
    pub(super) black_hole: Option<u64>,
    pub(super) bye: Option<Bye>,
    pub(super) pause: Option<Pause>,
    pub(super) late_close: Duration,
    pub(super) double_close: bool,
    pub(super) no_acks: bool,
    pub(super) no_pong: bool,
    pub(super) token_refused: u64,
    pub(super) resume: Resume,
    pub(super) agent_delay: Duration,
    pub(super) throttle: Vec<Rule<Throttle>>,
    pub(super) rate: Vec<Rule<Rate>>,
    pub(super) latency: Vec<Rule<Span>>,
}

/// Why a text is no set of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No fault of this name.
    #[error("there is no fault {word:?}; there are {names}")]
    Unknown {
        /// What was given.
        word: String,
        /// All names.
        names: String,
    },
    /// The part after `=` is missing, superfluous or wrong.
    #[error("fault {name}: {reason}")]
    Value {
        /// The fault.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Name, form of the value, meaning. Those of the first group also exist with `-up` and `-down` at the end.
const DIRECTED: [(&str, &str, &str); 8] = [
    (
        "delay",
        "=TIME|MIN..MAX",
        "messages wait, and stay in order",
    ),
    ("loss", "=P%", "messages vanish"),
    ("duplicate", "=P%", "messages arrive twice"),
    (
        "reorder",
        "=P%",
        "messages are overtaken by 1 to 8 later ones",
    ),
    (
        "bandwidth",
        "=BYTES",
        "so many bytes a second, and pressure back: a slow reader",
    ),
    (
        "cut",
        "=frame:N|byte:N",
        "the socket is cut there, once in a session",
    ),
    ("cut-every", "=frame:N|byte:N", "every socket is cut there"),
    (
        "cuts",
        "=COUNT/BYTES",
        "so many cuts, at random in a session's first bytes",
    ),
];

const OTHER: [(&str, &str, &str); 14] = [
    (
        "black-hole",
        "[=N]",
        "after N messages to the client the socket falls silent, without an end",
    ),
    (
        "bye",
        "=TIME|frame:N",
        "the service closes each socket with 1000 \"Bye\"",
    ),
    (
        "pause",
        "=TIME[@N]",
        "after N messages to the client nothing goes either way for a time",
    ),
    ("late-close", "=TIME", "channel_closed comes late"),
    ("double-close", "", "channel_closed comes twice"),
    ("no-acks", "", "the agent's acknowledgements never arrive"),
    ("no-pong", "", "pings stay unanswered"),
    ("token-refused", "=N", "the first N tokens are refused"),
    (
        "resume",
        "=allowed|denied|gone|no-token",
        "what ResumeSession answers",
    ),
    (
        "agent-delay",
        "=TIME",
        "the agent's side of a session starts late",
    ),
    (
        "throttle",
        "=[OPERATION:]P%|N",
        "ThrottlingException: by chance, or N times first",
    ),
    (
        "rate",
        "=[OPERATION:]N/s[:BURST]",
        "API calls above this rate are throttled",
    ),
    (
        "latency",
        "=[OPERATION:]TIME|MIN..MAX",
        "API answers take longer",
    ),
    ("seed", "=N", "the number by which chance is repeated"),
];

impl Faults {
    /// Every word with its meaning, one a line.
    #[must_use]
    pub fn list() -> String {
        let mut text = String::from(
            "About the messages of a session; at the end -up (to the agent) or -down (to the client), else both:\n",
        );
        let line = |text: &mut String, (name, form, meaning): &(&str, &str, &str)| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {:<36}{meaning}", format!("{name}{form}"));
        };
        DIRECTED.iter().for_each(|word| line(&mut text, word));
        text.push_str("About sockets, sessions and the API:\n");
        OTHER.iter().for_each(|word| line(&mut text, word));
        text.push_str(
            "Times are as in 20ms, 2s, 1m; BYTES as in 500, 64KB, 20MB; P between 0 and 100.\n",
        );
        text
    }

    /// Nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.keys().all(|name| name == "seed")
    }

    /// The number by which chance is repeated, if one was given.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// Adds the words of another set.
    ///
    /// # Errors
    /// When a word is none.
    pub fn add(&mut self, words: &str) -> Result<(), FaultError> {
        for word in words.split(',').map(str::trim) {
            match word.split_once('=') {
                Some((name, value)) => self.set(name, Some(value))?,
                None => self.set(word, None)?,
            }
        }
        Ok(())
    }

    /// As a JSON object, in which each word is a member: `{"loss": "10%", "no-acks": true, "seed": 7}`.
    pub(crate) fn from_json(members: &Map<String, Value>) -> Result<Self, FaultError> {
        let mut faults = Self::default();
        for (name, value) in members {
            let values = match value {
                Value::Array(values) => values.iter().collect(),
                one => vec![one],
            };
            for value in values {
                match value {
                    Value::Bool(true) => faults.set(name, None)?,
                    Value::String(text) => faults.set(name, Some(text))?,
                    Value::Number(number) => faults.set(name, Some(&number.to_string()))?,
                    _ => {
                        return Err(wrong(
                            name,
                            "a text, a number, true, or a list of these is needed",
                        ));
                    }
                }
            }
        }
        Ok(faults)
    }

    /// The words, as [`Self::from_json`] takes them.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        self.words.clone().into_iter().collect()
    }

    /// Whether anything is left to chance.
    #[must_use]
    pub fn is_random(&self) -> bool {
        let frames = |direction| {
            let frames: &Frames = self.frames.of(direction);
            frames.loss > 0.0
                || frames.duplicate > 0.0
                || frames.reorder > 0.0
                || frames.delay.is_some_and(|span| span.min != span.max)
                || frames.cuts.is_some()
        };
        frames(Direction::Up)
            || frames(Direction::Down)
            || self
                .throttle
                .iter()
                .any(|rule| matches!(rule.what, Throttle::Chance(_)))
            || self
                .latency
                .iter()
                .any(|rule| rule.what.min != rule.what.max)
    }

    fn set(&mut self, word: &str, value: Option<&str>) -> Result<(), FaultError> {
        let (name, directions) = directions(word);
        let needed = || value.ok_or_else(|| wrong(word, "a value is needed"));
        let none = || match value {
            None => Ok(true),
            Some(_) => Err(wrong(word, "it takes no value")),
        };
        let wrong = |reason: &str| wrong(word, reason);
        for direction in directions {
            let frames = self.frames.of_mut(*direction);
            let needed = needed()?;
            match name {
                "delay" => frames.delay = Some(span(needed).map_err(wrong)?),
                "loss" => frames.loss = percent(needed).map_err(wrong)?,
                "duplicate" => frames.duplicate = percent(needed).map_err(wrong)?,
                "reorder" => frames.reorder = percent(needed).map_err(wrong)?,
                "bandwidth" => {
                    let bytes = bytes(needed).filter(|bytes| *bytes > 0);
                    frames.bandwidth = Some(bytes.ok_or_else(|| wrong(BYTES))?);
                }
                "cut" => frames.cut = Some(mark(needed).map_err(wrong)?),
                "cut-every" => frames.cut_every = Some(mark(needed).map_err(wrong)?),
                _ => frames.cuts = Some(cuts(needed).map_err(wrong)?),
            }
        }
        match name {
            _ if !directions.is_empty() => {}
            "black-hole" => self.black_hole = Some(number(value.unwrap_or("0")).map_err(wrong)?),
            "bye" => {
                self.bye = Some(match needed()?.strip_prefix("frame:") {
                    Some(frame) => Bye::Frame(number(frame).map_err(wrong)?),
                    None => Bye::After(time(needed()?).map_err(wrong)?),
                });
            }
            "pause" => self.pause = Some(pause(needed()?).map_err(wrong)?),
            "late-close" => self.late_close = time(needed()?).map_err(wrong)?,
            "double-close" => self.double_close = none()?,
            "no-acks" => self.no_acks = none()?,
            "no-pong" => self.no_pong = none()?,
            "token-refused" => self.token_refused = number(needed()?).map_err(wrong)?,
            "resume" => {
                self.resume = match needed()? {
                    "allowed" => Resume::Allowed,
                    "denied" => Resume::Denied,
                    "gone" => Resume::Gone,
                    "no-token" => Resume::NoToken,
                    _ => return Err(wrong("allowed, denied, gone or no-token is needed")),
                }
            }
            "agent-delay" => self.agent_delay = time(needed()?).map_err(wrong)?,
            "throttle" => self
                .throttle
                .push(rule(needed()?, throttle).map_err(wrong)?),
            "rate" => self.rate.push(rule(needed()?, rate).map_err(wrong)?),
            "latency" => self.latency.push(rule(needed()?, span).map_err(wrong)?),
            "seed" => self.seed = Some(number(needed()?).map_err(wrong)?),
            _ => return Err(unknown(word)),
        }
        self.remember(word, value);
        Ok(())
    }

    fn remember(&mut self, word: &str, value: Option<&str>) {
        let value = value.map_or(Value::Bool(true), |value| match value.parse::<u64>() {
            Ok(number) => number.into(),
            Err(_) => value.into(),
        });
        match self.words.get_mut(word) {
            Some(Value::Array(values)) => values.push(value),
            _ if matches!(word, "throttle" | "rate" | "latency") => {
                self.words
                    .insert(word.to_owned(), Value::Array(vec![value]));
            }
            _ => {
                self.words.insert(word.to_owned(), value);
            }
        }
    }
}

impl FromStr for Faults {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut faults = Self::default();
        faults.add(text)?;
        Ok(faults)
    }
}

/// The name without its direction, and the directions that are meant: none for a word that has no direction.
fn directions(word: &str) -> (&str, &'static [Direction]) {
    let directed = |name: &str| DIRECTED.iter().any(|(known, ..)| *known == name);
    match (word.strip_suffix("-up"), word.strip_suffix("-down")) {
        (Some(name), _) if directed(name) => (name, &[Direction::Up]),
        (_, Some(name)) if directed(name) => (name, &[Direction::Down]),
        _ if directed(word) => (word, &[Direction::Up, Direction::Down]),
        _ => (word, &[]),
    }
}

fn wrong(name: &str, reason: &str) -> FaultError {
    FaultError::Value {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}

fn unknown(word: &str) -> FaultError {
    let directed = DIRECTED
        .iter()
        .map(|(name, ..)| format!("{name}[-up|-down]"));
    let other = OTHER.iter().map(|(name, ..)| (*name).to_owned());
    FaultError::Unknown {
        word: word.to_owned(),
        names: directed.chain(other).collect::<Vec<_>>().join(", "),
    }
}

const TIME: &str = "a time is needed, as in 20ms, 2s or 1m";
const BYTES: &str = "a number of bytes above 0 is needed, as in 500, 64KB or 20MB";

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a whole number is needed")
}

fn percent(text: &str) -> Result<f64, &'static str> {
    let number = text.strip_suffix('%').and_then(|text| text.parse().ok());
    number
        .filter(|number| (0.0..=100.0).contains(number))
        .map(|number: f64| number / 100.0)
        .ok_or("a percentage is needed, as in 10%")
}

/// A time as in 20ms, 2s or 1m; at most a day.
pub(crate) fn time(text: &str) -> Result<Duration, &'static str> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
    let found = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (digits, seconds) = match found {
        Some((digits, seconds)) => (digits, *seconds),
        None if text == "0" => (text, 0.0),
        None => return Err(TIME),
    };
    // A day is more than any test waits, and keeps sums of times far from their limits.
    let value = digits.parse::<f64>().map_err(|_| TIME)? * seconds;
    match Duration::try_from_secs_f64(value) {
        Ok(time) if time <= Duration::from_secs(86_400) => Ok(time),
        _ => Err(TIME),
    }
}

fn span(text: &str) -> Result<Span, &'static str> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let (min, max) = (time(min)?, time(max)?);
    match min <= max {
        true => Ok(Span { min, max }),
        false => Err("the first time is longer than the second"),
    }
}

fn bytes(text: &str) -> Option<u64> {
    let units = [("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000)];
    let found = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (digits, factor) = found.unwrap_or((text, 1));
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn mark(text: &str) -> Result<Mark, &'static str> {
    const FORM: &str = "a place is needed, as in frame:20 or byte:64KB";
    match text.split_once(':') {
        Some(("frame", count)) => Ok(Mark::Frame(count.parse().map_err(|_| FORM)?)),
        Some(("byte", count)) => bytes(count).map(Mark::Byte).ok_or(FORM),
        _ => Err(FORM),
    }
}

fn cuts(text: &str) -> Result<Cuts, &'static str> {
    let both = text
        .split_once('/')
        .and_then(|(count, span)| Some((count.parse().ok()?, bytes(span)?)));
    match both {
        Some((count, bytes)) if bytes > 0 && count <= 100_000 => Ok(Cuts { count, bytes }),
        _ => Err("a count (to 100000) and a number of bytes are needed, as in 200/20MB"),
    }
}

fn pause(text: &str) -> Result<Pause, &'static str> {
    let (span, frame) = text.split_once('@').unwrap_or((text, "1"));
    Ok(Pause {
        span: time(span)?,
        frame: number(frame)?,
    })
}

fn rule<T>(
    text: &str,
    what: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Rule<T>, &'static str> {
    // Operations begin with a letter, all values with a digit.
    let named = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let (operation, value) = match text.split_once(':') {
        Some((operation, value)) if named => (Some(operation.to_owned()), value),
        _ => (None, text),
    };
    Ok(Rule {
        operation,
        what: what(value)?,
    })
}

fn throttle(text: &str) -> Result<Throttle, &'static str> {
    match text.ends_with('%') {
        true => percent(text).map(Throttle::Chance),
        false => text
            .parse()
            .map(Throttle::First)
            .map_err(|_| "a percentage or a number of calls is needed, as in 20% or ListTasks:3"),
    }
}

fn rate(text: &str) -> Result<Rate, &'static str> {
    const FORM: &str = "a rate is needed, as in 20/s or 20/s:50";
    let (per_second, burst) = text.split_once("/s").ok_or(FORM)?;
    let per_second: f64 = per_second.parse().map_err(|_| FORM)?;
    let burst = match burst.strip_prefix(':') {
        Some(burst) => burst.parse().map_err(|_| FORM)?,
        None if burst.is_empty() => per_second.max(1.0),
        None => return Err(FORM),
    };
    match per_second > 0.0 && per_second.is_finite() && (1.0..=1e9).contains(&burst) {
        true => Ok(Rate { per_second, burst }),
        false => Err(FORM),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_read_and_shown_again() {
        let text = "loss-up=12.5%,delay=5ms..50ms,cut-down=frame:20,cut-every=byte:64KB,cuts-down=200/20MB,\
            black-hole,bye=frame:9,pause=2s@3,no-acks,resume=denied,throttle=20%,throttle=ListTasks:3,rate=20/s:50,seed=7";
        let faults: Faults = text.parse().unwrap();
        assert_eq!(
            (faults.frames.up.loss, faults.frames.down.loss),
            (0.125, 0.0)
        );
        let span = faults.frames.down.delay.unwrap();
        assert_eq!((span.min.as_millis(), span.max.as_millis()), (5, 50));
        assert_eq!(faults.frames.down.cut, Some(Mark::Frame(20)));
        assert_eq!(faults.frames.up.cut, None);
        assert_eq!(faults.frames.up.cut_every, Some(Mark::Byte(64_000)));
        assert_eq!(
            faults.frames.down.cuts,
            Some(Cuts {
                count: 200,
                bytes: 20_000_000
            })
        );
        assert_eq!(
            (faults.black_hole, faults.bye),
            (Some(0), Some(Bye::Frame(9)))
        );
        assert_eq!(faults.throttle.len(), 2);
        assert_eq!((faults.resume, faults.seed), (Resume::Denied, Some(7)));
        let json = faults.to_json();
        assert_eq!(json["throttle"], json!(["20%", "ListTasks:3"]));
        assert_eq!(Faults::from_json(&json), Ok(faults));
    }

    #[test]
    fn what_is_no_fault_is_told_with_those_that_are() {
        for (text, error) in [
            ("loss=10", "fault loss: a percentage is needed, as in 10%"),
            (
                "loss-up=101%",
                "fault loss-up: a percentage is needed, as in 10%",
            ),
            (
                "delay=5",
                "fault delay: a time is needed, as in 20ms, 2s or 1m",
            ),
            (
                "delay=2s..1s",
                "fault delay: the first time is longer than the second",
            ),
            ("no-acks=1", "fault no-acks: it takes no value"),
            (
                "bandwidth=0",
                "fault bandwidth: a number of bytes above 0 is needed, as in 500, 64KB or 20MB",
            ),
            (
                "rate=0/s",
                "fault rate: a rate is needed, as in 20/s or 20/s:50",
            ),
            (
                "late-close=99999999s",
                "fault late-close: a time is needed, as in 20ms, 2s or 1m",
            ),
        ] {
            assert_eq!(
                text.parse::<Faults>().unwrap_err().to_string(),
                error,
                "{text}"
            );
        }
        for text in [
            "",
            "lossy=1%",
            "no-acks-up",
            "resume-down=gone",
            "loss-sideways=1%",
            "help",
        ] {
            let error = text.parse::<Faults>().unwrap_err().to_string();
            assert!(error.starts_with("there is no fault"), "{error}");
            assert!(
                error.contains("delay[-up|-down], loss[-up|-down]"),
                "{error}"
            );
        }
        assert!(Faults::list().lines().count() > 20);
    }

    proptest! {
        #[test]
        fn no_text_is_more_than_an_error(text in "[a-z-]{0,12}(=[0-9a-zA-Z:/%.@]{0,12})?") {
            let _ = text.parse::<Faults>();
            for (name, ..) in DIRECTED.iter().chain(&OTHER) {
                let _ = format!("{name}={text}").parse::<Faults>();
            }
        }
    }
}
