//! smux: an end that is told anything, and two ends that carry what is written, whatever happens in between.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::START;
use crate::smux::{BUDGET, Mux, MuxConfig, MuxEvent, MuxRole, StreamId};

/// One piece that was received can be this much over the budget.
const SLACK: usize = 1 << 20;

/// A peer that says anything. The first byte says which end it is told to and how the bytes are cut.
pub fn smux(data: &[u8]) {
    let Some((&setup, rest)) = data.split_first() else {
        return;
    };
    told(setup, rest);
    crossing(setup, rest);
}

/// Whatever is said: no panic, bounded memory, and what is sent in return is smux.
fn told(setup: u8, data: &[u8]) {
    let role = match setup & 1 {
        0 => MuxRole::Client,
        _ => MuxRole::Server,
    };
    let mut mux = end(role, setup & 2 != 0);
    let mut peer = end(MuxRole::Server, false);
    let mut known: Vec<StreamId> = mux
        .open()
        .filter(|_| role == MuxRole::Client)
        .into_iter()
        .collect();
    let mut now = START;
    for piece in data.chunks(usize::from(setup >> 2) + 1) {
        if mux.receive(now, Bytes::copy_from_slice(piece)).is_err() {
            break;
        }
        while let Some(event) = mux.poll_event() {
            match event {
                MuxEvent::Opened(id) => known.push(id),
                MuxEvent::Finished(id) => mux.close(id),
                _ => {}
            }
        }
        now = now + Duration::from_secs(1);
        mux.handle_timeout(now);
        if let Some(id) = known.last()
            && piece.len().is_multiple_of(3)
        {
            mux.read(now, *id);
            mux.write(*id, &mut Bytes::copy_from_slice(piece));
        }
        while let Some(bytes) = mux.poll_transmit(100) {
            assert!(bytes.len() <= 100);
            assert_eq!(peer.receive(now, bytes), Ok(()));
        }
        assert!(mux.unread() <= BUDGET + SLACK && mux.is_idle() && mux.unsent() == 0);
    }
}

/// What a client writes is read by the server, each stream by itself and in order, as far as it was closed in peace.
fn crossing(setup: u8, data: &[u8]) {
    let (mut client, mut server) = (end(MuxRole::Client, false), end(MuxRole::Server, false));
    let mut open: Vec<StreamId> = Vec::new();
    let mut written: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut read: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for step in data.chunks(2) {
        let [action, value] = [step.first(), step.last()].map(|byte| byte.copied().unwrap_or(0));
        match action % 4 {
            0 => {
                if let Some(id) = client.open() {
                    open.push(id);
                    written.insert(id.number(), Vec::new());
                }
            }
            1 | 2 if !open.is_empty() => {
                let Some(id) = open.get(usize::from(action / 4) % open.len()) else {
                    continue;
                };
                let said = vec![value; usize::from(value) * 40];
                let mut bytes = Bytes::from(said.clone());
                client.write(*id, &mut bytes);
                if let Some(all) = written.get_mut(&id.number()) {
                    let taken = said.len() - bytes.len();
                    all.extend(said.into_iter().take(taken));
                }
            }
            3 if !open.is_empty() => {
                let id = open.remove(usize::from(value) % open.len());
                client.close(id);
            }
            _ => {}
        }
        if value & 1 == 0 {
            pass(
                &mut client,
                &mut server,
                usize::from(setup) * 7 + 1,
                &mut read,
            );
        }
    }
    for id in open {
        client.close(id);
    }
    pass(&mut client, &mut server, 5000, &mut read);
    assert_eq!(client.streams(), 0);
    written.retain(|_, bytes| !bytes.is_empty());
    read.retain(|_, bytes| !bytes.is_empty());
    assert_eq!(written, read);
}

/// Carries everything over, in pieces, and reads it there.
fn pass(client: &mut Mux, server: &mut Mux, cut: usize, read: &mut BTreeMap<u32, Vec<u8>>) {
    while let Some(mut bytes) = client.poll_transmit(20_000) {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(cut));
            assert_eq!(server.receive(START, piece), Ok(()));
        }
        while let Some(event) = server.poll_event() {
            let (MuxEvent::Readable(id) | MuxEvent::Finished(id)) = event else {
                continue;
            };
            while let Some(bytes) = server.read(START, id) {
                read.entry(id.number())
                    .or_default()
                    .extend_from_slice(&bytes);
            }
            if matches!(event, MuxEvent::Finished(_)) {
                server.close(id);
            }
        }
    }
}

fn end(role: MuxRole, keep_alive: bool) -> Mux {
    let config = MuxConfig {
        role,
        keep_alive,
        patience: Some(Duration::from_secs(10)),
    };
    Mux::new(config, START)
}
