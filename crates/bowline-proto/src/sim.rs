//! A lossy link on a virtual clock, and two ends of a session on it.
//!
//! One number decides a whole run: the link's faults, the data and the sizes of the writes. [`Run::go`] prints
//! nothing and never sleeps; a run that goes wrong is repeated by its number.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::{AgentConfig, ClientConfig, Event, PayloadType, Session, Timestamp};

/// Virtual time after which a run counts as hung.
const PATIENCE: Duration = Duration::from_secs(3600);
/// What a link does to messages, at worst: 40 % lost.
const MAX_LOSS: u64 = 40;

/// Pseudo-random numbers, the same from the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    /// Whether something with a chance of `percent` happens.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// `length` arbitrary bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap_or_default())
            .collect()
    }
}

/// One direction of a network that loses, duplicates, delays and reorders.
#[derive(Debug)]
pub struct Link {
    random: Random,
    loss: u64,
    duplication: u64,
    latency: Duration,
    jitter: Duration,
    flying: BTreeMap<(Timestamp, u64), Bytes>,
    sent: u64,
}

impl Link {
    /// A link whose faults are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            loss: random.below(MAX_LOSS + 1),
            duplication: random.below(20),
            latency: Duration::from_micros(random.below(50_000)),
            jitter: Duration::from_micros(random.below(30_000)),
            flying: BTreeMap::new(),
            sent: 0,
            random,
        }
    }

    fn send(&mut self, now: Timestamp, message: &Bytes) {
        let copies = if self.random.chance(self.duplication) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            if self.random.chance(self.loss) {
                continue;
            }
            let jitter = self
                .random
                .below(u64::try_from(self.jitter.as_micros()).unwrap_or(1) + 1);
            let arrival = now + self.latency + Duration::from_micros(jitter);
            self.sent += 1;
            self.flying.insert((arrival, self.sent), message.clone());
        }
    }

    fn arrived(&mut self, now: Timestamp) -> Option<Bytes> {
        let entry = self
            .flying
            .first_entry()
            .filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    fn next_arrival(&self) -> Option<Timestamp> {
        self.flying
            .first_key_value()
            .map(|((arrival, _), _)| *arrival)
    }
}

/// Two ends and the links between them.
pub struct Pair {
    /// The moment it is.
    pub now: Timestamp,
    /// The client end.
    pub client: Session,
    /// The agent end.
    pub agent: Session,
    /// Client to agent.
    pub up: Link,
    /// Agent to client.
    pub down: Link,
}

impl Pair {
    /// Two ends with links whose faults are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64, client: ClientConfig, agent: AgentConfig) -> Self {
        let now = Timestamp::from_millis(1_700_000_000_000);
        Self {
            now,
            client: Session::client(client, now),
            agent: Session::agent(agent, now),
            up: Link::new(seed ^ 0x55),
            down: Link::new(seed ^ 0xaa),
        }
    }

    /// Delivers what has arrived, lets both ends send, and moves the clock to what happens next.
    /// False if nothing will ever happen again.
    pub fn step(&mut self) -> bool {
        while let Some(message) = self.down.arrived(self.now) {
            let _ = self.client.receive(self.now, &message);
        }
        while let Some(message) = self.up.arrived(self.now) {
            let _ = self.agent.receive(self.now, &message);
        }
        self.client.handle_timeout(self.now);
        self.agent.handle_timeout(self.now);
        while let Some(message) = self.client.poll_transmit(self.now) {
            self.up.send(self.now, &message);
        }
        while let Some(message) = self.agent.poll_transmit(self.now) {
            self.down.send(self.now, &message);
        }
        let next = [
            self.client.poll_timeout(),
            self.agent.poll_timeout(),
            self.up.next_arrival(),
            self.down.next_arrival(),
        ];
        match next.into_iter().flatten().min() {
            // A deadline in the past is due again at once; time still moves so that no bug can stop the clock.
            Some(next) => self.now = next.max(self.now + Duration::from_micros(1)),
            None => return false,
        }
        true
    }
}

