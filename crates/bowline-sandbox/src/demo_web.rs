//! The built-in web server: the main process of the demo world's containers, which need no image that way.
//!
//! It answers every GET with its task's id and logs each request, enough to see forwarding, logs and replacement work.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// The first word of the command that means this server instead of a program on disk.
pub(crate) const PROGRAM: &str = "bowline-demo-web";
/// Where it listens, at its task's address.
pub(crate) const PORT: u16 = 8080;
/// Address and port to listen on.
pub(crate) const LISTEN: &str = "BOWLINE_LISTEN";
/// The id to answer with.
pub(crate) const TASK_ID: &str = "BOWLINE_TASK_ID";

/// Further clients wait in the listen queue.
const CONNECTIONS: usize = 128;
/// How long a connection may stay open without a request.
const IDLE: Duration = Duration::from_secs(60);
/// For the server to listen; it needs some milliseconds.
const LISTENING: Duration = Duration::from_secs(2);
/// Between looks whether it does.
const LOOK: Duration = Duration::from_millis(2);
/// Pause after a failed accept, which would otherwise fail again at once (out of file descriptors).
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until the server with this environment listens. A container of the demo world is only RUNNING when its server
/// answers, so that nobody who is told of it finds the port closed.
pub(crate) async fn await_listening(environment: &[(String, String)]) {
    let address = environment.iter().rfind(|(name, _)| name == LISTEN);
    let Some((_, address)) = address else { return };
    let listens = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(LOOK).await;
        }
    };
    // One that does not listen by then has ended, or says why in its log.
    let _ = tokio::time::timeout(LISTENING, listens).await;
}

/// Serves until SIGTERM.
pub(crate) async fn serve() -> io::Result<()> {
    // Not the program's name: `pkill bowline` is for the user's bowline, not for containers.
    rustix::thread::set_name(c"demo-web")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let setting = |name| {
        std::env::var(name).map_err(|_| io::Error::other(format!("{PROGRAM}: {name} is not set")))
    };
    let (address, task_id) = (setting(LISTEN)?, setting(TASK_ID)?);
    let unusable =
        |error| io::Error::other(format!("{PROGRAM}: cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(&address).await.map_err(unusable)?;
    let answer = Bytes::from(format!("task {task_id}\n"));
    log(&format!("listening on {}", listener.local_addr()?));

    let mut connections = JoinSet::new();
    loop {
        // All cancel-safe. The connections are dropped, and so ended, with the set.
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, peer)) => drop(connections.spawn(converse(stream, peer, answer.clone()))),
                Err(error) => {
                    log(&format!("accept failed: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, answer: Bytes) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(&request, &answer);
        log(&format!(
            "{peer} \"{} {}\" {}",
            request.method(),
            request.uri(),
            response.status().as_u16()
        ));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE);
    // A client that breaks off is its own affair.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

fn respond<B>(request: &Request<B>, answer: &Bytes) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response =
            Response::new(Full::new(Bytes::from_static(b"only GET is served here\n")));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut response = Response::new(Full::new(answer.clone()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn log(line: &str) {
    // Nobody reads any more: the server goes on answering.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reading_is_answered() {
        let answer = Bytes::from_static(b"task 1\n");
        for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 405), ("DELETE", 405)] {
            let request = Request::builder().method(method).body(()).unwrap();
            assert_eq!(
                respond(&request, &answer).status().as_u16(),
                status,
                "{method}"
            );
        }
    }
}
