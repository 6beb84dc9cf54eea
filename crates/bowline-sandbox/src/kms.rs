//! Keys of the sandbox's KMS, and what is encrypted under them.
//!
//! All keys come from one master key, made at start and never shown. A ciphertext names its key and is bound to its
//! encryption context, as in AWS: with another one it does not open.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};

use crate::identifiers::{self, Account};

/// The key that is there from the start, and its alias.
pub(crate) const DEMO_KEY: &str = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
pub(crate) const DEMO_ALIAS: &str = "alias/demo";

/// Keys of a sandbox at most; AWS has a limit too.
const KEYS: usize = 1000;
/// The first byte of every ciphertext.
const FORM: u8 = 1;
const NONCE: usize = 12;
const TAG: usize = 16;
const ID: usize = 36;

/// Names and values that a ciphertext is bound to, in the order of the names.
pub(crate) type Context = BTreeMap<String, String>;

/// A key as DescribeKey shows it.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) description: String,
    pub(crate) enabled: bool,
    pub(crate) created: SystemTime,
}

/// Why KMS refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KmsError {
    /// No such key or alias; the text of AWS.
    NotFound(String),
    /// The key with this ARN is disabled.
    Disabled(String),
    /// It is no ciphertext of this KMS, or was made with another context.
    InvalidCiphertext,
    /// The ciphertext belongs to another key.
    IncorrectKey,
    /// There are too many keys.
    Limit,
    /// The alias is taken.
    AliasExists(String),
}

/// All keys. The master key is never shown.
pub(crate) struct Kms {
    account: Account,
    master: Aes256Gcm,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    keys: BTreeMap<String, Key>,
    /// From `alias/…` to the id of a key.
    aliases: BTreeMap<String, String>,
}

impl Kms {
    /// With the demo key.
    pub(crate) fn new(account: Account) -> Self {
        let demo = Key {
            id: DEMO_KEY.to_owned(),
            description: "The sandbox's key".to_owned(),
            enabled: true,
            created: SystemTime::now(),
        };
        let table = Table {
            keys: [(DEMO_KEY.to_owned(), demo)].into(),
            aliases: [(DEMO_ALIAS.to_owned(), DEMO_KEY.to_owned())].into(),
        };
        Self {
            account,
            master: Aes256Gcm::new(&identifiers::random::<32>().into()),
            table: Mutex::new(table),
        }
    }

    pub(crate) fn arn(&self, id: &str) -> String {
        self.account.kms(&format!("key/{id}"))
    }

    pub(crate) fn create(&self, description: String) -> Result<Key, KmsError> {
        let mut table = self.table();
        if table.keys.len() >= KEYS {
            return Err(KmsError::Limit);
        }
        let key = Key {
            id: identifiers::uuid(),
            description,
            enabled: true,
            created: SystemTime::now(),
        };
        table.keys.insert(key.id.clone(), key.clone());
        Ok(key)
    }

    pub(crate) fn create_alias(&self, alias: &str, key: &str) -> Result<(), KmsError> {
        let id = self.describe(key)?.id;
        let mut table = self.table();
        if table.aliases.len() >= KEYS {
            return Err(KmsError::Limit);
        }
        if table.aliases.contains_key(alias) {
            return Err(KmsError::AliasExists(self.account.kms(alias)));
        }
        table.aliases.insert(alias.to_owned(), id);
        Ok(())
    }

    /// Enables or disables a key.
    pub(crate) fn enable(&self, key: &str, enabled: bool) -> Result<(), KmsError> {
        let id = self.describe(key)?.id;
        if let Some(key) = self.table().keys.get_mut(&id) {
            key.enabled = enabled;
        }
        Ok(())
    }

    /// The key behind an id, an alias, or the ARN of either.
    pub(crate) fn describe(&self, name: &str) -> Result<Key, KmsError> {
        let table = self.table();
        let prefix = self.account.kms("");
        let local = name.strip_prefix(&prefix).unwrap_or(name);
        if local.starts_with("alias/") {
            let id = table.aliases.get(local);
            let missing = || {
                let arn = self.account.kms(local);
                KmsError::NotFound(format!("Alias {arn} is not found."))
            };
            return id
                .and_then(|id| table.keys.get(id))
                .cloned()
                .ok_or_else(missing);
        }
        let id = match name.starts_with("arn:") {
            true => local.strip_prefix("key/").unwrap_or_default(),
            false => local,
        };
        table.keys.get(id).cloned().ok_or_else(|| {
            let arn = match name.starts_with("arn:") {
                true => name.to_owned(),
                false => self.arn(name),
            };
            KmsError::NotFound(format!("Key '{arn}' does not exist"))
        })
    }

