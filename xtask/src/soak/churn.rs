//! `cargo xtask soak churn`: a day of a sandbox's clock with roll-outs, runs, sessions and automations all the time.
//!
//! Its memory and descriptors are looked at as it goes: after the first quarter, in which tables fill that have a limit,
//! they have to stay as they are.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::bench::process::{Bowline, SandboxProcess};

const ECS: &str = "AmazonEC2ContainerServiceV20141113";
const SSM: &str = "AmazonSSM";
/// How often is looked.
const LOOK: Duration = Duration::from_secs(2);
/// Descriptors come and go with sessions; those that stay are another matter.
const DESCRIPTORS: f64 = 12.0;
/// Memory may grow by what log streams and documents of more tasks take, and by what the allocator keeps.
const MEMORY: f64 = 0.15;
/// A runbook that mostly waits.
const DOCUMENT: &str = r#"{"schemaVersion": "0.3", "mainSteps": [
    {"name": "wait", "action": "aws:sleep", "inputs": {"Duration": "PT20M"}}]}"#;

/// Run a day of a sandbox's clock under churn
///
/// Roll-outs, tasks that run and end, commands in containers, sessions that nobody comes for, automations, and somebody
/// who watches the page. Fails where memory or descriptors grow, a call is refused or a command fails.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The binary; without this the one beside this program
    #[arg(long, value_name = "PATH")]
    bowline: Option<PathBuf>,
    /// Hours of the sandbox's clock
    #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..))]
    hours: u32,
    /// How many times as fast as real time that clock runs
    #[arg(long, default_value_t = 240, value_name = "FACTOR", value_parser = clap::value_parser!(u32).range(1..))]
    speed: u32,
}

/// How the sandbox is at a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    /// MB.
    memory: f64,
    descriptors: f64,
    threads: f64,
    processes: f64,
}

/// What was done.
#[derive(Default)]
struct Done {
    deployments: AtomicU64,
    runs: AtomicU64,
    commands: AtomicU64,
    sessions: AtomicU64,
    automations: AtomicU64,
    /// Of the page.
    pictures: AtomicU64,
    failed: Mutex<Vec<String>>,
}

struct Churn {
    sandbox: SandboxProcess,
    bowline: Bowline,
    end: Instant,
    done: Done,
}

/// Runs it; an error if something grew or failed.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let program = match &arguments.bowline {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("bowline"),
    };
    let speed = arguments.speed.to_string();
    let options = ["--accept-any-credentials", "--fast-clock", &speed];
    let sandbox = SandboxProcess::start_with(&program, "fast", "0", &options)?;
    let bowline = Bowline::new(&program, &sandbox.environment);
    let span = Duration::from_secs(3600) * arguments.hours / arguments.speed;
    println!("{} h in {:.0} s", arguments.hours, span.as_secs_f64());
    let begun = Instant::now();
    let churn = Churn {
        sandbox,
        bowline,
        end: begun + span,
        done: Done::default(),
    };
    churn.call(
        SSM,
        "CreateDocument",
        &json!({ "Name": "Wait", "Content": DOCUMENT, "DocumentType": "Automation" }),
    )?;
    let samples = thread::scope(|scope| {
        for work in [
            Churn::deploy as fn(&Churn) -> anyhow::Result<()>,
            Churn::run_tasks,
            Churn::command,
            Churn::command,
            Churn::abandon,
            Churn::automate,
            Churn::watch,
        ] {
            let churn = &churn;
            scope.spawn(move || churn.repeat(work));
        }
        let mut samples = Vec::new();
        while Instant::now() < churn.end {
            thread::sleep(LOOK);
            samples.push(sample(churn.sandbox.id(), begun.elapsed())?);
        }
        anyhow::Ok(samples)
    })?;
    report(&churn, &samples, begun.elapsed())
}

impl Churn {
    fn repeat(&self, work: fn(&Self) -> anyhow::Result<()>) {
        while Instant::now() < self.end {
            if let Err(error) = work(self) {
                let mut failed = self
                    .done
                    .failed
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                failed.push(format!("{error:#}"));
                thread::sleep(Duration::from_millis(200));
            }
        }
    }

    fn deploy(&self) -> anyhow::Result<()> {
        let number = self.done.deployments.fetch_add(1, Ordering::Relaxed);
        let desired = 2 + number % 2;
        self.call(ECS, "UpdateService", &json!({
            "cluster": "demo", "service": "web", "desiredCount": desired, "forceNewDeployment": true,
        }))?;
        // Some come before the one before is through.
        thread::sleep(Duration::from_millis(500 + 700 * (number % 3)));
        Ok(())
    }

