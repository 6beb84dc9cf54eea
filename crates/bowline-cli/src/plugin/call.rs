//! What `session-manager-plugin` is asked for. Pure: words and variables in.
//!
//! ```text
//! session-manager-plugin
//! session-manager-plugin --version
//! session-manager-plugin RESPONSE REGION StartSession [PROFILE [REQUEST [ENDPOINT]]]
//! ```
//!
//! RESPONSE is what AWS answered to StartSession or ExecuteCommand, or the name of a variable that holds it
//! (specification of the data channel, §4.1, §17.8).

use bowline::model::SessionGrant;
use bowline::{ClientOptions, Secret, Signing};
use serde_json::Value;

/// How the name of the variable begins; the AWS CLI may put something behind it.
const RESPONSE_VARIABLE: &str = "AWS_SSM_START_SESSION_RESPONSE";
/// Credentials are not looked for, and the channel is not signed.
const UNSIGNED_VARIABLE: &str = "SSM_PLUGIN_SKIP_CLIENT_CONFIGURE";
/// How the ids of ECS Exec sessions begin.
const EXEC_SESSION: &str = "ecs-execute-command-";
/// Documents whose agents begin with a handshake. Without a document it is a shell.
const HANDSHAKE_DOCUMENTS: [&str; 3] = [
    "AWS-StartPortForwarding",
    "AWS-StartSSHSession",
    "AWS-StartNonInteractiveCommand",
];

/// What is asked for.
#[derive(Debug)]
pub(super) enum Asked {
    /// Whether the plugin is there.
    Installed,
    Version,
    Session(Box<Call>),
}

/// A session to take part in.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) grant: SessionGrant,
    /// Empty if it was not said.
    pub(super) target: String,
    /// It is known to be a command on a terminal.
    pub(super) terminal: bool,
    pub(super) client: ClientOptions,
}

/// Why nothing can be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// One or two words that mean nothing.
    Word(String),
    /// Something other than StartSession.
    Operation,
    /// What AWS answered cannot be read.
    Response(String),
}

