//! More than one account and region: worlds side by side behind one endpoint, each made when it is first asked for.
//!
//! The key that signed a request says which account it is for and the signature's scope which region. Sessions are kept
//! together, as a data channel may be opened without a signature.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::ApiError;
use crate::attached::{Pass, Programs};
use crate::auth::{self, Credentials};
use crate::clock::SandboxClock;
use crate::faults::{Faults, Switch};
use crate::identifiers::{self, Account};
use crate::isolation::Makings;
use crate::kms::Kms;
use crate::process::InitCommand;
use crate::runtime::Engine;
use crate::scenario::Plan;
use crate::sessions::Sessions;
use crate::stage::ready;
use crate::state::{Agents, Setting, Shared};
use crate::{StartError, scheduler, world};

/// The role that there is to assume in every other account.
pub(crate) const ROLE: &str = "operations";
/// How long the keys of a role are good for.
const ROLE_LIFE: Duration = Duration::from_secs(3600);
/// So many keys are known at once: the oldest goes for one more.
const KEYS: usize = 10_000;

/// How the folders of log streams begin.
pub(crate) const STREAMS: &str = "streams-";

/// What there is beside the sandbox's own account and region.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extent {
    /// So many more accounts.
    pub(crate) accounts: usize,
    /// The number of the one that refuses.
    pub(crate) denied: Option<usize>,
    pub(crate) regions: Vec<String>,
}

impl Extent {
    /// Takes what is more; nothing becomes less.
    pub(crate) fn extend(&mut self, more: Self) {
        self.accounts = self.accounts.max(more.accounts);
        self.denied = self.denied.or(more.denied);
        for region in more.regions {
            if !self.regions.contains(&region) {
                self.regions.push(region);
            }
        }
    }
}

/// What every world of a sandbox is made with.
pub(crate) struct Blueprint {
    pub(crate) plan: Plan,
    pub(crate) credentials: Credentials,
    pub(crate) accept_any_credentials: bool,
    pub(crate) sessions: Sessions,
    pub(crate) faults: Faults,
    pub(crate) endpoint: String,
    /// The same for all worlds: the proxy leads to one host.
    pub(crate) channel_host: Option<String>,
    pub(crate) root: PathBuf,
    pub(crate) init: InitCommand,
    pub(crate) isolation: Option<Makings>,
    pub(crate) engine: Option<Arc<Engine>>,
    pub(crate) programs: Option<Arc<Programs>>,
    pub(crate) agent_pending: Duration,
    pub(crate) clock: SandboxClock,
    pub(crate) pace: Duration,
    pub(crate) lifecycles: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Blueprint {
    /// An empty world.
    pub(crate) fn build(&self, account: Account, faults: Switch, kms: Arc<Kms>) -> Arc<Shared> {
        let plan = &self.plan;
        let streams = match &account.role {
            Some(_) => format!("{STREAMS}{}-{}", account.id, account.region),
            None => format!("{STREAMS}{}", account.region),
        };
        Arc::new(Shared::new(Setting {
            account,
            credentials: self.credentials.clone(),
            accept_any_credentials: self.accept_any_credentials,
            sessions: self.sessions.clone(),
            faults,
            kms,
            endpoint: self.endpoint.clone(),
            channel_host: self.channel_host.clone(),
            root: self.root.clone(),
            streams: self.root.join(streams),
            init: self.init.clone(),
            isolation: self.isolation.clone(),
            engine: self.engine.clone(),
            agents: Agents {
                pending: plan.agent_pending.unwrap_or(self.agent_pending),
                stopped: plan.agent_stopped.clone().into(),
            },
            programs: self.programs.clone(),
            mishaps: plan.mishaps(),
            clock: self.clock.clone(),
            clock_ahead: plan.prerequisites.clock_ahead(),
            pace: self.pace,
            pull: plan.pull,
            fleet: plan.fleet,
            lifecycles: self.lifecycles.clone(),
            stop: self.stop.clone(),
        }))
    }
}

/// All worlds of a sandbox.
pub(crate) struct Landscape {
    pub(crate) home: Arc<Shared>,
    blueprint: Blueprint,
    extent: Mutex<Extent>,
    /// By account and region.
    others: tokio::sync::Mutex<HashMap<(String, String), Arc<Shared>>>,
    /// The keys of assumed roles, by their ids.
    keys: Mutex<Keys>,
}

/// Keys by their ids.
#[derive(Default)]
struct Keys(HashMap<String, Key>);

/// Temporary keys.
#[derive(Clone)]
struct Key {
    credentials: Credentials,
    account: String,
    expires: SystemTime,
}

impl Keys {
    /// Takes one more, and forgets those that expired so long ago that nobody should use them any more.
    fn add(&mut self, key: Key, now: SystemTime) {
        self.0.retain(|_, key| key.expires + ROLE_LIFE > now);
        if self.0.len() >= KEYS {
            let oldest = self.0.iter().min_by_key(|(_, key)| key.expires);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                self.0.remove(&id);
            }
        }
        self.0.insert(key.credentials.access_key_id.clone(), key);
    }
}

