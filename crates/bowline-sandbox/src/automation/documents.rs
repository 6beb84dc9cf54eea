//! Automation documents with their versions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bowline_runbook::{Document, Severity, check};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::api::ApiError;

/// Documents and versions of one; the service has these limits.
const DOCUMENTS_LIMIT: usize = 500;
const VERSIONS_LIMIT: usize = 1000;
/// Bytes of a document.
const SIZE_LIMIT: usize = 64 << 10;

/// All documents by name.
#[derive(Default)]
pub(crate) struct Documents(BTreeMap<String, History>);

/// A document with its versions.
pub(crate) struct History {
    versions: BTreeMap<u64, Version>,
    pub(crate) default: u64,
    /// The number of the version that was made last; it is there no more if it was removed.
    made: u64,
    pub(crate) created: SystemTime,
}

/// One version.
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) name: Option<String>,
    pub(crate) content: String,
    /// `YAML` or `JSON`.
    pub(crate) format: &'static str,
    pub(crate) created: SystemTime,
    pub(crate) document: Arc<Document>,
}

/// A document as it is kept for the next start.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptDocument {
    name: String,
    default: u64,
    made: u64,
    created: SystemTime,
    versions: Vec<KeptVersion>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptVersion {
    number: u64,
    name: Option<String>,
    content: String,
    format: String,
    created: SystemTime,
}

/// What a version is made of.
pub(crate) struct Draft {
    pub(crate) content: String,
    pub(crate) format: Option<String>,
    pub(crate) version_name: Option<String>,
    pub(crate) now: SystemTime,
}

impl Documents {
    /// A document by name, or by its ARN.
    pub(crate) fn history(&self, name: &str) -> Option<&History> {
        self.0.get(plain(name))
    }

    fn history_mut(&mut self, name: &str) -> Result<&mut History, ApiError> {
        self.0.get_mut(plain(name)).ok_or_else(|| unknown(name))
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &History)> {
        self.0
            .iter()
            .map(|(name, history)| (name.as_str(), history))
    }

    /// All of them, to be kept.
    pub(crate) fn keep(&self) -> Vec<KeptDocument> {
        let version = |version: &Version| KeptVersion {
            number: version.number,
            name: version.name.clone(),
            content: version.content.clone(),
            format: version.format.to_owned(),
            created: version.created,
        };
        let documents = self.0.iter().map(|(name, history)| KeptDocument {
            name: name.clone(),
            default: history.default,
            made: history.made,
            created: history.created,
            versions: history.versions.values().map(version).collect(),
        });
        documents.collect()
    }

    /// Those that were kept, in place of all there are.
    pub(crate) fn restore(&mut self, kept: &[KeptDocument]) -> Result<(), String> {
        let mut restored = BTreeMap::new();
        for document in kept {
            let mut versions = BTreeMap::new();
            for version in &document.versions {
                let draft = Draft {
                    content: version.content.clone(),
                    format: Some(version.format.clone()),
                    version_name: version.name.clone(),
                    now: version.created,
                };
                let made = Version::new(version.number, draft)
                    .map_err(|error| format!("document {}: {}", document.name, error.message))?;
                versions.insert(version.number, made);
            }
            if !versions.contains_key(&document.default) {
                return Err(format!("document {} has no default version", document.name));
            }
            let history = History {
                versions,
                default: document.default,
                made: document.made,
                created: document.created,
            };
            restored.insert(document.name.clone(), history);
        }
        self.0 = restored;
        Ok(())
    }

    /// A new document.
    pub(crate) fn create(&mut self, name: &str, draft: Draft) -> Result<(), ApiError> {
        let is_name = (3..=128).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        let is_reserved = ["aws", "amazon", "amzn"]
            .iter()
            .any(|prefix| name.to_ascii_lowercase().starts_with(prefix));
        if !is_name || is_reserved {
            return Err(validation(format!("Invalid document name {name}")));
        }
        if self.0.contains_key(name) {
            return Err(ApiError::new(
                "DocumentAlreadyExists",
                "The specified document already exists.",
            ));
        }
        if self.0.len() >= DOCUMENTS_LIMIT {
            return Err(ApiError::new(
                "DocumentLimitExceeded",
                format!("You can have at most {DOCUMENTS_LIMIT} documents."),
            ));
        }
        let version = Version::new(1, draft)?;
        let history = History {
            default: 1,
            made: 1,
            created: version.created,
            versions: BTreeMap::from([(1, version)]),
        };
        self.0.insert(name.to_owned(), history);
        Ok(())
    }

