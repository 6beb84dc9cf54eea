//! A lossy link on a virtual clock, and two ends of a session on it.
//!
//! One number decides a whole run: the link's faults, the data and the sizes of the writes, whether the session is
//! encrypted and how late the key comes. [`Run::go`] prints nothing and never sleeps; a run that goes wrong is repeated
//! by its number.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    AgentConfig, ClientConfig, DataKey, DigestCheck, Event, Frame, HandshakeRequest, PayloadType,
    Session, SessionType, Timestamp,
};

/// Virtual time after which a run counts as hung.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Outages in one run, at most, less one.
const MAX_OUTAGES: u64 = 5;
/// What a link does to messages, at worst: 40 % lost.
const MAX_LOSS: u64 = 40;
/// Of the payloads on the links of encrypted sessions, at most so many in a hundred are changed on their way.
const MAX_TAMPERING: u64 = 10;
/// KMS answers within this time, in milliseconds.
const MAX_KEY_DELAY: u64 = 3000;

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
    /// How many data payloads in a hundred are changed, with a digest to match. Only encrypted sessions notice.
    tampering: u64,
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
            tampering: 0,
            latency: Duration::from_micros(random.below(50_000)),
            jitter: Duration::from_micros(random.below(30_000)),
            flying: BTreeMap::new(),
            sent: 0,
            random,
        }
    }

    /// A link that only takes its time.
    #[must_use]
    pub fn faultless(latency: Duration) -> Self {
        Self {
            random: Random::new(0),
            loss: 0,
            duplication: 0,
            tampering: 0,
            latency,
            jitter: Duration::ZERO,
            flying: BTreeMap::new(),
            sent: 0,
        }
    }

    /// From now on so many messages in a hundred vanish.
    pub fn lose(&mut self, percent: u64) {
        self.loss = percent;
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
            let copy = match self.random.chance(self.tampering) {
                true => self.tampered(message),
                false => message.clone(),
            };
            self.flying.insert((arrival, self.sent), copy);
        }
    }

    /// The message with one bit of its payload changed, if it carries data.
    fn tampered(&mut self, message: &Bytes) -> Bytes {
        let Some(mut frame) = Frame::decode(message, DigestCheck::Enforce)
            .ok()
            .filter(|frame| PayloadType::from(frame.payload_type) == PayloadType::Output)
        else {
            return message.clone();
        };
        let mut payload = frame.payload.to_vec();
        let place = self.random.below(payload.len() as u64);
        let place = usize::try_from(place).unwrap_or_default();
        if let Some(byte) = payload.get_mut(place) {
            *byte ^= 1 << self.random.below(8);
        }
        frame.payload = payload.into();
        frame.encode()
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
    /// Something happens at this moment; the clock does not pass it by.
    pub alarm: Option<Timestamp>,
    /// The client has no connection.
    is_cut: bool,
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
            alarm: None,
            is_cut: false,
        }
    }

    /// The client loses its connection, and with it whatever is on its way.
    pub fn cut(&mut self) {
        self.is_cut = true;
        self.up.flying.clear();
        self.down.flying.clear();
        self.client.disconnected();
    }

    /// The client has a new connection.
    pub fn mend(&mut self) {
        self.is_cut = false;
        self.client.reconnected(self.now);
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
            // The service takes what the agent sends and can give it to nobody.
            if !self.is_cut {
                self.down.send(self.now, &message);
            }
        }
        let next = [
            self.client.poll_timeout(),
            self.agent.poll_timeout(),
            self.up.next_arrival(),
            self.down.next_arrival(),
            self.alarm,
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
    kms: Option<Kms>,
    /// When the connection goes and when it comes back, in turn, the next one last.
    outages: Vec<Timestamp>,
}

/// Hands the key of an encrypted session to both ends, some time after each asks.
struct Kms {
    key: Vec<u8>,
    /// Moments of answers to the client and to the agent.
    due: [Option<Timestamp>; 2],
}

