//! What to forward: a word with a place here and one there.
//!
//! ```text
//! 80                              port 80 here to port 80 of the task
//! 8080:80    0:80                 another port here; 0 is any that is free
//! db.internal:5432                the same port here to a host that the task reaches
//! 5432:db.internal:5432
//! 127.0.0.2:8080:80               an address here in front
//! 127.0.0.2:5432:db:5432
//! unix:/tmp/db.sock:db:5432       a socket in the file system
//! ```
//!
//! `*` stands for every address of this machine, and IPv6 addresses stand in brackets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// One thing to forward. `Display` gives a text that means the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ForwardSpec {
    /// Where connections come from.
    pub local: Local,
    /// Where they go.
    pub remote: Remote,
}

/// Where connections are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// A port of this machine.
    Port {
        /// The address; without one both of loopback.
        address: Option<IpAddr>,
        /// 0 for any that is free.
        port: u16,
    },
    /// A socket in the file system.
    Socket(PathBuf),
}

/// Where connections go, seen from the task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Remote {
    /// A host that the task reaches; without one the task itself.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
}

/// Why a text is no [`ForwardSpec`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not of the form [[ADDRESS:]PORT:][HOST:]PORT: {reason}")]
pub struct SpecError {
    pub(super) text: String,
    pub(super) reason: String,
}

/// A host of the document is anything but these, and not empty. AWS refuses them too.
const NOT_IN_HOSTS: &str = ",$^&()!;'\"<>`{}[]|#= \t\r\n/\\@";
const LONGEST_HOST: usize = 253;

impl FromStr for ForwardSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        parse(text).map_err(|reason| SpecError {
            text: text.to_owned(),
            reason,
        })
    }
}

impl TryFrom<String> for ForwardSpec {
    type Error = SpecError;

    fn try_from(text: String) -> Result<Self, SpecError> {
        text.parse()
    }
}

impl Remote {
    /// A host and a port that somebody asks for, if they can be one.
    pub(crate) fn checked(host: &str, port: u16) -> Option<Self> {
        remote(host, &port.to_string()).ok()
    }

    /// The host to name in the request. Loopback there is the task, for which newer agents refuse a host.
    pub(crate) fn named_host(&self) -> Option<&str> {
        let host = self.host.as_deref()?;
        let loopback = host.eq_ignore_ascii_case("localhost")
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        (!loopback).then_some(host)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, "{}", self.port),
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
            Self::Port { address, port } => match address {
                Some(IpAddr::V4(address)) => write!(f, "{address}:{port}"),
                Some(IpAddr::V6(address)) => write!(f, "[{address}]:{port}"),
                None => write!(f, "{port}"),
            },
        }
    }
}

impl fmt::Display for ForwardSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.local, self.remote)
    }
}

fn parse(text: &str) -> Result<ForwardSpec, String> {
    let path = text
        .strip_prefix("unix:")
        .or_else(|| text.starts_with(['/', '.']).then_some(text));
    if let Some(rest) = path {
        return socket(rest);
    }
    let parts = parts(text)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let own = |text: &str| -> Result<Remote, String> {
        let port = remote_port(text)?;
        Ok(Remote { host: None, port })
    };
    match parts[..] {
        [port] => {
            let remote = own(port)?;
            let (address, port) = (None, remote.port);
            let local = Local::Port { address, port };
            Ok(ForwardSpec { local, remote })
        }
        [first, port] if is_number(first) => Ok(ForwardSpec {
            local: local(None, first)?,
            remote: own(port)?,
        }),
        [host, port] => {
            let remote = remote(host, port)?;
            let (address, port) = (None, remote.port);
            let local = Local::Port { address, port };
            Ok(ForwardSpec { local, remote })
        }
        [first, host, port] if is_number(first) => Ok(ForwardSpec {
            local: local(None, first)?,
            remote: remote(host, port)?,
        }),
        [at, first, port] => Ok(ForwardSpec {
            local: local(Some(at), first)?,
            remote: own(port)?,
        }),
        [at, first, host, port] => Ok(ForwardSpec {
            local: local(Some(at), first)?,
            remote: remote(host, port)?,
        }),
        _ => Err("it has too many parts".to_owned()),
    }
}

