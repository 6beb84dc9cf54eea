//! One target of a fleet: a container that runs, or a task that is to be started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::accounts::Place;
use crate::ResolvedTarget;
use crate::run::RunPlan;
use crate::target::EcsArn;

/// So much of a task's id tells it from others, mostly.
const SHORT_ID: usize = 8;

/// One target of a fleet.
#[derive(Debug)]
pub struct FleetTarget {
    /// Where it is.
    pub place: Arc<Place>,
    /// What it is.
    pub aim: Aim,
    /// What tells it from the others: `demo/web/3f2a9c01`, with the place in front if there are several; for a task
    /// that is to be started `demo/web` or `demo/job:7`.
    pub label: String,
}

/// What a target is.
#[derive(Debug)]
pub enum Aim {
    /// A container, for a command.
    Container(Box<ResolvedTarget>),
    /// A task that is to be started.
    Fresh(Box<FreshTask>),
}

/// A task that is to be started.
#[derive(Debug)]
pub struct FreshTask {
    /// The request, and what it was made from.
    pub plan: RunPlan,
    /// Somebody has said which container it is for.
    pub is_chosen: bool,
    /// The family, with a revision if one was asked for.
    pub(super) family: String,
    /// The task's ARN, once it is known.
    pub(super) task: OnceLock<String>,
}

impl FleetTarget {
    /// The account it is in, by which those at once are counted: several profiles may lead to one.
    pub(super) fn account(&self) -> String {
        let arn = match &self.aim {
            Aim::Container(target) => &target.task.arn,
            Aim::Fresh(fresh) => &fresh.plan.definition.task_definition_arn,
        };
        let arn: Option<EcsArn> = arn.parse().ok();
        arn.map(|arn| arn.account).unwrap_or_default()
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        match &self.aim {
            Aim::Container(target) => &target.cluster.name,
            Aim::Fresh(fresh) => fresh.plan.cluster.as_str(),
        }
    }

    /// The service, if it is of one.
    pub fn service(&self) -> Option<&str> {
        match &self.aim {
            Aim::Container(target) => target.service.as_deref(),
            Aim::Fresh(fresh) => fresh.plan.service.as_deref(),
        }
    }

    /// The container.
    pub fn container(&self) -> &str {
        match &self.aim {
            Aim::Container(target) => &target.container,
            Aim::Fresh(fresh) => &fresh.plan.container,
        }
    }

    /// The task's ARN: of a fresh one as soon as it is known.
    pub fn task_arn(&self) -> Option<&str> {
        match &self.aim {
            Aim::Container(target) => Some(&target.task.arn),
            Aim::Fresh(fresh) => fresh.task_arn(),
        }
    }

    /// The task that is to be started, if it is one.
    pub fn fresh(&self) -> Option<&FreshTask> {
        match &self.aim {
            Aim::Container(_) => None,
            Aim::Fresh(fresh) => Some(fresh),
        }
    }

    /// What is done once, whoever asks for it.
    fn identity(&self) -> [String; 4] {
        match &self.aim {
            Aim::Container(target) => [
                target.task.arn.clone(),
                target.container.clone(),
                String::new(),
                String::new(),
            ],
            Aim::Fresh(fresh) => [
                self.account(),
                format!("{}/{}", self.place.region(), self.cluster()),
                fresh.name(),
                fresh.plan.container.clone(),
            ],
        }
    }
}

impl FreshTask {
    pub(super) fn new(plan: RunPlan, family: Option<&str>, is_chosen: bool) -> Self {
        let definition = &plan.definition;
        let family = match family {
            Some(name) if name.starts_with("arn:") => {
                format!("{}:{}", definition.family, definition.revision)
            }
            Some(name) => name.to_owned(),
            None => definition.family.clone(),
        };
        Self {
            plan,
            is_chosen,
            family,
            task: OnceLock::new(),
        }
    }

    /// The task's ARN, once it is known.
    pub fn task_arn(&self) -> Option<&str> {
        self.task.get().map(String::as_str)
    }

    /// The service, or the family with its revision, which no service's name looks like.
    fn name(&self) -> String {
        let definition = &self.plan.definition;
        match &self.plan.service {
            Some(service) => service.clone(),
            None => format!("{}:{}", definition.family, definition.revision),
        }
    }

    /// What makes the same again: `service:demo/web/app`, `family:demo/job:7`.
    pub(super) fn again(&self) -> String {
        let cluster = &self.plan.cluster;
        let mut text = match &self.plan.service {
            Some(service) => format!("service:{cluster}/{service}"),
            None => format!("family:{cluster}/{}", self.family),
        };
        if self.is_chosen {
            text.push('/');
            text.push_str(&self.plan.container);
        }
        text
    }
}

/// Two patterns may mean the same, and two profiles lead to the same account.
pub(super) fn unrepeated(targets: &mut Vec<FleetTarget>) {
    let mut seen = BTreeSet::new();
    targets.retain(|one| seen.insert(one.identity()));
}

/// Gives each target a label of its own: with more of the task's id, and the container, only where that is needed.
pub(super) fn label(targets: &mut [FleetTarget], only: bool) {
    let plain = |one: &FleetTarget, length: usize, container: bool| {
        let mut label = match only {
            true => String::new(),
            false => format!("{}:", one.place.to_string().replace(' ', ":")),
        };
        label.push_str(one.cluster());
        let mut add = |part: &str| {
            label.push('/');
            label.push_str(part);
        };
        match &one.aim {
            Aim::Container(target) => {
                target.service.as_deref().into_iter().for_each(&mut add);
                add(target.task.id.get(..length).unwrap_or(&target.task.id));
            }
            Aim::Fresh(fresh) => add(&fresh.name()),
        }
        if container {
            add(one.container());
        }
        label
    };
    let mut forms = vec![(SHORT_ID, false), (SHORT_ID, true), (usize::MAX, true)].into_iter();
    let mut open: Vec<usize> = (0..targets.len()).collect();
    while let Some((length, container)) = forms.next().filter(|_| !open.is_empty()) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for index in &open {
            let label = plain(&targets[*index], length, container);
            *counts.entry(label.clone()).or_default() += 1;
            targets[*index].label = label;
        }
        open.retain(|index| counts[&targets[*index].label] > 1);
    }
}