    /// The ciphertext, and the id of the key.
    pub(crate) fn encrypt(
        &self,
        key: &str,
        plain: &[u8],
        context: &Context,
    ) -> Result<(Vec<u8>, String), KmsError> {
        let key = self.usable(key)?;
        let nonce = identifiers::random::<NONCE>();
        let mut sealed = vec![FORM];
        sealed.extend_from_slice(key.id.as_bytes());
        sealed.extend_from_slice(&nonce);
        let start = sealed.len();
        sealed.extend_from_slice(plain);
        let tag = self
            .master
            .encrypt_inout_detached(
                &nonce.into(),
                &bound_to(&key.id, context),
                (&mut sealed[start..]).into(),
            )
            .expect("plaintexts are at most some kilobytes");
        sealed.extend_from_slice(&tag);
        Ok((sealed, key.id))
    }

    /// The plaintext, and the id of the key. With a `key` given, it has to be that one.
    pub(crate) fn decrypt(
        &self,
        sealed: &[u8],
        context: &Context,
        key: Option<&str>,
    ) -> Result<(Vec<u8>, String), KmsError> {
        let invalid = || KmsError::InvalidCiphertext;
        let rest = sealed.strip_prefix(&[FORM]).ok_or_else(invalid)?;
        let (id, rest) = rest.split_at_checked(ID).ok_or_else(invalid)?;
        let id = std::str::from_utf8(id).map_err(|_| invalid())?;
        if let Some(wanted) = key
            && self.describe(wanted)?.id != id
        {
            return Err(KmsError::IncorrectKey);
        }
        let key = self.usable(id).map_err(|error| match error {
            KmsError::NotFound(_) => invalid(),
            other => other,
        })?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or_else(invalid)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG>().ok_or_else(invalid)?;
        let mut plain = ciphertext.to_vec();
        self.master
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                &bound_to(&key.id, context),
                plain.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| invalid())?;
        Ok((plain, key.id))
    }

    fn usable(&self, name: &str) -> Result<Key, KmsError> {
        let key = self.describe(name)?;
        match key.enabled {
            true => Ok(key),
            false => Err(KmsError::Disabled(self.arn(&key.id))),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change under the lock is complete in itself.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a ciphertext is bound to: its key and context, each part with its length, so that no two are alike.
fn bound_to(id: &str, context: &Context) -> Vec<u8> {
    let mut bytes = id.as_bytes().to_vec();
    for text in context.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ciphertext_opens_with_its_key_and_context_only() {
        let kms = Kms::new(Account::new("eu-west-1"));
        let context = |value: &str| Context::from([("a".to_owned(), value.to_owned())]);
        let (sealed, id) = kms.encrypt(DEMO_ALIAS, b"secret", &context("1")).unwrap();
        assert_eq!(id, DEMO_KEY);
        let open = |sealed: &[u8], context: &Context| kms.decrypt(sealed, context, None);
        assert_eq!(open(&sealed, &context("1")).unwrap().0, b"secret");
        let invalid = Err(KmsError::InvalidCiphertext);
        assert_eq!(open(&sealed, &context("2")), invalid);
        assert_eq!(open(&sealed, &Context::new()), invalid);
        for index in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[index] ^= 1;
            assert_eq!(open(&bent, &context("1")), invalid, "byte {index}");
            assert_eq!(open(&sealed[..index], &context("1")), invalid);
        }
        let other = Kms::new(Account::new("eu-west-1"));
        assert_eq!(other.decrypt(&sealed, &context("1"), None), invalid);

        let second = kms.create(String::new()).unwrap();
        let wrong = kms.decrypt(&sealed, &context("1"), Some(&second.id));
        assert_eq!(wrong, Err(KmsError::IncorrectKey));
        kms.enable(&kms.arn(DEMO_KEY), false).unwrap();
        let disabled = Err(KmsError::Disabled(kms.arn(DEMO_KEY)));
        assert_eq!(open(&sealed, &context("1")), disabled);
        kms.create_alias("alias/x", &second.id).unwrap();
        assert_eq!(kms.describe("alias/x").unwrap().id, second.id);
        assert!(matches!(kms.describe("nope"), Err(KmsError::NotFound(_))));
    }
}
