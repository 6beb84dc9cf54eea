//! The sandbox as a process of its own, and the inits of its containers: Python that loads this module again.

use std::ffi::OsString;
use std::fs;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use bowline_sandbox::{Faults, InitCommand, Options, Sandbox, WorldFile};
use pyo3::prelude::*;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

/// The word that makes such a process the init of a container.
const INIT: &str = "container-init";

/// What the parent wants.
#[derive(Deserialize)]
struct Wanted {
    /// How to start such a process, without its last word.
    command: Vec<String>,
    world: Option<PathBuf>,
    agent: String,
    scenarios: Vec<String>,
    faults: Vec<String>,
    region: String,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves until stdin ends, or is the init of a container until that ends. The answer is the exit code of the process.
#[pyfunction]
pub(crate) fn sandbox_process(py: Python<'_>, arguments: Vec<OsString>) -> i32 {
    py.detach(|| {
        let mut arguments = arguments.into_iter();
        match arguments.next() {
            Some(word) if word == INIT => {
                let ended = bowline_sandbox::init::main(arguments);
                i32::from(ended != ExitCode::SUCCESS)
            }
            Some(wanted) => match serve(&wanted.to_string_lossy()) {
                Ok(()) => 0,
                Err(error) => {
                    say(&serde_json::json!({ "error": error.to_string() }));
                    1
                }
            },
            None => 2,
        }
    })
}

fn serve(wanted: &str) -> Result<(), Failure> {
    let wanted: Wanted = serde_json::from_str(wanted)?;
    let options = options(wanted)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let sandbox = Sandbox::start(options).await?;
        let environment: serde_json::Map<String, serde_json::Value> = sandbox
            .environment()
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        say(&serde_json::json!({ "endpoint": sandbox.endpoint(), "environment": environment }));
        // The parent holds the other end and never writes: however it ends, this ends.
        let mut rest = [0];
        while matches!(tokio::io::stdin().read(&mut rest).await, Ok(1)) {}
        sandbox.shutdown().await;
        Ok(())
    });
    // A read of stdin that cannot be cancelled is not waited for.
    runtime.shutdown_background();
    served
}

fn options(wanted: Wanted) -> Result<Options, Failure> {
    let mut words = wanted.command.into_iter();
    let program = words.next().ok_or("there is no program")?;
    let arguments = words.chain([INIT.to_owned()]).map(OsString::from);
    let mut options = Options::new(InitCommand {
        program: program.into(),
        arguments: arguments.collect(),
    });
    options.region = wanted.region;
    options.agent = wanted.agent.parse()?;
    for scenario in &wanted.scenarios {
        options.scenarios.push(scenario.parse()?);
    }
    let mut faults = Faults::default();
    for words in &wanted.faults {
        faults.add(words)?;
    }
    options.faults = faults;
    if let Some(path) = wanted.world {
        let name = path.display().to_string();
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read {name}: {error}"))?;
        options.world = Some(WorldFile::parse(&text, &name)?);
    }
    Ok(options)
}

/// One line for the parent.
fn say(line: &serde_json::Value) {
    let mut out = stdout().lock();
    // A parent that is gone already needs no answer.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