/// Whom a request is for, and which keys must have signed it.
pub(crate) struct Admitted {
    pub(crate) shared: Arc<Shared>,
    pub(crate) credentials: Credentials,
    /// When they are good no more.
    pub(crate) expires: Option<SystemTime>,
    /// The keys are a container's.
    pub(crate) agent: Option<Pass>,
}

/// One account of the organisation.
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// New keys of a role.
pub(crate) struct Assumed {
    pub(crate) credentials: Credentials,
    pub(crate) account: Account,
    pub(crate) expires: SystemTime,
}

impl Landscape {
    pub(crate) fn new(home: Arc<Shared>, blueprint: Blueprint) -> Self {
        let extent = Mutex::new(blueprint.plan.extent.clone());
        Self {
            home,
            blueprint,
            extent,
            others: tokio::sync::Mutex::default(),
            keys: Mutex::default(),
        }
    }

    /// The world that a request is for. An unknown key or region leads home, where it is refused.
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> Result<Admitted, StartError> {
        if let Some(pass) = self.home.sessions.outside().signer(headers) {
            return Ok(Admitted {
                shared: Arc::clone(&pass.shared),
                credentials: pass.credentials.clone(),
                expires: None,
                agent: Some(pass),
            });
        }
        let (key_id, region) = auth::signer(headers).unwrap_or_default();
        let key = self.keys().0.get(key_id).cloned();
        let home = &self.home.account;
        let account = key.as_ref().map(|key| key.account.clone());
        let region = match self.extent().regions.iter().any(|known| known == region) {
            true => region,
            false => home.region.as_str(),
        };
        let shared = match account {
            None if region == home.region => Arc::clone(&self.home),
            account => self.world(account, region).await?,
        };
        let expires = key.as_ref().map(|key| key.expires);
        let credentials = key.map_or_else(|| self.home.credentials.clone(), |key| key.credentials);
        Ok(Admitted {
            shared,
            credentials,
            expires,
            agent: None,
        })
    }

    /// Keys for a role of another account.
    pub(crate) fn assume(&self, role_arn: &str) -> Result<Assumed, ApiError> {
        let denied = || {
            let caller = self.home.account.caller();
            let text = format!(
                "User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
            );
            ApiError {
                status: http::StatusCode::FORBIDDEN,
                ..ApiError::new("AccessDenied", text)
            }
        };
        let mut parts = role_arn.splitn(6, ':').skip(4);
        let (id, role) = parts.next().zip(parts.next()).ok_or_else(denied)?;
        let number = self.members().position(|member| member.id == id);
        // The first is the sandbox's own, which has no such role.
        let number = number.filter(|number| *number > 0).ok_or_else(denied)?;
        if role.strip_prefix("role/") != Some(ROLE) || self.extent().denied == Some(number) {
            return Err(denied());
        }
        let credentials = Credentials {
            access_key_id: format!("ASIA{}", identifiers::base32(16)),
            secret_access_key: identifiers::secret(40),
            session_token: Some(identifiers::secret(320)),
        };
        let now = self.home.time();
        let expires = now + ROLE_LIFE;
        let key = Key {
            credentials: credentials.clone(),
            account: id.to_owned(),
            expires,
        };
        self.keys().add(key, now);
        Ok(Assumed {
            credentials,
            account: Account::other(&self.home.account.region, id, ROLE),
            expires,
        })
    }

