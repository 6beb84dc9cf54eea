//! How the bytes of a port session are to be read, which each end decides by the other's version.
//!
//! The two decisions are made apart and have to agree (data-channel specification §6.2, §8).

/// What the payloads of a port session carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortMode {
    /// Many connections, as [`crate::smux`].
    Multiplexed {
        /// Whether this end says something now and then, and gives a silent peer up.
        keep_alive: bool,
    },
    /// The bytes of one connection at a time. [`crate::Flag::DisconnectToPort`] parts two of them.
    Single,
}

impl PortMode {
    /// The client's decision, by the version that the agent names in its handshake. The reference refuses to compare
    /// versions of different lengths, and takes the agent for an old one then.
    #[must_use]
    pub fn of_agent(version: &str) -> Self {
        let newer = |than: &str| {
            let (ours, theirs) = (numbers(than), numbers(version));
            matches!((ours, theirs), (Some(a), Some(b)) if a.len() == b.len() && b > a)
        };
        match newer("3.0.196.0") {
            true => Self::Multiplexed {
                keep_alive: !newer("3.1.1511.0"),
            },
            false => Self::Single,
        }
    }

    /// The agent's decision, by the version that the client answers with.
    #[must_use]
    pub fn of_client(version: &str) -> Self {
        let theirs = numbers(version).unwrap_or_default();
        match theirs >= vec![1, 1, 70] {
            true => Self::Multiplexed {
                keep_alive: theirs <= vec![1, 2, 331, 0],
            },
            false => Self::Single,
        }
    }
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: PortMode = PortMode::Multiplexed { keep_alive: false };
    const MANY_ALIVE: PortMode = PortMode::Multiplexed { keep_alive: true };

    #[test]
    fn an_agents_version_decides_for_the_client() {
        for (version, mode) in [
            ("3.0.196.0", PortMode::Single),
            ("2.3.1000.0", PortMode::Single),
            ("3.0.197.0", MANY_ALIVE),
            ("3.1.1511.0", MANY_ALIVE),
            ("3.1.1512.0", MANY),
            ("3.3.987.0", MANY),
            // Neither compares in the reference.
            ("3.3.987", PortMode::Single),
            ("new", PortMode::Single),
        ] {
            assert_eq!(PortMode::of_agent(version), mode, "{version}");
        }
    }

    #[test]
    fn a_clients_version_decides_for_the_agent() {
        for (version, mode) in [
            ("1.1.69.0", PortMode::Single),
            ("", PortMode::Single),
            ("1.1.70.0", MANY_ALIVE),
            ("1.2.0.0", MANY_ALIVE),
            ("1.2.331.0", MANY_ALIVE),
            ("1.2.332.0", MANY),
            ("1.3.0.0", MANY),
        ] {
            assert_eq!(PortMode::of_client(version), mode, "{version}");
        }
    }
}
