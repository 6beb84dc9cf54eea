//! A profile, region and endpoint, and what is started through them.

use std::sync::Arc;
use std::time::Duration;

use bowline::target::{ClusterName, ContainerName};
use bowline::{ClientOptions, Credentials, ResolvedTarget, Secret, TargetOptions, TargetSpec};
use pyo3::prelude::*;
use tokio::sync::OnceCell;

use crate::problem::Problem;
use crate::runtime::wait;

/// A connection to one region, made when it is first used.
#[pyclass(frozen, module = "bowline_ecs._native")]
pub(crate) struct Client {
    pub(crate) link: Arc<Link>,
}

/// The options, and the client that was made of them.
pub(crate) struct Link {
    options: ClientOptions,
    connected: OnceCell<bowline::Client>,
}

/// What narrows a target down, as texts.
#[derive(Default, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Where {
    target: Option<String>,
    cluster: Option<String>,
    container: Option<String>,
    strict: bool,
}

#[pymethods]
impl Client {
    /// With `keys`, an access key id and its secret, nothing is read from the environment or from files.
    #[new]
    #[pyo3(signature = (profile, region, endpoint_url, keys = None))]
    fn new(
        profile: Option<String>,
        region: Option<String>,
        endpoint_url: Option<String>,
        keys: Option<(String, String)>,
    ) -> Self {
        let options = ClientOptions {
            profile,
            region,
            endpoint_url,
            credentials: keys.map(|(access_key_id, secret)| Credentials {
                access_key_id,
                secret_access_key: Secret::new(secret),
                session_token: None,
                expires_at: None,
            }),
            ..ClientOptions::default()
        };
        Self {
            link: Arc::new(Link {
                options,
                connected: OnceCell::new(),
            }),
        }
    }

    /// Reads the configuration; the answer is the region.
    fn connect(&self, py: Python<'_>) -> PyResult<String> {
        let link = Arc::clone(&self.link);
        wait(py, async move { link.region().await })
    }

    /// The names of the clusters.
    fn clusters(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let link = Arc::clone(&self.link);
        wait(py, async move {
            let clusters = link.get().await?.clusters().await?;
            Ok(clusters.into_iter().map(|one| one.cluster_name).collect())
        })
    }
}

impl Link {
    /// The same options for another client, whose sessions are waited for by themselves.
    pub(crate) fn beside(&self) -> Self {
        Self {
            options: self.options.clone(),
            connected: OnceCell::new(),
        }
    }

    /// The client; its configuration is read once.
    pub(crate) async fn get(&self) -> Result<&bowline::Client, Problem> {
        let connect = || bowline::Client::connect(self.options.clone());
        Ok(self.connected.get_or_try_init(connect).await?)
    }

    async fn region(&self) -> Result<String, Problem> {
        Ok(self.get().await?.region().to_owned())
    }
}

impl Where {
    /// The text of the target, as it was given.
    pub(crate) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// The words as the library wants them.
    pub(crate) fn parse(&self) -> Result<(Option<TargetSpec>, TargetOptions), Problem> {
        let spec = self.target.as_deref().map(str::parse).transpose()?;
        Ok((spec, self.options()?))
    }

    pub(crate) fn options(&self) -> Result<TargetOptions, Problem> {
        let cluster = self.cluster.as_deref().map(str::parse::<ClusterName>);
        let container = self.container.as_deref().map(str::parse::<ContainerName>);
        Ok(TargetOptions {
            cluster: cluster.transpose()?,
            container: container.transpose()?,
            strict: self.strict,
            ..TargetOptions::default()
        })
    }
}

/// Finds the one container.
pub(crate) async fn resolve(
    client: &bowline::Client,
    spec: Option<&TargetSpec>,
    options: &TargetOptions,
) -> Result<ResolvedTarget, Problem> {
    Ok(match spec {
        Some(spec) => client.resolve(spec, options).await?,
        None => client.resolve_only(options).await?,
    })
}

/// A number of seconds that somebody gave.
pub(crate) fn seconds(name: &str, given: f64) -> Result<Duration, Problem> {
    Duration::try_from_secs_f64(given)
        .map_err(|_| Problem::usage(format!("{name}={given} is not a number of seconds")))
}
