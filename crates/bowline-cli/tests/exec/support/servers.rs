//! What may be between us and AWS: an HTTP proxy, and servers that do not do what they should.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A proxy for CONNECT that takes every name for this machine and remembers what it was asked for.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Connect>>>,
}

/// A request to a proxy.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    /// Host and port.
    pub(crate) target: String,
    /// The value of Proxy-Authorization.
    pub(crate) credentials: Option<String>,
}

impl Proxy {
    /// One that lets everybody through.
    pub(crate) fn start() -> Self {
        Self::answering("200 Connection established")
    }

    /// One that answers every request like this; only after a 200 there is a tunnel.
    pub(crate) fn answering(status: &'static str) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let address = serve(move |client| {
            let Some(request) = read_connect(&client) else {
                return;
            };
            kept.lock().unwrap().push(request.clone());
            let answer = format!("HTTP/1.1 {status}\r\nVia: test\r\n\r\n");
            if (&client).write_all(answer.as_bytes()).is_err() || !status.starts_with("200") {
                return;
            }
            let (_, port) = request.target.rsplit_once(':').unwrap();
            if let Ok(server) = TcpStream::connect(("127.0.0.1", port.parse().unwrap())) {
                join(client.try_clone().unwrap(), client, server);
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Connect> {
        self.requests.lock().unwrap().clone()
    }
}

/// A server that answers every connection with the same bytes, once something has come; or never, with none.
pub(crate) fn stub(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = answer.into();
    serve(move |mut client| {
        let mut request = [0; 64 * 1024];
        if client.read(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let _ = client.write_all(&answer);
        if !answer.is_empty() {
            let _ = client.shutdown(Shutdown::Write);
        }
        // What is still on its way must not turn the answer into a reset.
        while matches!(client.read(&mut request), Ok(1..)) {}
    })
}

/// The same, and what came, as text.
pub(crate) fn listening_stub(answer: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    let address = serve(move |mut client| {
        let mut request = [0; 64 * 1024];
        let count = client.read(&mut request).unwrap_or(0);
        let text = String::from_utf8_lossy(&request[..count]).into_owned();
        kept.lock().unwrap().push(text);
        let _ = client.write_all(answer.as_bytes());
        let _ = client.shutdown(Shutdown::Write);
        while matches!(client.read(&mut request), Ok(1..)) {}
    });
    (address, requests)
}

/// A port on which nothing listens.
pub(crate) fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The threads end with their connections, and all of them with the test.
pub(super) fn serve(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let handle = handle.clone();
            std::thread::spawn(move || handle(client));
        }
    });
    address
}

fn read_connect(client: &TcpStream) -> Option<Connect> {
    let mut lines = BufReader::new(client).lines().map_while(Result::ok);
    let first = lines.next()?;
    let target = first
        .strip_prefix("CONNECT ")?
        .split(' ')
        .next()?
        .to_owned();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let credentials = headers.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization")
            .then(|| value.to_owned())
    });
    Some(Connect {
        target,
        credentials,
    })
}

/// Both directions, until both have ended; `from_client` reads the client.
pub(super) fn join(client: TcpStream, from_client: impl Read + Send + 'static, server: TcpStream) {
    let to_server = server.try_clone().unwrap();
    let upward = std::thread::spawn(move || pump(from_client, to_server));
    pump(server, client);
    upward.join().unwrap();
}

fn pump(mut from: impl Read, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
