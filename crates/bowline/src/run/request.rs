//! What RunTask is asked for: its members under AWS's names, and where they may come from.
//!
//! A [`RunRequest`] serializes to the JSON that `aws ecs run-task --cli-input-json` reads.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::overrides::Overrides;

/// One call of RunTask. The client token makes it safe to repeat: the same token starts nothing twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRequest {
    /// The cluster's name or ARN.
    pub cluster: String,
    /// `family`, `family:revision` or an ARN.
    pub task_definition: String,
    /// How many tasks, 1 to 10.
    pub count: u32,
    /// FARGATE, EC2, EXTERNAL. Excludes a strategy; without both the cluster's default strategy decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<String>,
    /// Capacity providers to spread over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capacity_provider_strategy: Vec<StrategyItem>,
    /// The Fargate platform version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_version: Option<String>,
    /// Subnets and security groups; needed by definitions in network mode awsvpc, refused for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_configuration: Option<NetworkConfiguration>,
    /// What is different from the definition.
    #[serde(skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
    /// Whether commands can be executed in the tasks; fixed for their lives.
    pub enable_execute_command: bool,
    /// Tags of the tasks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Who started them: up to 128 letters, digits, `-`, `_` and `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    /// See [`new_client_token`].
    pub client_token: String,
}

/// A capacity provider's part of a strategy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyItem {
    /// Its name.
    pub capacity_provider: String,
    /// Its share of the tasks beyond the bases.
    #[serde(default)]
    pub weight: i32,
    /// How many tasks it gets first.
    #[serde(default)]
    pub base: i32,
}

/// The network of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfiguration {
    /// For network mode awsvpc, the only one that has any.
    pub awsvpc_configuration: AwsvpcConfiguration,
}

/// Where a task's network interface is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsvpcConfiguration {
    /// 1 to 16 subnets.
    pub subnets: Vec<String>,
    /// Up to 5 security groups; without any, the VPC's default group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// ENABLED or DISABLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assign_public_ip: Option<String>,
}

/// A tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// How a service runs its tasks: what a one-off task takes over to be like them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The service's name.
    pub name: String,
    /// Its task definition.
    pub task_definition: String,
    /// See [`RunRequest::launch_type`].
    pub launch_type: Option<String>,
    /// See [`RunRequest::capacity_provider_strategy`].
    pub strategy: Vec<StrategyItem>,
    /// See [`RunRequest::platform_version`].
    pub platform_version: Option<String>,
    /// See [`RunRequest::network_configuration`].
    pub network: Option<NetworkConfiguration>,
    /// Whether its new tasks can be entered.
    pub enable_execute_command: bool,
}

impl RunRequest {
    /// One task of a definition, with a new client token.
    #[must_use]
    pub fn new(cluster: impl Into<String>, task_definition: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            task_definition: task_definition.into(),
            count: 1,
            client_token: new_client_token(),
            ..Self::default()
        }
    }

    /// Takes over network, launch type or strategy, platform version and the exec setting of a service.
    #[must_use]
    pub fn like(mut self, service: &ServiceSettings) -> Self {
        self.launch_type.clone_from(&service.launch_type);
        self.capacity_provider_strategy
            .clone_from(&service.strategy);
        self.platform_version.clone_from(&service.platform_version);
        self.network_configuration.clone_from(&service.network);
        self.enable_execute_command = service.enable_execute_command;
        self
    }

    /// Uses a launch type, in place of whatever decided before. A platform version is Fargate's alone.
    #[must_use]
    pub fn on_launch_type(mut self, launch_type: impl Into<String>) -> Self {
        let launch_type = launch_type.into();
        if launch_type != "FARGATE" {
            self.platform_version = None;
        }
        self.launch_type = Some(launch_type);
        self.capacity_provider_strategy.clear();
        self
    }

    /// Uses a strategy, in place of whatever decided before.
    #[must_use]
    pub fn on_providers(mut self, strategy: Vec<StrategyItem>) -> Self {
        let fargate = strategy
            .iter()
            .all(|item| item.capacity_provider.starts_with("FARGATE"));
        if !fargate {
            self.platform_version = None;
        }
        self.launch_type = None;
        self.capacity_provider_strategy = strategy;
        self
    }

    /// What ECS would refuse, found before it is asked. The limits are those of the API reference.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=10).contains(&self.count) {
            return Err(format!(
                "RunTask starts 1 to 10 tasks at once, not {}",
                self.count
            ));
        }
        if self.tags.len() > 50 {
            return Err(format!(
                "a task has at most 50 tags, not {}",
                self.tags.len()
            ));
        }
        if let Some(network) = &self.network_configuration {
            let network = &network.awsvpc_configuration;
            if network.subnets.is_empty() || network.subnets.len() > 16 {
                let count = network.subnets.len();
                return Err(format!(
                    "a task's network takes 1 to 16 subnets, not {count}"
                ));
            }
            if network.security_groups.len() > 5 {
                let count = network.security_groups.len();
                return Err(format!(
                    "a task's network takes at most 5 security groups, not {count}"
                ));
            }
        }
        if let Some(by) = &self.started_by {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
            if by.is_empty() || by.len() > 128 || !by.chars().all(fits) {
                return Err(format!(
                    "started-by {by:?} may hold only letters, digits, '-', '_' and '/', at most 128"
                ));
            }
        }
        self.overrides.check()
    }
}

