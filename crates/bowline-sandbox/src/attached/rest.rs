//! An agent's requests: tokens for its channels by POST with XML as the answer, and the upgrades that use them.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use tokio::time::timeout;

use super::{Attached, Pass, socket};
use crate::access::{Code, Told};
use crate::api;
use crate::auth::{self, Expected};
use crate::channel;

const CONTROL: &str = "/v1/control-channel/";
const DATA: &str = "/v1/data-channel/";
/// The bodies hold three short texts.
const BODY_LIMIT: usize = 16 * 1024;
/// The agent itself gives up after 15 s.
const READ_LIMIT: Duration = Duration::from_secs(15);

/// Whether a request is one of an agent. The upgrades of data channels differ from clients' by who signed them.
pub(crate) fn wants(attached: &Attached, head: &Parts) -> bool {
    let path = head.uri.path();
    path.starts_with(CONTROL)
        || (path.starts_with(DATA)
            && (head.method == Method::POST || attached.signer(&head.headers).is_some()))
}

/// Answers it; the door was passed before.
pub(crate) async fn answer(attached: &Attached, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let channel = match (&head.method, head.uri.path()) {
        (&Method::POST | &Method::GET, path) if path.starts_with(CONTROL) => {
            Wanted::Control(decoded(&path[CONTROL.len()..]))
        }
        (&Method::POST | &Method::GET, path) if path.starts_with(DATA) => {
            Wanted::Data(decoded(&path[DATA.len()..]))
        }
        _ => {
            let text = "only channels are here";
            return api::refuse(StatusCode::NOT_FOUND, "UnknownOperationException", text);
        }
    };
    let upgrade = head.method == Method::GET;
    let mut told = Told {
        caller: None,
        operation: channel.action(upgrade).replace(':', "."),
    };
    let mut response = match enter(attached, &head, body, &channel).await {
        Ok((pass, target)) => {
            told.caller = pass.caller();
            match upgrade {
                true => {
                    let request = Request::from_parts(head, Body::empty());
                    open(attached, pass, target, channel, request)
                }
                false => create(attached, &target, &channel),
            }
        }
        Err(response) => response,
    };
    response.extensions_mut().insert(told);
    response
}

/// Who asks, and the target that is asked for.
async fn enter(
    attached: &Attached,
    head: &Parts,
    body: Body,
    channel: &Wanted,
) -> Result<(Pass, String), Response<Body>> {
    let pass = attached.signer(&head.headers).ok_or_else(|| {
        let text = "The security token included in the request is invalid.";
        refusal("UnrecognizedClientException", text)
    })?;
    let body = match head.method {
        Method::GET => Bytes::new(),
        _ => match timeout(READ_LIMIT, to_bytes(body, BODY_LIMIT)).await {
            Ok(Ok(body)) => body,
            _ => {
                let text = "the body is too long, or did not arrive";
                return Err(refusal("BadRequest", text));
            }
        },
    };
    let target = admit(&pass, head, &body, channel)?;
    Ok((pass, target))
}

/// The channel that a request is about: by the agent's name, or by a session's.
enum Wanted {
    Control(String),
    Data(String),
}

impl Wanted {
    fn action(&self, upgrade: bool) -> &'static str {
        match (self, upgrade) {
            (Self::Control(_), false) => "ssmmessages:CreateControlChannel",
            (Self::Control(_), true) => "ssmmessages:OpenControlChannel",
            (Self::Data(_), false) => "ssmmessages:CreateDataChannel",
            (Self::Data(_), true) => "ssmmessages:OpenDataChannel",
        }
    }
}

/// Checks the signature and whether this agent may come; its target is the result.
#[expect(
    clippy::result_large_err,
    reason = "an answer is what it is, and made once"
)]
fn admit(
    pass: &Pass,
    head: &Parts,
    body: &[u8],
    wanted: &Wanted,
) -> Result<String, Response<Body>> {
    let shared = &pass.shared;
    let upgrade = head.method == Method::GET;
    let expected = Expected {
        service: "ssmmessages",
        region: Some(&shared.account.region),
        upgrade,
    };
    if !shared.accept_any_credentials {
        auth::verify(head, body, &pass.credentials, expected, shared.time())
            .map_err(|error| refusal(error.json_code(), &error.to_string()))?;
    }
    shared.count_action(wanted.action(upgrade));
    let target = pass
        .target()
        .map_err(|reason| refusal("AccessDeniedException", reason))?;
    match wanted {
        Wanted::Control(name) if *name != target => {
            let text = "the control channel is another target's";
            Err(refusal("AccessDeniedException", text))
        }
        _ => Ok(target),
    }
}

/// A token for the next socket.
fn create(attached: &Attached, target: &str, wanted: &Wanted) -> Response<Body> {
    let (operation, token) = match wanted {
        Wanted::Control(_) => ("CreateControlChannel", Some(attached.invite(target))),
        Wanted::Data(session) => {
            let token = attached.invite_to_session(session, target);
            ("CreateDataChannel", token)
        }
    };
    let Some(token) = token else {
        return refusal("InvalidSessionId", "there is no such session");
    };
    // Anything but 201 is an error for the agent.
    let text = format!(
        "<{operation}Response><MessageSchemaVersion>1.0</MessageSchemaVersion><TokenValue>{token}</TokenValue></{operation}Response>"
    );
    xml(StatusCode::CREATED, text)
}

fn open(
    attached: &Attached,
    pass: Pass,
    target: String,
    wanted: Wanted,
    mut request: Request<Body>,
) -> Response<Body> {
    let (response, pending) = match channel::switch(&mut request) {
        Ok(switched) => switched,
        Err(response) => return response,
    };
    let (stop, agents) = (attached.inner.stop.clone(), attached.clone());
    attached.inner.tasks.spawn(async move {
        let serving = async {
            match wanted {
                Wanted::Control(_) => socket::control(&agents, &pass, &target, pending).await,
                Wanted::Data(session) => socket::data(&agents, &target, &session, pending).await,
            }
        };
        tokio::select! {
            () = serving => {}
            () = stop.cancelled() => {}
        }
    });
    response
}

/// The agent sends the colon of its name as it is, and others may not.
fn decoded(name: &str) -> String {
    percent_encoding::percent_decode_str(name)
        .decode_utf8_lossy()
        .into_owned()
}

fn refusal(code: &str, text: &str) -> Response<Body> {
    let mut response = xml(
        StatusCode::FORBIDDEN,
        format!(
            "<{code}><Message>{}</Message></{code}>",
            api::escape_xml(text)
        ),
    );
    let code = Code(code.to_owned().into());
    response.extensions_mut().insert(code);
    response
}

fn xml(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/xml");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    api::stamp(&mut response, &api::RequestId::new());
    response
}
