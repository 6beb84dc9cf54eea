//! Where a task runs: like a service, or by options of their own.

use bowline::run::{RunWish, StrategyItem};
use clap::{Args, ValueEnum};

/// The options that decide.
#[derive(Args, Debug)]
#[command(next_help_heading = "Where it runs")]
pub(super) struct NetworkArgs {
    /// Take network, launch type and exec setting from this service
    #[arg(long, value_name = "SERVICE")]
    like: Option<String>,
    /// Subnets of the task, in place of the service's
    #[arg(long, value_delimiter = ',', value_name = "ID,ID…")]
    subnets: Vec<String>,
    /// Security groups of the task, in place of the service's
    #[arg(long, value_delimiter = ',', value_name = "ID,ID…")]
    security_groups: Vec<String>,
    /// Whether the task gets a public address
    #[arg(long, value_name = "yes|no", num_args = 0..=1, default_missing_value = "yes", require_equals = true)]
    assign_public_ip: Option<YesNo>,
    /// The launch type, in place of the service's
    #[arg(
        long,
        value_name = "TYPE",
        ignore_case = true,
        conflicts_with = "capacity_provider"
    )]
    launch_type: Option<LaunchType>,
    /// A capacity provider, in place of the service's; may be given several times
    #[arg(long, value_name = "NAME[:WEIGHT[:BASE]]", value_parser = provider)]
    capacity_provider: Vec<StrategyItem>,
    /// The Fargate platform version, in place of the service's
    #[arg(long, value_name = "VERSION")]
    platform_version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    #[value(alias = "ENABLED", alias = "enabled", alias = "true")]
    Yes,
    #[value(alias = "DISABLED", alias = "disabled", alias = "false")]
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LaunchType {
    Fargate,
    Ec2,
    External,
}

impl NetworkArgs {
    pub(super) fn wish(&self) -> RunWish {
        let launch_type = self.launch_type.map(|kind| match kind {
            LaunchType::Fargate => "FARGATE",
            LaunchType::Ec2 => "EC2",
            LaunchType::External => "EXTERNAL",
        });
        RunWish {
            like: self.like.clone(),
            subnets: self.subnets.clone(),
            security_groups: self.security_groups.clone(),
            assign_public_ip: self.assign_public_ip.map(|answer| answer == YesNo::Yes),
            launch_type: launch_type.map(str::to_owned),
            providers: self.capacity_provider.clone(),
            platform_version: self.platform_version.clone(),
        }
    }
}

/// `FARGATE_SPOT`, `FARGATE_SPOT:3`, `FARGATE:1:1`.
fn provider(text: &str) -> Result<StrategyItem, String> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let mut number = |usual: i32| match parts.next() {
        None => Ok(usual),
        Some(part) => part.parse::<u16>().map(i32::from).map_err(|_| {
            format!("{part:?} is no number; a capacity provider looks like FARGATE_SPOT:3:1")
        }),
    };
    let (weight, base) = (number(1)?, number(0)?);
    if name.is_empty() || parts.next().is_some() {
        return Err("a capacity provider looks like FARGATE_SPOT:3:1".to_owned());
    }
    Ok(StrategyItem {
        capacity_provider: name.to_owned(),
        weight,
        base,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_have_a_weight_and_a_base() {
        let read =
            |text| provider(text).map(|item| (item.capacity_provider, item.weight, item.base));
        assert_eq!(read("FARGATE_SPOT"), Ok(("FARGATE_SPOT".into(), 1, 0)));
        assert_eq!(read("FARGATE_SPOT:3"), Ok(("FARGATE_SPOT".into(), 3, 0)));
        assert_eq!(read("my-cp:0:2"), Ok(("my-cp".into(), 0, 2)));
        for wrong in ["", ":1", "a:x", "a:-1", "a:1:2:3"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
