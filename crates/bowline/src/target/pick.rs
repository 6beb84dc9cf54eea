//! Which of several tasks and containers is meant, always the same way.

use std::cmp::Reverse;

use super::arn::ArnKind;
use super::error::TargetError;
use super::wanted::Wanted;
use super::{ContainerPart, Selector, suggest};
use crate::aws::ecs::last_part;
use crate::client::Client;
use crate::model::{Container, Readiness, Task};

/// The newest healthy RUNNING task; one that is still starting only if none runs. A strict user chooses himself.
pub(super) fn pick_task(
    label: &str,
    cluster: &str,
    mut tasks: Vec<Task>,
    strict: bool,
) -> Result<(Task, Vec<String>), TargetError> {
    tasks.sort_by_key(rank);
    let count = tasks.len();
    let alive: Vec<String> = tasks
        .iter()
        .filter(|task| !task.is_stopping())
        .map(|task| format!("task:{}", task.task_id))
        .collect();
    let Some(task) = tasks.into_iter().next() else {
        return Err(TargetError::NoTask {
            target: label.to_owned(),
            cluster: cluster.to_owned(),
            detail: None,
        });
    };
    if task.is_stopping() {
        return Err(stopped(&task));
    }
    if strict && alive.len() > 1 {
        return Err(TargetError::Ambiguous {
            target: label.to_owned(),
            cluster: cluster.to_owned(),
            candidates: alive,
        });
    }
    let mut notes = Vec::new();
    if count > 1 {
        let of = match &task.service_name {
            Some(service) => format!("service {service}"),
            None => label.to_owned(),
        };
        notes.push(format!(
            "task {} is the newest of {count} of {of}",
            task.task_id
        ));
    }
    Ok((task, notes))
}

/// Smaller is better: running, then usable, then newest, then by ARN so that ties always end the same way.
pub(super) fn rank(task: &Task) -> (u8, bool, Reverse<Option<jiff::Timestamp>>, String) {
    let stage = match (task.is_running(), task.is_stopping()) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => 2,
    };
    let hopeless = task.containers.iter().any(|container| {
        !container.is_injected()
            && matches!(
                task.readiness(container),
                Readiness::NotEnabled | Readiness::AgentStopped(_)
            )
    });
    let unhealthy = task.health_status.as_deref() == Some("UNHEALTHY");
    let since = task.started_at.or(task.created_at);
    (
        stage,
        hopeless || unhealthy,
        Reverse(since),
        task.task_arn.clone(),
    )
}

/// The one named, else the only container, else the first essential one of the definition.
pub(super) async fn pick_container(
    client: &Client,
    cluster: &str,
    task: &Task,
    wanted: &Wanted,
    notes: &mut Vec<String>,
) -> Result<String, TargetError> {
    let names = || task.containers.iter().map(|c| c.name.as_str());
    if let Some(ContainerPart::Named(named)) = &wanted.container {
        let named = named.as_str();
        return match names().any(|name| name == named) {
            true => Ok(named.to_owned()),
            false => Err(TargetError::ContainerNotFound {
                task: task.task_id.clone(),
                name: named.to_owned(),
                suggestions: suggest::near(named, names()),
                candidates: names().map(str::to_owned).collect(),
            }),
        };
    }
    if let Some(Selector::Arn(arn)) = &wanted.selector
        && arn.kind == ArnKind::Container
    {
        let is_meant = |c: &&Container| {
            let known = c.container_arn.as_deref().map(last_part);
            known == Some(arn.name.as_str())
        };
        let found = task.containers.iter().find(is_meant);
        return found
            .map(|c| c.name.clone())
            .ok_or_else(|| TargetError::ContainerNotFound {
                task: task.task_id.clone(),
                name: arn.name.clone(),
                suggestions: Vec::new(),
                candidates: names().map(str::to_owned).collect(),
            });
    }
    let own: Vec<&Container> = task
        .containers
        .iter()
        .filter(|c| !c.is_injected())
        .collect();
    let first = match own[..] {
        [] => {
            return Err(TargetError::NoContainer {
                task: task.task_id.clone(),
                status: task.last_status.clone().unwrap_or_default(),
            });
        }
        [only] => return Ok(only.name.clone()),
        [first, ..] => first,
    };
    let every = wanted.container == Some(ContainerPart::Every);
    if wanted.strict || every {
        return Err(TargetError::ContainerAmbiguous {
            task: task.task_id.clone(),
            cluster: cluster.to_owned(),
            candidates: own.iter().map(|c| c.name.clone()).collect(),
        });
    }

    let essential = match &task.task_definition_arn {
        Some(definition) => client.ecs().essential_containers(definition).await,
        None => Ok(Vec::new()),
    };
    let chosen = essential.as_ref().ok().and_then(|names| {
        names
            .iter()
            .find(|name| own.iter().any(|c| c.name == **name))
    });
    let (chosen, why) = match chosen {
        Some(name) => (name.clone(), "the first essential one"),
        // Without the right to read the definition a choice is still better than none.
        None => (first.name.clone(), "the first one listed"),
    };
    let names: Vec<&str> = own.iter().map(|c| c.name.as_str()).collect();
    notes.push(format!(
        "container {chosen} is {why} of {}; choose another with --container",
        names.join(", ")
    ));
    Ok(chosen)
}

