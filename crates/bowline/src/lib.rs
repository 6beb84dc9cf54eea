//! Work inside Amazon ECS tasks: everything bowline can do, without a terminal.
//!
//! [`Client`] finds a [target](TargetSpec) and starts sessions in it. Nothing here prints, exits, reads argv
//! or touches the terminal, and every future can be dropped.

mod aws;
mod boot;
mod client;
pub mod config;
pub mod doctor;
pub mod explain;
pub mod files;
pub mod fleet;
pub mod forward;
#[doc(hidden)]
pub mod fuzz;
mod inspect;
pub mod inventory;
pub mod jobs;
pub mod logs;
pub mod model;
mod network;
pub mod operation;
pub mod record;
pub mod run;
pub mod runbook;
pub mod script;
mod secret;
pub mod session;
pub mod stores;
pub mod target;
mod tls;

pub use self::aws::config::{ClientOptions, ConnectError, Credentials, Signing};
pub use self::aws::credentials::{CredentialProblem, MfaPrompt, MfaRequest, SignIn, Tried};
pub use self::aws::error::{AwsError, AwsErrorKind};
pub use self::aws::kms::GeneratedKey;
pub use self::aws::regions;
pub use self::client::{CallerIdentity, Client};
pub use self::network::{NetworkError, NetworkProblem, Stage};
pub use self::secret::Secret;
pub use self::target::{ResolvedTarget, TargetError, TargetOptions, TargetSpec};
pub use self::tls::TrustError;
