//! Services keep their tasks: missing ones are started, surplus ones stopped, roll-outs carried through.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::lifecycle::{self, Order};
use crate::state::service::{Service, ServiceStatus};
use crate::state::task::{Overrides, Stop, Task, TaskStatus};
use crate::state::{Cluster, Shared, TaskKey, World};

/// Stopped tasks and INACTIVE services and clusters are described for this long on the sandbox's clock, as in ECS.
const KEEP_STOPPED: Duration = Duration::from_secs(60 * 60);

/// At most so many stopped tasks of a cluster are kept, whatever their age.
const KEEP_AT_MOST: usize = 1000;

/// A service's task that ends sooner, in real time as processes have it, counts as a failure, and the next one has to
/// wait.
const GOOD_RUN: Duration = Duration::from_secs(2);

/// The first such pause, on the sandbox's clock; each further one is twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// Looks after all services until the sandbox stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut changes = shared.watch();
    loop {
        let wake = reconcile(&shared, shared.pace);
        let wake = wake.unwrap_or_else(|| shared.clock.now().saturating_add(KEEP_STOPPED));
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = changes.changed() => {}
            () = shared.clock.sleep_until(wake) => {}
        }
    }
}

/// Brings every service a step nearer to what it shall be; says when, on the sandbox's clock, to look again although
/// nothing changed.
pub(crate) fn reconcile(shared: &Arc<Shared>, pace: Duration) -> Option<Duration> {
    let now = shared.clock.now();
    let mut world = shared.world();
    let mut plans = Vec::new();
    world.clusters.retain(|_, cluster| {
        let is_over = is_long_over(&mut cluster.over_since, !cluster.active, now);
        !is_over || !cluster.tasks.is_empty()
    });
    for cluster in world.clusters.values_mut() {
        prune(cluster, now);
        let mut wanted = cluster.wanted_tasks();
        for service in cluster.services.values() {
            let tasks = wanted.remove(service.name.as_str()).unwrap_or_default();
            let plan = Plan::make(cluster, service, tasks, now);
            if plan.has_work(service) {
                plans.push(plan);
            }
        }
    }
    let wake = plans.iter().filter_map(|plan| plan.wake).min();
    let mut changed = false;
    for plan in plans {
        changed |= plan.carry_out(shared, &mut world, pace);
    }
    drop(world);
    if changed {
        shared.change(|_| ());
    }
    wake
}

/// Forgets the stopped tasks that are too old now.
pub(crate) fn forget_old_tasks(shared: &Shared) {
    let now = shared.clock.now();
    for cluster in shared.world().clusters.values_mut() {
        prune(cluster, now);
    }
}

/// A task of a service has ended, at this time of the sandbox's clock: one that hardly ran delays its successor.
pub(crate) fn note_end(world: &mut World, key: &TaskKey, now: Duration) {
    let Some(cluster) = world.clusters.get_mut(&key.cluster) else {
        return;
    };
    let Some(task) = cluster.tasks.get(&key.id) else {
        return;
    };
    let Some(service) = task
        .service()
        .and_then(|name| cluster.services.get_mut(name))
    else {
        return;
    };
    let by_itself = matches!(
        task.stop.as_ref().map(|stop| stop.code),
        Some("EssentialContainerExited" | "TaskFailedToStart")
    );
    let ran = task
        .times
        .started
        .zip(task.times.stopping)
        .and_then(|(start, end)| end.duration_since(start).ok());
    if !by_itself || ran.is_some_and(|ran| ran >= GOOD_RUN) {
        service.failures = 0;
        service.not_before = None;
        return;
    }
    let pause = FIRST_PAUSE
        .saturating_mul(1 << service.failures.min(10))
        .min(LAST_PAUSE);
    service.failures += 1;
    service.not_before = Some(now.saturating_add(pause));
    service.note_failed_task(task.started_by.as_deref());
}

/// All services of all clusters have what they want.
pub(crate) fn all_steady(world: &World) -> bool {
    world
        .clusters
        .values()
        .flat_map(|cluster| cluster.services.values())
        .all(|service| service.steady)
}

/// Why a service's task could not even start, if one could not.
pub(crate) fn start_failure(world: &World) -> Option<String> {
    let tasks = world.tasks().filter(|task| task.service().is_some());
    let stops = tasks.filter_map(|task| task.stop.as_ref());
    stops
        .filter(|stop| stop.code == "TaskFailedToStart")
        .map(|stop| stop.reason.clone())
        .next()
}

