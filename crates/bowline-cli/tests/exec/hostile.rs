//! A service and an agent that mean no good: the client neither crashes nor hangs nor grows beyond a bound.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bowline_proto::{MessageType, PayloadType};

use crate::support::hostile::{Attack, binary, frame, hostile, numbered, output};
use crate::support::{BOWLINE, Process, Sandbox, Terminal, run};

/// What an agent can make a client hold beyond what a client holds anyway: messages ahead of their turn (16 MiB), what
/// waits for a slow reader (4 MiB of messages and one more, eight joined ones, 1 MiB and two messages of the command),
/// one message of 1 MiB being read and taken apart into at most 40 times its size, and what the allocator keeps.
const BOUND: u64 = 64 << 20;
/// The limits of these runs are a few seconds; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Just under the largest WebSocket message that is taken.
const LARGE: usize = (1 << 20) - 200;

type Attacker = fn(&mut Attack) -> std::io::Result<()>;

/// After the command has started, `--timeout` is the limit.
const AFTER_THE_START: [(&str, Attacker); 15] = [
    ("noise", |it| {
        it.ready()?;
        let mut state = 1_u64;
        it.flood(move |number| {
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                u8::try_from(state >> 56).unwrap()
            };
            let length = usize::from(next()) * 2;
            let noise: Vec<u8> = (0..length).map(|_| next()).collect();
            let mut mangled = output(number, b"mangled");
            mangled[usize::from(next()) % 120] ^= next();
            [binary(&noise), binary(&mangled)].concat()
        })
    }),
    ("absurd numbers", |it| {
        it.ready()?;
        it.flood(|number| {
            let absurd = [i64::MAX, i64::MIN, -1, 1 << 62, i64::MAX - 1][number as usize % 5];
            [
                binary(&output(absurd, b"x")),
                binary(&acknowledgement(absurd)),
            ]
            .concat()
        })
    }),
    ("a message of a gigabyte", |it| {
        it.ready()?;
        it.raw(&[&[0x82, 127][..], &(1_u64 << 30).to_be_bytes()].concat())?;
        it.flood(|_| vec![b'x'; 4096])
    }),
    ("a gigabyte in the header", |it| {
        it.ready()?;
        it.flood(|number| {
            let mut message = output(number, b"x");
            let place = [0, 116][number as usize % 2];
            message[place..place + 4].copy_from_slice(&(1_u32 << 30).to_be_bytes());
            binary(&message)
        })
    }),
    ("large messages ahead of their turn", |it| {
        it.ready()?;
        let large = output(0, &vec![b'x'; LARGE]);
        it.flood(move |number| binary(&numbered(&large, number + 1)))
    }),
    ("small messages among large ones", |it| {
        it.ready()?;
        let (small, large) = (output(0, b"x"), vec![0; 32 * 1024]);
        it.flood(move |number| [binary(&numbered(&small, number + 1)), binary(&large)].concat())
    }),
    ("output without a newline", |it| {
        it.ready()?;
        let large = output(0, &vec![b'x'; LARGE]);
        it.flood(move |number| binary(&numbered(&large, number)))
    }),
    ("output of newlines", |it| {
        it.ready()?;
        let large = output(0, &vec![b'\n'; LARGE]);
        it.flood(move |number| binary(&numbered(&large, number)))
    }),
    ("ready again and again", |it| {
        it.ready()?;
        let line = format!("\x1e{}r64 1 64\n", it.nonce);
        it.flood(move |number| binary(&output(number, line.as_bytes())))
    }),
    ("an end that does not end", |it| {
        it.ready()?;
        let line = ["x0", "o.0", "e.0", "z"]
            .map(|tag| format!("\x1e{}{tag}\n", it.nonce))
            .concat();
        it.message(&output(1, line.as_bytes()))?;
        let line = format!("\x1e{}z\n", it.nonce);
        it.flood(move |number| binary(&output(number + 1, line.as_bytes())))
    }),
    ("more wishes than can be met", |it| {
        it.hear_out();
        it.ready()?;
        let lines = format!("\x1e{}w\n", it.nonce).repeat(1000);
        it.flood(move |number| binary(&output(number, lines.as_bytes())))
    }),
    ("pings, and no look at the pongs", |it| {
        it.ready()?;
        let ping = [&[0x89, 125][..], &[b'p'; 125]].concat();
        it.flood(move |_| ping.clone())
    }),
    ("stderr byte by byte", |it| {
        it.ready()?;
        let kind = MessageType::OutputStreamData;
        let byte = frame(kind, 0, PayloadType::StdErr, b"x");
        it.flood(move |number| binary(&numbered(&byte, number)))
    }),
    ("away and back", |it| {
        it.ready()?;
        it.flood(|number| {
            let kind = [MessageType::PausePublication, MessageType::StartPublication];
            let kind = kind[number as usize % 2].clone();
            binary(&frame(kind, 0, PayloadType::Other(0), b""))
        })
    }),
    ("a farewell of a megabyte", |it| {
        it.ready()?;
        let text = "bye ".repeat(LARGE / 5);
        let payload = format!("{{\"Output\":\"{text}\",\"SessionId\":7}}");
        it.flood(move |number| {
            let payload = [payload.as_bytes(), b"{}", b"\xff", b""][number as usize % 4];
            binary(&frame(
                MessageType::ChannelClosed,
                number,
                PayloadType::Other(0),
                payload,
            ))
        })
    }),
];