/// A token for one logical run: random, so that no other run has it, and kept for every attempt.
#[must_use]
pub fn new_client_token() -> String {
    let mut bytes = [0; 24];
    // Without entropy nothing else works either (TLS, sessions).
    getrandom::fill(&mut bytes).expect("the system has entropy");
    format!("bowline-{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceSettings {
        ServiceSettings {
            name: "web".into(),
            task_definition: "web:7".into(),
            strategy: vec![StrategyItem {
                capacity_provider: "FARGATE_SPOT".into(),
                weight: 1,
                base: 0,
            }],
            platform_version: Some("1.4.0".into()),
            network: Some(NetworkConfiguration {
                awsvpc_configuration: AwsvpcConfiguration {
                    subnets: vec!["subnet-1".into()],
                    ..AwsvpcConfiguration::default()
                },
            }),
            enable_execute_command: true,
            ..ServiceSettings::default()
        }
    }

    #[test]
    fn what_a_service_has_is_taken_over_and_options_win() {
        let request = RunRequest::new("demo", "job").like(&service());
        assert_eq!(request.capacity_provider_strategy, service().strategy);
        assert_eq!(request.platform_version.as_deref(), Some("1.4.0"));
        assert!(request.enable_execute_command);

        let on_ec2 = request.clone().on_launch_type("EC2");
        assert!(on_ec2.capacity_provider_strategy.is_empty());
        assert_eq!(on_ec2.platform_version, None);
        let on_demand = request.on_launch_type("FARGATE");
        assert_eq!(on_demand.platform_version.as_deref(), Some("1.4.0"));
    }

    #[test]
    fn json_has_the_names_of_the_api_and_reads_back() {
        let mut request = RunRequest::new("demo", "job:3").like(&service());
        request.client_token = "t".into();
        let json = serde_json::to_value(&request).unwrap();
        let expected = serde_json::json!({
            "cluster": "demo",
            "taskDefinition": "job:3",
            "count": 1,
            "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}],
            "platformVersion": "1.4.0",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
            "enableExecuteCommand": true,
            "clientToken": "t",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn each_limit_is_said() {
        let good = RunRequest::new("demo", "job");
        assert_eq!(good.check(), Ok(()));
        let with = |change: fn(&mut RunRequest)| {
            let mut request = good.clone();
            change(&mut request);
            request.check().unwrap_err()
        };
        assert!(with(|r| r.count = 11).contains("1 to 10 tasks"));
        assert!(with(|r| r.tags = vec![Tag::default(); 51]).contains("50 tags"));
        assert!(with(|r| r.started_by = Some("a b".into())).contains("letters"));
        assert!(with(|r| r.network_configuration = Some(Default::default())).contains("subnets"));
    }

    #[test]
    fn tokens_differ_and_fit() {
        let (one, two) = (new_client_token(), new_client_token());
        assert_ne!(one, two);
        assert!(one.len() <= 64 && one.bytes().all(|byte| (33..=126).contains(&byte)));
    }
}
