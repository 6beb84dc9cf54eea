//! The accounts and regions of a fleet, and a client for each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{
    ProvideCredentials, Result as Provided, SharedCredentialsProvider, future,
};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::select::{Again, FailedPlace};
use crate::aws::call::text;
use crate::aws::pace::Pace;
use crate::aws::profiles;
use crate::aws::regions::partition;
use crate::run::looks::Looks;
use crate::target::glob;
use crate::{AwsError, Client, ClientOptions, ConnectError};

/// For one call about accounts, regions or roles, with its repetitions after throttling.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// The shortest life that every role allows; sessions of a fleet that last longer are resumed with new keys.
const ROLE_SECONDS: u32 = 3600;
/// Profiles that are read at once.
const AT_ONCE: usize = 16;
/// The most pages of ListAccounts; an organisation has at most some ten thousand accounts.
const PAGES: usize = 1000;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct PlaceOptions {
    /// Ids, names, patterns of names, `@group`, `all`: accounts in which to assume `role`.
    pub accounts: Vec<String>,
    /// Names, patterns and `@group`: profiles of the AWS configuration files.
    pub profiles: Vec<String>,
    /// The role to assume in each account, by its name.
    pub role: Option<String>,
    /// Regions; `all` means those the account has. None means the client's own.
    pub regions: Vec<String>,
    /// Calls a second that start something, in one account and region.
    pub rate: f64,
    /// Accounts by names of the user's own.
    pub known: BTreeMap<String, String>,
    /// Groups of accounts or profiles.
    pub groups: BTreeMap<String, Vec<String>>,
    /// The paces of accounts that are known already.
    pub paces: Paces,
}

/// The pace of each account and region: one for all places that lead there. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Paces(Arc<Mutex<BTreeMap<(String, String), Pace>>>);

impl Paces {
    fn of(&self, account: &str, region: &str, rate: f64) -> Pace {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (account.to_owned(), region.to_owned());
        known
            .entry(place)
            .or_insert_with(|| Pace::new(rate))
            .clone()
    }
}

/// One account and region.
#[derive(Debug)]
pub struct Place {
    /// How to reach it.
    pub client: Client,
    /// The account's id, where a role was assumed in it.
    pub account: Option<String>,
    /// Its name.
    pub account_name: Option<String>,
    /// The profile it is reached with.
    pub profile: Option<String>,
    /// The role that was assumed, by its name.
    pub role: Option<String>,
    pace: Pace,
    /// Of the tasks that were started here, by whoever asks first.
    looks: OnceLock<Looks>,
}

impl Place {
    /// Looks at tasks here, many in a call.
    pub(super) fn looks(&self) -> Looks {
        let looks = || Looks::new(self.client.clone());
        self.looks.get_or_init(looks).clone()
    }

    /// No session is started here any more.
    pub(super) fn close(&self) {
        self.pace.close();
    }

    /// The region.
    pub fn region(&self) -> &str {
        self.client.region()
    }

    /// What [`reselect`](super::reselect) needs to find it again.
    pub(super) fn again(&self) -> FailedPlace {
        FailedPlace {
            place: self.to_string(),
            region: Some(self.region().to_owned()),
            account: self.account.clone(),
            role: self.role.clone(),
            profile: self.profile.clone(),
            ..FailedPlace::default()
        }
    }
}

/// `account-001 eu-west-1`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [&self.account_name, &self.account, &self.profile];
        if let Some(name) = named.into_iter().flatten().next() {
            write!(f, "{name} ")?;
        }
        f.write_str(self.region())
    }
}

/// A place where nothing can be done, and why.
#[derive(Debug)]
pub struct Problem {
    /// The place.
    pub place: String,
    /// What happened there.
    pub reason: String,
    /// What there is to try again.
    pub again: Vec<Again>,
}

/// Where a fleet is.
#[derive(Debug, Default)]
pub struct Places {
    /// The places, in the order of accounts and regions.
    pub places: Vec<Arc<Place>>,
    /// Profiles that cannot be used.
    pub problems: Vec<Problem>,
}

/// Why there is no fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A call about accounts or regions failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A client could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No group of this name.
    #[error("there is no group {name} in the configuration")]
    NoGroup {
        /// The name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Nothing is of this name or pattern.
    #[error("no {kind} is called {pattern}")]
    NoSuch {
        /// Accounts or profiles.
        kind: &'static str,
        /// The pattern.
        pattern: String,
    },
    /// Accounts are named, and no role.
    #[error("accounts need a role to assume in each of them")]
    NoRole,
}