pub(super) fn stopped(task: &Task) -> TargetError {
    TargetError::TaskStopped {
        task: task.task_id.clone(),
        reason: task
            .stopped_reason
            .clone()
            .unwrap_or_else(|| "no reason is given".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, status: &str, started: Option<i64>) -> Task {
        Task {
            task_id: id.into(),
            task_arn: format!("arn:aws:ecs:r:1:task/c/{id}"),
            last_status: Some(status.into()),
            desired_status: Some(
                if status == "STOPPED" {
                    "STOPPED"
                } else {
                    "RUNNING"
                }
                .into(),
            ),
            started_at: started.map(|second| jiff::Timestamp::from_second(second).unwrap()),
            enable_execute_command: true,
            ..Task::default()
        }
    }

    fn picked(tasks: Vec<Task>) -> String {
        pick_task("web", "c", tasks, false).unwrap().0.task_id
    }

    #[test]
    fn the_newest_healthy_running_task_is_picked() {
        let unhealthy = Task {
            health_status: Some("UNHEALTHY".into()),
            ..task("sick", "RUNNING", Some(900))
        };
        let without_exec = Task {
            enable_execute_command: false,
            containers: vec![Container {
                name: "app".into(),
                ..Container::default()
            }],
            ..task("noexec", "RUNNING", Some(950))
        };
        let tasks = vec![
            task("old", "RUNNING", Some(100)),
            task("new", "RUNNING", Some(500)),
            task("starting", "PENDING", None),
            unhealthy,
            without_exec,
        ];
        assert_eq!(picked(tasks), "new");
    }

    #[test]
    fn ties_end_by_arn_whatever_the_order() {
        let a = task("a", "RUNNING", Some(5));
        let b = task("b", "RUNNING", Some(5));
        assert_eq!(picked(vec![a.clone(), b.clone()]), "a");
        assert_eq!(picked(vec![b, a]), "a");
    }

    #[test]
    fn a_starting_task_is_better_than_none_and_a_stopped_one_is_an_error() {
        let starting = task("starting", "PENDING", None);
        let gone = task("gone", "STOPPED", Some(10));
        assert_eq!(picked(vec![gone.clone(), starting]), "starting");
        let error = pick_task("web", "c", vec![gone], false).unwrap_err();
        assert!(matches!(error, TargetError::TaskStopped { .. }), "{error}");
    }

    #[test]
    fn several_tasks_are_worth_a_note() {
        let two = vec![task("a", "RUNNING", Some(1)); 2];
        let (_, notes) = pick_task("web", "c", two, false).unwrap();
        assert_eq!(notes, ["task a is the newest of 2 of web"]);
        let one = vec![task("a", "RUNNING", Some(1))];
        let (_, notes) = pick_task("web", "c", one, false).unwrap();
        assert!(notes.is_empty());
    }

    #[test]
    fn a_strict_user_chooses_among_those_that_live() {
        let gone = task("gone", "STOPPED", Some(900));
        let (a, b) = (task("a", "RUNNING", Some(1)), task("b", "RUNNING", Some(2)));
        let error = pick_task("web", "c", vec![a.clone(), b, gone.clone()], true).unwrap_err();
        let TargetError::Ambiguous { candidates, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(candidates, ["task:b", "task:a"]);
        let (picked, _) = pick_task("web", "c", vec![gone, a], true).unwrap();
        assert_eq!(picked.task_id, "a");
    }
}
