//! KMS: data keys and small secrets, bound to their encryption context.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{ApiError, Call};
use crate::kms::{Context, Key, Kms, KmsError};
use crate::state::seconds;

/// Runs one operation.
pub(super) fn call(call: &Call<'_>) -> Result<Value, ApiError> {
    let kms = &call.shared.kms;
    let input: Input = call.input()?;
    match call.operation {
        "CreateKey" => {
            let key = kms.create(input.description).map_err(refusal)?;
            Ok(json!({ "KeyMetadata": metadata(call, &key) }))
        }
        "CreateAlias" => {
            let alias = &input.alias_name;
            let name = alias.strip_prefix("alias/").unwrap_or_default();
            if name.is_empty() || alias.len() > 256 {
                return Err(validation(
                    "AliasName must begin with alias/ and have at most 256 characters.",
                ));
            }
            kms.create_alias(alias, &input.target_key_id)
                .map_err(refusal)?;
            Ok(json!({}))
        }
        "DescribeKey" => {
            let key = kms.describe(input.key()?).map_err(refusal)?;
            Ok(json!({ "KeyMetadata": metadata(call, &key) }))
        }
        "EnableKey" | "DisableKey" => {
            let enabled = call.operation == "EnableKey";
            kms.enable(input.key()?, enabled).map_err(refusal)?;
            Ok(json!({}))
        }
        "GenerateDataKey" => generate(kms, &input),
        "Encrypt" => {
            let plain = bytes(&input.plaintext, 1..=4096, "Plaintext")?;
            let (sealed, id) = kms
                .encrypt(input.key()?, &plain, &input.encryption_context)
                .map_err(refusal)?;
            Ok(json!({
                "CiphertextBlob": STANDARD.encode(sealed),
                "KeyId": kms.arn(&id),
                "EncryptionAlgorithm": ALGORITHM,
            }))
        }
        "Decrypt" => {
            let sealed = bytes(&input.ciphertext_blob, 1..=6144, "CiphertextBlob")?;
            let key = input.key_id.as_deref();
            let (plain, id) = kms
                .decrypt(&sealed, &input.encryption_context, key)
                .map_err(refusal)?;
            Ok(json!({
                "Plaintext": STANDARD.encode(plain),
                "KeyId": kms.arn(&id),
                "EncryptionAlgorithm": ALGORITHM,
            }))
        }
        _ => Err(ApiError::unknown_operation()),
    }
}

const ALGORITHM: &str = "SYMMETRIC_DEFAULT";

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    key_id: Option<String>,
    target_key_id: String,
    alias_name: String,
    description: String,
    encryption_context: Context,
    number_of_bytes: Option<i64>,
    key_spec: Option<String>,
    plaintext: String,
    ciphertext_blob: String,
}

impl Input {
    fn key(&self) -> Result<&str, ApiError> {
        let key = self.key_id.as_deref().unwrap_or_default();
        match key.len() {
            1..=2048 => Ok(key),
            _ => Err(validation("KeyId must have between 1 and 2048 characters.")),
        }
    }
}

fn generate(kms: &Kms, input: &Input) -> Result<Value, ApiError> {
    let length = match (input.number_of_bytes, input.key_spec.as_deref()) {
        (Some(length), None) => usize::try_from(length).unwrap_or(0),
        (None, Some("AES_128")) => 16,
        (None, Some("AES_256")) => 32,
        (None, Some(_)) => return Err(validation("KeySpec must be AES_128 or AES_256.")),
        _ => {
            return Err(validation(
                "Please specify either number of bytes or key spec.",
            ));
        }
    };
    if !(1..=1024).contains(&length) {
        return Err(validation("NumberOfBytes must be between 1 and 1024."));
    }
    let mut plain = vec![0; length];
    getrandom::fill(&mut plain).expect("the system has random numbers");
    let (sealed, id) = kms
        .encrypt(input.key()?, &plain, &input.encryption_context)
        .map_err(refusal)?;
    Ok(json!({
        "CiphertextBlob": STANDARD.encode(sealed),
        "Plaintext": STANDARD.encode(plain),
        "KeyId": kms.arn(&id),
    }))
}

fn metadata(call: &Call<'_>, key: &Key) -> Value {
    let kms = &call.shared.kms;
    json!({
        "AWSAccountId": call.shared.account.id,
        "KeyId": key.id,
        "Arn": kms.arn(&key.id),
        "CreationDate": seconds(key.created),
        "Enabled": key.enabled,
        "KeyState": if key.enabled { "Enabled" } else { "Disabled" },
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "KeySpec": ALGORITHM,
        "CustomerMasterKeySpec": ALGORITHM,
        "EncryptionAlgorithms": [ALGORITHM],
        "MultiRegion": false,
    })
}

fn bytes(
    text: &str,
    lengths: std::ops::RangeInclusive<usize>,
    member: &str,
) -> Result<Vec<u8>, ApiError> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| ApiError::serialization("a blob is not base64"))?;
    match lengths.contains(&bytes.len()) {
        true => Ok(bytes),
        false => Err(validation(&format!(
            "{member} must have between {} and {} bytes.",
            lengths.start(),
            lengths.end()
        ))),
    }
}

fn validation(message: &str) -> ApiError {
    ApiError::new("ValidationException", message)
}

fn refusal(error: KmsError) -> ApiError {
    match error {
        KmsError::NotFound(text) => ApiError::new("NotFoundException", text),
        KmsError::Disabled(arn) => {
            ApiError::new("DisabledException", format!("{arn} is disabled."))
        }
        // AWS says nothing more.
        KmsError::InvalidCiphertext => ApiError::new("InvalidCiphertextException", ""),
        KmsError::IncorrectKey => ApiError::new(
            "IncorrectKeyException",
            "The key ID in the request does not identify a CMK that can perform this operation.",
        ),
        KmsError::Limit => {
            ApiError::new("LimitExceededException", "the sandbox holds no more keys")
        }
        KmsError::AliasExists(arn) => ApiError::new(
            "AlreadyExistsException",
            format!("An alias with the name {arn} already exists"),
        ),
    }
}
