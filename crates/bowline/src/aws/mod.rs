//! The only place where SDK types appear: typed calls in, our `model` types out.

pub(crate) mod call;
pub(crate) mod config;
pub(crate) mod credentials;
pub(crate) mod ecs;
pub(crate) mod error;
mod http;
pub(crate) mod kms;
pub(crate) mod logs;
pub(crate) mod pace;
pub(crate) mod profiles;
pub mod regions;
pub(crate) mod run;
pub(crate) mod ssm;
#[cfg(test)]
pub(crate) mod wire_tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::OnceCell;

use self::call::Calls;
use self::config::Settings;
use self::ecs::Ecs;
use self::kms::Kms;
use self::logs::Logs;
use self::ssm::Ssm;
use crate::CallerIdentity;

/// The service clients of one profile and region.
#[derive(Debug)]
pub(crate) struct Aws {
    pub(crate) settings: Settings,
    ecs: OnceLock<Ecs>,
    kms: OnceLock<Kms>,
    ssm: OnceLock<Ssm>,
    /// By region; the key of the client's own is `None`.
    logs: Mutex<HashMap<Option<String>, Arc<Logs>>>,
    pub(crate) calls: Calls,
    /// Asked for once.
    pub(crate) caller: OnceCell<Option<CallerIdentity>>,
}

impl Aws {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            ecs: OnceLock::new(),
            kms: OnceLock::new(),
            ssm: OnceLock::new(),
            logs: Mutex::default(),
            calls: Calls::default(),
            caller: OnceCell::new(),
        }
    }

    pub(crate) fn ecs(&self) -> &Ecs {
        self.ecs.get_or_init(|| Ecs::new(&self.settings))
    }

    pub(crate) fn kms(&self) -> &Kms {
        self.kms.get_or_init(|| Kms::new(&self.settings))
    }

    pub(crate) fn ssm(&self) -> &Ssm {
        self.ssm.get_or_init(|| Ssm::new(&self.settings))
    }

    /// CloudWatch Logs of a region, or of the client's own.
    pub(crate) fn logs(&self, region: Option<&str>) -> Arc<Logs> {
        let region = region.filter(|region| *region != self.settings.region);
        let mut known = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Logs::new(&self.settings, region));
        Arc::clone(known.entry(region.map(str::to_owned)).or_insert_with(new))
    }
}

/// ECS and SSM send seconds with a fraction; anything outside the calendar is dropped.
fn timestamp(value: Option<aws_smithy_types::DateTime>) -> Option<jiff::Timestamp> {
    let value = value?;
    let nanos = i32::try_from(value.subsec_nanos()).ok()?;
    jiff::Timestamp::new(value.secs(), nanos).ok()
}
