//! `bowline sandbox up -d`: this program started again in a session of its own.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::control::{self, Answer, Question};
use super::place::{Name, Place, unusable};
use super::serve::ServeArgs;
use super::{Context, print_environment, status};
use crate::cli::OutputFormat;
use crate::error::{CommandError, ErrorKind};
use crate::exit_code::ExitCode;
use crate::output::json;

/// For it to be ready: its services may take ten seconds.
const READY: Duration = Duration::from_secs(30);
/// How much of its log is shown when it ends at once.
const SHOWN: usize = 4000;

/// Starts it and returns when it serves.
pub(super) async fn start(
    name: &Name,
    serve: &ServeArgs,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    if let Some(list) = serve.list(context) {
        context.printer.document(&list)?;
        return Ok(ExitCode::Success);
    }
    // Mistakes in what was asked for are said here, and not only in a log.
    serve.options(context)?;
    let place = Place::of(name)?;
    place.make()?;
    if !place.is_free()? {
        return Err(place.taken().await);
    }
    let mut child = spawn(&place, context)?;
    let told = ready(&place, &mut child).await?;
    match context.global.output {
        Some(OutputFormat::Json) => {
            let text = json::document(&status::document(&place, &told))?;
            context.printer.document(&text)?;
        }
        _ => {
            let environment = control::ask(&place, &Question::Env).await?;
            let environment = environment.unwrap_or_default().environment;
            print_environment(&environment, context)?;
        }
    }
    context.printer.note(&format!(
        "sandbox {name} runs at {}; its page: {}",
        told.endpoint, told.page
    ));
    context.printer.note(
        "its containers are processes of this machine and can touch your files; `bowline sandbox down` ends it",
    );
    Ok(ExitCode::Success)
}

fn spawn(place: &Place, context: &Context) -> Result<Child, CommandError> {
    let failed = |error: std::io::Error| {
        let text = format!("the sandbox cannot be started: {error}");
        CommandError::new(ErrorKind::Unavailable, text)
    };
    let path = place.log();
    let log = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| unusable(&path, &error))?;
    // Both ends of it write at its end, wherever the other one is.
    let append = || File::options().append(true).open(&path);
    drop(log);
    Command::new(std::env::current_exe().map_err(failed)?)
        .args(context.arguments.iter().skip(1))
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(append().map_err(failed)?)
        .stderr(append().map_err(failed)?)
        .spawn()
        .map_err(failed)
}

async fn ready(place: &Place, child: &mut Child) -> Result<Answer, CommandError> {
    let deadline = Instant::now() + READY;
    let pid = child.id();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            let log = std::fs::read_to_string(place.log()).unwrap_or_default();
            let start = log.ceil_char_boundary(log.len().saturating_sub(SHOWN));
            let said = log[start..].trim().trim_start_matches("error: ");
            let text = match said.is_empty() {
                true => format!("the sandbox ended at once ({status})"),
                false => format!("the sandbox ended at once: {said}"),
            };
            let kind = match status.code() {
                Some(2) => ErrorKind::Usage,
                Some(1) => ErrorKind::Failed,
                _ => ErrorKind::Unavailable,
            };
            return Err(CommandError::new(kind, text));
        }
        if let Ok(Some(told)) = control::ask(place, &Question::Status).await
            && Some(told.pid) == pid
        {
            return Ok(told);
        }
        if Instant::now() >= deadline {
            // Its containers notice by themselves.
            let _ = child.kill().await;
            let text = format!("the sandbox is not ready after {} seconds", READY.as_secs());
            return Err(CommandError::new(ErrorKind::Unavailable, text)
                .hint(format!("its log is {}", place.log().display())));
        }
        sleep(Duration::from_millis(20)).await;
    }
}
