//! Digests of files, as the container's tools and we make them.

use std::fmt;
use std::io::{self, Read};

use crc::{CRC_32_CKSUM, Crc, Table};
use sha2::{Digest as _, Sha256};

static CKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_CKSUM);

/// What a container can digest with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256, by sha256sum, openssl, python3 or perl.
    Sha256,
    /// The CRC of `cksum`, where there is nothing better.
    Cksum,
    /// No tool at all: only sizes are compared.
    None,
}

/// The digest of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Digest {
    Sha256([u8; 32]),
    Cksum(u32),
}

/// Takes bytes in pieces.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Box<Sha256>),
    Cksum {
        digest: crc::Digest<'static, u32, Table<16>>,
        length: u64,
    },
    None,
}

impl Algorithm {
    /// As scripts and people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Cksum => "cksum",
            Self::None => "none",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Cksum, Self::None]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }

    /// Reads the first word of a line that a tool printed. `None` if it is no digest.
    pub(crate) fn parse(self, line: &[u8]) -> Option<Digest> {
        let line = std::str::from_utf8(line).ok()?;
        // GNU tools mark an escaped name in front of the digest.
        let word = line
            .trim_start_matches('\\')
            .split_ascii_whitespace()
            .next()?;
        match self {
            Self::Sha256 => {
                let (pairs, rest) = word.as_bytes().as_chunks::<2>();
                let mut bytes = [0; 32];
                if pairs.len() != bytes.len() || !rest.is_empty() {
                    return None;
                }
                for (byte, pair) in bytes.iter_mut().zip(pairs) {
                    *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
                }
                Some(Digest::Sha256(bytes))
            }
            Self::Cksum => Some(Digest::Cksum(word.parse().ok()?)),
            Self::None => None,
        }
    }

    pub(crate) fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(Box::new(Sha256::new())),
            Self::Cksum => Hasher::Cksum {
                digest: CKSUM.digest(),
                length: 0,
            },
            Self::None => Hasher::None,
        }
    }

    /// Digests all there is to read.
    pub(crate) fn of_reader(self, mut reader: impl Read) -> io::Result<Option<Digest>> {
        let mut hasher = self.hasher();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(length) => hasher.update(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn of_bytes(self, bytes: &[u8]) -> Option<Digest> {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Cksum { digest, length } => {
                digest.update(bytes);
                *length += bytes.len() as u64;
            }
            Self::None => {}
        }
    }

    pub(crate) fn finish(self) -> Option<Digest> {
        match self {
            Self::Sha256(hasher) => Some(Digest::Sha256(hasher.finalize().into())),
            Self::Cksum {
                mut digest,
                mut length,
            } => {
                // cksum(1) appends the length, low byte first, without leading zeros.
                while length > 0 {
                    digest.update(&[(length & 0xff) as u8]);
                    length >>= 8;
                }
                Some(Digest::Cksum(digest.finalize()))
            }
            Self::None => None,
        }
    }
}

/// The beginning of a digest, which tells one content from another in the name of a part.
pub(crate) fn part_id(digest: Option<Digest>) -> String {
    let digest = digest.map_or_else(|| "new".to_owned(), |digest| digest.to_string());
    digest.chars().take(12).collect()
}

/// As the container's tool prints it.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(bytes) => f.write_str(&hex::encode(bytes)),
            Self::Cksum(crc) => write!(f, "{crc}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_tools() {
        for (algorithm, line) in [
            (
                Algorithm::Sha256,
                &b"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 *stdin"[..],
            ),
            (Algorithm::Cksum, b"3287646509 5 hello"),
        ] {
            assert_eq!(algorithm.of_bytes(b"hello"), algorithm.parse(line));
            assert_eq!(algorithm.parse(b"-"), None);
        }
        let escaped = b"\\2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  a\\nb";
        assert!(Algorithm::Sha256.parse(escaped).is_some());
    }
}
