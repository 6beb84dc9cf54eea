//! AWS's own host of data channels, for clients that open them nowhere else.
//!
//! Stream URLs name `ssmmessages.<region>.amazonaws.com`, and the sandbox is the HTTPS proxy on the way there: it answers
//! CONNECT for exactly that host itself, with a certificate of its own authority, and refuses every other. Nothing ever
//! leaves the machine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use crate::api;
use crate::guard::Door;
use crate::server::{self, Entrance, Front};
use crate::stage::Stage;
use crate::tls::Tls;

/// The host that is stood in for.
pub(crate) struct Impersonation {
    /// As in CONNECT.
    authority: String,
    tls: Tls,
    door: Door,
}

impl Impersonation {
    pub(crate) fn new(host: &str, tls: Tls) -> Self {
        Self {
            authority: format!("{host}:443"),
            tls,
            door: Door {
                scheme: "https",
                names: vec![host.to_owned()],
            },
        }
    }

    /// Who may come in through the proxy.
    pub(crate) fn door(&self) -> &Door {
        &self.door
    }
}

/// Answers CONNECT, and serves what comes through it.
pub(crate) fn connect(
    front: &Arc<Front>,
    entrance: Entrance,
    stage: &Arc<Stage>,
    request: Request<Incoming>,
) -> Response<Body> {
    let refuse = |text: &str| api::refuse(StatusCode::FORBIDDEN, "AccessDeniedException", text);
    let Some(impersonation) = &front.impersonation else {
        return refuse("the sandbox is a proxy with --impersonate only");
    };
    let wanted = request.uri().authority().map(ToString::to_string);
    let wanted = wanted.unwrap_or_default();
    if entrance != Entrance::Main || !wanted.eq_ignore_ascii_case(&impersonation.authority) {
        let only = &impersonation.authority;
        return refuse(&format!("this proxy leads to {only} only, not to {wanted}"));
    }
    let tunnel = tunnel(Arc::clone(front), Arc::clone(stage), request);
    // It ends with its connection or the sandbox, whose shutdown waits for it.
    stage.home().lifecycles.spawn(tunnel);
    Response::new(Body::empty())
}

/// Boxed: it serves a connection within the serving of one.
fn tunnel(
    front: Arc<Front>,
    stage: Arc<Stage>,
    request: Request<Incoming>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let stop = stage.home().stop.clone();
        let Some(tls) = front.impersonation.as_ref().map(|it| it.tls.clone()) else {
            return;
        };
        let opening = async {
            let upgraded = hyper::upgrade::on(request).await.ok()?;
            match tls.handshake(TokioIo::new(upgraded)).await {
                Ok(stream) => Some(stream),
                Err(error) => {
                    tracing::debug!(%error, "a TLS handshake behind CONNECT failed");
                    None
                }
            }
        };
        let stream = tokio::select! {
            stream = opening => stream,
            () = stop.cancelled() => None,
        };
        if let Some(stream) = stream {
            server::serve_connection(stream, Entrance::Channels, front, stage, stop).await;
        }
    })
}