    fn run_tasks(&self) -> anyhow::Result<()> {
        let answer = self.call(ECS, "RunTask", &json!({
            "cluster": "demo", "taskDefinition": "job", "count": 2,
            "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-0a1b2c3d4e5f60001"] } },
        }))?;
        let started = answer["tasks"].as_array().map_or(0, Vec::len);
        self.done.runs.fetch_add(started as u64, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(400));
        Ok(())
    }

    /// In whatever task is there, which a roll-out may end at any moment: what counts is that it ends.
    fn command(&self) -> anyhow::Result<()> {
        let words = [
            "exec",
            "-c",
            "demo",
            "web",
            "--",
            "sh",
            "-c",
            "echo one; echo two >&2; exit 0",
        ];
        let mut child = self
            .bowline
            .command(&words)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()?;
        let late = Instant::now() + Duration::from_secs(60);
        loop {
            if child.try_wait()?.is_some() {
                break;
            }
            if Instant::now() > late {
                // It is ours, and it hangs.
                child.kill()?;
                child.wait()?;
                bail!("a command did not end within a minute");
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.done.commands.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(150));
        Ok(())
    }

    /// A session that nobody comes for ends by its idle limit.
    fn abandon(&self) -> anyhow::Result<()> {
        thread::sleep(Duration::from_secs(1));
        let listed = self.call(
            ECS,
            "ListTasks",
            &json!({ "cluster": "demo", "serviceName": "web" }),
        )?;
        let Some(task) = listed["taskArns"].get(0) else {
            return Ok(());
        };
        let asked =
            json!({ "cluster": "demo", "task": task, "command": "sleep 5", "interactive": true });
        // The task may end meanwhile.
        let answer = self
            .sandbox
            .control(&format!("{ECS}.ExecuteCommand"), &asked.to_string())?;
        if answer["session"].is_object() {
            self.done.sessions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn automate(&self) -> anyhow::Result<()> {
        self.call(
            SSM,
            "StartAutomationExecution",
            &json!({ "DocumentName": "Wait" }),
        )?;
        self.done.automations.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// The page, left after a while as if its window was closed.
    fn watch(&self) -> anyhow::Result<()> {
        let endpoint = self.sandbox.value("AWS_ENDPOINT_URL")?;
        let address = endpoint.strip_prefix("http://").context("not http")?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        write!(
            stream,
            "GET /_sandbox/events HTTP/1.1\r\nhost: {address}\r\n\r\n"
        )?;
        let until = Instant::now() + Duration::from_secs(10);
        for line in BufReader::new(stream).lines() {
            let pictures = u64::from(line?.starts_with("data: "));
            self.done.pictures.fetch_add(pictures, Ordering::Relaxed);
            if Instant::now() > until.min(self.end) {
                return Ok(());
            }
        }
        bail!("the page ended before the sandbox")
    }

    fn call(&self, service: &str, operation: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self
            .sandbox
            .control(&format!("{service}.{operation}"), &body.to_string())?;
        if answer["__type"].is_string() {
            bail!("{operation}: {answer}");
        }
        Ok(answer)
    }
}

fn sample(pid: u32, at: Duration) -> anyhow::Result<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number =
            line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok());
        number.with_context(|| format!("no {name} in the status of the sandbox"))
    };
    let children = fs::read_dir(format!("/proc/{pid}/task"))?
        .flatten()
        .map(|task| {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            children.split_ascii_whitespace().count()
        });
    Ok(Sample {
        at,
        memory: field("VmRSS:")? / 1024.0,
        descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as f64,
        threads: field("Threads:")?,
        processes: children.sum::<usize>() as f64,
    })
}

fn report(churn: &Churn, samples: &[Sample], took: Duration) -> anyhow::Result<()> {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let done = &churn.done;
    println!(
        "roll-outs {}, tasks run {}, commands {}, sessions left {}, automations {}, pictures of the page {}",
        count(&done.deployments),
        count(&done.runs),
        count(&done.commands),
        count(&done.sessions),
        count(&done.automations),
        count(&done.pictures),
    );
    println!("wall time {:.0} s", took.as_secs_f64());
    println!("      at   memory  descriptors  threads  processes");
    for sample in samples.iter().step_by((samples.len() / 12).max(1)) {
        println!(
            "{:>6.0} s  {:>4.1} MB  {:>11}  {:>7}  {:>9}",
            sample.at.as_secs_f64(),
            sample.memory,
            sample.descriptors,
            sample.threads,
            sample.processes
        );
    }
    let failed = done
        .failed
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for failure in failed.iter().take(10) {
        println!("FAILED {failure}");
    }
    let quarter = samples.len() / 4;
    if quarter == 0 {
        bail!("too short to see anything");
    }
    let (early, late) = (
        &samples[quarter..2 * quarter],
        &samples[samples.len() - quarter..],
    );
    let mut grown = Vec::new();
    for (what, of, room) in [
        (
            "memory in MB",
            (|it: &Sample| it.memory) as fn(&Sample) -> f64,
            None,
        ),
        (
            "descriptors",
            |it: &Sample| it.descriptors,
            Some(DESCRIPTORS),
        ),
        ("threads", |it: &Sample| it.threads, Some(DESCRIPTORS)),
        ("processes", |it: &Sample| it.processes, Some(DESCRIPTORS)),
    ] {
        let (before, after) = (median(early, of), median(late, of));
        println!("{what:<13} {before:.1} in the second quarter, {after:.1} in the last");
        let room = room.unwrap_or(before * MEMORY);
        if after > before + room {
            grown.push(what);
        }
    }
    if !grown.is_empty() {
        bail!("not flat: {}", grown.join(", "));
    }
    if !failed.is_empty() {
        bail!("{} pieces of work failed", failed.len());
    }
    Ok(())
}

fn median(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
