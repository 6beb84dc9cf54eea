//! The measurements. What is compared takes turns, so that a noisy minute meets both.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bowline::{Client, ClientOptions, Credentials, ResolvedTarget, Secret, TargetOptions};

use super::Part;
use super::fake::{self, Fake};
use super::figures::Figure;
use super::process::{Bowline, SandboxProcess, Usage};
use super::raw::{self, Drained};

pub(super) const MB: usize = 1_000_000;
/// Output of the tty engine.
const STREAM: usize = 200 * MB;
/// Each way with the framed engine.
const FRAMED: usize = 20 * MB;
/// Past a slow reader.
const SLOW: usize = 100 * MB;
/// How long the reader is slow: 4 KB a millisecond.
const SLOWLY: Duration = Duration::from_secs(10);
const KIB: f64 = 1024.0;
pub(super) const SERVICE: &str = "web";

/// The binary and a sandbox of our own.
pub(super) struct Bench<'a> {
    pub(super) program: &'a Path,
    pub(super) bowline: Bowline,
    pub(super) sandbox: SandboxProcess,
    pub(super) runs: u32,
    pub(super) transfers: u32,
}

impl<'a> Bench<'a> {
    pub(super) fn start(program: &'a Path, runs: u32, transfers: u32) -> anyhow::Result<Self> {
        let sandbox = SandboxProcess::start(program, "fast", "0")?;
        let bowline = Bowline::new(program, &sandbox.environment);
        Ok(Self {
            program,
            bowline,
            sandbox,
            runs,
            transfers,
        })
    }

    pub(super) fn measure(&self, part: Part) -> anyhow::Result<Vec<Figure>> {
        match part {
            Part::Binary => self.binary(),
            Part::Startup => self.startup(),
            Part::Tty => self.tty(),
            Part::Messages => self.messages(),
            Part::Framed => self.framed(),
            Part::Memory => self.memory(),
            Part::First => self.first(),
            Part::Echo => self.echo(),
            Part::Stdin => self.stdin(),
            Part::Paced => self.paced(),
            Part::Resident => self.resident(),
            Part::Logs => self.logs(),
            Part::Forward => self.forward(),
            Part::Fleet => self.fleet(),
            Part::Reference => self.reference(),
        }
    }

    fn startup(&self) -> anyhow::Result<Vec<Figure>> {
        // The first ones read the program from the disk.
        self.bowline.discard(&["version"])?;
        self.bowline.discard(&["exec", SERVICE, "--", "true"])?;
        let [mut exec, mut tty, mut version, mut least] = [const { Vec::new() }; 4];
        for _ in 0..self.runs {
            exec.push(milliseconds(
                self.bowline.discard(&["exec", SERVICE, "--", "true"])?.wall,
            ));
            tty.push(milliseconds(
                self.bowline
                    .discard(&["exec", "-t", SERVICE, "--", "true"])?
                    .wall,
            ));
            version.push(milliseconds(self.bowline.discard(&["version"])?.wall));
            least.push(milliseconds(self.raw_sandbox("true")?.1.wall));
        }
        Ok(vec![
            Figure::new("exec -- true, whole process", "ms", exec.clone())
                .beside("raw client", least.clone())
                .aim("<= 30 ms", "484 ms"),
            Figure::new("  the same", "ms", exec).beside("version", version),
            Figure::new("exec -t -- true, whole process", "ms", tty).beside("raw client", least),
        ])
    }

    fn tty(&self) -> anyhow::Result<Vec<Figure>> {
        let command = letters(STREAM);
        let exec = ["exec", "-t", SERVICE, "--", "sh", "-c", &command];
        // Once through a pipe, to see that every byte comes.
        self.bowline.transfer(&exec, 0, STREAM)?;
        let mut pairs = Vec::new();
        for _ in 0..self.transfers {
            let quoted = format!("sh -c '{command}'");
            let (drained, least) = self.raw_sandbox(&quoted)?;
            whole(drained, STREAM)?;
            pairs.push((self.bowline.discard(&exec)?, least));
        }
        Ok(stream("exec -t, 200 MB, sandbox's agent", &pairs))
    }

