//! The way to an engine: the socket of one that runs, or a service of podman that lives as long as the sandbox.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use super::Runtime;
use crate::identifiers;
use crate::process::{Container, ContainerSpec, Exit, InitCommand, Output};

/// Seconds for one answer of an engine; pulls are streams, and each part of one counts.
const REQUEST_LIMIT: u64 = 120;
/// Where docker listens unless DOCKER_HOST says otherwise.
const DOCKER: &str = "unix:///var/run/docker.sock";
/// Between looks for the socket of a service that starts; it tells nobody when it listens.
const LOOK: Duration = Duration::from_millis(20);
/// For a service to leave by itself.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);
/// As much of what a service says is kept for an error.
const SAID: usize = 2000;

/// A service of podman. Its containers are below its init, so they end with it however the sandbox ends.
#[derive(Debug)]
pub(super) struct Service(Container);

impl Service {
    pub(super) async fn end(&self) {
        self.0.stop(Signal::TERM.as_raw());
        if timeout(LEAVE_LIMIT, self.0.wait()).await.is_err() {
            self.0.kill();
        }
    }
}

/// A client, with the service if one had to be started. The error says what is missing.
pub(super) async fn connect(
    runtime: Runtime,
    init: &InitCommand,
    folder: &Path,
) -> Result<(Docker, Option<Service>), String> {
    let variable = match runtime {
        Runtime::Podman => "CONTAINER_HOST",
        Runtime::Docker => "DOCKER_HOST",
    };
    let named = env::var(variable).ok().filter(|named| !named.is_empty());
    let (client, service) = match (named, runtime) {
        (Some(named), _) if !named.starts_with("unix://") => {
            return Err(format!(
                "{variable} is {named}, and sessions need an engine of this machine (unix://…)"
            ));
        }
        (Some(named), _) => (client(&named)?, None),
        (None, Runtime::Docker) => (client(DOCKER)?, None),
        (None, Runtime::Podman) => {
            let (client, service) = serve(init, folder).await?;
            (client, Some(service))
        }
    };
    if runtime == Runtime::Docker && !rustix::process::geteuid().is_root() {
        let info = client.info().await.map_err(super::said)?;
        let mut options = info.security_options.iter().flatten();
        if !options.any(|option| option.contains("rootless")) {
            return Err(
                "its containers are root's, and sessions may not enter them: it has to run rootless"
                    .to_owned(),
            );
        }
    }
    Ok((client, service))
}

fn client(address: &str) -> Result<Docker, String> {
    Docker::connect_with_unix(address, REQUEST_LIMIT, API_DEFAULT_VERSION).map_err(|error| {
        match error {
            bollard::errors::Error::SocketNotFoundError(path) => {
                format!("nothing listens at {path}")
            }
            other => super::said(other),
        }
    })
}

/// Starts `podman system service`; returns when it listens.
async fn serve(init: &InitCommand, folder: &Path) -> Result<(Docker, Service), String> {
    let socket = folder.join("podman.sock");
    let address = format!("unix://{}", socket.display());
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let spec = ContainerSpec {
        init: init.clone(),
        argv: ["podman", "system", "service", "--time", "0", &address]
            .map(str::to_owned)
            .to_vec(),
        // Its settings, its storage and its runtime folder are the caller's.
        environment: env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        directory: folder.to_owned(),
        programs: None,
        output: Output::Sink(Box::new(move |bytes| {
            let mut said = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let room = SAID.saturating_sub(said.len());
            said.extend(bytes.iter().take(room));
        })),
    };
    let container = Container::start(spec).await;
    let service = Service(container.map_err(|error| error.to_string())?);
    let listens = async {
        loop {
            if tokio::net::UnixStream::connect(&socket).await.is_ok() {
                return;
            }
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = listens => Ok((client(&address)?, service)),
        exit = service.0.wait() => {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner);
            let said = String::from_utf8_lossy(&said);
            let how = match exit {
                Exit::Code(code) => format!("code {code}"),
                Exit::Signal(signal) => format!("signal {signal}"),
            };
            Err(format!("podman system service ended with {how}: {}", said.trim()))
        }
    }
}

/// This sandbox, in a way that tells whether it lives: process, start and a number of its own.
pub(super) fn owner() -> String {
    let process = std::process::id();
    let start = started(process).unwrap_or_default();
    format!("{process}-{start}-{}", identifiers::hex(8))
}

/// Whether a sandbox with this name runs.
pub(super) fn lives(owner: &str) -> bool {
    let mut parts = owner.split('-');
    let process = parts.next().and_then(|process| process.parse().ok());
    let start = parts.next().and_then(|start| start.parse().ok());
    // What cannot be read is not ours to remove.
    let (Some(process), Some(start)) = (process, start) else {
        return true;
    };
    started(process) == Some(start)
}

/// When a process started, in ticks since boot (proc_pid_stat(5), field 22).
fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may hold anything, parentheses too.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_as_long_as_its_process() {
        let own = owner();
        assert!(lives(&own), "{own}");
        let (process, _) = own.split_once('-').unwrap();
        assert!(!lives(&format!("{process}-1-x")), "the number was reused");
        assert!(!lives("4194305-77-x"), "beyond all numbers of processes");
        assert!(lives("somebody"), "not named by us");
    }
}