/// What to do for one service.
struct Plan {
    cluster: String,
    service: String,
    launch: usize,
    stop: Vec<TaskKey>,
    finished: bool,
    wake: Option<Duration>,
}

impl Plan {
    fn make(cluster: &Cluster, service: &Service, tasks: Vec<&Task>, now: Duration) -> Self {
        let primary = service
            .deployments
            .first()
            .map(|deployment| deployment.id.as_str());
        let (mut new, old): (Vec<&Task>, Vec<&Task>) = tasks
            .into_iter()
            .partition(|task| task.started_by.as_deref() == primary);
        new.sort_by_key(|task| task.times.created);
        let running = new
            .iter()
            .filter(|task| task.status == TaskStatus::Running)
            .count();

        let given_up = service
            .deployments
            .first()
            .is_some_and(|primary| primary.failed);
        let desired = service.desired_count;
        let missing = desired.saturating_sub(new.len());
        let wait = service.not_before.filter(|time| missing > 0 && *time > now);
        // Old tasks stay until as many new ones run: a roll-out never goes below the desired count.
        let keep_old = desired.saturating_sub(running);
        let surplus = new.iter().skip(desired).chain(old.iter().skip(keep_old));
        Self {
            cluster: cluster.name.clone(),
            service: service.name.clone(),
            launch: if wait.is_some() || given_up {
                0
            } else {
                missing
            },
            stop: surplus.map(|task| task.key.clone()).collect(),
            finished: running == desired && new.len() == desired && old.is_empty(),
            wake: wait,
        }
    }

    fn has_work(&self, service: &Service) -> bool {
        self.launch > 0
            || !self.stop.is_empty()
            || self.wake.is_some()
            || self.finished != service.steady
    }

    fn carry_out(self, shared: &Arc<Shared>, world: &mut World, pace: Duration) -> bool {
        let Some(service) = service_mut(world, &self.cluster, &self.service) else {
            return false;
        };
        let mut changed = false;
        if self.finished != service.steady {
            changed = true;
            service.steady = self.finished;
            if self.finished {
                settle(service);
            }
        }
        let order = (self.launch > 0)
            .then(|| order(shared, service, &self.cluster, pace))
            .flatten();
        let deployment = service
            .deployments
            .first()
            .map(|deployment| deployment.id.clone())
            .unwrap_or_default();
        let mut started = Vec::new();
        if let Some(order) = order {
            started.extend((0..self.launch).map(|_| {
                let start_failure = shared.mishaps.of_start(true);
                let order = Order {
                    start_failure,
                    ..order.clone()
                };
                lifecycle::launch(shared, world, order)
            }));
        }
        for key in &self.stop {
            if let Some(task) = world.task_mut(key) {
                task.request_stop(Stop {
                    code: "ServiceSchedulerInitiated",
                    reason: format!("Scaling activity initiated by (deployment {deployment})"),
                });
            }
        }
        if let Some(service) = service_mut(world, &self.cluster, &self.service) {
            note(service, "started", &started);
            note(service, "stopped", &self.stop);
        }
        changed || !started.is_empty() || !self.stop.is_empty()
    }
}

/// The roll-out is through: older deployments are gone.
fn settle(service: &mut Service) {
    service.deployments.truncate(1);
    if let Some(primary) = service
        .deployments
        .first_mut()
        .filter(|primary| !primary.completed)
    {
        primary.completed = true;
        primary.updated_at = SystemTime::now();
        let what = format!("(deployment {}) deployment completed.", primary.id);
        service.note(&what);
    }
    service.note("has reached a steady state.");
    if service.status == ServiceStatus::Draining {
        service.status = ServiceStatus::Inactive;
    }
}

pub(crate) fn order(
    shared: &Shared,
    service: &Service,
    cluster: &str,
    pace: Duration,
) -> Option<Order> {
    let primary = service.deployments.first()?;
    Some(Order {
        cluster: cluster.to_owned(),
        definition: Arc::clone(&primary.definition),
        group: format!("service:{}", service.name),
        started_by: Some(primary.id.clone()),
        launch: service.launch.clone(),
        overrides: Overrides::default(),
        exec_enabled: service.exec_enabled,
        tags: Vec::new(),
        subnet: first_subnet(service),
        pace,
        // The demo world itself is there at once.
        pull: if pace.is_zero() {
            pace
        } else {
            shared.pull.unwrap_or(pace)
        },
        start_failure: None,
        visible_from: Duration::ZERO,
        lazy: service.lazy,
    })
}

