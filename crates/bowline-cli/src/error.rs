//! What goes wrong, as the user sees it: a kind that picks the exit code, the error, and hints.
//!
//! All conversions from library errors are here, so that one situation reads the same in every command.

mod credentials;
mod forward;
mod refusal;
mod run;

use std::fmt;
use std::io;

use bowline::config::ConfigError;
use bowline::session::ChannelError;
use bowline::session::exec::ExecError;
use bowline::{
    AwsError, AwsErrorKind, ConnectError, NetworkError, NetworkProblem, TargetError, TrustError,
    regions,
};

use self::credentials::{connect_hints, credential_hints};
use crate::exit_code::ExitCode;

/// An error on its way to the user.
#[derive(Debug)]
pub struct CommandError {
    kind: ErrorKind,
    source: Box<dyn std::error::Error + Send + Sync>,
    hints: Vec<String>,
}

/// What kind of error; it alone decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The command line is wrong.
    Usage,
    /// The target was not found or is ambiguous.
    NotFound,
    /// The work failed.
    Failed,
    /// A time limit was reached.
    TimedOut,
    /// bowline or AWS failed.
    Unavailable,
    /// A command's exit code could not be learned.
    StatusUnknown,
    /// Interrupted here.
    Interrupted,
    /// Whoever read our output went away: nothing is said and nothing is wrong.
    ReaderGone,
}

impl CommandError {
    /// An error with its kind.
    pub fn new(
        kind: ErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: source.into(),
            hints: Vec::new(),
        }
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message.into())
    }

    /// Adds a line that says what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same error in a verb that starts something remote: there "not found" must not be mistaken for
    /// the command's own code 3.
    #[must_use]
    pub fn starting_remote(mut self) -> Self {
        if self.kind == ErrorKind::NotFound {
            self.kind = ErrorKind::Unavailable;
        }
        self
    }

    /// The error of a call that was to change something: what AWS answered to it is a refusal, and the work failed.
    #[must_use]
    pub fn refused(error: AwsError) -> Self {
        let answered = error.kind == AwsErrorKind::Service && !error.is_rejected_credentials();
        let mut error = Self::from(error);
        if answered && error.kind == ErrorKind::Unavailable {
            error.kind = ErrorKind::Failed;
        }
        error
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The hints, in order.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self.kind {
            ErrorKind::Usage => ExitCode::Usage,
            ErrorKind::NotFound => ExitCode::NotFound,
            ErrorKind::Failed => ExitCode::Failed,
            ErrorKind::TimedOut => ExitCode::TimedOut,
            ErrorKind::Unavailable | ErrorKind::StatusUnknown => ExitCode::Unavailable,
            ErrorKind::Interrupted => ExitCode::Interrupted,
            ErrorKind::ReaderGone => ExitCode::Success,
        }
    }

    /// The same error with what it is about in front.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.source = format!("{what}: {}", self.source).into();
        self
    }

    /// The same error with other hints than its usual ones.
    pub(crate) fn with_only(mut self, hints: Vec<String>) -> Self {
        self.hints = hints;
        self
    }

    fn with_hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }
}

/// How a command ended that had something to write after its end. A reader that has gone away changes nothing about that,
/// and one that went before it is told by a code of its own: `0` would be taken for the remote command's.
pub(crate) fn keep<T: From<ExitCode>>(
    ended: Result<T, CommandError>,
    written: Result<(), CommandError>,
) -> Result<T, CommandError> {
    let gone = |error: &CommandError| error.kind == ErrorKind::ReaderGone;
    match (ended, written) {
        (Err(error), _) if gone(&error) => Ok(ExitCode::BROKEN_PIPE.into()),
        (Ok(_), Err(error)) if !gone(&error) => Err(error),
        (Err(error), Err(other)) if !gone(&other) => Err(error.hint(other.to_string())),
        (ended, _) => ended,
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for CommandError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self::new(ErrorKind::Usage, error).with_hints(hint)
    }
}

