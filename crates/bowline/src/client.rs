//! `Client`: the library's front door to one account and region.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use http::uri::Authority;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::aws::Aws;
use crate::aws::call::{Api, text};
use crate::aws::config::{
    ClientOptions, ConnectError, Credentials, Settings, Signing, is_loopback_url,
};
use crate::aws::ecs::{Ecs, TaskFilter};
use crate::aws::error::AwsError;
use crate::aws::kms::GeneratedKey;
use crate::aws::logs::Logs;
use crate::aws::pace::Pace;
use crate::aws::ssm::Ssm;
use crate::inventory::{InventoryLoad, InventoryOptions};
use crate::model::{Cluster, Service, SessionGrant, Task};
use crate::network::Proxies;
use crate::target::{
    ClusterName, MatchingTasks, ResolvedTarget, TargetError, TargetOptions, TargetSpec, in_cluster,
    resolve,
};
use crate::tls::TrustRoots;

/// For finding out who the caller is.
const CALLER_LIMIT: Duration = Duration::from_secs(5);

/// Access to ECS Exec in one region, with one set of credentials. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    aws: Arc<Aws>,
    sessions: TaskTracker,
}

/// Who makes the calls.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CallerIdentity {
    /// Of the user or the assumed role.
    pub arn: String,
    /// The account's number.
    pub account: Option<String>,
    /// AWS's own id, which for a role has the session's name.
    pub user_id: Option<String>,
}

impl Client {
    /// Reads the configuration. No call is made to AWS yet, and credentials are looked up by the first.
    pub async fn connect(options: ClientOptions) -> Result<Self, ConnectError> {
        let settings = Settings::load(options).await?;
        Ok(Self {
            aws: Arc::new(Aws::new(settings)),
            sessions: TaskTracker::new(),
        })
    }

    /// A client for another region, or with other credentials, that asks at a pace of its own. Sessions count as this
    /// client's.
    pub(crate) fn beside(
        &self,
        region: &str,
        credentials: Option<SharedCredentialsProvider>,
        pace: Pace,
    ) -> Result<Self, ConnectError> {
        let settings = self.aws.settings.beside(region, credentials, pace)?;
        Ok(Self {
            aws: Arc::new(Aws::new(settings)),
            sessions: self.sessions.clone(),
        })
    }

    /// A client for tests: no environment, no files, no metadata.
    #[cfg(test)]
    pub(crate) async fn with_static_credentials(options: ClientOptions) -> Self {
        let credentials =
            aws_credential_types::Credentials::new("id", "secret", None, None, "test");
        let settings =
            Settings::load_with(options, Some(SharedCredentialsProvider::new(credentials)))
                .await
                .expect("region and endpoint are given");
        Self {
            aws: Arc::new(Aws::new(settings)),
            sessions: TaskTracker::new(),
        }
    }

    /// A client with a role that this one's credentials assume, under this name of the session.
    ///
    /// # Errors
    /// The role cannot be assumed.
    pub async fn assuming(&self, role: &str, session: &str) -> Result<Self, AwsError> {
        let settings = self.aws.settings.assuming(role, session);
        settings.credentials().await?;
        Ok(Self {
            aws: Arc::new(Aws::new(settings)),
            sessions: self.sessions.clone(),
        })
    }

    /// Waits until all sessions of this client and its clones have ended. Sessions that were dropped take up to two
    /// seconds; those still in use as long as they are used.
    pub async fn finish(&self) {
        self.sessions.close();
        self.sessions.wait().await;
        self.sessions.reopen();
    }

    pub(crate) fn sessions(&self) -> &TaskTracker {
        &self.sessions
    }

    /// The region calls go to.
    pub fn region(&self) -> &str {
        &self.aws.settings.region
    }

    /// The endpoint that was configured in place of AWS's own for ECS, if any.
    pub fn endpoint(&self) -> Option<String> {
        self.aws.settings.endpoint("ECS")
    }

    /// What leads another program's SDK to the endpoints of this client.
    pub(crate) fn endpoint_variables(&self) -> Vec<(OsString, OsString)> {
        self.aws.settings.endpoint_variables()
    }