    /// A new version of a document; the default stays.
    pub(crate) fn update(
        &mut self,
        name: &str,
        of: Option<&str>,
        draft: Draft,
    ) -> Result<(), ApiError> {
        let history = self.history_mut(name)?;
        let is_latest =
            |of: &str| of == "$LATEST" || of.parse::<u64>().is_ok_and(|it| it == history.latest());
        if of.is_some_and(|of| !is_latest(of)) {
            return Err(no_version());
        }
        let taken = |wanted: &str| {
            let mut names = history
                .versions
                .values()
                .filter_map(|it| it.name.as_deref());
            names.any(|name| name == wanted)
        };
        if draft.version_name.as_deref().is_some_and(taken) {
            return Err(ApiError::new(
                "DuplicateDocumentVersionName",
                "The specified version name is a duplicate.",
            ));
        }
        if history
            .versions
            .values()
            .any(|it| it.content == draft.content)
        {
            return Err(ApiError::new(
                "DuplicateDocumentContent",
                "The content of the association document matches another document. Change the content of the document and try again.",
            ));
        }
        if history.versions.len() >= VERSIONS_LIMIT {
            return Err(ApiError::new(
                "DocumentVersionLimitExceeded",
                format!("A document can have at most {VERSIONS_LIMIT} versions."),
            ));
        }
        let version = Version::new(history.made + 1, draft)?;
        history.made = version.number;
        history.versions.insert(version.number, version);
        Ok(())
    }

    /// Makes a version the default.
    pub(crate) fn set_default(&mut self, name: &str, version: &str) -> Result<(), ApiError> {
        if version.parse::<u64>().is_err() {
            return Err(validation(format!(
                "Value '{version}' at 'documentVersion' failed to satisfy constraint: Member must satisfy regular expression pattern: (^[1-9][0-9]*$)"
            )));
        }
        let history = self.history_mut(name)?;
        let number = history
            .version(Some(version))
            .ok_or_else(no_version)?
            .number;
        history.default = number;
        Ok(())
    }

    /// Removes a document, or one version that is not the default.
    pub(crate) fn delete(&mut self, name: &str, version: Option<&str>) -> Result<(), ApiError> {
        let history = self.history_mut(name)?;
        let Some(version) = version else {
            self.0.remove(plain(name));
            return Ok(());
        };
        let number = history
            .version(Some(version))
            .ok_or_else(no_version)?
            .number;
        if number == history.default {
            return Err(ApiError::new(
                "InvalidDocumentOperation",
                "Default version of the document can't be deleted.",
            ));
        }
        history.versions.remove(&number);
        Ok(())
    }
}

/// The name in a name or an ARN.
pub(crate) fn plain(name: &str) -> &str {
    name.rsplit_once(":document/").map_or(name, |it| it.1)
}

impl History {
    /// The number of the newest version that is there.
    pub(crate) fn latest(&self) -> u64 {
        self.versions.last_key_value().map_or(0, |it| *it.0)
    }

    /// A version by number, `$LATEST`, `$DEFAULT`; the default where none is named.
    pub(crate) fn version(&self, wanted: Option<&str>) -> Option<&Version> {
        let number = match wanted {
            None | Some("" | "$DEFAULT") => self.default,
            Some("$LATEST") => *self.versions.last_key_value()?.0,
            Some(number) => number.parse().ok()?,
        };
        self.versions.get(&number)
    }

    /// A version by the name that it was given.
    pub(crate) fn named(&self, name: &str) -> Option<&Version> {
        self.versions
            .values()
            .find(|version| version.name.as_deref() == Some(name))
    }

    /// All versions, oldest first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Version> {
        self.versions.values()
    }
}

impl Version {
    /// SHA-256 of the content, in hexadecimal.
    pub(crate) fn hash(&self) -> String {
        hex::encode(Sha256::digest(&self.content))
    }

    fn new(number: u64, draft: Draft) -> Result<Self, ApiError> {
        let format = match draft.format.as_deref() {
            None | Some("JSON") => "JSON",
            Some("YAML") => "YAML",
            Some(other) => return Err(validation(format!("Invalid document format {other}"))),
        };
        let content = draft.content;
        if content.is_empty() {
            return Err(validation("Content is required".to_owned()));
        }
        if content.len() > SIZE_LIMIT {
            return Err(ApiError::new(
                "MaxDocumentSizeExceeded",
                "The size limit of a document is 64 KB.",
            ));
        }
        let invalid = |detail: String| ApiError::new("InvalidDocumentContent", detail);
        if format == "JSON"
            && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&content)
        {
            return Err(invalid(format!("The content is not JSON: {error}")));
        }
        let report = check(&content);
        let errors: Vec<String> = report
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(|finding| match &finding.step {
                Some(step) => format!("{} (step {step})", finding.message),
                None => finding.message.clone(),
            })
            .collect();
        match report.document {
            Some(document) if errors.is_empty() => Ok(Self {
                number,
                name: draft.version_name,
                content,
                format,
                created: draft.now,
                document: Arc::new(document),
            }),
            _ => Err(invalid(errors.join("; "))),
        }
    }
}

/// There is no such document.
pub(crate) fn unknown(name: &str) -> ApiError {
    ApiError::new(
        "InvalidDocument",
        format!("Document with name {name} does not exist."),
    )
}

/// There is no such version.
pub(crate) fn no_version() -> ApiError {
    ApiError::new(
        "InvalidDocumentVersion",
        "The document version is not valid or does not exist.",
    )
}

fn validation(message: String) -> ApiError {
    ApiError::new("ValidationException", message)
}