impl From<ConnectError> for CommandError {
    fn from(error: ConnectError) -> Self {
        let hints = connect_hints(&error);
        let kind = match error {
            ConnectError::InvalidRegion { .. } | ConnectError::UnknownProfile { .. } => {
                ErrorKind::Usage
            }
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, error).with_hints(hints)
    }
}

impl From<AwsError> for CommandError {
    fn from(error: AwsError) -> Self {
        let kind = match error.kind {
            AwsErrorKind::Service if error.is("ClusterNotFoundException") => ErrorKind::NotFound,
            _ => ErrorKind::Unavailable,
        };
        let code = error.code.as_deref().unwrap_or_default();
        match refusal::explain(&error.operation, code, &error.message) {
            Some(refusal) if error.network().is_none() => {
                Self::new(kind, format!("{}: {error}", refusal.text)).hint(refusal.hint)
            }
            _ => {
                let hints = aws_hints(&error);
                Self::new(kind, error).with_hints(hints)
            }
        }
    }
}

impl From<ExecError> for CommandError {
    fn from(error: ExecError) -> Self {
        let hints = exec_hints(&error);
        match error {
            ExecError::Aws(error) => Self::from(error).with_hints(hints),
            ExecError::Target(error) => Self::from(error).with_hints(hints),
            // It says what its causes say, in plainer words.
            ExecError::Open(ChannelError::Network(network)) => {
                let text = format!("the data channel could not be opened: {network}");
                Self::new(ErrorKind::Unavailable, text).with_hints(hints)
            }
            error => {
                let kind = match error {
                    ExecError::TimedOut { .. } => ErrorKind::TimedOut,
                    ExecError::StatusUnknown { .. } => ErrorKind::StatusUnknown,
                    _ => ErrorKind::Unavailable,
                };
                Self::new(kind, chain(&error)).with_hints(hints)
            }
        }
        .starting_remote()
    }
}

impl From<TrustError> for CommandError {
    fn from(error: TrustError) -> Self {
        Self::new(ErrorKind::Unavailable, error).hint(TRUST)
    }
}

impl From<TargetError> for CommandError {
    fn from(error: TargetError) -> Self {
        let hints = target_hints(&error);
        let kind = match error {
            TargetError::Aws(error) => return Self::from(error),
            TargetError::Conflict { .. } => ErrorKind::Usage,
            _ => ErrorKind::NotFound,
        };
        Self::new(kind, error).with_hints(hints)
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => ErrorKind::ReaderGone,
            _ => ErrorKind::Failed,
        };
        Self::new(kind, error)
    }
}

fn aws_hints(error: &AwsError) -> Vec<String> {
    if let Some(network) = error.network() {
        return vec![network_hint(network)];
    }
    if let Some(problem) = error.credential_problem() {
        return credential_hints(problem);
    }
    let hints: &[&str] = match error.kind {
        AwsErrorKind::Credentials => {
            &["sign in again (`aws sso login`, `aws login`), or choose a profile with --profile"]
        }
        AwsErrorKind::Unreachable => &[
            "check the network, the proxy settings, and the endpoint (--endpoint-url, \
             BOWLINE_ENDPOINT, AWS_ENDPOINT_URL); a sandbox must be running to be reached",
        ],
        AwsErrorKind::Trust => &[TRUST],
        AwsErrorKind::NotAws if error.message.contains("sent to HTTPS port") => {
            &["the endpoint should begin with https://"]
        }
        AwsErrorKind::NotAws if error.status == Some(407) => &[PROXY_CREDENTIALS],
        AwsErrorKind::NotAws if error.status.is_some_and(|status| status >= 500) => &[
            "the service or something in front of it is broken: try again later, and check the endpoint \
             (--endpoint-url, BOWLINE_ENDPOINT, AWS_ENDPOINT_URL); an emulator may not know this operation",
        ],
        AwsErrorKind::NotAws => &[
            "something other than AWS or a complete emulator answered; check the endpoint \
             (--endpoint-url, BOWLINE_ENDPOINT, AWS_ENDPOINT_URL)",
        ],
        _ if error.is_rejected_credentials() => &[rejected_hint(error)],
        _ => &[],
    };
    hints.iter().map(|hint| (*hint).to_owned()).collect()
}

