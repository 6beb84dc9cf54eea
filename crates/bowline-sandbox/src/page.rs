//! The page that shows what goes on: `/_sandbox/` on the port of the APIs, to be looked at only.
//!
//! It is for whoever has its key, which stands in the address that `sandbox up` and `sandbox status` print: logs are
//! nobody else's business on a machine of many users. The address hands the key over to a cookie, so that it does not stay
//! in the address bar. Host and Origin were checked before.

mod picture;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::identifiers;
use crate::stage::{Props, Stage};

/// Where it is.
pub(crate) const ROOT: &str = "/_sandbox";

/// Nothing from elsewhere, nothing in line, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How often is looked whether something is new.
const LOOK: Duration = Duration::from_millis(500);

/// After so many looks without news something is sent all the same: a reader that has gone is found out by that.
const QUIET: u32 = 30;

/// Pages that are open at a time.
const WATCHERS: usize = 16;

/// What opens the page, and how many are looking.
pub(crate) struct Page {
    key: String,
    watchers: Arc<Semaphore>,
}

impl Page {
    /// A key that nobody had before.
    pub(crate) fn new() -> Self {
        Self {
            key: identifiers::hex(32),
            watchers: Arc::new(Semaphore::new(WATCHERS)),
        }
    }
}

/// Its address, with the key where one is needed.
pub(crate) fn address(props: &Props) -> String {
    let endpoint = &props.endpoint;
    match props.accept_any_credentials {
        true => format!("{endpoint}{ROOT}/"),
        false => format!("{endpoint}{ROOT}/?key={}", props.page.key),
    }
}

/// Answers a request for the page, or for what it is made of.
pub(crate) fn respond(stage: &Arc<Stage>, head: &Parts) -> Response<Body> {
    let props = stage.props();
    if head.method != Method::GET {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "this page is only looked at\n",
        );
    }
    if let Some(key) = head
        .uri
        .query()
        .and_then(|query| query.strip_prefix("key="))
    {
        return match is_key(props, key) {
            true => handed_over(props),
            false => text(StatusCode::FORBIDDEN, NO_KEY),
        };
    }
    if !(props.accept_any_credentials || has_cookie(props, head)) {
        return text(StatusCode::FORBIDDEN, NO_KEY);
    }
    match head.uri.path().strip_prefix(ROOT) {
        Some("") => redirect(None),
        Some("/") => asset("text/html; charset=utf-8", include_str!("page/page.html")),
        Some("/page.js") => asset("text/javascript", include_str!("page/page.js")),
        Some("/page.css") => asset("text/css", include_str!("page/page.css")),
        Some("/now") => asset("application/json", picture::of(stage).to_string()),
        Some("/events") => match Arc::clone(&props.page.watchers).try_acquire_owned() {
            Ok(place) => asset("text/event-stream", events(Arc::clone(stage), place)),
            Err(_) => text(StatusCode::TOO_MANY_REQUESTS, "too many pages are open\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
    }
}

const NO_KEY: &str = "this page opens with the address that `bowline sandbox status` prints\n";

fn is_key(props: &Props, given: &str) -> bool {
    bool::from(props.page.key.as_bytes().ct_eq(given.as_bytes()))
}

/// Cookies are shared by all ports of a host, so the name says whose it is.
fn cookie_name(props: &Props) -> String {
    let port = props.endpoint.rsplit(':').next().unwrap_or_default();
    format!("bowline-sandbox-{port}")
}

fn has_cookie(props: &Props, head: &Parts) -> bool {
    let name = cookie_name(props);
    let headers = head.headers.get_all(COOKIE).iter();
    let texts = headers.filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';'));
    pairs.any(|pair| {
        let (given, value) = pair.trim().split_once('=').unwrap_or_default();
        given == name && is_key(props, value)
    })
}

fn handed_over(props: &Props) -> Response<Body> {
    let (name, key) = (cookie_name(props), &props.page.key);
    redirect(Some(format!(
        "{name}={key}; Path={ROOT}; HttpOnly; SameSite=Lax"
    )))
}

fn redirect(cookie: Option<String>) -> Response<Body> {
    let mut response = text(StatusCode::SEE_OTHER, "");
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static("/_sandbox/"));
    if let Some(cookie) = cookie.and_then(|cookie| cookie.parse().ok()) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = asset("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

fn asset(kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let fixed: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A stream of what there is, each time it has changed.
struct Watch {
    stage: Arc<Stage>,
    last: String,
    quiet: u32,
    _place: OwnedSemaphorePermit,
}

fn events(stage: Arc<Stage>, place: OwnedSemaphorePermit) -> Body {
    let watch = Watch {
        stage,
        last: String::new(),
        quiet: 0,
        _place: place,
    };
    Body::from_stream(stream::unfold(watch, |mut watch| async move {
        let piece = watch.next().await?;
        Some((Ok::<_, Infallible>(piece), watch))
    }))
}

impl Watch {
    /// `None` at the end of the sandbox.
    async fn next(&mut self) -> Option<Bytes> {
        let stop = self.stage.props().stop.clone();
        loop {
            if stop.is_cancelled() {
                return None;
            }
            let now = picture::of(&self.stage).to_string();
            self.quiet += 1;
            if now != self.last {
                self.quiet = 0;
                let piece = format!("data: {now}\n\n");
                self.last = now;
                return Some(piece.into());
            }
            if self.quiet >= QUIET {
                self.quiet = 0;
                return Some(Bytes::from_static(b": nothing new\n\n"));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
