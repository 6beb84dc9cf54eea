//! The listener on loopback: one port for every API and for the data channels.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::Told;
use crate::api;
use crate::attached;
use crate::guard::{self, Door};
use crate::impersonation::{self, Impersonation};
use crate::isolation::Door as TaskDoor;
use crate::landscape::Landscape;
use crate::page;
use crate::stage::Stage;
use crate::tls::{Accepted, Tls};

/// The largest body of an API request; ECS itself takes less.
const BODY_LIMIT: usize = 1024 * 1024;

/// The same for PutLogEvents: its 1 MiB of events is more as JSON.
const PUT_LIMIT: usize = 4 * 1024 * 1024;

/// The same for objects of S3.
const OBJECT_LIMIT: usize = 16 * 1024 * 1024;

/// How long a client may take to send its head, and again its body.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// How long connections may take to finish their answers when the server shuts down.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Pause after a failed accept (no file descriptors left): trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the metadata of tasks and the data channels are.
const METADATA: &str = "/v4/";
const CHANNEL: &str = "/v1/data-channel/";
/// What opening one of those is called.
const CHANNEL_OPERATION: &str = "ssmmessages.OpenDataChannel";

/// What the port speaks and to whom.
pub(crate) struct Front {
    pub(crate) tls: Option<Tls>,
    /// TLS for agents from outside, who speak nothing else, on a port that is plain otherwise.
    pub(crate) agents: Option<Tls>,
    pub(crate) door: Door,
    /// Also the proxy to AWS's data channels.
    pub(crate) impersonation: Option<Impersonation>,
}

impl Front {
    fn door(&self, entrance: Entrance) -> &Door {
        match (&self.impersonation, entrance) {
            (Some(impersonation), Entrance::Channels) => impersonation.door(),
            _ => &self.door,
        }
    }
}

