//! Forwarded ports beside raw loopback and, where it is installed, the reference plugin on the same sandbox.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use super::figures::Figure;
use super::measure::{Bench, MB, SERVICE, find, milliseconds, rate};
use super::process::{PATIENCE, SandboxProcess};
use super::raw;
use super::reference::on_path;

const BULK: usize = 200 * MB;
/// The reference sends so slowly that this takes it half a minute.
const SLOW_UP: usize = 20 * MB;
const TRIPS: usize = 2000;
const CONNECTIONS: usize = 1000;
const PLUGIN: &str = "session-manager-plugin";
/// Linux counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// One way to the server, and the process it goes through.
struct Way {
    port: u16,
    child: Option<Child>,
}

/// What one way was found to do, run by run.
#[derive(Default)]
struct Found {
    down: Vec<f64>,
    up: Vec<f64>,
    median: Vec<f64>,
    tail: Vec<f64>,
    connections: Vec<f64>,
    /// Seconds of processor time for a gigabyte down.
    processor: Vec<f64>,
}

impl Bench<'_> {
    /// Throughput, latency, connections and processor time of a forward whose agent sends 1 KiB and 32 KiB at a time.
    pub(super) fn forward(&self) -> anyhow::Result<Vec<Figure>> {
        let server = serve()?;
        let mut figures = Vec::new();
        for (payload, name) in [(1024, "1 KiB messages"), (32 * 1024, "32 KiB messages")] {
            let agent = format!("fast,payload={payload}");
            let host = format!("bulk:9=127.0.0.1:{server}");
            let sandbox =
                SandboxProcess::start_with(self.program, &agent, "0", &["--remote-host", &host])?;
            let ours = self.forwarded(&sandbox, payload)?;
            let plugin = match on_path(PLUGIN) {
                Some(_) if payload == 1024 => Some(self.plugged(&sandbox)?),
                _ => None,
            };
            let raw = Way {
                port: server,
                child: None,
            };
            let (mut found, mut least, mut theirs) = <(Found, Found, Found)>::default();
            for _ in 0..self.transfers {
                ours.measure(&mut found, BULK)?;
                raw.measure(&mut least, BULK)?;
                if let Some(plugin) = &plugin {
                    plugin.measure(&mut theirs, SLOW_UP)?;
                }
            }
            figures.extend(lines(&format!("forward, {name}"), found, &least));
            if plugin.is_some() {
                figures.extend(lines(&format!("plugin, {name}"), theirs, &least));
            } else if payload == 1024 {
                println!("reference: not measured, {PLUGIN} is not on PATH");
            }
        }
        Ok(figures)
    }

    fn forwarded(&self, sandbox: &SandboxProcess, payload: usize) -> anyhow::Result<Way> {
        let file =
            std::env::temp_dir().join(format!("bowline-bench-{}-{payload}", std::process::id()));
        let child = Command::new(self.program)
            .args([
                "forward",
                SERVICE,
                "0:bulk:9",
                "--payload",
                &payload.to_string(),
            ])
            .arg("--ready-file")
            .arg(&file)
            .envs(
                sandbox
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut way = Way {
            port: 0,
            child: Some(child),
        };
        let deadline = Instant::now() + PATIENCE;
        while way.port == 0 {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("BOWLINE_PORT_9="));
            way.port = line.map_or(Ok(0), str::parse)?;
            if Instant::now() > deadline {
                bail!("the forward did not become ready");
            }
            thread::sleep(Duration::from_millis(5));
        }
        fs::remove_file(&file)?;
        Ok(way)
    }

    /// The plugin, started as the AWS CLI does.
    fn plugged(&self, sandbox: &SandboxProcess) -> anyhow::Result<Way> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let options = options(self.options()?, sandbox)?;
        let local = port.to_string();
        let ((target, grant), _) = raw::measured(async || {
            let (client, found) = find(options).await?;
            let target = found
                .ssm_target()
                .context("the container has no runtime id")?;
            let parameters = [
                ("host", "bulk"),
                ("portNumber", "9"),
                ("localPortNumber", local.as_str()),
            ];
            let document = Some("AWS-StartPortForwardingSessionToRemoteHost");
            let grant = client.start_session(&target, document, &parameters).await?;
            Ok((target, grant))
        })?;
        let answer = json!({
            "SessionId": grant.session_id,
            "TokenValue": grant.token.expose(),
            "StreamUrl": grant.stream_url,
        });
        let child = Command::new(PLUGIN)
            .args([&answer.to_string(), &sandbox.value("AWS_REGION")?])
            .args(["StartSession", "", &json!({ "Target": target }).to_string()])
            .arg(sandbox.value("AWS_ENDPOINT_URL")?)
            .envs(
                sandbox
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let way = Way {
            port,
            child: Some(child),
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                bail!("the plugin does not listen");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(way)
    }
}