fn first_subnet(service: &Service) -> Option<String> {
    let subnets = service
        .network
        .as_ref()?
        .pointer("/awsvpcConfiguration/subnets")?;
    subnets.get(0)?.as_str().map(str::to_owned)
}

fn note(service: &mut Service, verb: &str, tasks: &[TaskKey]) {
    if !tasks.is_empty() {
        let list: Vec<String> = tasks
            .iter()
            .map(|key| format!("(task {})", key.id))
            .collect();
        service.note(&format!(
            "has {verb} {} tasks: {}.",
            tasks.len(),
            list.join(" ")
        ));
    }
}

fn service_mut<'a>(world: &'a mut World, cluster: &str, service: &str) -> Option<&'a mut Service> {
    world.clusters.get_mut(cluster)?.services.get_mut(service)
}

/// Whether something has been over for so long that nobody needs to know of it.
fn is_long_over(since: &mut Option<Duration>, is_over: bool, now: Duration) -> bool {
    if !is_over {
        *since = None;
    }
    is_over && now.saturating_sub(*since.get_or_insert(now)) >= KEEP_STOPPED
}

/// Forgets the tasks, services and client tokens that ECS would not know any more.
fn prune(cluster: &mut Cluster, now: Duration) {
    cluster.client_tokens.retain(|_, token| token.is_good(now));
    cluster.services.retain(|_, service| {
        let inactive = service.status == ServiceStatus::Inactive;
        !is_long_over(&mut service.over_since, inactive, now)
    });
    cluster.tasks.retain(|_, task| {
        let age = task.over_since.map(|since| now.saturating_sub(since));
        age.is_none_or(|age| age < KEEP_STOPPED)
    });
    let mut stopped: Vec<_> = cluster
        .tasks
        .values()
        .filter_map(|task| Some((task.times.stopped?, task.key.id.clone())))
        .collect();
    if stopped.len() > KEEP_AT_MOST {
        stopped.sort();
        for (_, id) in &stopped[..stopped.len() - KEEP_AT_MOST] {
            cluster.tasks.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifiers::Account;
    use crate::scenario::Plan as WorldPlan;
    use crate::state::ClientToken;
    use crate::state::service::Deployment;
    use crate::world;

    const HOUR: Duration = Duration::from_secs(3600);

    fn demo() -> Cluster {
        let mut world = World::default();
        world::furnish(&mut world, &Account::new("us-east-1"), &WorldPlan::new(&[]));
        world.clusters.remove("demo").unwrap()
    }

    #[test]
    fn what_is_over_is_forgotten_after_a_while() {
        let mut cluster = demo();
        let token = ClientToken {
            parameters: Vec::new(),
            tasks: Vec::new(),
            at: HOUR,
        };
        cluster.client_tokens.insert("t".to_owned(), token);
        prune(&mut cluster, 24 * HOUR);
        assert_eq!(
            (cluster.services.len(), cluster.client_tokens.len()),
            (1, 1)
        );
        for service in cluster.services.values_mut() {
            service.status = ServiceStatus::Inactive;
        }
        prune(&mut cluster, 25 * HOUR);
        assert_eq!(
            (cluster.services.len(), cluster.client_tokens.len()),
            (1, 0)
        );
        prune(&mut cluster, 26 * HOUR);
        assert_eq!(cluster.services.len(), 0);
    }

    #[test]
    fn superseded_deployments_are_few_and_the_good_one_is_among_them() {
        let mut cluster = demo();
        let service = cluster.services.get_mut("web").unwrap();
        service.deployments[0].completed = true;
        let (good, definition) = {
            let good = &service.deployments[0];
            (good.id.clone(), Arc::clone(&good.definition))
        };
        for _ in 0..1000 {
            service.roll_out(Deployment::new(Arc::clone(&definition)));
        }
        assert!(
            service.deployments.len() < 30,
            "{}",
            service.deployments.len()
        );
        assert!(service.deployments.iter().any(|it| it.id == good));
    }
}