/// What a run showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Virtual time from the first byte to both ends idle.
    pub elapsed: Duration,
    /// Most bytes held in the buffers of one end at any moment.
    pub peak_buffer: usize,
    /// Bytes carried in both directions together.
    pub bytes: usize,
}

/// One conversation: random data both ways over two faulty links.
pub struct Run {
    seed: u64,
    pair: Pair,
    random: Random,
    to_send_up: Vec<u8>,
    to_send_down: Vec<u8>,
}

impl Run {
    /// The conversation with this number, up to `max_bytes` each way.
    #[must_use]
    pub fn new(seed: u64, max_bytes: u64) -> Self {
        let mut random = Random::new(seed);
        let up = usize::try_from(random.below(max_bytes)).unwrap_or_default();
        let down = 1 + usize::try_from(random.below(max_bytes)).unwrap_or_default();
        let handshake = random.chance(50).then(|| {
            crate::HandshakeRequest::new(
                "3.3.987.0",
                &crate::SessionType::InteractiveCommands,
                &serde_json::Value::Null,
            )
        });
        let agent = AgentConfig {
            handshake,
            ..AgentConfig::new("sim", seed ^ 1)
        };
        Self {
            seed,
            pair: Pair::new(seed, ClientConfig::new(seed ^ 2), agent),
            to_send_up: random.bytes(up),
            to_send_down: random.bytes(down),
            random,
        }
    }

    /// Runs until every byte was delivered and both ends are idle.
    ///
    /// # Errors
    /// A sentence that names the run's number and what is wrong.
    pub fn go(mut self) -> Result<Report, String> {
        let start = self.pair.now;
        let (mut sent_up, mut sent_down) = (0, 0);
        let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
        let mut report = Report {
            bytes: self.to_send_up.len() + self.to_send_down.len(),
            ..Report::default()
        };
        loop {
            let now = self.pair.now;
            sent_up += write_some(
                &mut self.pair.client,
                now,
                &mut self.random,
                &self.to_send_up,
                sent_up,
            );
            sent_down += write_some(
                &mut self.pair.agent,
                now,
                &mut self.random,
                &self.to_send_down,
                sent_down,
            );
            let going = self.pair.step();
            while let Some(event) = self.pair.client.poll_event() {
                if let Event::Output(bytes) = event {
                    got_down.extend_from_slice(&bytes);
                }
            }
            while let Some(event) = self.pair.agent.poll_event() {
                if let Event::Input(bytes) = event {
                    got_up.extend_from_slice(&bytes);
                }
            }
            let held = self.pair.client.buffered().max(self.pair.agent.buffered());
            report.peak_buffer = report.peak_buffer.max(held);
            let all_written =
                sent_up == self.to_send_up.len() && sent_down == self.to_send_down.len();
            if all_written && self.pair.client.is_idle() && self.pair.agent.is_idle() {
                break;
            }
            if !going || self.pair.now - start > PATIENCE {
                return Err(self.complaint("is stuck"));
            }
        }
        report.elapsed = self.pair.now - start;
        if got_up != self.to_send_up || got_down != self.to_send_down {
            return Err(self.complaint("delivered other bytes than were written"));
        }
        Ok(report)
    }

    fn complaint(&self, what: &str) -> String {
        format!(
            "run {} {what} after {:?} of virtual time (loss {} % up, {} % down)",
            self.seed,
            self.pair.now - Timestamp::from_millis(1_700_000_000_000),
            self.pair.up.loss,
            self.pair.down.loss
        )
    }
}

/// Writes a piece of random size from `at` on, and says how much of it was taken.
fn write_some(
    session: &mut Session,
    now: Timestamp,
    random: &mut Random,
    data: &[u8],
    at: usize,
) -> usize {
    let length = usize::try_from(random.below(5000)).unwrap_or_default();
    let piece = data
        .get(at..data.len().min(at + length))
        .unwrap_or_default();
    session.write(now, PayloadType::Output, piece)
}