    fn messages(&self) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for (payload, name) in [
            (1024, "exec -t, 200 MB, 1 KiB messages"),
            (32 * 1024, "exec -t, 200 MB, 32 KiB messages"),
        ] {
            let fake = Fake::start(payload, STREAM)?;
            let bowline = Bowline::new(self.program, &fake.environment());
            let total = STREAM.div_ceil(payload) * payload;
            let exec = ["exec", "-t", fake::TASK, "--", "true"];
            bowline.transfer(&exec, 0, total)?;
            let mut pairs = Vec::new();
            for _ in 0..self.transfers {
                let url = fake.stream_url();
                let (_, least) = raw::measured(async || raw::drain(&url, "bench").await)?;
                pairs.push((bowline.discard(&exec)?, least));
            }
            figures.extend(stream(name, &pairs));
        }
        Ok(figures)
    }

    fn framed(&self) -> anyhow::Result<Vec<Figure>> {
        let command = letters(FRAMED);
        let out = ["exec", SERVICE, "--", "sh", "-c", &command];
        let into = ["exec", "-i", SERVICE, "--", "sh", "-c", "cat >/dev/null"];
        let both = ["exec", "-i", SERVICE, "--", "cat"];
        let plain = [&["exec", "--engine", "plain"], &out[1..]].concat();
        let cases: [(&str, &[&str], usize, usize, &str); 4] = [
            ("exec, plain, 20 MB out", &plain, 0, FRAMED, ""),
            ("exec, framed, 20 MB out", &out, 0, FRAMED, ">= 10"),
            ("exec -i, framed, 20 MB in", &into, FRAMED, 0, ">= 5"),
            (
                "exec -i, framed, 20 MB there and back",
                &both,
                FRAMED,
                FRAMED,
                "",
            ),
        ];
        let mut figures = Vec::new();
        for (name, arguments, input, output, aim) in cases {
            let (mut rates, mut costs) = (Vec::new(), Vec::new());
            for _ in 0..self.transfers {
                let usage = self.bowline.transfer(arguments, input, output)?;
                rates.push(rate(usage.wall, FRAMED));
                costs.push(cost(&usage, FRAMED));
            }
            figures.push(Figure::new(name, "MB/s", rates).aim(aim, ""));
            figures.push(Figure::new("  processor time per 1 KiB", "us", costs));
        }
        Ok(figures)
    }

    fn memory(&self) -> anyhow::Result<Vec<Figure>> {
        let command = letters(SLOW);
        let fake = Fake::start(1024, SLOW)?;
        let elsewhere = Bowline::new(self.program, &fake.environment());
        let tty = ["exec", "-t", SERVICE, "--", "sh", "-c", &command];
        let framed = ["exec", SERVICE, "--", "sh", "-c", &command];
        let small = ["exec", "-t", fake::TASK, "--", "true"];
        let cases: [(&str, &Bowline, &[&str]); 3] = [
            ("peak memory, exec -t, slow reader", &self.bowline, &tty),
            ("peak memory, framed, slow reader", &self.bowline, &framed),
            (
                "peak memory, 1 KiB messages, slow reader",
                &elsewhere,
                &small,
            ),
        ];
        let mut figures = Vec::new();
        for (name, bowline, arguments) in cases {
            let peaks = bowline.peaks(arguments, SLOWLY, &[10 * MB, SLOW])?;
            let [early, late] = peaks[..] else {
                bail!("a peak is missing");
            };
            figures.push(Figure::new(name, "MB", vec![late]).beside("at 10 MB", vec![early]));
        }
        Ok(figures)
    }

    /// The least that runs `command` without a wrapper: find, start, open, read to the end.
    pub(super) fn raw_sandbox(&self, command: &str) -> anyhow::Result<(Drained, Usage)> {
        let options = self.options()?;
        raw::measured(async || {
            let (client, found) = find(options).await?;
            let grant = client
                .execute_command(
                    &found.cluster.name,
                    &found.task.id,
                    &found.container,
                    command,
                )
                .await?;
            raw::drain(&grant.stream_url, grant.token.expose()).await
        })
    }

    /// The sandbox, for the library.
    pub(super) fn options(&self) -> anyhow::Result<ClientOptions> {
        Ok(ClientOptions {
            profile: None,
            region: Some(self.sandbox.value("AWS_REGION")?),
            endpoint_url: Some(self.sandbox.value("AWS_ENDPOINT_URL")?),
            credentials: Some(Credentials {
                access_key_id: self.sandbox.value("AWS_ACCESS_KEY_ID")?,
                secret_access_key: Secret::new(self.sandbox.value("AWS_SECRET_ACCESS_KEY")?),
                session_token: None,
                expires_at: None,
            }),
            ..ClientOptions::default()
        })
    }
}

/// The client's side of the library, and the service's task.
pub(super) async fn find(options: ClientOptions) -> anyhow::Result<(Client, ResolvedTarget)> {
    let client = Client::connect(options).await?;
    let target = SERVICE.parse().context("the service's name")?;
    let found = client.resolve(&target, &TargetOptions::default()).await?;
    Ok((client, found))
}

/// A pipeline that prints so many letters in one line.
pub(super) fn letters(count: usize) -> String {
    format!(r#"head -c {count} /dev/zero | tr "\0" x"#)
}

/// Speed and processor time of a stream of [`STREAM`] bytes; pairs of bowline and the raw client.
fn stream(name: &str, pairs: &[(Usage, Usage)]) -> Vec<Figure> {
    let values = |of: &dyn Fn(&Usage) -> f64| -> (Vec<f64>, Vec<f64>) {
        pairs
            .iter()
            .map(|(ours, least)| (of(ours), of(least)))
            .unzip()
    };
    let (rates, least_rates) = values(&|usage| rate(usage.wall, STREAM));
    let (costs, least_costs) = values(&|usage| cost(usage, STREAM));
    vec![
        Figure::new(name, "MB/s", rates)
            .beside("raw client", least_rates)
            .aim(">= 120", "41 MB/s"),
        Figure::new("  processor time per 1 KiB", "us", costs)
            .beside("raw client", least_costs)
            .aim("<= 5 us", "21 us"),
    ]
}

fn whole(drained: Drained, expected: usize) -> anyhow::Result<()> {
    if drained.bytes != expected as u64 {
        bail!("the raw client got {} of {expected} bytes", drained.bytes);
    }
    Ok(())
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn rate(time: Duration, bytes: usize) -> f64 {
    bytes as f64 / time.as_secs_f64() / MB as f64
}

/// Microseconds per 1 KiB.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn cost(usage: &Usage, bytes: usize) -> f64 {
    usage.cpu.as_secs_f64() * 1e6 / (bytes as f64 / KIB)
}
