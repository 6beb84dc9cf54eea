//! A new task: its containers, their arguments and environment.

use std::net::Ipv4Addr;

use tokio_util::sync::CancellationToken;

use super::Order;
use crate::demo_web;
use crate::dormant::Dormant;
use crate::identifiers;
use crate::image::{self, Place};
use crate::init::root;
use crate::room::Room;
use crate::runtime::{self, Contained, Wanted};
use crate::simulated::FATE_TAG;
use crate::state::definition::ContainerDefinition;
use crate::state::task::{
    Container, ContainerStatus, Health, Interface, LogTarget, ManagedAgent, Overrides, Task,
    TaskStatus, Times,
};
use crate::state::{Shared, Tag, TaskKey, World};

/// The task that an order asks for.
pub(crate) fn new_task(shared: &Shared, world: &mut World, order: Order, key: TaskKey) -> Task {
    let address = world.new_address();
    // Older platforms of Fargate do not know the agent.
    let has_agent = order.exec_enabled && order.launch.resolved_platform() != "1.3.0";
    let definitions = &order.definition.outline.container_definitions;
    let simulated = definitions.iter().any(ContainerDefinition::is_simulated);
    let fate = simulated.then(|| shared.fates.next());
    let mut tags = order.tags;
    tags.extend(fate.map(|fate| Tag {
        key: FATE_TAG.to_owned(),
        value: fate.as_str().to_owned(),
    }));
    let space = shared
        .isolation
        .as_ref()
        .filter(|_| !simulated)
        .map(|makings| makings.space(shared.root.join(&key.id), host_name(address)));
    let containers = definitions
        .iter()
        .map(|definition| {
            let room = match &shared.engine {
                Some(engine) if runtime::is_real(definition.image.as_deref()) && !simulated => {
                    let wanted = wanted(definition, &order.overrides, address);
                    Some(Room::Engine(Contained::new(engine, wanted)))
                }
                _ => space
                    .as_ref()
                    .map(|space| Room::Isolated(space.container())),
            };
            let isolated = matches!(room, Some(Room::Isolated(_)));
            let real = matches!(room, Some(Room::Engine(_)));
            let id = identifiers::uuid();
            let runtime_id = format!("{}-{}", key.id, identifiers::digits(10));
            let metadata_key = identifiers::hex(32);
            let directory = match isolated {
                true => root::HOME.into(),
                false => shared.root.join(&key.id).join(&definition.name),
            };
            let tools = definition.tools().filter(|_| !real);
            let programs = tools.map(|_| match isolated {
                true => root::PROGRAMS.into(),
                false => {
                    let name = format!("{}.bin", definition.name);
                    shared.root.join(&key.id).join(name)
                }
            });
            let argv = argv(definition, &order.overrides);
            let mut environment = Vec::new();
            if !real {
                set(&mut environment, "PATH", image::PATH);
                set(&mut environment, "HOME", &directory.to_string_lossy());
            }
            add_environment(
                &mut environment,
                shared,
                definition,
                &order.overrides,
                &metadata_key,
            );
            set(&mut environment, "HOSTNAME", &host_name(address));
            if let Some(programs) = &programs {
                // Whatever the definition says: elsewhere there are programs that the image does not have.
                set(&mut environment, "PATH", &programs.to_string_lossy());
            }
            if argv
                .first()
                .is_some_and(|program| program == demo_web::PROGRAM)
            {
                // Its own network has nobody else on the port.
                let listen = match isolated {
                    true => Ipv4Addr::UNSPECIFIED,
                    false => address,
                };
                set(
                    &mut environment,
                    "BOWLINE_LISTEN",
                    &format!("{listen}:8080"),
                );
                set(&mut environment, "BOWLINE_TASK_ID", &key.id);
            }
            let mut place = Place {
                environment,
                directory,
                programs,
                simulated: fate,
                room,
            };
            if shared.sessions.attached(&place).is_some() {
                let metadata = place.variable("ECS_CONTAINER_METADATA_URI_V4");
                let credentials = format!("{}/credentials", metadata.unwrap_or_default());
                set(
                    &mut place.environment,
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                    &credentials,
                );
            }
            Container {
                id,
                name: definition.name.clone(),
                runtime_id: None,
                future_runtime_id: runtime_id.clone(),
                status: ContainerStatus::Pending,
                exit_code: None,
                reason: None,
                agent: has_agent.then(ManagedAgent::default),
                metadata_key,
                argv,
                log: log_target(definition, &key.id, &runtime_id),
                health: definition.health_check.as_ref().map(|_| Health::Unknown),
                killed: CancellationToken::new(),
                place,
            }
        })
        .collect();
    let awsvpc = order.subnet.is_some();
    let outside = shared.sessions.options().outside.is_some();
    Task {
        key,
        definition: order.definition,
        group: order.group,
        started_by: order.started_by,
        launch: order.launch,
        overrides: order.overrides,
        exec_enabled: order.exec_enabled,
        tags,
        interface: order.subnet.map(new_interface),
        address,
        status: match awsvpc {
            true => TaskStatus::Provisioning,
            // Without a network interface of its own there is nothing to provision.
            false => TaskStatus::Pending,
        },
        times: Times::created_now(),
        stop: None,
        halt: CancellationToken::new(),
        containers,
        pace: order.pace,
        pull: order.pull,
        start_failure: order.start_failure,
        visible_from: order.visible_from,
        over_since: None,
        // Agents from outside need the processes that they are among.
        dormant: (order.lazy && !outside || simulated).then(Dormant::default),
        version: 1,
    }
}