/// What to do about credentials that were sent and not accepted.
fn rejected_hint(error: &AwsError) -> &'static str {
    match error.code.as_deref() {
        Some("ExpiredTokenException" | "ExpiredToken") => {
            "the credentials have expired: sign in again (`aws sso login`, `aws login`), or fetch new ones"
        }
        _ if error.message.contains("valid region") => {
            "the endpoint belongs to another region: name it with --region, AWS_REGION or --profile"
        }
        Some("InvalidSignatureException" | "SignatureDoesNotMatch") => {
            "check the secret key (AWS_SECRET_ACCESS_KEY, --profile) and the clock of this machine"
        }
        _ => {
            "this endpoint does not know the access key: check --profile, AWS_ACCESS_KEY_ID and the region; a sandbox \
             has new keys at every start"
        }
    }
}

/// What to do about a connection that failed.
fn network_hint(error: &NetworkError) -> String {
    if error.problem == NetworkProblem::NameNotResolved
        && let Some(near) = misspelled_region(&error.host)
    {
        return format!(
            "did you mean the region {near}? It comes from --region, AWS_REGION or the profile"
        );
    }
    fixed_network_hint(error).to_owned()
}

/// The region that a host of AWS's own was meant to be in, if its own is none.
fn misspelled_region(host: &str) -> Option<String> {
    let region = host.split('.').nth(1)?;
    let is_aws = host.contains(".amazonaws.") || host.contains(".api.aws");
    match is_aws && !regions::is_known(region) {
        true => regions::near(region),
        false => None,
    }
}

fn fixed_network_hint(error: &NetworkError) -> &'static str {
    use NetworkProblem as P;

    match &error.problem {
        P::NameNotResolved if error.at_proxy => {
            "check the spelling in HTTPS_PROXY and HTTP_PROXY, and the DNS of this network"
        }
        P::NameNotResolved => {
            "check the spelling of the region and the endpoint, and the DNS of this network; where only a proxy reaches \
             out, name it in HTTPS_PROXY"
        }
        P::Refused if error.at_proxy => {
            "check host and port in HTTPS_PROXY and HTTP_PROXY, or leave this host out with NO_PROXY"
        }
        P::Refused => {
            "check host and port (--endpoint-url, BOWLINE_ENDPOINT, AWS_ENDPOINT_URL; for sessions --stream-host); a \
             sandbox must be running to be reached"
        }
        P::NoRoute => {
            "check the network of this machine, its VPN, and IPv6 if the address is one of its"
        }
        P::TimedOut(_) if error.proxy.is_some() => {
            "check the proxy (HTTPS_PROXY) and what it lets through; NO_PROXY leaves a host out"
        }
        P::TimedOut(_) => {
            "a firewall may drop it: check the network and the VPN; where only a proxy reaches out, name it in \
             HTTPS_PROXY"
        }
        P::UnknownIssuer => {
            "if a company proxy or a sandbox with --tls is in between, name the file with its authority in \
             AWS_CA_BUNDLE"
        }
        P::CertificateExpired | P::CertificateNotYetValid => {
            "check the clock of this machine; if it is right, the server needs another certificate"
        }
        P::WrongName => {
            "reach the host by a name of its certificate: check the endpoint and --stream-host"
        }
        P::NotTls => "the endpoint should begin with http://, or its port is the wrong one",
        P::NotHttp => "the endpoint should begin with https://, or its port is the wrong one",
        P::ProxyCredentials => PROXY_CREDENTIALS,
        P::ProxyRefused(Some(500..)) => {
            "the proxy could not reach the host: check the endpoint and the region; NO_PROXY leaves a host out"
        }
        P::ProxyRefused(_) => {
            "have the host allowed at the proxy, or leave it out with NO_PROXY if it can be reached directly"
        }
        P::NotAProxy => "check host, port and scheme in HTTPS_PROXY and HTTP_PROXY",
        P::ProxyScheme(_) => "name an HTTP proxy, as in HTTPS_PROXY=http://proxy.example:3128",
        _ => "check the network, the proxy settings and the endpoint, and try again",
    }
}