    /// The accounts of the organisation, the sandbox's own first.
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> {
        let own = Member {
            id: self.home.account.id.clone(),
            name: "sandbox".to_owned(),
        };
        let others = (1..=self.extent().accounts).map(|number| Member {
            id: format!("{}", 200_000_000_000_u64 + number as u64),
            name: format!("account-{number:03}"),
        });
        std::iter::once(own).chain(others)
    }

    /// Its regions, the sandbox's own first.
    pub(crate) fn regions(&self) -> Vec<String> {
        let own = &self.home.account.region;
        let mut others = self.extent().regions.clone();
        others.retain(|region| region != own);
        std::iter::once(own.clone()).chain(others).collect()
    }

    /// More accounts and regions from now on.
    pub(crate) fn extend(&self, more: Extent) {
        self.extent().extend(more);
    }

    /// The groups that the containers of its own world log to.
    pub(crate) fn furnish_logs(&self) {
        self.blueprint.plan.furnish_logs(&self.home);
    }

    /// Every world that there is by now.
    pub(crate) async fn worlds(&self) -> Vec<Arc<Shared>> {
        let others = self.others.lock().await;
        let mut all = vec![Arc::clone(&self.home)];
        all.extend(others.values().map(Arc::clone));
        all
    }

    async fn world(
        &self,
        account: Option<String>,
        region: &str,
    ) -> Result<Arc<Shared>, StartError> {
        let id = account
            .clone()
            .unwrap_or_else(|| self.home.account.id.clone());
        let mut others = self.others.lock().await;
        if let Some(known) = others.get(&(id.clone(), region.to_owned())) {
            return Ok(Arc::clone(known));
        }
        let new = match account {
            Some(id) => Account::other(region, &id, ROLE),
            None => Account {
                region: region.to_owned(),
                ..self.home.account.clone()
            },
        };
        let blueprint = &self.blueprint;
        let faults = Switch::new(blueprint.faults.clone());
        let kms = Arc::new(Kms::new(new.clone()));
        let shared = blueprint.build(new, faults, kms);
        shared.change(|world| {
            world::found(world, &shared.account, &blueprint.plan);
            world::furnish_sparsely(world, &shared.account, &blueprint.plan);
        });
        blueprint.plan.furnish_logs(&shared);
        ready(&shared).await?;
        shared.lifecycles.spawn(scheduler::run(Arc::clone(&shared)));
        others.insert((id, region.to_owned()), Arc::clone(&shared));
        Ok(shared)
    }

    fn extent(&self) -> MutexGuard<'_, Extent> {
        self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_roles_do_not_stay_for_ever() {
        let start = SystemTime::now();
        let mut keys = Keys::default();
        let mut add = |after: Duration| {
            let now = start + after;
            let key = Key {
                credentials: Credentials::random(),
                account: "1".to_owned(),
                expires: now + ROLE_LIFE,
            };
            keys.add(key, now);
            keys.0.len()
        };
        assert_eq!(add(Duration::ZERO), 1);
        // Expired by now, and still known as such.
        assert_eq!(add(ROLE_LIFE + ROLE_LIFE / 2), 2);
        assert_eq!(add(2 * ROLE_LIFE), 2);
        let late = 10 * ROLE_LIFE;
        let most = (0..KEYS + 10).map(|_| add(late)).max();
        assert_eq!(most, Some(KEYS));
    }
}
