//! Where connections are accepted, and who does so already.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;

use super::error::ForwardError;
use super::spec::Local;

/// For somebody at a socket's other end to say that he is there.
const PROBE: Duration = Duration::from_secs(1);

/// Both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {
    /// Lets the other end know, when this one is dropped, that it was no proper end.
    fn break_off(&self);
}

impl Duplex for tokio::net::TcpStream {
    fn break_off(&self) {
        // Else an end in the middle of an answer would look like the end of the answer.
        let _ = rustix::net::sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }
}

impl Duplex for UnixStream {
    fn break_off(&self) {}
}

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) stream: Box<dyn Duplex>,
    pub(super) peer: String,
    /// Held as long as the connection is open.
    pub(super) held: Option<Arc<()>>,
}

/// Listens until it is dropped.
pub(super) enum Listener {
    /// On one address, or on both of loopback.
    Tcp(TcpListener, Option<TcpListener>),
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

/// Where it listens, as it turned out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundTo {
    /// A port of this machine.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl std::fmt::Display for BoundTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Removes the socket's file with the listener.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}

impl Listener {
    pub(super) async fn bind(local: &Local) -> Result<(Self, BoundTo), ForwardError> {
        let failed = |source: io::Error| {
            let holder = match (local, source.kind()) {
                (Local::Port { port, .. }, io::ErrorKind::AddrInUse) => holder(*port),
                _ => None,
            };
            let local = local.clone();
            ForwardError::Listen {
                local,
                holder,
                source,
            }
        };
        match local {
            Local::Socket(path) => {
                let listener = bind_socket(path).await.map_err(failed)?;
                let _file = SocketFile(path.clone());
                Ok((Self::Unix { listener, _file }, BoundTo::Unix(path.clone())))
            }
            Local::Port { address, port } => {
                let main = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                let listener = TcpListener::bind((main, *port)).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                // For those that try `localhost` by its other address first; not every machine has it.
                let other = match address {
                    None => TcpListener::bind((Ipv6Addr::LOCALHOST, bound.port()))
                        .await
                        .ok(),
                    Some(_) => None,
                };
                Ok((Self::Tcp(listener, other), BoundTo::Tcp(bound)))
            }
        }
    }

    /// The next connection. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        let tcp = |(stream, peer): (tokio::net::TcpStream, SocketAddr)| {
            // Bytes wait on the way already.
            stream.set_nodelay(true)?;
            Ok(Accepted {
                stream: Box::new(stream),
                peer: peer.to_string(),
                held: None,
            })
        };
        match self {
            Self::Tcp(listener, None) => tcp(listener.accept().await?),
            Self::Tcp(listener, Some(other)) => tokio::select! {
                accepted = listener.accept() => tcp(accepted?),
                accepted = other.accept() => tcp(accepted?),
            },
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let process = stream.peer_cred().ok().and_then(|it| it.pid());
                let peer = process.map_or_else(
                    || "a local process".to_owned(),
                    |pid| format!("process {pid}"),
                );
                Ok(Accepted {
                    stream: Box::new(stream),
                    peer,
                    held: None,
                })
            }
        }
    }
}

/// A socket that nobody serves any more is in the way of nobody.
async fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let taken = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
        other => return other,
    };
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    let alone = match timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        _ => false,
    };
    if !(is_socket && alone) {
        return Err(taken);
    }
    fs::remove_file(path)?;
    UnixListener::bind(path)
}

/// The program that listens on a port, on Linux and as far as its owner is ours or we are root.
fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|it| it.parse::<u32>().ok())
        else {
            continue;
        };
        let files = fs::read_dir(process.path().join("fd"));
        let holds = files.into_iter().flatten().flatten().any(|file| {
            fs::metadata(file.path()).is_ok_and(|file| {
                let inode = file.ino().to_string();
                file.file_type().is_socket() && inodes.contains(&inode)
            })
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

/// The inodes of the sockets that listen on a port, from one of the kernel's tables.
fn listening(table: &str, port: u16) -> Vec<String> {
    let end = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| {
            // 0A is LISTEN.
            words.get(1).is_some_and(|address| address.ends_with(&end))
                && words.get(3) == Some(&"0A")
        })
        .filter_map(|words| words.get(9).map(|inode| (*inode).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_listens_already_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let (address, port) = (None, port);
        let error = Listener::bind(&Local::Port { address, port })
            .await
            .err()
            .unwrap();
        let text = error.to_string();
        let us = format!("(process {}) listens there", std::process::id());
        assert!(text.contains(&us), "{text}");
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let local = Local::Socket(path.clone());
        let (listener, _) = Listener::bind(&local).await.unwrap();
        assert!(Listener::bind(&local).await.is_err());
        drop(listener);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        assert!(Listener::bind(&local).await.is_err());
        assert!(path.exists());
    }
}