/// An error and its causes in one line, for errors whose first line does not say enough.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn exec_hints(error: &ExecError) -> Vec<String> {
    let hint = match error {
        ExecError::NotEnabled { .. } => {
            "a running task cannot be changed: `bowline service enable-exec NAME --redeploy` turns it on for a service, or \
             run the task again with it"
        }
        ExecError::AgentStopped { .. } => {
            "the task has to be replaced; check the task role (ssmmessages:*) and the network to ssmmessages"
        }
        ExecError::NotReady { .. } => {
            "wait longer with --wait, or look at the task with `bowline ls tasks -o wide`"
        }
        ExecError::Aws(error) if error.is("TargetNotConnectedException") => {
            "the agent in the container has no connection to AWS: check the task role (ssmmessages:*), the network to \
             ssmmessages, and a read-only root file system"
        }
        ExecError::Open(ChannelError::Network(error)) => return vec![network_hint(error)],
        ExecError::Open(ChannelError::Trust(_)) => TRUST,
        ExecError::Open(ChannelError::Failing { .. } | ChannelError::NotWebSocket { .. }) => {
            "try again; if it stays, check what is between here and the service (proxy, --stream-host)"
        }
        ExecError::Open(ChannelError::NotSecure { .. }) => {
            "leave --stream-host and BOWLINE_STREAM_HOST out with an endpoint that is http://"
        }
        ExecError::Open(ChannelError::Refused {
            status: 401 | 403, ..
        }) => "the caller needs the permission ssmmessages:OpenDataChannel",
        ExecError::Open(ChannelError::NoKey { .. }) => {
            "the cluster encrypts its exec sessions: the caller needs the permission kms:GenerateDataKey on that key"
        }
        ExecError::Open(ChannelError::ForeignHost { .. }) => {
            "nothing was sent to that host; if it is yours (PrivateLink, a forwarder), name it with --stream-host or \
             BOWLINE_STREAM_HOST"
        }
        ExecError::Silent { .. } => "end one of the other sessions, or choose another task",
        ExecError::NoShell { .. } => {
            "exec needs `sh` in the image to bring back the exit code; --no-shell runs the command without it"
        }
        ExecError::NoTerminal { .. } | ExecError::NoEncoder { .. } => {
            "put the missing tool into the image, or send the data some other way"
        }
        ExecError::NotCarried => "leave out --no-shell or --via ssm",
        ExecError::StatusUnknown { output } if output.contains("inactivity") => {
            "the service ends a session after 20 minutes without input; --keep-alive prevents that"
        }
        ExecError::StatusUnknown { .. } => {
            "the output so far was delivered; the command may or may not have succeeded"
        }
        ExecError::Lost {
            source: ChannelError::ResumeDenied { .. },
            ..
        } => {
            "the caller needs the permission ssm:ResumeSession on its own sessions; the command may still be running"
        }
        ExecError::Lost {
            source: ChannelError::GaveUp { .. },
            ..
        } => "try for longer with --reconnect-for; the command may still be running",
        ExecError::Lost {
            source: ChannelError::Ended { .. },
            ..
        } => "what was delivered is right as far as it goes; how the command ended is not known",
        ExecError::Lost { .. } | ExecError::Incomplete { .. } => {
            "what was delivered is right as far as it goes; the command may still be running"
        }
        _ => return Vec::new(),
    };
    vec![hint.to_owned()]
}

