//! Copies of recordings where their writer cannot change them: a log group of CloudWatch Logs, or a bucket in S3.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;

use crate::{AwsError, Client};

/// A larger recording is not copied: it is sent to S3 in one piece.
const LARGEST: u64 = 512 << 20;
/// PutLogEvents takes 1 MiB in one call, with 26 bytes for each event; a little less is sent …
const BATCH_BYTES: usize = 900_000;
/// … and 10,000 events.
const BATCH_EVENTS: usize = 5000;
const EVENT_OVERHEAD: usize = 26;

/// Where to copy recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// A log group that is there: `logs:GROUP`. Each recording is a stream of it, each line an event.
    Logs {
        /// The group.
        group: String,
    },
    /// A bucket: `s3://BUCKET/PREFIX`. Each recording is an object, and none is ever replaced.
    S3 {
        /// The bucket.
        bucket: String,
        /// What the keys begin with; empty, or with a slash at its end.
        prefix: String,
    },
}

/// Why a recording was not copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The recording cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too long to be copied.
    #[error("{} is longer than 512 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// AWS refused.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |text: &str, more: &[u8]| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        if let Some(group) = text.strip_prefix("logs:") {
            return match fits(group, b"_-/.#") && group.len() <= 512 {
                true => Ok(Self::Logs {
                    group: group.to_owned(),
                }),
                false => Err(format!("{group:?} cannot be the name of a log group")),
            };
        }
        let Some(place) = text.strip_prefix("s3://") else {
            return Err(format!(
                "{text:?} is neither logs:GROUP nor s3://BUCKET/PREFIX"
            ));
        };
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if !fits(bucket, b".-") || !(3..=63).contains(&bucket.len()) {
            return Err(format!("{bucket:?} cannot be the name of a bucket"));
        }
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() && !fits(prefix, b"_-/.=") {
            return Err(format!(
                "{prefix:?} has characters that are not used in keys here"
            ));
        }
        Ok(Self::S3 {
            bucket: bucket.to_owned(),
            prefix: match prefix {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            },
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logs { group } => write!(f, "logs:{group}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl Client {
    /// Copies a recording as it is, seals included. The result names the copy.
    ///
    /// # Errors
    /// It cannot be read, is too large, or AWS refuses.
    pub async fn copy_recording(&self, path: &Path, to: &Destination) -> Result<String, CopyError> {
        let unreadable = |source| CopyError::Unreadable {
            path: path.to_owned(),
            source,
        };
        if fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
            return Err(CopyError::TooLarge {
                path: path.to_owned(),
            });
        }
        let bytes = tokio::fs::read(path).await.map_err(unreadable)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match to {
            Destination::S3 { bucket, prefix } => {
                let key = format!("{prefix}{name}");
                self.api().put_object(bucket, &key, bytes.into()).await?;
                Ok(format!("s3://{bucket}/{key}"))
            }
            Destination::Logs { group } => {
                self.put_lines(group, &name, &bytes.into()).await?;
                Ok(format!("logs:{group} stream {name}"))
            }
        }
    }

    async fn put_lines(&self, group: &str, stream: &str, bytes: &Bytes) -> Result<(), AwsError> {
        let logs = self.logs_in(None);
        logs.create_stream(group, stream).await?;
        // All events have the time of the copy: a batch must be in order and not span a day. The lines have their own.
        let now = Timestamp::now().as_millisecond();
        let mut batch = Vec::new();
        let mut size = 0;
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines().filter(|line| !line.is_empty()) {
            let length = line.len() + EVENT_OVERHEAD;
            if !batch.is_empty() && (size + length > BATCH_BYTES || batch.len() == BATCH_EVENTS) {
                logs.put_events(group, stream, now, std::mem::take(&mut batch))
                    .await?;
                size = 0;
            }
            size += length;
            batch.push(line.to_owned());
        }
        match batch.is_empty() {
            true => Ok(()),
            false => logs.put_events(group, stream, now, batch).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_and_written() {
        for (text, shown) in [
            ("logs:/audit/bowline", "logs:/audit/bowline"),
            ("s3://my-bucket", "s3://my-bucket/"),
            ("s3://my-bucket/a/b/", "s3://my-bucket/a/b/"),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "logs:",
            "s3://",
            "s3://b",
            "s3://bucket/a b",
            "https://x",
            "logs:a b",
        ] {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
        }
    }
}