fn options(
    ours: bowline::ClientOptions,
    sandbox: &SandboxProcess,
) -> anyhow::Result<bowline::ClientOptions> {
    Ok(bowline::ClientOptions {
        region: Some(sandbox.value("AWS_REGION")?),
        endpoint_url: Some(sandbox.value("AWS_ENDPOINT_URL")?),
        credentials: Some(bowline::Credentials {
            access_key_id: sandbox.value("AWS_ACCESS_KEY_ID")?,
            secret_access_key: bowline::Secret::new(sandbox.value("AWS_SECRET_ACCESS_KEY")?),
            session_token: None,
            expires_at: None,
        }),
        ..ours
    })
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Its session ends with its sandbox.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Way {
    fn measure(&self, found: &mut Found, up: usize) -> anyhow::Result<()> {
        let before = self.processor()?;
        let begun = Instant::now();
        let mut stream = self.connect()?;
        stream.write_all(format!("D{BULK:010}").as_bytes())?;
        let mut buffer = vec![0; 1 << 16];
        let mut received = 0;
        loop {
            match stream.read(&mut buffer)? {
                0 => break,
                length => received += length,
            }
        }
        if received != BULK {
            bail!("{received} of {BULK} bytes came");
        }
        found.down.push(rate(begun.elapsed(), BULK));
        let gigabytes = 1000.0 * MB as f64 / BULK as f64;
        found
            .processor
            .push((self.processor()? - before) * gigabytes);

        let begun = Instant::now();
        let mut stream = self.connect()?;
        stream.write_all(format!("U{up:010}").as_bytes())?;
        let piece = vec![b'x'; 1 << 16];
        let mut left = up;
        while left > 0 {
            let length = left.min(piece.len());
            stream.write_all(&piece[..length])?;
            left -= length;
        }
        stream.read_exact(&mut [0])?;
        found.up.push(rate(begun.elapsed(), up));

        let mut stream = self.connect()?;
        stream.write_all(b"E")?;
        let mut trips = Vec::new();
        for _ in 0..TRIPS {
            let begun = Instant::now();
            stream.write_all(&[7; 32])?;
            stream.read_exact(&mut [0; 32])?;
            trips.push(milliseconds(begun.elapsed()));
        }
        trips.sort_by(f64::total_cmp);
        found.median.push(trips[TRIPS / 2]);
        found.tail.push(trips[TRIPS * 99 / 100]);

        let begun = Instant::now();
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = self.connect()?;
            stream.write_all(b"E?")?;
            streams.push(stream);
        }
        for stream in &mut streams {
            stream.read_exact(&mut [0])?;
        }
        found.connections.push(milliseconds(begun.elapsed()));
        Ok(())
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Seconds of processor time so far.
    fn processor(&self) -> anyhow::Result<f64> {
        let Some(child) = &self.child else {
            return Ok(0.0);
        };
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || fields.next().unwrap_or("0").parse::<f64>();
        Ok((ticks()? + ticks()?) / TICKS)
    }
}

fn lines(name: &str, found: Found, least: &Found) -> Vec<Figure> {
    let loopback = "loopback";
    vec![
        Figure::new(format!("{name}, down"), "MB/s", found.down)
            .beside(loopback, least.down.clone())
            .aim(">= 120 MB/s", "33 MB/s"),
        Figure::new("  up", "MB/s", found.up)
            .beside(loopback, least.up.clone())
            .aim(">= 50 MB/s", "0.83 MB/s"),
        Figure::new("  there and back, p50", "ms", found.median)
            .beside(loopback, least.median.clone())
            .aim("<= 0.3 ms", "1.36 ms"),
        Figure::new("  there and back, p99", "ms", found.tail).beside(loopback, least.tail.clone()),
        Figure::new("  1,000 connections, answered", "ms", found.connections)
            .beside(loopback, least.connections.clone())
            .aim("<= 60 ms", "115 ms"),
        Figure::new("  processor time per GB down", "s", found.processor),
    ]
}

/// A server on loopback, until this program ends: `D` and ten digits sends so many bytes, `U` takes them and answers one,
/// `E` sends back what comes.
fn serve() -> anyhow::Result<u16> {
    // The queue of the standard library's listener holds 128 connections, and the 129th waits a second.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        socket.listen(2048)?.into_std()
    })?;
    listener.set_nonblocking(false)?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that breaks off is its own affair.
            let serving = thread::Builder::new().stack_size(256 * 1024);
            let _ = serving.spawn(move || drop(answer(stream)));
        }
    });
    Ok(port)
}

fn answer(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    let mut buffer = vec![b'x'; 1 << 16];
    if kind == *b"E" {
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                length => stream.write_all(&buffer[..length])?,
            }
        }
    }
    let mut digits = [0; 10];
    stream.read_exact(&mut digits)?;
    let mut left: usize = std::str::from_utf8(&digits)?.parse()?;
    while left > 0 {
        let length = left.min(buffer.len());
        if kind == *b"D" {
            stream.write_all(&buffer[..length])?;
            left -= length;
        } else {
            left -= stream.read(&mut buffer[..length])?.max(1);
        }
    }
    if kind == *b"U" {
        stream.write_all(b"!")?;
    }
    Ok(())
}
