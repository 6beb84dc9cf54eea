//! The KMS call of encrypted sessions.

use std::fmt;
use std::time::Duration;

use aws_sdk_kms as sdk;
use aws_types::region::Region;
use bowline_proto::DataKey;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::config::Settings;
use super::ecs::NobodyListens;
use super::error::AwsError;

/// Below the 15 s for which agents wait: a key that comes later is no use.
const LIMIT: Duration = Duration::from_secs(12);
const OPERATION: &str = "kms:GenerateDataKey";

/// A data key, in clear and encrypted under the KMS key.
#[derive(Debug)]
pub struct GeneratedKey {
    /// What the session is encrypted with. Wiped on drop.
    pub plaintext: DataKey,
    /// What the agent gets, to be decrypted by its own call.
    pub ciphertext: Bytes,
}

/// The KMS call bowline makes.
pub(crate) struct Kms {
    client: sdk::Client,
}

impl Kms {
    pub(crate) fn new(settings: &Settings) -> Self {
        let limits = settings.sdk.timeout_config().cloned();
        let limits = limits.map(|limits| limits.into_builder().operation_timeout(LIMIT).build());
        let mut config = sdk::config::Builder::from(&settings.sdk).retry_classifier(NobodyListens);
        config.set_timeout_config(limits);
        Self {
            client: sdk::Client::from_conf(config.build()),
        }
    }

    /// Makes a key of 64 bytes that can only be decrypted with the same context. A key named by its ARN is asked for
    /// in the ARN's region, as the account's settings may name one of another region.
    ///
    /// The plaintext lies in a [`DataKey`] afterwards, and the buffer the SDK decoded it into is wiped. Not wiped,
    /// since the SDK gives no access to them: the HTTP response with the plaintext in base64, and what TLS and the
    /// connection buffered of it.
    pub(crate) async fn generate_data_key(
        &self,
        key_id: &str,
        context: &[(&str, &str)],
    ) -> Result<GeneratedKey, AwsError> {
        let mut call = self
            .client
            .generate_data_key()
            .key_id(key_id)
            .number_of_bytes(i32::try_from(DataKey::LENGTH).expect("64 fits"));
        for (name, value) in context {
            call = call.encryption_context(*name, *value);
        }
        let mut there = sdk::config::Builder::new();
        there.set_region(region_of(key_id).map(Region::new));
        let answer = call
            .customize()
            .config_override(there)
            .send()
            .await
            .map_err(|error| named(AwsError::from_sdk(OPERATION, error), key_id))?;
        let missing = |what| named(AwsError::missing(OPERATION, what), key_id);
        // The only reference to the bytes, so they are moved and not copied.
        let plaintext = answer
            .plaintext
            .map(|blob| Zeroizing::new(blob.into_inner()));
        Ok(GeneratedKey {
            plaintext: plaintext
                .and_then(|bytes| DataKey::from_slice(&bytes))
                .ok_or_else(|| missing("plaintext of 64 bytes"))?,
            ciphertext: answer
                .ciphertext_blob
                .map(|blob| Bytes::from(blob.into_inner()))
                .filter(|bytes| !bytes.is_empty())
                .ok_or_else(|| missing("ciphertext"))?,
        })
    }
}

impl fmt::Debug for Kms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kms").finish_non_exhaustive()
    }
}

/// The region in the ARN of a key. The agent chooses the text and the region becomes part of a host name, so only what
/// looks like a region counts.
fn region_of(key_id: &str) -> Option<String> {
    let mut parts = key_id.split(':');
    if parts.next() != Some("arn") || parts.nth(1) != Some("kms") {
        return None;
    }
    let region = parts.next()?;
    let plausible = region
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (plausible
        && (4..=32).contains(&region.len())
        && !region.starts_with('-')
        && !region.ends_with('-'))
    .then(|| region.to_owned())
}

/// Says which key it was, unless AWS did.
fn named(mut error: AwsError, key_id: &str) -> AwsError {
    if !error.message.contains(key_id) {
        // The agent's text: shown without its control characters, in a length that fits a message.
        let shown: String = key_id.escape_debug().take(200).collect();
        error.message = format!("key {shown}: {}", error.message);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_region_is_taken_from_an_arn() {
        for (key, region) in [
            (
                "arn:aws:kms:eu-west-1:111122223333:key/1",
                Some("eu-west-1"),
            ),
            (
                "arn:aws-us-gov:kms:us-gov-east-1:1:alias/x",
                Some("us-gov-east-1"),
            ),
            ("alias/exec", None),
            ("1234abcd-12ab-34cd-56ef-1234567890ab", None),
            ("arn:aws:s3:eu-west-1:1:key/1", None),
            ("arn:aws:kms::1:key/1", None),
            ("arn:aws:kms:evil.example/:1:key/1", None),
            ("arn:aws:kms:x@evil:1:key/1", None),
            ("arn:aws:kms:-eu-west-1:1:key/1", None),
            ("arn:aws:kms", None),
        ] {
            assert_eq!(region_of(key).as_deref(), region, "{key}");
        }
    }
}
