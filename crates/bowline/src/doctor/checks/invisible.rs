//! What no API shows. It stays unknown, with what would show it.

use super::Looked;
use crate::aws::call::text;
use crate::doctor::Check;
use crate::doctor::facts::{Facts, Unknown};

const NO_API: &str = "no API shows what is inside a container";

pub(super) fn shell(_: &Facts, _: usize, _: &str) -> Vec<Check> {
    let look = Looked::new("shell", 70, NO_API);
    let why = Unknown::new("a session ends at once with \"executable file not found\" without one");
    look.unknown("whether the image has a shell", &why)
}

pub(super) fn space(_: &Facts, _: usize, _: &str) -> Vec<Check> {
    let look = Looked::new("space", 71, NO_API);
    let why = Unknown::new(
        "a full disk or /tmp, or too little memory, ends sessions with \"Plugin with name InteractiveCommands not found\" \
         or the agent with them",
    );
    look.unknown("whether the container has room", &why)
}

pub(super) fn logging_tools(facts: &Facts, _: usize, _: &str) -> Vec<Check> {
    let Ok(exec) = &facts.configuration else {
        return Vec::new();
    };
    if !matches!(text(exec, "logging"), Some("OVERRIDE" | "DEFAULT")) {
        return Vec::new();
    }
    let look = Looked::new("logging-tools", 72, NO_API);
    let why = Unknown::new("sessions are logged, and without these two they are not, or fail");
    look.unknown("whether the image has script and cat", &why)
}

pub(super) fn host(facts: &Facts, _: usize, _: &str) -> Vec<Check> {
    if !facts.is_on_instance() {
        return Vec::new();
    }
    let look = Looked::new("host", 73, "no API shows what is on an instance");
    let why = Unknown::new("images optimised for ECS have them; without them the agent stops");
    look.unknown(
        "whether the instance has /var/lib/ecs/deps/execute-command",
        &why,
    )
}
