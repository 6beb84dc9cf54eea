//! Which AWS calls something needs, and the least policy that allows them. Pure: nothing is asked.
//!
//! What a verb does is a few [`Deed`]s; each stands for calls ([`explain`]), and the calls for statements of a policy
//! ([`Explanation::policy`]). What is not known without asking, such as an account's number, becomes `*`. That every
//! call a verb makes is among them is checked against the sandbox's count of calls.

mod automation;
mod deed;
mod place;
mod policy;

use serde::Serialize;
use serde_json::Value;

pub use self::automation::{Automation, Submitted};
pub use self::deed::{Deed, Described, Listed, explain};
pub use self::place::Place;

/// The calls of one invocation.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Explanation {
    /// In about the order in which they are made, each once.
    pub calls: Vec<Call>,
}

/// One call, and the permission it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Call {
    /// The action as policies name it, `ecs:ExecuteCommand`, which is also the API's name.
    pub action: String,
    /// Who needs the permission.
    pub who: Who,
    /// When it is made.
    pub when: When,
    /// What it is for, or the case in which it is made.
    pub why: String,
    /// The ARNs it is made on, with `*` for what is not known.
    pub resources: Vec<String>,
    /// The condition of its statement, or null.
    pub condition: Value,
}

/// Who needs a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Who {
    /// Whoever runs bowline.
    Caller,
    /// The task's role: the exec agent in the container has its permissions.
    TaskRole,
}

/// When a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum When {
    /// Each time.
    Always,
    /// In the case that is named.
    If,
    /// It is tried, and its refusal costs nothing but a word: not part of the policy.
    Optional,
    /// It is made and needs no permission.
    Free,
}
