//! Encrypted sessions: the data key from KMS, and AES-256-GCM over payloads.
//!
//! An encrypted payload is `nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)`, without additional data. The data key's
//! first half is for what the agent sends, its second half for what the client sends. Header, size, flags and the
//! handshake stay readable (see [`is_sealed`]).

use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use bytes::{BufMut, Bytes, BytesMut};
use zeroize::Zeroize;

use crate::payload::PayloadType;

const NONCE: usize = 12;
const TAG: usize = 16;
const HALF: usize = 32;

/// The plaintext of a session's data key, as `kms:GenerateDataKey` and `kms:Decrypt` give it: 64 bytes. Never shown,
/// and overwritten when it is dropped.
pub struct DataKey(Box<[u8; Self::LENGTH]>);

impl DataKey {
    /// Bytes in a data key; the `NumberOfBytes` to ask KMS for.
    pub const LENGTH: usize = 64;

    /// The key with these bytes; `None` if there are not exactly 64. The caller's copy stays the caller's to wipe.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        // Copied straight to where it stays, so that moving the key leaves no copies behind.
        let mut key = Box::new([0; Self::LENGTH]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    fn halves(&self) -> (&[u8; HALF], &[u8; HALF]) {
        const EMPTY: &[u8; HALF] = &[0; HALF];
        // 64 bytes always split into two times 32.
        let from_agent = self.0.first_chunk().unwrap_or(EMPTY);
        let from_client = self.0.last_chunk().unwrap_or(EMPTY);
        (from_agent, from_client)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([redacted])")
    }
}

impl Drop for DataKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Whether payloads of this kind are encrypted in an encrypted session: data both ways, stderr and the exit code.
pub(crate) fn is_sealed(kind: PayloadType) -> bool {
    matches!(
        kind,
        PayloadType::Output | PayloadType::StdErr | PayloadType::ExitCode
    )
}

/// A payload that was not sealed with the key of its direction, or was changed on its way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Seals what one end sends and opens what it receives. The key schedules are wiped on drop, and boxed, so that moving
/// them leaves no copies behind.
pub(crate) struct Cipher {
    sealing: Box<Aes256Gcm>,
    opening: Box<Aes256Gcm>,
    nonce: [u8; NONCE],
}

impl Cipher {
    /// The client's end. `nonce` is where its count begins.
    pub(crate) fn client(key: &DataKey, nonce: [u8; NONCE]) -> Self {
        let (from_agent, from_client) = key.halves();
        Self {
            sealing: Box::new(Aes256Gcm::new(from_client.into())),
            opening: Box::new(Aes256Gcm::new(from_agent.into())),
            nonce,
        }
    }

    /// The agent's end.
    pub(crate) fn agent(key: &DataKey, nonce: [u8; NONCE]) -> Self {
        let (from_agent, from_client) = key.halves();
        Self {
            sealing: Box::new(Aes256Gcm::new(from_agent.into())),
            opening: Box::new(Aes256Gcm::new(from_client.into())),
            nonce,
        }
    }

    /// Encrypts a payload: copied once, encrypted in place.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Bytes {
        let nonce = self.next_nonce();
        let mut sealed = BytesMut::with_capacity(NONCE + plain.len() + TAG);
        sealed.put_slice(&nonce);
        sealed.put_slice(plain);
        let body = sealed.get_mut(NONCE..).unwrap_or_default();
        let tag = self
            .sealing
            .encrypt_inout_detached(&nonce.into(), &[], body.into());
        // Only more than 64 GiB cannot be encrypted. Nothing is sent then: an empty payload never is.
        let Ok(tag) = tag else { return Bytes::new() };
        sealed.put_slice(&tag);
        sealed.freeze()
    }