    /// Whether sessions come from a server on this machine: only then may a stream URL point there too.
    pub fn endpoint_is_loopback(&self) -> bool {
        self.endpoint().is_some_and(|url| is_loopback_url(&url))
    }

    /// Looks credentials up now if that may ask a person for something: an MFA code cannot be typed within the time
    /// limit of a call. Otherwise nothing is done, and the first call looks them up.
    pub async fn sign_in(&self) -> Result<(), AwsError> {
        if self.aws.settings.may_ask {
            self.credentials().await?;
        }
        Ok(())
    }

    /// The credentials of the moment, refreshed when they are about to expire.
    pub async fn credentials(&self) -> Result<Credentials, AwsError> {
        self.aws.settings.credentials().await
    }

    /// The ARN of whoever makes the calls, if that can be found out (`sts:GetCallerIdentity`, which needs no
    /// permission).
    pub async fn caller(&self) -> Option<String> {
        Some(self.caller_identity().await?.arn)
    }

    /// Whoever makes the calls, in all that AWS says of them; the same call, made once.
    pub async fn caller_identity(&self) -> Option<CallerIdentity> {
        let identity = self.aws.caller.get_or_init(|| self.ask_who_calls());
        identity.await.clone()
    }

    async fn ask_who_calls(&self) -> Option<CallerIdentity> {
        let deadline = Instant::now() + CALLER_LIMIT;
        let input = serde_json::json!({});
        let answer = self
            .api()
            .call("sts", "GetCallerIdentity", &input, deadline)
            .await
            .ok()?;
        let member = |name| text(&answer, name).map(str::to_owned);
        Some(CallerIdentity {
            arn: member("Arn")?,
            account: member("Account"),
            user_id: member("UserId"),
        })
    }

    pub(crate) fn roots(&self) -> &TrustRoots {
        &self.aws.settings.roots
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        &self.aws.settings.proxies
    }

    pub(crate) fn signing(&self) -> Signing {
        self.aws.settings.signing
    }

    /// The host that data channels are opened at in place of AWS's own, if the user named one.
    pub(crate) fn stream_host(&self) -> Option<&Authority> {
        self.aws.settings.stream_host.as_ref()
    }

    /// Finds the one container a target means.
    pub async fn resolve(
        &self,
        target: &TargetSpec,
        options: &TargetOptions,
    ) -> Result<ResolvedTarget, TargetError> {
        resolve::resolve(self, Some(target), options).await
    }

    /// Finds the one container there is to mean when no target is given: the only service, or only task,
    /// of the current cluster.
    pub async fn resolve_only(
        &self,
        options: &TargetOptions,
    ) -> Result<ResolvedTarget, TargetError> {
        resolve::resolve(self, None, options).await
    }

    /// Looks at a resolved container again, for instance while its agent starts. One call.
    pub async fn refresh(&self, target: &ResolvedTarget) -> Result<ResolvedTarget, TargetError> {
        resolve::refresh(self, target).await
    }

    /// The cluster that is meant when none is named: the one given, else the only one, else `default`.
    pub async fn current_cluster(
        &self,
        given: Option<&ClusterName>,
    ) -> Result<ClusterName, TargetError> {
        resolve::current_cluster(self, given).await
    }

    /// Lists everything, at most ten calls a second; the rows come as the answers do. Dropping the result ends it.
    pub fn inventory(&self, options: InventoryOptions) -> InventoryLoad {
        InventoryLoad::start(self.clone(), options)
    }

    /// All clusters, by name.
    pub async fn clusters(&self) -> Result<Vec<Cluster>, AwsError> {
        let arns = self.ecs().cluster_arns().await?;
        let mut clusters = self.ecs().clusters(&arns).await?;
        clusters.sort_by(|a, b| a.cluster_name.cmp(&b.cluster_name));
        Ok(clusters)
    }

    /// All services of a cluster, by name.
    pub async fn services(&self, cluster: &ClusterName) -> Result<Vec<Service>, TargetError> {
        let listed = self.ecs().service_arns(cluster.as_str()).await;
        let arns = in_cluster(self, cluster, listed).await?;
        let mut services = self.ecs().services(cluster.as_str(), &arns).await?;
        services.sort_by(|a, b| a.service_name.cmp(&b.service_name));
        Ok(services)
    }

