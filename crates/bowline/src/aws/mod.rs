//! The only place where SDK types appear: typed calls in, our `model` types out.

pub(crate) mod call;
pub(crate) mod config;
pub(crate) mod ecs;
pub(crate) mod error;
mod http;
pub(crate) mod ssm;
#[cfg(test)]
mod wire_tests;

use std::sync::OnceLock;

use self::call::Calls;
use self::config::Settings;
use self::ecs::Ecs;
use self::ssm::Ssm;

/// The service clients of one profile and region.
#[derive(Debug)]
pub(crate) struct Aws {
    pub(crate) settings: Settings,
    ecs: OnceLock<Ecs>,
    ssm: OnceLock<Ssm>,
    pub(crate) calls: Calls,
}

impl Aws {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            ecs: OnceLock::new(),
            ssm: OnceLock::new(),
            calls: Calls::default(),
        }
    }

    pub(crate) fn ecs(&self) -> &Ecs {
        self.ecs.get_or_init(|| Ecs::new(&self.settings))
    }

    pub(crate) fn ssm(&self) -> &Ssm {
        self.ssm.get_or_init(|| Ssm::new(&self.settings))
    }
}

/// ECS and SSM send seconds with a fraction; anything outside the calendar is dropped.
fn timestamp(value: Option<aws_smithy_types::DateTime>) -> Option<jiff::Timestamp> {
    let value = value?;
    let nanos = i32::try_from(value.subsec_nanos()).ok()?;
    jiff::Timestamp::new(value.secs(), nanos).ok()
}