impl Run {
    /// The conversation with this number, up to `max_bytes` each way.
    #[must_use]
    pub fn new(seed: u64, max_bytes: u64) -> Self {
        let mut random = Random::new(seed);
        let up = usize::try_from(random.below(max_bytes)).unwrap_or_default();
        let down = 1 + usize::try_from(random.below(max_bytes)).unwrap_or_default();
        let mut handshake = random.chance(60).then(|| {
            let kind = SessionType::InteractiveCommands;
            HandshakeRequest::new("3.3.987.0", &kind, &serde_json::Value::Null)
        });
        let mut kms = None;
        if let Some(request) = handshake.take_if(|_| random.chance(50)) {
            let challenge = random.chance(50).then_some("QSBjaGFsbGVuZ2Uh");
            handshake = Some(request.with_encryption("alias/sim", challenge));
            kms = Some(Kms {
                key: random.bytes(DataKey::LENGTH),
                due: [None; 2],
            });
        }
        let agent = AgentConfig {
            handshake,
            ..AgentConfig::new("sim", seed ^ 1)
        };
        let outages = outages(&mut random);
        let mut pair = Pair::new(seed, ClientConfig::new(seed ^ 2), agent);
        if kms.is_some() {
            pair.up.tampering = random.below(MAX_TAMPERING + 1);
            pair.down.tampering = random.below(MAX_TAMPERING + 1);
        }
        Self {
            seed,
            pair,
            to_send_up: random.bytes(up),
            to_send_down: random.bytes(down),
            kms,
            outages,
            random,
        }
    }

    /// Whether the client loses its connection on the way.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.outages.is_empty()
    }

    /// Whether the session is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.kms.is_some()
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
                match event {
                    Event::Output(bytes) => got_down.extend_from_slice(&bytes),
                    Event::KeyWanted { .. } => self.ask_kms(true),
                    Event::Closed { output, .. } => return Err(self.complaint(&output)),
                    _ => {}
                }
            }
            while let Some(event) = self.pair.agent.poll_event() {
                match event {
                    Event::Input(bytes) => got_up.extend_from_slice(&bytes),
                    Event::KeyOffered { .. } => self.ask_kms(false),
                    Event::Refused(reason) => return Err(self.complaint(&reason)),
                    _ => {}
                }
            }
            self.answer_of_kms();
            self.cut_or_mend();
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

    fn ask_kms(&mut self, client: bool) {
        let delay = Duration::from_millis(self.random.below(MAX_KEY_DELAY));
        if let Some(Kms {
            due: [to_client, to_agent],
            ..
        }) = &mut self.kms
        {
            let due = if client { to_client } else { to_agent };
            *due = Some(self.pair.now + delay);
        }
    }

    /// Keys come twice at times, and then the second is another: only the first may count.
    fn answer_of_kms(&mut self) {
        let Some(kms) = &mut self.kms else { return };
        let now = self.pair.now;
        for (due, end) in kms
            .due
            .iter_mut()
            .zip([&mut self.pair.client, &mut self.pair.agent])
        {
            if due.take_if(|due| *due <= now).is_none() {
                continue;
            }
            let other = self.random.bytes(DataKey::LENGTH);
            let keys = [&kms.key, &other].map(|bytes| DataKey::from_slice(bytes));
            for key in keys
                .iter()
                .flatten()
                .take(1 + usize::from(self.random.chance(30)))
            {
                end.provide_key(now, key, b"ciphertext");
            }
        }
    }

    fn cut_or_mend(&mut self) {
        let now = self.pair.now;
        if self.outages.pop_if(|at| *at <= now).is_some() {
            // One that would begin after both ends are done never happens, so they come in pairs.
            match self.pair.is_cut {
                true => self.pair.mend(),
                false => self.pair.cut(),
            }
        }
        let keys = self.kms.iter().flat_map(|kms| kms.due);
        let alarms = keys.flatten().chain(self.outages.last().copied());
        self.pair.alarm = alarms.min();
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

/// Up to six outages of up to a second, most of them while something is on its way; none for half of the runs.
fn outages(random: &mut Random) -> Vec<Timestamp> {
    let mut at = Timestamp::from_millis(1_700_000_000_000);
    let mut moments = Vec::new();
    if random.chance(50) {
        for _ in 0..=random.below(MAX_OUTAGES) {
            at = at + Duration::from_millis(random.below(1500));
            moments.push(at);
            at = at + Duration::from_millis(1 + random.below(1000));
            moments.push(at);
        }
    }
    moments.reverse();
    moments
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