    /// All tasks of a cluster that are not stopping, by service, then newest first.
    pub async fn tasks(&self, cluster: &ClusterName) -> Result<Vec<Task>, TargetError> {
        let listed = self.ecs().task_arns(cluster.as_str(), TaskFilter::All);
        let arns = in_cluster(self, cluster, listed.await).await?;
        let mut tasks = self.ecs().tasks(cluster.as_str(), &arns).await?;
        tasks.sort_by(|a, b| {
            (&a.service_name, b.started_at, &a.task_id).cmp(&(
                &b.service_name,
                a.started_at,
                &b.task_id,
            ))
        });
        Ok(tasks)
    }

    /// The named services of a cluster, by name; unknown ones are left out.
    pub async fn services_named(
        &self,
        cluster: &ClusterName,
        names: &[String],
    ) -> Result<Vec<Service>, AwsError> {
        let mut services = self.ecs().services(cluster.as_str(), names).await?;
        services.sort_by(|a, b| a.service_name.cmp(&b.service_name));
        Ok(services)
    }

    /// All tasks a target matches, best first; the container part of the target is ignored.
    pub async fn matching_tasks(
        &self,
        target: &TargetSpec,
        options: &TargetOptions,
    ) -> Result<MatchingTasks, TargetError> {
        resolve::matching_tasks(self, target, options).await
    }

    /// Starts an exec session in a container. It is not repeated after a time-out: each call makes a session
    /// that counts against the container's limit.
    pub async fn execute_command(
        &self,
        cluster: &str,
        task: &str,
        container: &str,
        command: &str,
    ) -> Result<SessionGrant, AwsError> {
        self.ecs()
            .execute_command(cluster, task, container, command)
            .await
    }

    /// Starts a session through SSM itself, on an SSM target (`ecs:<cluster>_<task>_<runtime id>`). It is not repeated
    /// after a time-out.
    pub async fn start_session(
        &self,
        ssm_target: &str,
        document: Option<&str>,
        parameters: &[(&str, &str)],
    ) -> Result<SessionGrant, AwsError> {
        self.aws
            .ssm()
            .start_session(ssm_target, document, parameters)
            .await
    }

    /// A new connection to a session; `None` when the session has ended.
    pub async fn resume_session(&self, session_id: &str) -> Result<Option<SessionGrant>, AwsError> {
        self.aws.ssm().resume_session(session_id).await
    }

    /// Ends a session.
    pub async fn terminate_session(&self, session_id: &str) -> Result<(), AwsError> {
        self.aws.ssm().terminate_session(session_id).await
    }

    /// Makes the data key of an encrypted session: 64 bytes, under a KMS key (`kms:GenerateDataKey`), bound to an
    /// encryption context.
    ///
    /// The context of a session is `aws:ssm:SessionId`, `aws:ssm:TargetId` (the SSM target) and, if the agent sent
    /// one, `aws:ssm:RandomChallenge`. The call ends within 12 s, as agents wait for 15 s.
    pub async fn generate_data_key(
        &self,
        key_id: &str,
        context: &[(&str, &str)],
    ) -> Result<GeneratedKey, AwsError> {
        self.aws.kms().generate_data_key(key_id, context).await
    }

    /// How many sessions are active on an SSM target (`ecs:<cluster>_<task>_<runtime id>`).
    pub async fn active_sessions(&self, ssm_target: &str) -> Result<usize, AwsError> {
        self.aws.ssm().active_sessions(ssm_target).await
    }

    /// The present state of one task, or `None` when ECS does not know it.
    pub async fn task(&self, cluster: &str, task: &str) -> Result<Option<Task>, AwsError> {
        let found = self.ecs().tasks(cluster, &[task.to_owned()]).await?;
        Ok(found.into_iter().next())
    }

    pub(crate) fn ssm(&self) -> &Ssm {
        self.aws.ssm()
    }

    pub(crate) fn logs_in(&self, region: Option<&str>) -> Arc<Logs> {
        self.aws.logs(region)
    }

    /// Signed calls that are named at run time.
    pub(crate) fn api(&self) -> Api {
        Api::new(Arc::clone(&self.aws))
    }

    pub(crate) fn ecs(&self) -> &Ecs {
        self.aws.ecs()
    }
}