/// Before it, there are 14 s for an agent to say something, and a key must be had in time.
const BEFORE_THE_START: [(&str, Attacker); 4] = [
    ("a handshake without an end", |it| {
        let request = r#"{"AgentVersion":"3.3.987.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"InteractiveCommands"}}]}"#;
        let kind = MessageType::OutputStreamData;
        let request = frame(kind, 0, PayloadType::HandshakeRequest, request.as_bytes());
        it.message(&request)?;
        it.flood(move |number| binary(&numbered(&request, number)))
    }),
    ("a huge challenge", |it| {
        let challenge = "A".repeat(LARGE - 400);
        let request = format!(
            r#"{{"AgentVersion":"3.3.987.0","RequestedClientActions":[{{"ActionType":"KMSEncryption","ActionParameters":{{"KMSKeyId":"alias/none","Challenge":"{challenge}"}}}},{{"ActionType":"SessionType","ActionParameters":{{"SessionType":"InteractiveCommands"}}}}]}}"#
        );
        let kind = MessageType::OutputStreamData;
        it.message(&frame(
            kind,
            0,
            PayloadType::HandshakeRequest,
            request.as_bytes(),
        ))?;
        it.outstay()
    }),
    ("wrong digests", |it| {
        let mut message = output(0, b"output");
        message[80] ^= 1;
        it.flood(move |_| binary(&message))
    }),
    ("connections that break", |it| it.message(b"noise")),
];

#[test]
fn a_hostile_agent_cannot_crash_hang_or_grow_exec() {
    let sandbox = Sandbox::start(&[]);
    run(&mut sandbox.bowline(&["exec", "web", "--", "true"])).code(0);
    let alone = watched("nobody", &mut command(&sandbox, endpoint(&sandbox))).1;
    let cases = Mutex::new(BEFORE_THE_START.iter().chain(&AFTER_THE_START));
    let figures = Mutex::new(Vec::new());
    // A container takes two sessions.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap().next();
                    let Some((name, attack)) = next else { return };
                    let figure = attacked(&sandbox, alone, name, *attack);
                    figures.lock().unwrap().push(figure);
                }
            });
        }
    });
    assert_eq!(figures.into_inner().unwrap().len(), 19);
    run(&mut sandbox.bowline(&["exec", "web", "--", "true"])).code(0);
}

#[test]
fn a_login_that_is_flooded_can_be_left() {
    let sandbox = Sandbox::start(&[]);
    let server = hostile(endpoint(&sandbox), |it| {
        it.terminal_ready()?;
        let large = output(0, &vec![0x1e; LARGE]);
        it.flood(move |number| binary(&numbered(&large, number)))
    });
    let script = format!("BOWLINE_ENDPOINT=http://{server} \"$0\" login web; echo code $?");
    let mut terminal = Terminal::start(&sandbox, "/bin/sh", &["-c", &script, BOWLINE]);
    terminal.until("\x1e\x1e\x1e");
    let client = Process::descendants(terminal.pid())[0].pid;
    let before = memory(client).expect("it runs");
    // Nobody reads the terminal for a while, and the agent goes on.
    let calm = Instant::now() + Duration::from_secs(3);
    while Instant::now() < calm {
        let now = memory(client).expect("it runs");
        assert!(now < before + BOUND, "from {before} to {now} bytes");
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.press(b"\r~.");
    let (_, text) = terminal.end();
    assert!(text.contains("code "), "it says how it ended");
}

/// Runs a command there, to its end, and returns how much more memory it took than one that is let alone.
#[expect(clippy::print_stdout, reason = "figures to look at")]
fn attacked(sandbox: &Sandbox, alone: u64, name: &str, attack: Attacker) -> u64 {
    let server = hostile(endpoint(sandbox), attack);
    let started = Instant::now();
    let (status, peak) = watched(name, &mut command(sandbox, server));
    let grown = peak.saturating_sub(alone);
    println!(
        "{name}: {status}, {} MiB more, {:?}",
        grown >> 20,
        started.elapsed()
    );
    let code = status.code().unwrap_or_else(|| panic!("{name}: {status}"));
    // Either all of it was a lie that held together, or the end was not seen; 101 is a panic.
    assert!(matches!(code, 0 | 124..=126), "{name}: {status}");
    assert!(
        grown < BOUND,
        "{name}: {grown} bytes more than the {alone} of a run in peace"
    );
    grown
}

fn command(sandbox: &Sandbox, server: SocketAddr) -> Command {
    let mut command = sandbox.bowline(&[
        "exec",
        "--timeout",
        "2s",
        "--reconnect-for",
        "2s",
        "web",
        "--",
        "true",
    ]);
    command.env("BOWLINE_ENDPOINT", format!("http://{server}"));
    command
}

/// How it ended, and the most memory that it had.
fn watched(name: &str, command: &mut Command) -> (ExitStatus, u64) {
    let nothing = [Stdio::null(), Stdio::null(), Stdio::null()];
    let [stdin, stdout, stderr] = nothing;
    let mut child = command
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut peak = 0;
    let deadline = Instant::now() + LIMIT;
    loop {
        peak = memory(child.id()).unwrap_or(0).max(peak);
        if let Some(status) = child.try_wait().unwrap() {
            return (status, peak);
        }
        if Instant::now() > deadline || peak > 40 * BOUND {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{name}: still there after {LIMIT:?}, or {peak} bytes");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The most memory that a process ever had, in bytes.
fn memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn endpoint(sandbox: &Sandbox) -> SocketAddr {
    let endpoint = sandbox.variable("BOWLINE_ENDPOINT");
    endpoint.strip_prefix("http://").unwrap().parse().unwrap()
}

fn acknowledgement(sequence: i64) -> Vec<u8> {
    let payload = format!("{{\"AcknowledgedMessageSequenceNumber\":{sequence}}}");
    frame(
        MessageType::Acknowledge,
        0,
        PayloadType::Other(0),
        payload.as_bytes(),
    )
}
