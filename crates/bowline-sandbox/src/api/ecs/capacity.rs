//! Capacity providers: FARGATE and FARGATE_SPOT, the clusters they belong to, and strategies over them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{cluster, cluster_name, find_cluster};
use crate::api::{ApiError, Call};
use crate::state::{Cluster, StrategyItem};

/// The providers there are; others would need instances.
const PROVIDERS: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Describe {
    capacity_providers: Vec<String>,
}

pub(super) fn describe(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Describe = call.input()?;
    let account = &call.shared.account;
    let wanted = |name: &&str| {
        let names = &input.capacity_providers;
        names.is_empty()
            || names
                .iter()
                .any(|given| given.rsplit('/').next() == Some(name))
    };
    let found: Vec<&str> = PROVIDERS.into_iter().filter(wanted).collect();
    let show = |name: &&str| {
        json!({
            "capacityProviderArn": account.capacity_provider(name),
            "name": name,
            "status": "ACTIVE",
            "tags": [],
        })
    };
    let given = input.capacity_providers.iter();
    let missing = given.filter(|given| {
        !found
            .iter()
            .any(|name| given.rsplit('/').next() == Some(name))
    });
    let failures: Vec<Value> = missing
        .map(|name| json!({ "arn": account.capacity_provider(name), "reason": "MISSING" }))
        .collect();
    Ok(
        json!({ "capacityProviders": found.iter().map(show).collect::<Vec<_>>(), "failures": failures }),
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Put {
    cluster: String,
    capacity_providers: Vec<String>,
    default_capacity_provider_strategy: Vec<StrategyItem>,
}

pub(super) fn put(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Put = call.input()?;
    let account = &call.shared.account;
    let name = cluster_name(account, Some(&input.cluster))?;
    call.shared.change(|world| {
        find_cluster(world, account, Some(name))?;
        let cluster = world
            .clusters
            .get_mut(name)
            .ok_or_else(super::cluster_not_found)?;
        let before = std::mem::replace(&mut cluster.capacity_providers, input.capacity_providers);
        if let Err(error) = check(cluster, &input.default_capacity_provider_strategy) {
            cluster.capacity_providers = before;
            return Err(error);
        }
        cluster.default_strategy = input.default_capacity_provider_strategy;
        Ok(json!({ "cluster": cluster::show(account, cluster, &[]) }))
    })
}

/// What is wrong with a strategy for this cluster.
pub(super) fn check(cluster: &Cluster, strategy: &[StrategyItem]) -> Result<(), ApiError> {
    if strategy.len() > 20 {
        return Err(ApiError::invalid_parameter(
            "A capacity provider strategy can contain a maximum of 20 capacity providers.",
        ));
    }
    for item in strategy {
        let name = &item.capacity_provider;
        if !PROVIDERS.contains(&name.as_str()) {
            return Err(ApiError::invalid_parameter(
                "The specified capacity provider was not found.",
            ));
        }
        if !cluster.capacity_providers.contains(name) {
            return Err(ApiError::invalid_parameter(format!(
                "The capacity provider strategy contains the capacity provider {name}, which is not associated with \
                 the cluster."
            )));
        }
        if item.weight > 1000 || item.base > 100_000 {
            return Err(ApiError::invalid_parameter(
                "A weight must be between 0 and 1000, a base between 0 and 100000.",
            ));
        }
    }
    if strategy.iter().filter(|item| item.base > 0).count() > 1 {
        return Err(ApiError::invalid_parameter(
            "Only one capacity provider in a strategy can have a base.",
        ));
    }
    if strategy.len() > 1 && strategy.iter().all(|item| item.weight == 0) {
        return Err(ApiError::invalid_parameter(
            "At least one capacity provider must have a weight greater than 0.",
        ));
    }
    Ok(())
}

/// The provider of the task with this number, from 0: the base first, then by weight.
pub(super) fn provider(strategy: &[StrategyItem], number: i64) -> Option<String> {
    let number = u64::try_from(number).unwrap_or(0);
    let base = strategy.iter().find(|item| item.base > 0);
    let rest = match base {
        Some(item) if number < u64::from(item.base) => return Some(item.capacity_provider.clone()),
        Some(item) => number - u64::from(item.base),
        None => number,
    };
    let total: u64 = strategy.iter().map(|item| u64::from(item.weight)).sum();
    let mut place = if total == 0 { 0 } else { rest % total };
    for item in strategy {
        let weight = u64::from(item.weight);
        if place < weight {
            return Some(item.capacity_provider.clone());
        }
        place -= weight;
    }
    strategy.first().map(|item| item.capacity_provider.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_fill_the_base_and_then_go_by_weight() {
        let item = |name: &str, weight: u32, base: u32| StrategyItem {
            capacity_provider: name.to_owned(),
            weight,
            base,
        };
        let of = |strategy: &[StrategyItem]| -> String {
            let chosen = (0..8).filter_map(|number| provider(strategy, number));
            chosen
                .map(|name| if name == "FARGATE" { 'f' } else { 's' })
                .collect()
        };
        assert_eq!(
            of(&[item("FARGATE", 1, 2), item("FARGATE_SPOT", 3, 0)]),
            "fffsssfs"
        );
        assert_eq!(of(&[item("FARGATE_SPOT", 0, 0)]), "ssssssss");
        assert_eq!(provider(&[], 0), None);
    }
}