/// Accepts connections until `stop`, also those that come through doors in the networks of isolated tasks; returns when
/// all of them are finished or were cut off.
pub(crate) async fn serve(
    listener: TcpListener,
    mut doors: mpsc::Receiver<TaskDoor>,
    front: Front,
    stage: Arc<Stage>,
    stop: CancellationToken,
) {
    let front = Arc::new(front);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (front, stage) = (Arc::clone(&front), Arc::clone(&stage));
                    connections.spawn(receive(stream, front, stage, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(door) = doors.recv() => {
                let (front, stage) = (Arc::clone(&front), Arc::clone(&stage));
                connections.spawn(attend(door, front, stage, stop.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_LIMIT, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Accepts what comes from within a task, until the task is over.
async fn attend(door: TaskDoor, front: Arc<Front>, stage: Arc<Stage>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = door.over.cancelled() => return,
            accepted = door.listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (front, stage) = (Arc::clone(&front), Arc::clone(&stage));
                    connections.spawn(receive(stream, front, stage, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection from within a task");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn receive(stream: TcpStream, front: Arc<Front>, stage: Arc<Stage>, stop: CancellationToken) {
    // Small frames in both directions: waiting for more to send would cost 40 ms each time.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let plain = match &front.tls {
        Some(_) => Entrance::MetadataOnly,
        None => Entrance::Main,
    };
    let secured = match &front.tls {
        Some(_) => Entrance::Main,
        None => Entrance::Agents,
    };
    let Some(tls) = front.tls.as_ref().or(front.agents.as_ref()) else {
        return serve_connection(stream, Entrance::Main, front, stage, stop).await;
    };
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        () = stop.cancelled() => return,
    };
    match accepted {
        Ok(Accepted::Tls(stream)) => {
            serve_connection(*stream, secured, front, stage, stop).await;
        }
        Ok(Accepted::Plain(stream)) => {
            serve_connection(stream, plain, front, stage, stop).await;
        }
        Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
    }
}

/// How much a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// Everything.
    Main,
    /// Plain HTTP on a port for TLS: task metadata is plain HTTP in AWS too, everything else is told to use TLS.
    MetadataOnly,
    /// AWS's host of data channels, through the proxy.
    Channels,
    /// Channels of agents, by TLS on a plain port.
    Agents,
}

pub(crate) async fn serve_connection<S>(
    stream: S,
    entrance: Entrance,
    front: Arc<Front>,
    stage: Arc<Stage>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, stage) = (Arc::clone(&front), Arc::clone(&stage));
        async move { Ok::<_, Infallible>(route(front, entrance, &stage, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Answers a request, and tells of it.
async fn route(
    front: Arc<Front>,
    entrance: Entrance,
    stage: &Arc<Stage>,
    request: Request<Incoming>,
) -> Response<Body> {
    let begun = Instant::now();
    let received = request.body().size_hint().lower();
    let path = request.uri().path();
    // The page would fill the log with itself, and the path of metadata is a container's key.
    let what = match path {
        path if path.starts_with(page::ROOT) => None,
        path if path.starts_with(METADATA) => Some("metadata.Get".to_owned()),
        path if path.starts_with(CHANNEL) => Some(CHANNEL_OPERATION.to_owned()),
        _ => Some(format!("http.{}", request.method())),
    };
    let response = answer(front, entrance, stage, request).await;
    if let Some(what) = what {
        let access = &stage.props().access;
        access.call(&response, &what, begun, received);
    }
    response
}

async fn answer(
    front: Arc<Front>,
    entrance: Entrance,
    stage: &Arc<Stage>,
    request: Request<Incoming>,
) -> Response<Body> {
    if request.method() == Method::CONNECT {
        return impersonation::connect(&front, entrance, stage, request);
    }
    let (head, body) = request.into_parts();
    let host = match guard::admit(front.door(entrance), &head) {
        Ok(host) => host,
        Err(refusal) => {
            return api::refuse(
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                &refusal.to_string(),
            );
        }
    };
    let landscape = &stage.landscape();
    let outside = landscape.home.sessions.outside();
    let metadata = head.method == Method::GET && head.uri.path().starts_with(METADATA);
    // An agent of a sandbox with TLS does not trust it with its keys, other than for its channels.
    let decrypt = || {
        let target = head.headers.get("x-amz-target");
        target.is_some_and(|target| target == "TrentService.Decrypt")
            && outside.signer(&head.headers).is_some()
    };
    if entrance == Entrance::MetadataOnly && !metadata && !decrypt() {
        // The words of nginx and of AWS's load balancers, which people and programs know.
        let text = "The plain HTTP request was sent to HTTPS port\n";
        let mut refusal = Response::new(Body::from(text));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return refusal;
    }
    if attached::wants(outside, &head) && entrance != Entrance::Channels {
        return attached::answer(outside, Request::from_parts(head, Body::new(body))).await;
    }
    if entrance == Entrance::Agents {
        let text = "only channels of agents are here";
        return api::refuse(StatusCode::NOT_FOUND, "UnknownOperationException", text);
    }
    if let Some(session_id) = head.uri.path().strip_prefix(CHANNEL) {
        let session_id = session_id.to_owned();
        return open_channel(
            landscape,
            &session_id,
            Request::from_parts(head, Body::new(body)),
        )
        .await;
    }
    if entrance == Entrance::Channels {
        let text = "only data channels are here";
        return api::refuse(StatusCode::NOT_FOUND, "UnknownOperationException", text);
    }
    if metadata {
        return api::metadata(&landscape.worlds().await, head.uri.path());
    }
    if head.uri.path().starts_with(page::ROOT) {
        return page::respond(stage, &head);
    }
    let target = head.headers.get("x-amz-target");
    let put = target.is_some_and(|target| target == "Logs_20140328.PutLogEvents");
    let limit = match head.method {
        Method::PUT => OBJECT_LIMIT,
        _ if put => PUT_LIMIT,
        _ => BODY_LIMIT,
    };
    match read(body, limit).await {
        Ok(body) => api::respond(landscape, &host, &head, body).await,
        Err(refusal) => refusal,
    }
}

/// An upgrade without Authorization passes: older clients do not sign, and the token is checked afterwards.
async fn open_channel(
    landscape: &Landscape,
    session_id: &str,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let admitted = match landscape.admit(&head.headers).await {
        Ok(admitted) => admitted,
        Err(error) => return api::unmade(&error),
    };
    let shared = &admitted.shared;
    let signed = head.headers.contains_key(http::header::AUTHORIZATION);
    if signed && let Err(error) = api::authenticate(&admitted, &head, b"", "ssmmessages", true) {
        return api::refuse(StatusCode::FORBIDDEN, error.json_code(), &error.to_string());
    }
    let action = "ssmmessages:OpenDataChannel";
    shared.count_action(action);
    if let Err(text) = shared.allows(action) {
        return api::refuse(StatusCode::FORBIDDEN, "AccessDeniedException", &text);
    }
    let mut response = shared
        .sessions
        .serve_channel(session_id, Request::from_parts(head, body));
    if signed {
        response.extensions_mut().insert(Told {
            caller: Some(shared.account.caller()),
            operation: CHANNEL_OPERATION.to_owned(),
        });
    }
    response
}

async fn read(body: Incoming, limit: usize) -> Result<Bytes, Response<Body>> {
    let too_long = || {
        api::refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLargeException",
            &format!("the body is longer than {} MiB", limit / (1024 * 1024)),
        )
    };
    // Known from Content-Length: not worth waiting for.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_long());
    }
    match tokio::time::timeout(READ_LIMIT, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
        Ok(Err(_)) => Err(api::refuse(
            StatusCode::BAD_REQUEST,
            "SerializationException",
            "the body could not be read",
        )),
        Err(_) => Err(api::refuse(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeoutException",
            "the body did not arrive within 30 seconds",
        )),
    }
}