/// Finds the accounts and regions. Roles are assumed at the first call in each.
///
/// `home` is the client whose keys assume roles and list accounts; `options` are what profiles are read with.
pub async fn places(
    home: &Client,
    options: &ClientOptions,
    wish: &PlaceOptions,
) -> Result<Places, FleetError> {
    let regions = regions(home, wish).await?;
    let pace = |account: &str, region: &str| wish.paces.of(account, region, wish.rate);
    let mut found = Places::default();
    if !wish.accounts.is_empty() {
        let role = wish.role.clone().ok_or(FleetError::NoRole)?;
        for account in accounts(home, wish).await? {
            // One set of keys serves all regions.
            let keys = SharedCredentialsProvider::new(Kept::new(RoleKeys {
                home: home.clone(),
                arn: role_arn(&role, &account.id, home.region()),
            }));
            for region in &regions {
                let pace = pace(&account.id, region);
                let client = home.beside(region, Some(keys.clone()), pace.clone())?;
                found.places.push(Arc::new(Place {
                    client,
                    account: Some(account.id.clone()),
                    account_name: account.name.clone(),
                    profile: None,
                    role: Some(role.clone()),
                    pace,
                    looks: OnceLock::new(),
                }));
            }
        }
        return Ok(found);
    }
    if !wish.profiles.is_empty() {
        let names = expanded(&wish.profiles, &wish.groups)?;
        let known = profiles::names().await?;
        let mut chosen: Vec<String> = Vec::new();
        for pattern in names {
            let matching = known.iter().filter(|name| glob(&pattern, name));
            let before = chosen.len();
            chosen.extend(matching.cloned());
            if chosen.len() == before {
                let kind = "profile";
                return Err(FleetError::NoSuch { kind, pattern });
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        chosen.retain(|name| seen.insert(name.clone()));
        let read = stream::iter(chosen.into_iter().map(|profile| {
            let options = ClientOptions {
                profile: Some(profile.clone()),
                ..options.clone()
            };
            async move {
                let client = Client::connect(options).await;
                let account = match &client {
                    // Two profiles may lead to one account, which has one pace.
                    Ok(client) => client.caller_identity().await.and_then(|it| it.account),
                    Err(_) => None,
                };
                (profile, account, client)
            }
        }));
        let read: Vec<_> = read.buffered(AT_ONCE).collect().await;
        for (profile, account, client) in read {
            let account = account.unwrap_or_else(|| format!("profile {profile}"));
            match client {
                Err(error) => found.problems.push(Problem {
                    reason: error.to_string(),
                    again: unread(&profile, wish),
                    place: profile,
                }),
                Ok(client) => {
                    let own = [client.region().to_owned()];
                    let regions = if wish.regions.is_empty() {
                        &own[..]
                    } else {
                        &regions
                    };
                    for region in regions {
                        let pace = pace(&account, region);
                        found.places.push(Arc::new(Place {
                            client: client.beside(region, None, pace.clone())?,
                            account: None,
                            account_name: None,
                            profile: Some(profile.clone()),
                            role: None,
                            pace,
                            looks: OnceLock::new(),
                        }));
                    }
                }
            }
        }
        return Ok(found);
    }
    for region in &regions {
        let pace = pace("", region);
        found.places.push(Arc::new(Place {
            client: home.beside(region, None, pace.clone())?,
            account: None,
            account_name: None,
            profile: None,
            role: None,
            pace,
            looks: OnceLock::new(),
        }));
    }
    Ok(found)
}

/// A profile that cannot be used, in each of the regions that were named.
fn unread(profile: &str, wish: &PlaceOptions) -> Vec<Again> {
    let named = wish.regions.iter().cloned().map(Some);
    let mut regions: Vec<Option<String>> = named.collect();
    if regions.is_empty() || wish.regions.iter().any(|region| region == "all") {
        regions = vec![None];
    }
    let again = regions.into_iter().map(|region| FailedPlace {
        place: profile.to_owned(),
        region,
        profile: Some(profile.to_owned()),
        ..FailedPlace::default()
    });
    again.map(Again::Place).collect()
}

/// An account that is meant.
struct Account {
    id: String,
    name: Option<String>,
}

async fn accounts(home: &Client, wish: &PlaceOptions) -> Result<Vec<Account>, FleetError> {
    let patterns = expanded(&wish.accounts, &wish.groups)?;
    let is_id = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut known: Vec<Account> = wish
        .known
        .iter()
        .map(|(name, id)| Account {
            id: id.clone(),
            name: Some(name.clone()),
        })
        .collect();
    let of_config = |pattern: &String| known.iter().any(|account| account.matches(pattern));
    // Nobody is asked who is named by id or by the configuration.
    if !patterns
        .iter()
        .all(|pattern| is_id(pattern) || (pattern != "all" && of_config(pattern)))
    {
        known.extend(listed(home).await?);
    }
    let mut chosen: Vec<Account> = Vec::new();
    let mut add = |account: Account| {
        if !chosen.iter().any(|other| other.id == account.id) {
            chosen.push(account);
        }
    };
    for pattern in patterns {
        let matching: Vec<&Account> = known
            .iter()
            .filter(|account| account.matches(&pattern))
            .collect();
        match &matching[..] {
            [] if is_id(&pattern) => add(Account {
                id: pattern,
                name: None,
            }),
            [] => {
                let kind = "account";
                return Err(FleetError::NoSuch { kind, pattern });
            }
            matching => matching.iter().for_each(|account| {
                add(Account {
                    id: account.id.clone(),
                    name: account.name.clone(),
                });
            }),
        }
    }
    Ok(chosen)
}

impl Account {
    fn matches(&self, pattern: &str) -> bool {
        let name = self.name.as_deref();
        pattern == "all" || glob(pattern, &self.id) || name.is_some_and(|name| glob(pattern, name))
    }
}

/// The active accounts of the organisation (`organizations:ListAccounts`), but the caller's own: it has no role for
/// itself.
async fn listed(home: &Client) -> Result<Vec<Account>, FleetError> {
    let caller = home.caller().await.unwrap_or_default();
    let own = caller.split(':').nth(4).unwrap_or_default();
    let mut accounts = Vec::new();
    let mut input = json!({});
    for _ in 0..PAGES {
        let answer = call(home, "organizations", "ListAccounts", &input).await?;
        let page = answer["Accounts"].as_array().into_iter().flatten();
        let active = page.filter(|account| text(account, "Status") == Some("ACTIVE"));
        accounts.extend(active.filter_map(|account| {
            Some(Account {
                id: text(account, "Id")?.to_owned(),
                name: text(account, "Name").map(str::to_owned),
            })
        }));
        match text(&answer, "NextToken") {
            Some(next) => input = json!({ "NextToken": next }),
            None => break,
        }
    }
    accounts.retain(|account| account.id != own);
    Ok(accounts)
}

async fn regions(home: &Client, wish: &PlaceOptions) -> Result<Vec<String>, FleetError> {
    if wish.regions.is_empty() {
        return Ok(vec![home.region().to_owned()]);
    }
    if !wish.regions.iter().any(|region| region == "all") {
        let mut regions = wish.regions.clone();
        let mut seen = std::collections::BTreeSet::new();
        regions.retain(|region| seen.insert(region.clone()));
        return Ok(regions);
    }
    let answer = call(home, "ec2", "DescribeRegions", &json!({})).await?;
    let list = &answer["regionInfo"];
    let items = match list {
        Value::Array(items) => items.iter().collect(),
        other => match &other["item"] {
            Value::Array(items) => items.iter().collect(),
            Value::Null => Vec::new(),
            one => vec![one],
        },
    };
    let mut names: Vec<String> = items
        .into_iter()
        .filter_map(|item| text(item, "regionName"))
        .map(str::to_owned)
        .collect();
    names.sort();
    match names.is_empty() {
        true => Ok(vec![home.region().to_owned()]),
        false => Ok(names),
    }
}

async fn call(
    client: &Client,
    service: &str,
    operation: &str,
    input: &Value,
) -> Result<Value, AwsError> {
    let deadline = Instant::now() + CALL_LIMIT;
    client.api().call(service, operation, input, deadline).await
}

/// With groups in place of `@name`.
fn expanded(
    words: &[String],
    groups: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<String>, FleetError> {
    let mut all = Vec::new();
    for word in words {
        match word.strip_prefix('@') {
            None => all.push(word.clone()),
            Some(name) => match groups.get(name) {
                Some(members) => all.extend(members.iter().cloned()),
                None => {
                    return Err(FleetError::NoGroup {
                        name: name.to_owned(),
                        known: groups.keys().cloned().collect(),
                    });
                }
            },
        }
    }
    Ok(all)
}

fn role_arn(role: &str, account: &str, region: &str) -> String {
    format!("arn:{}:iam::{account}:role/{role}", partition(region))
}

/// Keys of a role in another account.
#[derive(Debug)]
struct RoleKeys {
    home: Client,
    arn: String,
}

impl RoleKeys {
    async fn assume(&self) -> Provided {
        let input = json!({
            "RoleArn": self.arn,
            "RoleSessionName": "bowline",
            "DurationSeconds": ROLE_SECONDS.to_string(),
        });
        let answer = call(&self.home, "sts", "AssumeRole", &input)
            .await
            .map_err(CredentialsError::provider_error)?;
        let keys = &answer["Credentials"];
        let parts = text(keys, "AccessKeyId").zip(text(keys, "SecretAccessKey"));
        let (id, secret) = parts.ok_or_else(|| CredentialsError::unhandled("no keys came"))?;
        let expires = text(keys, "Expiration")
            .and_then(|time| time.parse::<jiff::Timestamp>().ok())
            .map(std::time::SystemTime::from);
        let token = text(keys, "SessionToken").map(str::to_owned);
        Ok(Credentials::new(id, secret, token, expires, "assumed role"))
    }
}

/// The keys, asked for once for all regions; those behind it keep them only for one.
#[derive(Debug)]
struct Kept {
    source: RoleKeys,
    kept: tokio::sync::Mutex<Option<Credentials>>,
}

impl Kept {
    fn new(source: RoleKeys) -> Self {
        Self {
            source,
            kept: tokio::sync::Mutex::new(None),
        }
    }

    async fn keys(&self) -> Provided {
        let mut kept = self.kept.lock().await;
        let soon = std::time::SystemTime::now() + REFRESH_BEFORE;
        let fresh = |keys: &&Credentials| keys.expiry().is_none_or(|expiry| expiry > soon);
        if let Some(keys) = kept.as_ref().filter(fresh) {
            return Ok(keys.clone());
        }
        let keys = self.source.assume().await?;
        *kept = Some(keys.clone());
        Ok(keys)
    }
}

/// As with all other credentials.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}
