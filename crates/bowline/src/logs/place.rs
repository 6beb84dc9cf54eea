//! Where a container's output is, by its task definition.
//!
//! The stream names are those of the awslogs driver and of Fluent Bit's CloudWatch output. What cannot be derived is
//! explained and not guessed.

use std::collections::BTreeMap;

use crate::model::{Container, Task};
use crate::run::{LogConfiguration, TaskDefinition};

/// A stream of CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct LogStream {
    /// The region, if it is not the client's.
    pub region: Option<String>,
    /// The group's name.
    pub group: String,
    /// The stream's name.
    pub stream: String,
    /// Whether other tasks write into it too: its name does not depend on the task.
    pub shared: bool,
    /// Whether the driver drops lines when its buffer is full, as it does unless told otherwise.
    pub may_drop: bool,
}

/// Where the output of one container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// In a stream that can be read.
    Stream(LogStream),
    /// Not known yet: the runtime has not made the container.
    NotYet,
    /// Somewhere that bowline cannot read; the text is for the user.
    Elsewhere(String),
}

/// Finds the place.
#[must_use]
pub fn place(definition: &TaskDefinition, task: &Task, container: &Container) -> LogPlace {
    let name = &container.name;
    let elsewhere = |text: String| LogPlace::Elsewhere(text);
    let Some(of_container) = definition.container(name) else {
        return elsewhere(format!(
            "container {name} is not in the task definition; AWS put it there and keeps its output"
        ));
    };
    let Some(logging) = &of_container.log_configuration else {
        return elsewhere(format!(
            "the task definition says nothing about the output of container {name}; on EC2 it stays on the instance"
        ));
    };
    match logging.log_driver.as_str() {
        "awslogs" => awslogs(logging, task, container),
        "awsfirelens" => firelens(logging, task, container),
        driver => elsewhere(format!(
            "container {name} logs with the driver {driver}, which AWS cannot read back; look where that sends it"
        )),
    }
}

fn awslogs(logging: &LogConfiguration, task: &Task, container: &Container) -> LogPlace {
    let option = |name: &str| logging.options.get(name).filter(|value| !value.is_empty());
    let Some(group) = option("awslogs-group") else {
        return LogPlace::Elsewhere(format!(
            "the log configuration of container {} has no awslogs-group",
            container.name
        ));
    };
    let (stream, shared) = match (option("awslogs-stream-prefix"), option("awslogs-stream")) {
        (Some(prefix), _) => (
            format!("{prefix}/{}/{}", container.name, task.task_id),
            false,
        ),
        (None, Some(fixed)) => (fixed.clone(), true),
        // On EC2 the driver then takes the id of the container.
        (None, None) => match &container.runtime_id {
            Some(id) => (id.clone(), false),
            None => return LogPlace::NotYet,
        },
    };
    LogPlace::Stream(LogStream {
        region: option("awslogs-region").cloned(),
        group: group.clone(),
        stream,
        shared,
        may_drop: option("mode").is_none_or(|mode| mode != "blocking"),
    })
}

fn firelens(logging: &LogConfiguration, task: &Task, container: &Container) -> LogPlace {
    let name = &container.name;
    let options = &logging.options;
    let option = |wanted: &str| value(options, wanted);
    let explain = |why: &str| {
        let shown: Vec<String> = options
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let shown = match shown.is_empty() {
            true => "its configuration is in the log router".to_owned(),
            false => shown.join(", "),
        };
        LogPlace::Elsewhere(format!(
            "container {name} logs through FireLens, and {why} ({shown}); look where the log router sends it"
        ))
    };
    match option("name") {
        Some("cloudwatch" | "cloudwatch_logs") => {}
        Some(_) => return explain("that does not go to CloudWatch Logs"),
        None => return explain("where that goes is not in the task definition"),
    }
    let Some(group) = option("log_group_name") else {
        return explain("no log group is named");
    };
    let (stream, shared) = match (option("log_stream_name"), option("log_stream_prefix")) {
        (Some(fixed), _) => (fixed.to_owned(), true),
        (None, Some(prefix)) => (format!("{prefix}{name}-firelens-{}", task.task_id), false),
        (None, None) => return explain("no log stream is named"),
    };
    if group.contains("$(") || group.contains("${") || stream.contains('$') {
        return explain("the names are made from templates");
    }
    LogPlace::Stream(LogStream {
        region: option("region").map(str::to_owned),
        group: group.to_owned(),
        stream,
        shared,
        may_drop: true,
    })
}

/// Fluent Bit does not mind the case of its options.
fn value<'a>(options: &'a BTreeMap<String, String>, wanted: &str) -> Option<&'a str> {
    let found = options
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(wanted));
    found
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::ContainerDefinition;

    fn find(driver: &str, options: &[(&str, &str)]) -> LogPlace {
        let logging = LogConfiguration {
            log_driver: driver.to_owned(),
            options: options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let definition = TaskDefinition {
            container_definitions: vec![ContainerDefinition {
                name: "app".into(),
                log_configuration: (!driver.is_empty()).then_some(logging),
                ..ContainerDefinition::default()
            }],
            ..TaskDefinition::default()
        };
        let task = Task {
            task_id: "t1".into(),
            ..Task::default()
        };
        let container = Container {
            name: "app".into(),
            runtime_id: Some("r1".into()),
            ..Container::default()
        };
        place(&definition, &task, &container)
    }

    #[track_caller]
    fn stream(place: &LogPlace) -> (&str, &str) {
        match place {
            LogPlace::Stream(found) => (&found.group, &found.stream),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_way_to_name_a_stream_is_known() {
        let prefix = find(
            "awslogs",
            &[("awslogs-group", "/g"), ("awslogs-stream-prefix", "ecs")],
        );
        assert_eq!(stream(&prefix), ("/g", "ecs/app/t1"));
        let by_id = find("awslogs", &[("awslogs-group", "/g")]);
        assert_eq!(stream(&by_id), ("/g", "r1"));
        let fixed = find(
            "awslogs",
            &[("awslogs-group", "/g"), ("awslogs-stream", "all")],
        );
        assert_eq!(stream(&fixed), ("/g", "all"));
        let router = find(
            "awsfirelens",
            &[
                ("Name", "cloudwatch_logs"),
                ("log_group_name", "/f"),
                ("log_stream_prefix", "from-"),
            ],
        );
        assert_eq!(stream(&router), ("/f", "from-app-firelens-t1"));
    }

    /// Driver, options, a part of what is said.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

    #[test]
    fn what_cannot_be_read_is_explained() {
        let cases: [Case<'_>; 5] = [
            ("", &[], "says nothing about the output"),
            ("splunk", &[], "the driver splunk"),
            (
                "awsfirelens",
                &[],
                "is not in the task definition (its configuration is in the log router)",
            ),
            (
                "awsfirelens",
                &[("Name", "s3"), ("bucket", "b")],
                "does not go to CloudWatch Logs (Name=s3, bucket=b)",
            ),
            (
                "awsfirelens",
                &[
                    ("Name", "cloudwatch"),
                    ("log_group_name", "/$(ecs_cluster)"),
                    ("log_stream_name", "x"),
                ],
                "made from templates",
            ),
        ];
        for (driver, options, text) in cases {
            match find(driver, options) {
                LogPlace::Elsewhere(said) => assert!(said.contains(text), "{said}"),
                other => panic!("{driver}: {other:?}"),
            }
        }
    }
}