fn target_hints(error: &TargetError) -> Vec<String> {
    match error {
        TargetError::NoCluster { .. } => {
            vec!["check the region (--region) and the account (--profile)".to_owned()]
        }
        TargetError::ClusterAmbiguous { .. } => {
            vec!["choose one with --cluster or BOWLINE_CLUSTER, or write CLUSTER/NAME".to_owned()]
        }
        TargetError::ClusterNotFound {
            suggestions,
            candidates,
            ..
        } => near_or_all("clusters", suggestions, candidates),
        TargetError::NotFound {
            kind,
            suggestions,
            candidates,
            ..
        } => {
            let mut hints = near_or_all(kind, suggestions, candidates);
            hints.push("`bowline ls` shows what there is".to_owned());
            hints
        }
        TargetError::Ambiguous { .. } => {
            vec!["name one of them".to_owned()]
        }
        TargetError::ContainerNotFound {
            suggestions,
            candidates,
            ..
        } if suggestions.is_empty() => {
            vec![format!("its containers are {}", candidates.join(", "))]
        }
        TargetError::ContainerNotFound { suggestions, .. } => {
            near_or_all("containers", suggestions, &[])
        }
        TargetError::ContainerAmbiguous { .. } => {
            vec!["name one with --container".to_owned()]
        }
        TargetError::OtherRegion { region, .. } => vec![format!("add --region {region}")],
        TargetError::Conflict { .. } => vec!["give only one of the two".to_owned()],
        _ => Vec::new(),
    }
}

fn near_or_all(what: &str, suggestions: &[String], candidates: &[String]) -> Vec<String> {
    if !suggestions.is_empty() {
        return vec![format!("did you mean {}?", suggestions.join(" or "))];
    }
    if candidates.is_empty() {
        return Vec::new();
    }
    vec![format!("there are the {what} {}", candidates.join(", "))]
}

const TRUST: &str =
    "AWS_CA_BUNDLE names a file with certificates in PEM form; unset it if none is needed";
const PROXY_CREDENTIALS: &str =
    "put them into the proxy's URL, as in HTTPS_PROXY=http://USER:PASSWORD@proxy.example:3128";
const TRY_SANDBOX: &str = "without an AWS account, try `bowline --sandbox ls`";

#[cfg(test)]
mod tests {
    use super::*;

    fn not_found() -> TargetError {
        TargetError::NotFound {
            target: "wbe".into(),
            cluster: "demo".into(),
            kind: "services",
            suggestions: vec!["web".into()],
            candidates: vec!["web".into()],
        }
    }

    #[test]
    fn the_verb_decides_what_not_found_costs() {
        let error = CommandError::from(not_found());
        assert_eq!(error.exit_code().value(), 3);
        assert_eq!(error.hints()[0], "did you mean web?");
        assert_eq!(error.starting_remote().exit_code().value(), 125);
        let usage = CommandError::usage("no").starting_remote();
        assert_eq!(usage.exit_code().value(), 2);
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let error = CommandError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit_code().value(), 0);
        let error = CommandError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.exit_code().value(), 1);
    }

    #[test]
    fn what_was_done_outlives_its_last_words() {
        let gone = || CommandError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let full = || CommandError::from(io::Error::from(io::ErrorKind::StorageFull));
        let late = || CommandError::new(ErrorKind::TimedOut, "late");
        let code = |ended: Result<ExitCode, CommandError>| {
            ended.map_or_else(|error| error.exit_code().value(), ExitCode::value)
        };
        assert_eq!(code(keep(Ok(ExitCode::Remote(7)), Err(gone()))), 7);
        assert_eq!(code(keep(Ok(ExitCode::Remote(7)), Err(full()))), 1);
        assert_eq!(code(keep(Err(late()), Err(gone()))), 124);
        assert_eq!(code(keep(Err(late()), Err(full()))), 124);
        assert_eq!(code(keep(Err(gone()), Ok(()))), 141);
        assert_eq!(code(keep(Err(gone()), Err(gone()))), 141);
    }

    #[test]
    fn no_region_says_what_was_tried_and_what_to_do() {
        let error = CommandError::from(ConnectError::NoRegion {
            tried: vec!["AWS_REGION".into(), "instance metadata".into()],
        });
        assert_eq!(
            error.to_string(),
            "no AWS region is configured (tried AWS_REGION, instance metadata)"
        );
        assert_eq!(error.hints().len(), 2);
        assert_eq!(error.exit_code().value(), 125);
    }
}
