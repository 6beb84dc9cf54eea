//! How agents behave: fast, or as the real ones with their faults.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::faults;
use crate::reach::RemoteHost;

/// New enough for separate output, exit codes and the challenge of encrypted sessions.
const VERSION: &str = "3.3.3050.0";

/// How the agents of a sandbox behave. Read from words with commas between them: `stock,no-reack,version=3.1.0.0`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentOptions {
    /// Pause between the start of a command and the agent's first read of its terminal; 1 s in the real agent.
    pub start_delay: Duration,
    /// Behave as the stock agent with its known faults: 1,024-byte chunks and a pause after each, the UTF-8 filter
    /// that damages some output, resending only the oldest message, sending beyond what it remembers, separate
    /// outputs that stop for good at a pause.
    pub stock: bool,
    /// Sessions served at once in one container; further ones open but stay silent until a place is free.
    pub session_limit: usize,
    /// How long input is refused, unacknowledged, after the start of a command on a terminal.
    pub ready_delay: Duration,
    /// Acknowledge again what arrives again, as agents do since 3.2.1041.0.
    pub reacknowledge: bool,
    /// How long the client has for each of its answers in a handshake; 15 s in the real agent, settable since 2026.
    pub handshake_wait: Duration,
    /// Refuse clients that do not acknowledge the challenge of encrypted sessions.
    pub require_challenge: bool,
    /// What the handshake says; clients decide features by it.
    pub version: String,
    /// Payload of one message at most, if not 1,024 bytes of the stock agent or 32 KiB of the fast one.
    pub payload: Option<usize>,
    /// Pause before a port session's target answers.
    pub dial_delay: Duration,
    /// Refuse every host of a port session, as agents do with some.
    pub refuses_hosts: bool,
    /// Hosts that tasks reach besides the demo database.
    pub hosts: Vec<RemoteHost>,
    /// Agents are real ones that come over the control channel, not the built-in one; of the other options only
    /// `session_limit` and `hosts` count then.
    pub outside: Option<Outside>,
}

/// Where agents from outside come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Whoever has a container's credentials, most likely a program in it.
    Anywhere,
    /// The sandbox starts one for each container: `amazon-ssm-agent` in this folder, with `ssm-agent-worker` and
    /// `ssm-session-worker` beside it.
    Programs(PathBuf),
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            start_delay: Duration::ZERO,
            stock: false,
            session_limit: 2,
            ready_delay: Duration::ZERO,
            reacknowledge: true,
            handshake_wait: Duration::from_secs(15),
            require_challenge: false,
            version: VERSION.to_owned(),
            payload: None,
            dial_delay: Duration::ZERO,
            refuses_hosts: false,
            hosts: Vec::new(),
            outside: None,
        }
    }
}

impl AgentOptions {
    /// The real agent's ways, with its delay.
    #[must_use]
    pub fn stock() -> Self {
        Self {
            start_delay: Duration::from_secs(1),
            stock: true,
            ..Self::default()
        }
    }

    /// Whether the agent says that it is at least this version.
    pub(crate) fn is_at_least(&self, version: [u32; 4]) -> bool {
        let own = self.version.split('.').map(str::parse);
        own.collect::<Result<Vec<u32>, _>>()
            .is_ok_and(|own| own.as_slice() >= &version[..])
    }
}

/// Why a text says nothing about agents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{word:?} says nothing about agents; there are fast, stock, start-delay=TIME, ready-delay=TIME, no-reack, \
     handshake-wait=TIME, require-challenge, session-limit=N, dial-delay=TIME, no-hosts, payload=BYTES, version=A.B.C.D, real, real=FOLDER"
)]
pub struct AgentError {
    word: String,
}

impl FromStr for AgentOptions {
    type Err = AgentError;

    fn from_str(text: &str) -> Result<Self, AgentError> {
        let mut options = Self::default();
        for word in text.split(',').map(str::trim) {
            let wrong = || AgentError {
                word: word.to_owned(),
            };
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let time = || faults::time(value).map_err(|_| wrong());
            match (name, value) {
                // They set everything, so that the words after them are about what they are not.
                ("fast", "") => options = Self::default(),
                ("stock", "") => options = Self::stock(),
                ("start-delay", _) => options.start_delay = time()?,
                ("ready-delay", _) => options.ready_delay = time()?,
                ("handshake-wait", _) => options.handshake_wait = time()?,
                ("dial-delay", _) => options.dial_delay = time()?,
                ("real", _) => {
                    options.outside = Some(match value {
                        "" => Outside::Anywhere,
                        folder => Outside::Programs(folder.into()),
                    });
                }
                ("no-hosts", "") => options.refuses_hosts = true,
                ("no-reack", "") => options.reacknowledge = false,
                ("require-challenge", "") => options.require_challenge = true,
                ("session-limit", _) => {
                    options.session_limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=1000).contains(limit))
                        .ok_or_else(wrong)?;
                }
                ("payload", _) => {
                    let bytes = value.parse().ok();
                    options.payload = Some(
                        bytes
                            .filter(|bytes| (64..=65_536).contains(bytes))
                            .ok_or_else(wrong)?,
                    );
                }
                ("version", _) => {
                    let parts: Vec<&str> = value.split('.').collect();
                    let numbers = parts.iter().all(|part| part.parse::<u32>().is_ok());
                    if parts.len() != 4 || !numbers {
                        return Err(wrong());
                    }
                    options.version = value.to_owned();
                }
                _ => return Err(wrong()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_read_from_words() {
        assert_eq!("fast".parse(), Ok(AgentOptions::default()));
        assert_eq!("stock".parse(), Ok(AgentOptions::stock()));
        let text = "stock, no-reack,ready-delay=2s,session-limit=5,version=3.1.0.0";
        let options: AgentOptions = text.parse().unwrap();
        assert!(options.stock && !options.reacknowledge);
        assert_eq!(options.ready_delay, Duration::from_secs(2));
        assert_eq!(
            (options.session_limit, options.version.as_str()),
            (5, "3.1.0.0")
        );
        let outside = |text: &str| text.parse::<AgentOptions>().unwrap().outside;
        assert_eq!(outside("real"), Some(Outside::Anywhere));
        assert_eq!(
            outside("real=/opt/agent,session-limit=5"),
            Some(Outside::Programs("/opt/agent".into()))
        );
        for wrong in [
            "",
            "stocks",
            "no-reack=1",
            "version=3",
            "session-limit=0",
            "start-delay=1",
        ] {
            let error = wrong.parse::<AgentOptions>().unwrap_err().to_string();
            assert!(error.ends_with("real=FOLDER"), "{error}");
        }
    }
}
