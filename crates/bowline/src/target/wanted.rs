//! A target and the options beside it, as one.

use std::fmt;

use super::arn::{ArnKind, EcsArn};
use super::error::TargetError;
use super::resolve::TargetOptions;
use super::{ClusterName, ContainerPart, Selector, TargetSpec};
use crate::client::Client;

/// The target and the options as one.
pub(super) struct Wanted {
    pub(super) cluster: Option<ClusterName>,
    pub(super) selector: Option<Selector>,
    pub(super) container: Option<ContainerPart>,
    pub(super) strict: bool,
}

impl Wanted {
    pub(super) fn merge(
        client: &Client,
        target: Option<&TargetSpec>,
        options: &TargetOptions,
    ) -> Result<Self, TargetError> {
        let arn = match target.map(|target| &target.selector) {
            Some(Selector::Arn(arn)) => Some(arn),
            _ => None,
        };
        if let Some(arn) = arn {
            check_region(client, arn)?;
        }
        let in_target = target
            .and_then(|target| target.cluster.clone())
            .or_else(|| arn.and_then(|arn| arn.cluster.clone()));
        // A cluster's ARN says where, and not what.
        let selector = target
            .map(|target| target.selector.clone())
            .filter(|_| arn.is_none_or(|arn| arn.kind != ArnKind::Cluster));
        let by_option = match (&options.task, &options.service) {
            (Some(task), _) => Some(Selector::Task(task.clone())),
            (None, Some(service)) => Some(Selector::Service(service.clone())),
            (None, None) => None,
        };
        if let (Some(target), Some(option)) = (&selector, &by_option) {
            return Err(TargetError::Conflict {
                part: "the target",
                in_target: target.to_string(),
                in_option: option.to_string(),
            });
        }
        let container = target.and_then(|target| target.container.clone());
        let named = options.container.clone().map(ContainerPart::Named);
        Ok(Self {
            cluster: agree("cluster", in_target, options.cluster.as_ref())?,
            selector: selector.or(by_option),
            container: agree("container", container, named.as_ref())?,
            strict: options.strict,
        })
    }

    pub(super) fn service_name(&self) -> Option<&str> {
        match self.selector.as_ref()? {
            Selector::Any(name) => Some(name.as_str()),
            Selector::Service(name) => Some(name.as_str()),
            Selector::Arn(arn) if arn.kind == ArnKind::Service => Some(&arn.name),
            _ => None,
        }
    }

    pub(super) fn label(&self) -> String {
        self.selector
            .as_ref()
            .map_or_else(|| "the target".to_owned(), ToString::to_string)
    }
}

/// A default (`BOWLINE_CLUSTER`) arrives as an option too, so an explicit cluster in the target wins over
/// it; two different containers contradict each other.
fn agree<T: Clone + PartialEq + fmt::Display>(
    part: &'static str,
    in_target: Option<T>,
    option: Option<&T>,
) -> Result<Option<T>, TargetError> {
    match (in_target, option) {
        (Some(target), Some(option)) if part != "cluster" && target != *option => {
            Err(TargetError::Conflict {
                part,
                in_target: target.to_string(),
                in_option: option.to_string(),
            })
        }
        (Some(target), _) => Ok(Some(target)),
        (None, option) => Ok(option.cloned()),
    }
}

fn check_region(client: &Client, arn: &EcsArn) -> Result<(), TargetError> {
    if arn.region == client.region() {
        return Ok(());
    }
    Err(TargetError::OtherRegion {
        arn: arn.to_string(),
        region: arn.region.clone(),
        client_region: client.region().to_owned(),
    })
}