/// `prefix/container/task`, or the name that was given, or else the runtime's id of the container.
fn log_target(definition: &ContainerDefinition, task: &str, runtime_id: &str) -> Option<LogTarget> {
    let group = definition.log_group()?;
    let options = &definition.log_configuration.as_ref()?.options;
    let stream = match (
        options.get("awslogs-stream-prefix"),
        options.get("awslogs-stream"),
    ) {
        (Some(prefix), _) => format!("{prefix}/{}/{task}", definition.name),
        (None, Some(stream)) => stream.clone(),
        (None, None) => runtime_id.to_owned(),
    };
    let create = options.get("awslogs-create-group").map(String::as_str);
    Some(LogTarget {
        group: group.to_owned(),
        stream,
        create_group: create == Some("true"),
    })
}

fn new_interface(subnet: String) -> Interface {
    let [a, b, c, d, e] = identifiers::random::<5>();
    Interface {
        attachment_id: identifiers::uuid(),
        id: format!("eni-0{}", identifiers::hex(16)),
        mac: format!("0a:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}"),
        subnet,
    }
}

/// Overriding the command leaves the entry point alone: ECS has no way to change that.
fn argv(definition: &ContainerDefinition, overrides: &Overrides) -> Vec<String> {
    let command = command(definition, overrides);
    definition
        .entry_point
        .iter()
        .chain(command)
        .cloned()
        .collect()
}

fn command<'a>(definition: &'a ContainerDefinition, overrides: &'a Overrides) -> &'a Vec<String> {
    let of_container = |name: &Option<String>| name.as_deref() == Some(&definition.name);
    overrides
        .container_overrides
        .iter()
        .rfind(|change| of_container(&change.name))
        .and_then(|change| change.command.as_ref())
        .unwrap_or(&definition.command)
}

/// What an engine is asked for.
fn wanted(definition: &ContainerDefinition, overrides: &Overrides, address: Ipv4Addr) -> Wanted {
    Wanted {
        image: definition.image.clone().unwrap_or_default(),
        entry_point: definition.entry_point.clone(),
        command: command(definition, overrides).clone(),
        user: definition.user.clone(),
        directory: definition.working_directory.clone(),
        hostname: host_name(address),
        stop_signal: definition.stop_signal_label().map(str::to_owned),
        read_only: definition.readonly_root_filesystem,
    }
}

/// The definition's environment, the overrides' and ECS's own, each later one winning; nothing of the sandbox's.
fn add_environment(
    environment: &mut Vec<(String, String)>,
    shared: &Shared,
    definition: &ContainerDefinition,
    overrides: &Overrides,
    metadata_key: &str,
) {
    for variable in &definition.environment {
        set(environment, &variable.name, &variable.value);
    }
    for change in &overrides.container_overrides {
        if change.name.as_deref() == Some(&definition.name) {
            for variable in &change.environment {
                set(environment, &variable.name, &variable.value);
            }
        }
    }
    set(environment, "AWS_EXECUTION_ENV", "AWS_ECS_FARGATE");
    set(environment, "AWS_REGION", &shared.account.region);
    set(environment, "AWS_DEFAULT_REGION", &shared.account.region);
    // Also what the container's init recognises its processes by: unique, and never to be overridden.
    // Plain HTTP also where the APIs speak TLS: containers have no reason to trust the sandbox's authority.
    let plain = shared.endpoint.replacen("https:", "http:", 1);
    let metadata = format!("{plain}/v4/{metadata_key}");
    set(environment, "ECS_CONTAINER_METADATA_URI_V4", &metadata);
}

fn set(environment: &mut Vec<(String, String)>, name: &str, value: &str) {
    environment.retain(|(existing, _)| existing != name);
    environment.push((name.to_owned(), value.to_owned()));
}

/// The name of an address within the VPC.
pub(crate) fn host_name(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("ip-{a}-{b}-{c}-{d}.ec2.internal")
}
