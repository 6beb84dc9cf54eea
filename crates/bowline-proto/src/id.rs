//! Message ids: UUIDs whose halves travel swapped.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The id of a message: a UUID, shown in its usual hyphenated lower-case form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// The id with these bytes, in the order of the text form.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes in the order of the text form.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the hyphenated form; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = [0_u8; 32];
        let mut count = 0;
        for (at, byte) in text.bytes().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return None;
                }
                continue;
            }
            *digits.get_mut(count)? = u8::try_from(char::from(byte).to_digit(16)?).ok()?;
            count += 1;
        }
        if count != 32 || text.len() != 36 {
            return None;
        }
        let mut bytes = [0_u8; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            if let [high, low] = pair {
                *byte = high << 4 | low;
            }
        }
        Some(Self(bytes))
    }

    /// On the wire the second eight bytes come first: the reference writes the UUID as two swapped longs.
    pub(crate) fn to_wire(self) -> [u8; 16] {
        u128::from_be_bytes(self.0).rotate_left(64).to_be_bytes()
    }

    pub(crate) fn from_wire(wire: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(wire).rotate_left(64).to_be_bytes())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One write for the whole text: an id is written for every acknowledgement.
        let digit = |nibble: u8| {
            if nibble < 10 {
                b'0' + nibble
            } else {
                b'a' + nibble - 10
            }
        };
        let mut text = [b'-'; 36];
        let mut places = text.iter_mut().enumerate();
        let mut place = || places.find(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 0xf] {
                if let Some((_, place)) = place() {
                    *place = digit(nibble);
                }
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a UUID"))
    }
}

/// Makes version 4 UUIDs from a seed. They identify messages; nothing secret depends on them.
#[derive(Clone, Debug)]
pub struct IdSource(u64);

impl IdSource {
    /// A source that always makes the same ids from the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Arbitrary bytes, for what must differ but need not be secret.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            for (byte, random) in chunk.iter_mut().zip(random) {
                *byte = random;
            }
        }
        bytes
    }

    /// The next id.
    pub fn next_id(&mut self) -> MessageId {
        let bits = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
        let version = 0x4 << 76;
        let variant = 0x2 << 62;
        let cleared = bits & !(0xf << 76) & !(0x3 << 62);
        MessageId((cleared | version | variant).to_be_bytes())
    }

    /// SplitMix64.
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_wire_forms_agree_with_the_reference() {
        let id = MessageId::parse("dd010201-1122-4334-8556-66778899aa01").unwrap();
        assert_eq!(id.to_string(), "dd010201-1122-4334-8556-66778899aa01");
        let wire = 0x8556_6677_8899_aa01_dd01_0201_1122_4334_u128.to_be_bytes();
        assert_eq!(id.to_wire(), wire);
        assert_eq!(MessageId::from_wire(wire), id);
    }

    #[test]
    fn only_the_hyphenated_form_is_read() {
        for text in [
            "",
            "dd010201",
            "dd010201112243348556-66778899aa01----",
            "gd010201-1122-4334-8556-66778899aa01",
        ] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn made_ids_are_version_four_and_differ() {
        let mut source = IdSource::new(7);
        let (one, two) = (source.next_id(), source.next_id());
        assert_ne!(one, two);
        let text = one.to_string();
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