/// `/path:port` or `/path:host:port`: the path is what is in front of the last part or two, so it can hold colons as long
/// as no number follows the first of them.
fn socket(text: &str) -> Result<ForwardSpec, String> {
    let (rest, port) = text
        .rsplit_once(':')
        .ok_or_else(|| "a port is missing behind the socket".to_owned())?;
    let (path, remote) = match split_host(rest) {
        Some((path, host)) => (path, remote(&host, port)?),
        None => (
            rest,
            Remote {
                host: None,
                port: remote_port(port)?,
            },
        ),
    };
    if path.is_empty() {
        return Err("the path of the socket is empty".to_owned());
    }
    Ok(ForwardSpec {
        local: Local::Socket(PathBuf::from(path)),
        remote,
    })
}

/// A host behind the last colon that stands after the last slash.
fn split_host(text: &str) -> Option<(&str, String)> {
    if let Some(rest) = text.strip_suffix(']') {
        let (path, host) = rest.rsplit_once(":[")?;
        return Some((path, host.to_owned()));
    }
    let (path, host) = text.rsplit_once(':')?;
    (!host.contains('/')).then(|| (path, host.to_owned()))
}

/// The parts between colons; those in brackets are one.
fn parts(text: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut within = false;
    for letter in text.chars() {
        match letter {
            '[' if !within => within = true,
            ']' if within => within = false,
            ':' if !within => parts.push(String::new()),
            other => parts
                .last_mut()
                .into_iter()
                .for_each(|part| part.push(other)),
        }
    }
    match within {
        true => Err("a bracket is not closed".to_owned()),
        false => Ok(parts),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn local(address: Option<&str>, port: &str) -> Result<Local, String> {
    let port = port
        .parse()
        .map_err(|_| format!("{port:?} is no port of this machine (0 to 65535)"))?;
    let address = match address {
        None | Some("localhost") => None,
        Some("*" | "") => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Some("::") => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        Some(text) => {
            let address = text.parse();
            Some(address.map_err(|_| format!("{text:?} is no address of this machine"))?)
        }
    };
    Ok(Local::Port { address, port })
}

fn remote(host: &str, port: &str) -> Result<Remote, String> {
    if host.is_empty() {
        return Err("the host is empty".to_owned());
    }
    if host.len() > LONGEST_HOST || host.contains(|letter: char| NOT_IN_HOSTS.contains(letter)) {
        return Err(format!("{host:?} is no host"));
    }
    Ok(Remote {
        host: Some(host.to_owned()),
        port: remote_port(port)?,
    })
}

fn remote_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("{text:?} is no port (1 to 65535)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read_and_written() {
        for (text, same) in [
            ("80", "80:80"),
            ("8080:80", "8080:80"),
            ("0:80", "0:80"),
            ("db.internal:5432", "5432:db.internal:5432"),
            ("5432:db.internal:5432", "5432:db.internal:5432"),
            ("127.0.0.2:8080:80", "127.0.0.2:8080:80"),
            ("127.0.0.2:5432:db:5432", "127.0.0.2:5432:db:5432"),
            ("localhost:8080:80", "8080:80"),
            ("*:8080:80", "0.0.0.0:8080:80"),
            ("[::1]:8080:[fd00::2]:80", "[::1]:8080:[fd00::2]:80"),
            ("unix:/tmp/db.sock:db:5432", "unix:/tmp/db.sock:db:5432"),
            ("/tmp/a:b/db.sock:80", "unix:/tmp/a:b/db.sock:80"),
            ("unix:/tmp/s:[fd00::2]:80", "unix:/tmp/s:[fd00::2]:80"),
        ] {
            let spec: ForwardSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), same, "{text}");
            assert_eq!(same.parse(), Ok(spec), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "no port"),
            ("0", "no port"),
            ("web", "no port"),
            ("80:", "no port"),
            ("70000:80", "no port of this machine"),
            ("80:70000", "no port"),
            ("a b:80", "no host"),
            ("5432:$(reboot):5432", "no host"),
            ("nowhere:80:db:80", "no address"),
            ("1:2:3:4:5", "too many parts"),
            ("[::1:80", "bracket"),
            ("unix:/tmp/x", "missing"),
            ("unix::80", "empty"),
        ] {
            let error = text.parse::<ForwardSpec>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn loopback_there_is_the_task_itself() {
        for (text, host) in [
            ("8080:localhost:80", None),
            ("8080:127.0.0.1:80", None),
            ("8080:[::1]:80", None),
            ("8080:db:80", Some("db")),
            ("80", None),
        ] {
            let spec: ForwardSpec = text.parse().unwrap();
            assert_eq!(spec.remote.named_host(), host, "{text}");
        }
    }
}
