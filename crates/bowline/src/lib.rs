//! Work inside Amazon ECS tasks: everything bowline can do, without a terminal.
//!
//! [`Client`] finds a [target](TargetSpec) and starts sessions in it. Nothing here prints, exits, reads argv
//! or touches the terminal, and every future can be dropped.
//!
//! ```standalone_crate
//! use bowline::session::exec::{ExecEvent, ExecRequest};
//! use bowline::{Client, TargetOptions};
//!
//! async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//!     let target = client.resolve(&"web".parse()?, &TargetOptions::default()).await?;
//!     let mut exec = client.exec(target, ExecRequest::new(["uname", "-s"]));
//!     let mut output = Vec::new();
//!     while let Some(event) = exec.next().await {
//!         match event {
//!             ExecEvent::Stdout(bytes) => output.extend_from_slice(&bytes),
//!             // Always the last event: the command's own exit code, or why it is not known.
//!             ExecEvent::Exit { code } => assert_eq!(code, 0),
//!             ExecEvent::Closed { reason } => return Err(reason.into()),
//!             _ => {}
//!         }
//!     }
//!     assert_eq!(output, b"Linux\n");
//!     Ok(())
//! }
//! # fn main() -> std::process::ExitCode { in_a_sandbox() }
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_a_sandbox.rs"));
//! ```
//!
//! [`Client::connect`] makes a client as the AWS SDKs would, [`Client::exec`] runs a command, [`Client::run`] a task of its own,
//! [`Client::forward`] leads ports there, [`Client::upload`] and [`Client::download`] copy files.

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
