//! PutObject for what must not be overwritten.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Api, Unsigned, model};
use crate::aws::error::AwsError;
use crate::aws::regions::dns_suffix;
use aws_smithy_runtime_api::client::http::HttpConnector as _;

/// For one object, all attempts together.
const LIMIT: Duration = Duration::from_secs(300);
/// Attempts after throttling.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

impl Api {
    /// Puts an object where there is none. One that is there already is not replaced: S3 answers
    /// `PreconditionFailed`, which is an error here too. The key has only characters that need no encoding.
    pub(crate) async fn put_object(
        &self,
        bucket: &str,
        key: &str,
        body: Bytes,
    ) -> Result<(), AwsError> {
        let name = "s3:PutObject".to_owned();
        let deadline = Instant::now() + LIMIT;
        let mut pause = PAUSE;
        for attempt in 1.. {
            let result = timeout_at(deadline, self.put_once(bucket, key, &body)).await;
            match result.unwrap_or_else(|_| Err(AwsError::late(name.clone()))) {
                Err(error) if error.is_throttled() && attempt < ATTEMPTS => {
                    sleep(pause).await;
                    pause *= 2;
                }
                result => return result,
            }
        }
        Err(AwsError::late(name))
    }

    async fn put_once(&self, bucket: &str, key: &str, body: &Bytes) -> Result<(), AwsError> {
        let settings = &self.aws.settings;
        let name = "s3:PutObject";
        let region = settings.region.clone();
        let url = match settings.endpoint("S3") {
            Some(endpoint) => format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/')),
            // A dot in the name does not fit the certificate of the other form.
            None if bucket.contains('.') => {
                format!("https://s3.{region}.{}/{bucket}/{key}", dns_suffix(&region))
            }
            None => format!("https://{bucket}.s3.{region}.{}/{key}", dns_suffix(&region)),
        };
        let unsigned = Unsigned {
            method: "PUT",
            url,
            headers: vec![
                ("content-type".to_owned(), "application/x-ndjson".to_owned()),
                ("if-none-match".to_owned(), "*".to_owned()),
            ],
            body: body.to_vec(),
            service: "s3",
            region,
        };
        let calls = &self.aws.calls;
        let request = calls.sign(settings, unsigned, name).await?;
        let answer = calls
            .connector(settings)
            .call(request)
            .await
            .map_err(|error| AwsError::from_connector(name.to_owned(), error))?;
        let described = bowline_services::find("s3").ok();
        let found = described.and_then(|it| Some((it, it.operation("PutObject")?)));
        let (service, operation) =
            found.ok_or_else(|| AwsError::unusable(name.to_owned(), "the operation is unknown"))?;
        model::read(service, operation, answer, name).await?;
        Ok(())
    }
}
