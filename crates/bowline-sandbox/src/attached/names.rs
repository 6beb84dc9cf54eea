//! Hosts that only tasks reach, for agents that resolve names and connect themselves.
//!
//! For each agent each host gets an address in 127/8, where the sandbox listens on its ports and passes connections on;
//! the agent finds it in the `/etc/hosts` that it sees. A task's own address comes first under the name `localhost`, where agents look
//! for its ports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::database;
use crate::identifiers;
use crate::reach::{RemoteHost, Stream};

/// Addresses that are tried for one host.
const TRIES: usize = 5;

/// The names that one agent knows, and the listeners behind them.
#[derive(Debug)]
pub(super) struct Names {
    addresses: BTreeMap<String, Ipv4Addr>,
    _listeners: Vec<AbortOnDropHandle<()>>,
}

/// Where connections go on to.
#[derive(Clone)]
enum Place {
    At(SocketAddr),
    /// Through this task.
    Database(String),
}

impl Names {
    /// Listens for these hosts, and for the demo database.
    pub(super) fn new(hosts: &[RemoteHost], task: &str) -> io::Result<Self> {
        let demo = Place::Database(task.to_owned());
        let mut places = vec![(database::HOST.to_owned(), database::PORT, demo)];
        places.extend(hosts.iter().map(|host| {
            let (name, port, at) = host.parts();
            (name.to_owned(), port, Place::At(at))
        }));
        let mut addresses: BTreeMap<String, Ipv4Addr> = BTreeMap::new();
        let mut listeners = Vec::new();
        for (name, port, place) in places {
            let known = addresses.get(&name).copied();
            let (address, listener) = listen(known, port)?;
            addresses.insert(name, address);
            listeners.push(AbortOnDropHandle::new(tokio::spawn(serve(listener, place))));
        }
        Ok(Self {
            addresses,
            _listeners: listeners,
        })
    }

    /// What an agent of the task at `address` finds in `/etc/hosts`.
    pub(super) fn hosts(&self, address: Ipv4Addr) -> String {
        // A program may listen on the task's address or on its loopback; the agent tries one after the other.
        let mut text = format!("{address} localhost\n127.0.0.1 localhost\n");
        for (name, address) in &self.addresses {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{address} {name}");
        }
        let host = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        for line in host.lines() {
            let words = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = words.split_whitespace().collect();
            if words.len() > 1 && !words[1..].contains(&"localhost") {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

fn listen(known: Option<Ipv4Addr>, port: u16) -> io::Result<(Ipv4Addr, TcpListener)> {
    let mut result = Err(io::Error::from(io::ErrorKind::AddrInUse));
    for _ in 0..TRIES {
        let [a, b, c] = identifiers::random::<3>();
        let random = Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254));
        let address = known.unwrap_or(random);
        result = std::net::TcpListener::bind((address, port)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((address, TcpListener::from_std(listener)?))
        });
        if result.is_ok() {
            break;
        }
    }
    result.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on port {port} for a host of the tasks: {error}"),
        )
    })
}

async fn serve(listener: TcpListener, place: Place) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(pass_on(stream, place.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for a host of the tasks");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass_on(mut stream: TcpStream, place: Place) {
    let mut target: Stream = match place {
        Place::Database(task) => Box::new(database::connect(&task)),
        Place::At(address) => match TcpStream::connect(address).await {
            Ok(target) => Box::new(target),
            Err(error) => {
                tracing::debug!(%error, "a host of the tasks does not answer");
                return;
            }
        },
    };
    // Either end may break off.
    let _ = stream.set_nodelay(true);
    let _ = copy_bidirectional(&mut stream, &mut target).await;
}
