//! The door: which Host and Origin a request may have.
//!
//! The sandbox runs commands for whoever can talk to it. A web page can make a browser talk to loopback, under a name
//! of its own that resolves to 127.0.0.1 (DNS rebinding) or across origins; neither may get in, whatever its token.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

/// Why a request was turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// None, several, or one that is no host name.
    #[error("the Host header is missing, repeated or malformed")]
    UnusableHost,
    /// Not this machine by its loopback names.
    #[error("the host {0:?} is not a loopback address")]
    ForeignHost(String),
    /// A page of another site sent this.
    #[error("the origin {0:?} is foreign")]
    ForeignOrigin(String),
}

/// What belongs to this sandbox besides loopback itself.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// `http` or `https`: what the own origin begins with.
    pub(crate) scheme: &'static str,
    /// Further names, each asked for by whoever started the sandbox.
    pub(crate) names: Vec<String>,
}

/// Checks a request's Host and Origin; returns the Host as received (with its port).
pub(crate) fn admit(door: &Door, head: &Parts) -> Result<String, Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refusal::UnusableHost);
    };
    let host = host.to_str().map_err(|_| Refusal::UnusableHost)?;
    let authority: Authority = host.parse().map_err(|_| Refusal::UnusableHost)?;
    // An absolute request target overrides the Host header, so it has to pass as well.
    for authority in [Some(&authority), head.uri.authority()]
        .into_iter()
        .flatten()
    {
        let host = authority.host();
        let own = || {
            door.names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host))
        };
        if authority.as_str().contains('@') || !(is_loopback(host) || own()) {
            return Err(Refusal::ForeignHost(authority.to_string()));
        }
    }
    for origin in head.headers.get_all(ORIGIN) {
        let own = origin
            .to_str()
            .is_ok_and(|origin| origin.eq_ignore_ascii_case(&format!("{}://{host}", door.scheme)));
        if !own {
            return Err(Refusal::ForeignOrigin(
                String::from_utf8_lossy(origin.as_bytes()).into_owned(),
            ));
        }
    }
    Ok(host.to_owned())
}

/// Loopback by address or name, also behind the prefix that StartLiveTail puts before the host.
fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let host = ["streaming-", "stream-"]
        .iter()
        .find_map(|prefix| host.strip_prefix(prefix))
        .unwrap_or(&host);
    if host == "localhost" {
        return true;
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address
                    .to_ipv4_mapped()
                    .as_ref()
                    .is_some_and(Ipv4Addr::is_loopback)
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(head: &Parts) -> Result<String, Refusal> {
        let door = Door {
            scheme: "http",
            names: Vec::new(),
        };
        super::admit(&door, head)
    }

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::post("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn loopback_hosts_pass() {
        for host in [
            "127.0.0.1:4566",
            "127.8.9.10",
            "localhost:80",
            "LocalHost",
            "[::1]:4566",
            "stream-127.0.0.1:4566",
            "streaming-localhost:4566",
        ] {
            assert_eq!(admit(&head(&[("host", host)])), Ok(host.to_owned()));
        }
    }

    #[test]
    fn other_hosts_do_not() {
        for host in [
            "example.com",
            "127.0.0.1.example.com:4566",
            "localhost.example.com",
            "localhost.",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "stream-example.com",
            "stream-stream-localhost",
            "user@localhost",
            "169.254.169.254",
        ] {
            assert!(admit(&head(&[("host", host)])).is_err(), "{host}");
        }
    }

    #[test]
    fn exactly_one_host_is_needed() {
        assert_eq!(admit(&head(&[])), Err(Refusal::UnusableHost));
        let two = head(&[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(admit(&two), Err(Refusal::UnusableHost));
    }

    #[test]
    fn an_absolute_target_is_checked_too() {
        let request = http::Request::get("http://example.com/").header("host", "localhost");
        let head = request.body(()).unwrap().into_parts().0;
        assert_eq!(
            admit(&head),
            Err(Refusal::ForeignHost("example.com".to_owned()))
        );
    }

    #[test]
    fn only_the_own_origin_passes() {
        let own = head(&[("host", "localhost:1"), ("origin", "http://localhost:1")]);
        assert!(admit(&own).is_ok());
        for origin in [
            "http://example.com",
            "null",
            "http://localhost:2",
            "https://localhost:1",
            "",
        ] {
            let foreign = head(&[("host", "localhost:1"), ("origin", origin)]);
            assert!(
                matches!(admit(&foreign), Err(Refusal::ForeignOrigin(_))),
                "{origin}"
            );
        }
    }

    #[test]
    fn only_names_that_were_asked_for_are_added() {
        let door = Door {
            scheme: "https",
            names: vec!["sandbox.example".to_owned()],
        };
        let admit = |headers: &[(&str, &str)]| super::admit(&door, &head(headers)).is_ok();
        assert!(admit(&[("host", "Sandbox.Example:443")]));
        assert!(admit(&[
            ("host", "sandbox.example:1"),
            ("origin", "https://sandbox.example:1")
        ]));
        assert!(!admit(&[
            ("host", "sandbox.example:1"),
            ("origin", "http://sandbox.example:1")
        ]));
        for host in ["a.sandbox.example", "stream-sandbox.example", "example"] {
            assert!(!admit(&[("host", host)]), "{host}");
        }
    }
}
