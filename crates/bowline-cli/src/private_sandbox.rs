//! The sandbox behind `--sandbox`: a child process that lives as long as one command.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use bowline::{ClientOptions, Credentials, Secret};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::cli::GlobalArgs;
use crate::error::{CommandError, ErrorKind};

/// For the child to be ready; it takes some tens of milliseconds.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// For the child to end its containers.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A running private sandbox. It ends when this is dropped, or when this process ends in any way: it then sees the
/// end of its stdin.
#[derive(Debug)]
pub(crate) struct PrivateSandbox {
    child: Child,
    lifeline: Option<ChildStdin>,
    environment: HashMap<String, String>,
}

impl PrivateSandbox {
    /// Starts it and waits until it serves.
    pub(crate) async fn start(global: &GlobalArgs) -> Result<Self, CommandError> {
        let broken = |what: &str| {
            CommandError::new(
                ErrorKind::Unavailable,
                format!("the private sandbox {what}"),
            )
        };
        let program = std::env::current_exe()
            .map_err(|error| broken(&format!("cannot be started: {error}")))?;
        let mut command = Command::new(program);
        command.args(["sandbox", "--private"]);
        if let Some(region) = &global.region {
            command.args(["--region", region]);
        }
        for words in &global.fault {
            command.arg(format!("--fault={words}"));
        }
        let mut child = command
            // Options in the environment are for real targets.
            .env_remove("BOWLINE_ENDPOINT")
            .env_remove("BOWLINE_CLUSTER")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C at the terminal is for the command; the sandbox has to outlive it.
            .process_group(0)
            .spawn()
            .map_err(|error| broken(&format!("cannot be started: {error}")))?;
        let lifeline = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| broken("has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let mut environment = HashMap::new();
        let reading = async {
            while let Ok(Some(line)) = lines.next_line().await {
                match line
                    .strip_prefix("export ")
                    .and_then(|line| line.split_once('='))
                {
                    Some((name, value)) => {
                        let value = value.trim_matches('\'').to_owned();
                        environment.insert(name.to_owned(), value);
                    }
                    // The variables to unset come last, and those are not set in what is built from this.
                    None => break,
                }
            }
        };
        timeout(READY_LIMIT, reading)
            .await
            .map_err(|_| broken("did not become ready"))?;
        if !environment.contains_key("AWS_SECRET_ACCESS_KEY") {
            return Err(broken("ended before it was ready"));
        }
        Ok(Self {
            child,
            lifeline,
            environment,
        })
    }

    /// How to reach it: complete, so that no variable, profile or file of the user has any influence.
    pub(crate) fn client_options(&self) -> ClientOptions {
        let value = |name: &str| self.environment.get(name).cloned();
        ClientOptions {
            region: value("AWS_REGION"),
            endpoint_url: value("AWS_ENDPOINT_URL"),
            credentials: Some(Credentials {
                access_key_id: value("AWS_ACCESS_KEY_ID").unwrap_or_default(),
                secret_access_key: Secret::new(value("AWS_SECRET_ACCESS_KEY").unwrap_or_default()),
                session_token: None,
                expires_at: None,
            }),
            ..ClientOptions::default()
        }
    }

    /// Ends it and every container it started.
    pub(crate) async fn end(mut self) {
        drop(self.lifeline.take());
        if timeout(END_LIMIT, self.child.wait()).await.is_err() {
            // Its containers notice by themselves.
            let _ = self.child.kill().await;
        }
    }
}
