//! Answers on the wire: JSON 1.1 and the query protocols' XML, each with its request id.

use std::borrow::Cow;

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::access::Code;
use crate::auth::AuthError;
use crate::identifiers;

const JSON: &str = "application/x-amz-json-1.1";
const XML: &str = "text/xml";

/// The id that users paste into tickets: a new one for every answer.
pub(crate) struct RequestId(String);

impl RequestId {
    /// A random id.
    pub(crate) fn new() -> Self {
        Self(identifiers::uuid())
    }

    /// As it stands in the header.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a service writes its errors.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    /// awsJson1_1; SSM's models spell the member `Message`, ECS's `message`.
    Json {
        /// The name of the text's member.
        message: &'static str,
    },
    /// awsQuery.
    Query {
        /// The namespace of the service's XML.
        namespace: &'static str,
    },
    /// ec2Query.
    Ec2,
}

impl Protocol {
    pub(crate) const STS: Self = Self::Query {
        namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    };
    pub(crate) const IAM: Self = Self::Query {
        namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
    };

    /// The answer of an operation of a query service, around the inside of its result.
    pub(crate) fn xml(
        self,
        operation: &str,
        result: &str,
        request_id: &RequestId,
    ) -> Response<Body> {
        let id = &request_id.0;
        let body = match self {
            Self::Ec2 => format!(
                "<{operation}Response xmlns=\"{EC2_NAMESPACE}\"><requestId>{id}</requestId>{result}</{operation}Response>"
            ),
            Self::Query { namespace } | Self::Json { message: namespace } => format!(
                "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{result}</{operation}Result>\
                 <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{operation}Response>"
            ),
        };
        respond(StatusCode::OK, XML, body, request_id)
    }

    pub(crate) fn error(self, error: &ApiError, request_id: &RequestId) -> Response<Body> {
        let mut response = self.error_body(error, request_id);
        response.extensions_mut().insert(Code(error.code.clone()));
        response
    }

    fn error_body(self, error: &ApiError, request_id: &RequestId) -> Response<Body> {
        match self {
            Self::Json { message } => {
                let mut body = json!({ "__type": error.code, message: error.message });
                if let (Some(extra), Some(body)) = (&error.extra, body.as_object_mut()) {
                    body.insert(extra.0.to_owned(), extra.1.clone());
                }
                respond(error.status, JSON, body.to_string(), request_id)
            }
            Self::Ec2 => {
                let body = format!(
                    "<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors>\
                     <RequestID>{}</RequestID></Response>",
                    escape_xml(&error.code),
                    escape_xml(&error.message),
                    request_id.0
                );
                respond(error.status, XML, body, request_id)
            }
            Self::Query { namespace } => {
                let kind = if error.status.is_server_error() {
                    "Receiver"
                } else {
                    "Sender"
                };
                let body = format!(
                    "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{kind}</Type><Code>{}</Code>\
                     <Message>{}</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
                    escape_xml(&error.code),
                    escape_xml(&error.message),
                    request_id.0
                );
                respond(error.status, XML, body, request_id)
            }
        }
    }

    /// The query services refuse with 403, the JSON ones with 400.
    pub(crate) fn auth_error(self, error: &AuthError, request_id: &RequestId) -> Response<Body> {
        let (code, status) = match self {
            Self::Json { .. } => (error.json_code(), StatusCode::BAD_REQUEST),
            Self::Query { .. } | Self::Ec2 => (error.query_code(), StatusCode::FORBIDDEN),
        };
        self.error(
            &ApiError {
                status,
                ..ApiError::new(code, error.to_string())
            },
            request_id,
        )
    }
}

/// An error as an operation answers it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) code: Cow<'static, str>,
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// One more modelled member, such as `resourceIds`.
    pub(crate) extra: Option<(&'static str, Value)>,
}

impl ApiError {
    /// An error with status 400, as nearly all have.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            extra: None,
        }
    }

    /// `InvalidParameterException`.
    pub(crate) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    /// `ClientException`.
    pub(crate) fn client(message: impl Into<String>) -> Self {
        Self::new("ClientException", message)
    }

    /// The body is not what the model says.
    pub(crate) fn serialization(detail: &str) -> Self {
        Self::new("SerializationException", detail)
    }

    /// No such operation here. AWS sends no text with it; this one helps.
    pub(crate) fn unknown_operation() -> Self {
        Self::new(
            "UnknownOperationException",
            "the sandbox does not know this operation",
        )
    }

    /// Says of some protocol that there is no such operation here.
    pub(crate) fn is_of_unknown_operation(&self) -> bool {
        [
            "UnknownOperationException",
            "InvalidAction",
            "MissingAction",
        ]
        .contains(&&*self.code)
    }
}

/// A JSON answer. Real services leave absent members out, so nulls never leave the sandbox.
pub(crate) fn json(mut value: Value, request_id: &RequestId) -> Response<Body> {
    prune(&mut value);
    respond(StatusCode::OK, JSON, value.to_string(), request_id)
}

/// An error outside every protocol, in JSON so that nobody ever has to parse HTML.
pub(crate) fn plain_error(
    status: StatusCode,
    code: &str,
    message: &str,
    request_id: &RequestId,
) -> Response<Body> {
    let body = json!({ "__type": code, "message": message });
    let mut response = respond(status, JSON, body.to_string(), request_id);
    let code = Cow::Owned(code.to_owned());
    response.extensions_mut().insert(Code(code));
    response
}

/// Text made fit to stand between tags.
pub(crate) fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const EC2_NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: String,
    request_id: &RequestId,
) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    stamp(&mut response, request_id);
    response
}

/// Puts the request id on an answer.
pub(crate) fn stamp(response: &mut Response<Body>, request_id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(&request_id.0) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
}

/// Removes members that are null, at every depth.
pub(crate) fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_are_left_out_at_every_depth() {
        let mut value = json!({ "a": null, "b": [{ "c": null, "d": 1 }], "e": { "f": null } });
        prune(&mut value);
        assert_eq!(value, json!({ "b": [{ "d": 1 }], "e": {} }));
    }

    #[test]
    fn each_request_id_is_new() {
        assert_ne!(RequestId::new().0, RequestId::new().0);
    }
}