    /// Decrypts a payload: copied once, decrypted in place.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Bytes, Unreadable> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(Unreadable)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG>().ok_or(Unreadable)?;
        let mut plain = BytesMut::from(ciphertext);
        self.opening
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                &[],
                plain.as_mut().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| Unreadable)?;
        Ok(plain.freeze())
    }

    /// Counted as the reference agent does, as a 96-bit little-endian number. Each key seals for one direction of one
    /// session, so a count never uses a nonce twice, wherever it begins.
    fn next_nonce(&mut self) -> [u8; NONCE] {
        let nonce = self.nonce;
        for byte in &mut self.nonce {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        nonce
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::payload::EncryptionChallenge;

    const NONCE_OF_AGENT: [u8; NONCE] = *b"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b";
    const NONCE_OF_CLIENT: [u8; NONCE] = *b"\x20\x21\x22\x23\x24\x25\x26\x27\x28\x29\x2a\x2b";

    /// The bytes 00 to 3f, the key of the vectors.
    fn key() -> DataKey {
        DataKey::from_slice(&(0..64).collect::<Vec<u8>>()).unwrap()
    }

    fn client() -> Cipher {
        Cipher::client(&key(), NONCE_OF_CLIENT)
    }

    fn agent() -> Cipher {
        Cipher::agent(&key(), NONCE_OF_AGENT)
    }

    fn payload(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vectors.json");
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut vectors = file["vectors"].as_array().unwrap().iter();
        let vector = vectors.find(|vector| vector["name"] == name).unwrap();
        hex::decode(vector["payload_hex"].as_str().unwrap()).unwrap()
    }

    fn challenge(name: &str) -> Vec<u8> {
        let payload: EncryptionChallenge = serde_json::from_slice(&payload(name)).unwrap();
        STANDARD.decode(payload.challenge).unwrap()
    }

    #[test]
    fn the_vectors_of_the_reference_come_out_both_ways() {
        let challenged: Vec<u8> = (0xc0..=0xff).rev().collect();
        let cases: [(Vec<u8>, &[u8], Cipher, Cipher); 4] = [
            (
                challenge("enc_challenge_request"),
                &challenged,
                agent(),
                client(),
            ),
            (
                challenge("enc_challenge_response"),
                &challenged,
                client(),
                agent(),
            ),
            (
                payload("output_data_encrypted"),
                b"hello\r\n",
                agent(),
                client(),
            ),
            (payload("input_data_encrypted"), b"ls\r", client(), agent()),
        ];
        for (sealed, plain, mut from, to) in cases {
            assert_eq!(hex::encode(to.open(&sealed).unwrap()), hex::encode(plain));
            assert_eq!(hex::encode(from.seal(plain)), hex::encode(&sealed));
            assert_eq!(from.open(&sealed), Err(Unreadable), "the other half's");
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_once_it_is_whole_and_not_otherwise(
            plain in prop::collection::vec(any::<u8>(), 0..3000),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut sealed = agent().seal(&plain).to_vec();
            prop_assert_eq!(sealed.len(), plain.len() + NONCE + TAG);
            prop_assert_eq!(client().open(&sealed), Ok(Bytes::from(plain)));
            prop_assert_eq!(client().open(sealed.split_last().unwrap().1), Err(Unreadable));
            *at.get_mut(&mut sealed) ^= 1_u8 << bit;
            prop_assert_eq!(client().open(&sealed), Err(Unreadable));
        }
    }

    #[test]
    fn nonces_count_up_and_carry() {
        let mut cipher = Cipher::agent(&key(), [0xff; NONCE]);
        let mut nonce = || cipher.seal(b"x").get(..NONCE).unwrap().to_vec();
        assert_eq!(nonce(), [0xff; NONCE]);
        assert_eq!(nonce(), [0; NONCE]);
        assert_eq!(nonce(), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_key_has_64_bytes_and_shows_none() {
        assert!(DataKey::from_slice(&[7; 63]).is_none() && DataKey::from_slice(&[7; 65]).is_none());
        assert_eq!(
            format!("{:?} {:?}", key(), client()),
            "DataKey([redacted]) Cipher([redacted])"
        );
    }
}