/// Reads the words behind the program's name.
pub(super) fn read(
    words: &[String],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Asked, Wrong> {
    let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
    match words.len() {
        0 => return Ok(Asked::Installed),
        1 if word(0) == "--version" => return Ok(Asked::Version),
        1 | 2 => return Err(Wrong::Word(word(0).to_owned())),
        _ if word(2) != "StartSession" => return Err(Wrong::Operation),
        _ => {}
    }
    let response = match word(0) {
        name if name.starts_with(RESPONSE_VARIABLE) => variable(name).unwrap_or_default(),
        json => json.to_owned(),
    };
    let grant = grant(&response).map_err(Wrong::Response)?;
    let request: Value = serde_json::from_str(word(4)).unwrap_or_default();
    let document = member(&request, "DocumentName").unwrap_or_default();
    let has_handshake = HANDSHAKE_DOCUMENTS
        .iter()
        .any(|known| document.starts_with(known));
    let terminal = grant.session_id.starts_with(EXEC_SESSION)
        || (request.is_object() && document.is_empty() && !has_handshake);
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let unsigned = variable(UNSIGNED_VARIABLE).is_some_and(|value| value == "true");
    let mut client = ClientOptions {
        region: given(word(1)),
        profile: given(word(3)),
        stream_host: variable("BOWLINE_STREAM_HOST"),
        signing: match unsigned {
            true => Signing::Never,
            false => Signing::IfPossible,
        },
        ..ClientOptions::default()
    };
    match endpoint(word(5)) {
        Endpoint::Usual => {}
        Endpoint::Everything => client.endpoint_url = given(word(5)),
        Endpoint::Ssm => client.ssm_endpoint_url = given(word(5)),
    }
    Ok(Asked::Session(Box::new(Call {
        target: member(&request, "Target").unwrap_or_default(),
        grant,
        terminal,
        client,
    })))
}

fn grant(response: &str) -> Result<SessionGrant, String> {
    let response: Value = serde_json::from_str(response).map_err(|error| error.to_string())?;
    let needed = |name: &str| {
        member(&response, name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("the response holds no {name}"))
    };
    Ok(SessionGrant {
        session_id: needed("SessionId")?,
        stream_url: needed("StreamUrl")?,
        token: Secret::new(needed("TokenValue")?),
    })
}

/// A text by its name in either spelling: SSM says `SessionId`, ECS `sessionId`.
fn member(object: &Value, name: &str) -> Option<String> {
    let (_, value) = object
        .as_object()?
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    value.as_str().map(str::to_owned)
}

/// What an endpoint of the caller's is for.
#[derive(Debug, PartialEq, Eq)]
enum Endpoint {
    /// For nothing: what AWS has anyway, or another service's. The AWS CLI names that of ECS with exec sessions, where
    /// nobody knows ResumeSession.
    Usual,
    /// A server on this machine, such as a sandbox, that has everything.
    Everything,
    Ssm,
}

fn endpoint(url: &str) -> Endpoint {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let loopback = host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    let labels: Vec<&str> = host.split('.').collect();
    let of_aws = ["amazonaws", "api", "amazonwebservices"];
    match labels.as_slice() {
        [""] => Endpoint::Usual,
        _ if loopback => Endpoint::Everything,
        ["ssm" | "ecs" | "ecs-fips", _, domain, ..] if of_aws.contains(domain) => Endpoint::Usual,
        [_, "ecs", _, "vpce", ..] => Endpoint::Usual,
        _ => Endpoint::Ssm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECS: &str = r#"{"sessionId":"ecs-execute-command-1","streamUrl":"wss://x/?a=b+c/","tokenValue":"secret"}"#;
    const SSM: &str = r#"{"SessionId":"me-1","StreamUrl":"wss://x/?a=b+c/","TokenValue":"secret"}"#;

    fn asked(words: &[&str]) -> Result<Asked, Wrong> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        read(&words, |name| match name {
            "AWS_SSM_START_SESSION_RESPONSE" | "AWS_SSM_START_SESSION_RESPONSE_7" => {
                Some(SSM.to_owned())
            }
            _ => None,
        })
    }

    fn call(words: &[&str]) -> Call {
        match asked(words) {
            Ok(Asked::Session(call)) => *call,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_of_a_session_is_understood() {
        let request = r#"{"Target":"ecs:demo_t_t-1"}"#;
        let exec = call(&[
            ECS,
            "eu-west-1",
            "StartSession",
            "",
            request,
            "http://127.0.0.1:7/",
        ]);
        assert_eq!(exec.grant.session_id, "ecs-execute-command-1");
        assert_eq!(exec.grant.stream_url, "wss://x/?a=b+c/");
        assert_eq!(exec.grant.token.expose(), "secret");
        assert_eq!(exec.target, "ecs:demo_t_t-1");
        assert!(exec.terminal);
        assert_eq!(exec.client.region.as_deref(), Some("eu-west-1"));
        assert_eq!(exec.client.profile, None);
        assert_eq!(
            exec.client.endpoint_url.as_deref(),
            Some("http://127.0.0.1:7/")
        );
        assert_eq!(exec.client.signing, Signing::IfPossible);

        let forward = r#"{"Target":"ecs:d_t_r","DocumentName":"AWS-StartPortForwardingSession"}"#;
        for name in [
            "AWS_SSM_START_SESSION_RESPONSE",
            "AWS_SSM_START_SESSION_RESPONSE_7",
        ] {
            let port = call(&[name, "eu-west-1", "StartSession", "dev", forward, ""]);
            assert_eq!(port.grant.session_id, "me-1");
            assert_eq!(port.client.profile.as_deref(), Some("dev"));
            assert!(!port.terminal);
        }
        let legacy = call(&[SSM, "eu-west-1", "StartSession"]);
        assert_eq!(legacy.target, "");
        assert!(!legacy.terminal);
        assert!(call(&[SSM, "eu-west-1", "StartSession", "", request]).terminal);
    }

    #[test]
    fn everything_else_is_answered_too() {
        assert!(matches!(asked(&[]), Ok(Asked::Installed)));
        assert!(matches!(asked(&["--version"]), Ok(Asked::Version)));
        assert!(matches!(asked(&["ssh"]), Err(Wrong::Word(word)) if word == "ssh"));
        assert!(matches!(asked(&["{}", "r"]), Err(Wrong::Word(_))));
        assert!(matches!(
            asked(&[SSM, "r", "EndSession"]),
            Err(Wrong::Operation)
        ));
        for response in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"SessionId":"","StreamUrl":"x","TokenValue":"y"}"#,
        ] {
            let answer = asked(&[response, "r", "StartSession"]);
            assert!(matches!(answer, Err(Wrong::Response(_))), "{response}");
        }
        let unset = asked(&["AWS_SSM_START_SESSION_RESPONSE_8", "r", "StartSession"]);
        assert!(matches!(unset, Err(Wrong::Response(_))));
    }

    #[test]
    fn an_endpoint_is_taken_for_what_it_is() {
        for (url, expected) in [
            ("", Endpoint::Usual),
            ("https://ssm.eu-west-1.amazonaws.com", Endpoint::Usual),
            ("https://ecs.eu-west-1.amazonaws.com/", Endpoint::Usual),
            ("https://ecs.cn-north-1.amazonaws.com.cn", Endpoint::Usual),
            (
                "https://vpce-1.ecs.eu-west-1.vpce.amazonaws.com",
                Endpoint::Usual,
            ),
            ("https://ssm-fips.us-east-1.amazonaws.com", Endpoint::Ssm),
            (
                "https://vpce-1.ssm.eu-west-1.vpce.amazonaws.com",
                Endpoint::Ssm,
            ),
            ("https://ssm.corp.example:8443/x", Endpoint::Ssm),
            ("http://127.0.0.1:4566", Endpoint::Everything),
            ("http://localhost:4566/", Endpoint::Everything),
            ("http://[::1]:4566/", Endpoint::Everything),
        ] {
            assert_eq!(endpoint(url), expected, "{url}");
        }
    }
}
