//! What happens on this machine when everything is forwarded: a file, a browser, a command.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use bowline::forward::{BoundTo, ForwardSpec};
use clap::Args;
use std::os::unix::process::ExitStatusExt;
use tokio::process::{Child, Command};

use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::signals::Signal;
use crate::whole;

/// Options about this machine.
#[derive(Args, Debug)]
pub(crate) struct LocalArgs {
    /// Run this line by sh when everything is forwarded, and end with it, with its exit code
    ///
    /// The ports are in its environment: BOWLINE_PORT_5432 for one that leads to port 5432, BOWLINE_SOCKET_5432 for a
    /// socket, and BOWLINE_ADDRESS_5432 with the address in front. Of several to one port the later ones have _2, _3 … at
    /// the end.
    #[arg(long, value_name = "LINE")]
    exec: Option<String>,
    /// Write NAME=VALUE lines with the ports to this file when everything is forwarded
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Open the first port in the browser
    #[arg(long)]
    open: bool,
}

/// The ports by name, for files and commands.
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    pub(super) fn new(specs: &[ForwardSpec], bound: &[BoundTo]) -> Self {
        let mut names: Vec<(String, String)> = Vec::new();
        for (spec, bound) in specs.iter().zip(bound) {
            let port = spec.remote.port;
            let mut add = |kind: &str, value: String| {
                let first = format!("BOWLINE_{kind}_{port}");
                let taken = |name: &str| names.iter().any(|(known, _)| known == name);
                let name = match taken(&first) {
                    false => first,
                    true => (2..)
                        .map(|number: u32| format!("{first}_{number}"))
                        .find(|name| !taken(name))
                        .unwrap_or(first),
                };
                names.push((name, value));
            };
            match bound {
                BoundTo::Tcp(address) => {
                    add("PORT", address.port().to_string());
                    add("ADDRESS", address.to_string());
                }
                BoundTo::Unix(path) => add("SOCKET", path.display().to_string()),
            }
        }
        Self(names)
    }

    fn lines(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}={}", quoted(value));
        }
        text
    }
}

/// For a shell that reads the file.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/[]".contains(&byte);
    match value.bytes().all(plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', "'\\''")),
    }
}

impl LocalArgs {
    pub(super) fn ready(&self, names: &Names, specs: &[ForwardSpec]) -> Result<(), CommandError> {
        if let Some(file) = &self.ready_file {
            whole::write(file, names.lines().as_bytes(), whole::USUAL).map_err(|error| {
                let text = format!("cannot write {}: {error}", file.display());
                CommandError::new(ErrorKind::Failed, text)
            })?;
        }
        if self.open {
            open(names, specs)?;
        }
        Ok(())
    }

    pub(super) fn start(&self, names: &Names) -> Result<Option<Companion>, CommandError> {
        let Some(line) = &self.exec else {
            return Ok(None);
        };
        let child = Command::new("sh")
            .args(["-c", line])
            .envs(names.0.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true)
            .spawn();
        let child = child.map_err(|error| {
            CommandError::new(ErrorKind::Failed, format!("cannot start sh: {error}"))
        })?;
        Ok(Some(Companion { child }))
    }
}

/// The command that everything ends with.
pub(super) struct Companion {
    child: Child,
}

impl Companion {
    /// Its exit code, when it has ended. Cancel-safe.
    pub(super) async fn ended(companion: &mut Option<Self>) -> Result<ExitCode, CommandError> {
        let Some(companion) = companion else {
            return std::future::pending().await;
        };
        let status = companion.child.wait().await?;
        Ok(ExitCode::Remote(code(status)))
    }

    /// Whether the signal is its own affair: Ctrl-C reaches it from the terminal as it reaches us.
    pub(super) fn told(&mut self, signal: Signal) -> bool {
        signal == Signal::Interrupt && crate::terminal::stdin_is_terminal()
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn open(names: &Names, specs: &[ForwardSpec]) -> Result<(), CommandError> {
    let address = names
        .0
        .iter()
        .find(|(name, _)| name.starts_with("BOWLINE_ADDRESS_"));
    let Some((_, address)) = address else {
        return Err(CommandError::usage(
            "a browser cannot open a socket in the file system",
        ));
    };
    let secure = specs
        .first()
        .is_some_and(|spec| matches!(spec.remote.port, 443 | 8443));
    let scheme = if secure { "https" } else { "http" };
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let opened = Command::new(program)
        .arg(format!("{scheme}://{address}/"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    // It goes on by itself, as long as the browser likes.
    opened.map(drop).map_err(|error| {
        CommandError::new(
            ErrorKind::Failed,
            format!("cannot start {program}: {error}"),
        )
        .hint(format!("open {scheme}://{address}/ yourself"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_by_where_they_lead() {
        let specs: Vec<ForwardSpec> = ["1:80", "2:db:5432", "3:other:5432", "unix:/tmp/a b:80"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let tcp = |port| BoundTo::Tcp(([127, 0, 0, 1], port).into());
        let bound = [tcp(1), tcp(2), tcp(3), BoundTo::Unix("/tmp/a b".into())];
        insta::assert_snapshot!(Names::new(&specs, &bound).lines(), @r"
        BOWLINE_PORT_80=1
        BOWLINE_ADDRESS_80=127.0.0.1:1
        BOWLINE_PORT_5432=2
        BOWLINE_ADDRESS_5432=127.0.0.1:2
        BOWLINE_PORT_5432_2=3
        BOWLINE_ADDRESS_5432_2=127.0.0.1:3
        BOWLINE_SOCKET_80='/tmp/a b'
        ");
    }
}
