//! AWS Systems Manager: which operation is where, and those of sessions.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::parameters;
use crate::api::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::identifiers::CALLER_NAME;
use crate::prerequisites;
use crate::reach::PortRequest;
use crate::sessions::{
    self, Grant, Resumed, SessionInfo, SessionKind, SessionRequest, SessionStatus,
};
use crate::state::task::{AgentStatus, Container};
use crate::state::{Shared, TaskKey, World, seconds};

/// The document of ExecuteCommand's sessions.
pub(crate) const EXEC_DOCUMENT: &str = "AmazonECS-ExecuteInteractiveCommand";

/// One command without a terminal, its stderr apart and its exit code reported. Whether AWS lets it be used on
/// containers is not known; their agent could.
const COMMAND_DOCUMENT: &str = "AWS-StartNonInteractiveCommand";

/// Forwards a port of the target …
const PORT_DOCUMENT: &str = "AWS-StartPortForwardingSession";
/// … or of a host that it reaches …
const REMOTE_DOCUMENT: &str = "AWS-StartPortForwardingSessionToRemoteHost";
/// … or carries SSH.
const SSH_DOCUMENT: &str = "AWS-StartSSHSession";

/// The document that StartSession without any uses.
const SHELL_DOCUMENT: &str = "SSM-SessionManagerRunShell";

/// Runs one operation.
pub(crate) fn call(call: &Call<'_>) -> Result<Value, ApiError> {
    match call.operation {
        "StartSession" => start(call),
        "ResumeSession" => resume(call),
        "TerminateSession" => terminate(call),
        "DescribeSessions" => describe(call),
        "GetParameter" => parameters::get(call),
        "GetParameters" => parameters::get_several(call),
        "GetParametersByPath" => parameters::by_path(call),
        "DescribeParameters" => parameters::describe(call),
        "PutParameter" => parameters::put(call),
        "DeleteParameter" => parameters::delete(call),
        "DeleteParameters" => parameters::delete_several(call),
        "CreateDocument"
        | "UpdateDocument"
        | "UpdateDocumentDefaultVersion"
        | "GetDocument"
        | "DescribeDocument"
        | "ListDocuments"
        | "ListDocumentVersions"
        | "DeleteDocument" => super::documents::call(call),
        "StartAutomationExecution"
        | "GetAutomationExecution"
        | "DescribeAutomationExecutions"
        | "DescribeAutomationStepExecutions"
        | "SendAutomationSignal"
        | "StopAutomationExecution" => super::automation::call(call),
        "GetConnectionStatus" => connection_status(call),
        _ => Err(ApiError::unknown_operation()),
    }
}

/// The task whose processes this call needs.
pub(crate) fn needed(call: &Call<'_>) -> Option<TaskKey> {
    if call.operation != "StartSession" {
        return None;
    }
    let input: Start = call.input().ok()?;
    reachable(&call.shared.world(), call.shared, &input.target)?;
    Some(Target::parse(&input.target)?.task)
}

/// Where the data channel of a session is, seen from whoever asked: forwarded ports and other names of loopback work.
pub(crate) fn stream_url(call: &Call<'_>, grant: &Grant) -> String {
    if let Some(host) = &call.shared.channel_host {
        return channel_url("wss", host, grant);
    }
    let scheme = match call.shared.endpoint.starts_with("https:") {
        true => "wss",
        false => "ws",
    };
    channel_url(scheme, call.host, grant)
}

fn channel_url(scheme: &str, host: &str, grant: &Grant) -> String {
    format!(
        "{scheme}://{host}/v1/data-channel/{}?{}",
        grant.session_id,
        sessions::channel_query(&grant.cell_number)
    )
}

fn granted(call: &Call<'_>, grant: &Grant) -> Value {
    json!({
        "SessionId": grant.session_id,
        "TokenValue": grant.token,
        "StreamUrl": stream_url(call, grant),
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Start {
    target: String,
    document_name: Option<String>,
    parameters: Map<String, Value>,
    reason: Option<String>,
}

fn start(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Start = call.input()?;
    if !(1..=400).contains(&input.target.len()) {
        return Err(validation("Target must have between 1 and 400 characters."));
    }
    if input
        .reason
        .as_ref()
        .is_some_and(|reason| !(1..=256).contains(&reason.chars().count()))
    {
        return Err(validation("Reason must have between 1 and 256 characters."));
    }
    let document = input.document_name.as_deref().unwrap_or(SHELL_DOCUMENT);
    // The session starts while the world stands still: a container that ends then ends the session too.
    let world = call.shared.world();
    // The service answers alike for whatever it cannot reach: wrong names, stopped, started without exec.
    let container = reachable(&world, call.shared, &input.target).ok_or_else(|| {
        ApiError::new(
            "TargetNotConnected",
            format!("{} is not connected.", input.target),
        )
    })?;
    let kind = kind(document, &input.parameters, &world, &input.target)?;
    let place = container.place.clone();
    let grant = call.shared.sessions.start(SessionRequest {
        id_prefix: CALLER_NAME.to_owned(),
        target: input.target,
        kind,
        document: document.to_owned(),
        owner: call.shared.account.caller(),
        reason: input.reason,
        refusal: None,
        place,
        // Only ExecuteCommand goes by the cluster's configuration of logs.
        log: None,
        kms_key: None,
    });
    Ok(granted(call, &grant))
}

fn kind(
    document: &str,
    parameters: &Map<String, Value>,
    world: &World,
    target: &str,
) -> Result<SessionKind, ApiError> {
    match document {
        SHELL_DOCUMENT if parameters.is_empty() => Ok(SessionKind::Shell),
        SHELL_DOCUMENT => Err(ApiError::new(
            "InvalidParameters",
            "The document has no parameters.",
        )),
        EXEC_DOCUMENT => Ok(SessionKind::Interactive {
            command: command(parameters)?,
        }),
        COMMAND_DOCUMENT => Ok(SessionKind::NonInteractive {
            command: command(parameters)?,
            separate: separate(parameters)?,
        }),
        PORT_DOCUMENT | REMOTE_DOCUMENT | SSH_DOCUMENT => {
            port(document, parameters, world, target).map(SessionKind::Port)
        }
        _ => Err(ApiError::new(
            "InvalidDocument",
            format!("Document with name {document} does not exist."),
        )),
    }
}

fn port(
    document: &str,
    parameters: &Map<String, Value>,
    world: &World,
    target: &str,
) -> Result<PortRequest, ApiError> {
    let known: &[&str] = match document {
        PORT_DOCUMENT => &["portNumber", "localPortNumber"],
        REMOTE_DOCUMENT => &["host", "portNumber", "localPortNumber"],
        _ => &["portNumber"],
    };
    let invalid = |text: String| ApiError::new("InvalidParameters", text);
    if let Some(name) = parameters
        .keys()
        .find(|name| !known.contains(&name.as_str()))
    {
        return Err(invalid(format!("The document has no parameter {name}.")));
    }
    let text = |name: &str| match parameters.get(name) {
        None => Ok(None),
        Some(values) => match values.as_array().map(Vec::as_slice) {
            Some([Value::String(text)]) => Ok(Some(text.clone())),
            _ => Err(invalid(format!(
                "The parameter {name} must be a list of one string."
            ))),
        },
    };
    let usual = if document == SSH_DOCUMENT { "22" } else { "80" };
    let port = text("portNumber")?.unwrap_or_else(|| usual.to_owned());
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        invalid(format!(
            "The parameter portNumber has the value {port:?}, which is no port."
        ))
    })?;
    let host = text("host")?;
    if document == REMOTE_DOCUMENT && host.as_ref().is_none_or(String::is_empty) {
        return Err(invalid("The parameter host is missing.".to_owned()));
    }
    let task = Target::parse(target).and_then(|target| world.task(&target.task));
    let task = task.ok_or_else(|| validation("Target is not a task."))?;
    Ok(PortRequest {
        host,
        port,
        local_port: text("localPortNumber")?.unwrap_or_else(|| "0".to_owned()),
        forwards: document != SSH_DOCUMENT,
        task: task.key.id.clone(),
        address: task.address,
    })
}

/// Whether the outputs are kept apart; as a parameter the sandbox's own, in AWS a property of documents.
fn separate(parameters: &Map<String, Value>) -> Result<bool, ApiError> {
    let value = parameters.get("separateOutputStream");
    let word = value.map(|values| values.as_array()?.first()?.as_str());
    match word {
        None | Some(Some("true")) => Ok(true),
        Some(Some("false")) => Ok(false),
        _ => Err(ApiError::new(
            "InvalidParameters",
            "The parameter separateOutputStream must be a list of true or false.",
        )),
    }
}

fn command(parameters: &Map<String, Value>) -> Result<String, ApiError> {
    let command = parameters
        .get("command")
        .and_then(|values| values.as_array()?.first()?.as_str());
    let command = command.ok_or_else(|| {
        ApiError::new(
            "InvalidParameters",
            "The parameter command must be a list of one string.",
        )
    })?;
    Ok(command.to_owned())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct SessionId {
    session_id: String,
}

fn resume(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: SessionId = call.input()?;
    let id = &input.session_id;
    match call.shared.sessions.resume(id) {
        Resumed::Granted(grant) => Ok(granted(call, &grant)),
        Resumed::NoToken => Ok(json!({ "SessionId": id })),
        Resumed::Denied => {
            let account = &call.shared.account;
            Err(ApiError::new(
                "AccessDeniedException",
                format!(
                    "User: {} is not authorized to perform: ssm:ResumeSession on resource: {}",
                    account.caller(),
                    account.session(id),
                ),
            ))
        }
        Resumed::Unknown => Err(ApiError::new(
            "DoesNotExistException",
            format!("Session {id} does not exist or has ended."),
        )),
    }
}

fn terminate(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: SessionId = call.input()?;
    if !(1..=96).contains(&input.session_id.len()) {
        return Err(validation(
            "SessionId must have between 1 and 96 characters.",
        ));
    }
    // Terminating is idempotent in AWS: an id that was never known is answered like one that has ended.
    call.shared.sessions.terminate(&input.session_id);
    Ok(json!({ "SessionId": input.session_id }))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Describe {
    state: Option<String>,
    filters: Vec<Filter>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize, Debug)]
struct Filter {
    key: String,
    value: String,
}

fn describe(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Describe = call.input()?;
    let active = match input.state.as_deref() {
        Some("Active") => true,
        Some("History") => false,
        _ => return Err(validation("State must be Active or History.")),
    };
    let filters = input
        .filters
        .iter()
        .map(Test::new)
        .collect::<Result<Vec<_>, _>>()?;
    let mut sessions = call.shared.sessions.list();
    let account = format!(":{}:", call.shared.account.id);
    sessions.retain(|session| session.owner.contains(&account));
    sessions.retain(|session| {
        (session.status != SessionStatus::Terminated) == active
            && filters.iter().all(|test| test.passes(session))
    });
    // Newest first, in an order that the pages can go on from.
    let key = |session: &SessionInfo| {
        format!("{:020} {}", u64::MAX - millis(session.started), session.id)
    };
    let sessions: BTreeMap<String, SessionInfo> = sessions
        .into_iter()
        .map(|session| (key(&session), session))
        .collect();
    let keys: Vec<String> = sessions.keys().cloned().collect();
    let request = PageRequest {
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
        default: 200,
        limit: 200,
        filters: &format!("DescribeSessions {active} {:?}", input.filters),
    };
    let (keys, next) = page(keys, &request).map_err(|error| validation(&error.message))?;
    let shown: Vec<Value> = keys
        .iter()
        .filter_map(|wanted| sessions.get(wanted))
        .map(show)
        .collect();
    Ok(json!({ "Sessions": shown, "NextToken": next }))
}

fn show(session: &SessionInfo) -> Value {
    json!({
        "SessionId": session.id,
        "Target": session.target,
        "Status": status(session.status),
        "StartDate": seconds(session.started),
        "EndDate": session.ended.map(seconds),
        "DocumentName": session.document,
        "Owner": session.owner,
        "Reason": session.reason,
        "OutputUrl": {},
        "AccessType": "Standard",
    })
}

fn status(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Connecting => "Connecting",
        SessionStatus::Connected => "Connected",
        SessionStatus::Disconnected => "Disconnected",
        SessionStatus::Terminated => "Terminated",
    }
}

/// One filter of DescribeSessions; all must pass.
enum Test<'a> {
    After(SystemTime),
    Before(SystemTime),
    Target(&'a str),
    Owner(&'a str),
    Status(&'a str),
    SessionId(&'a str),
    AccessType(&'a str),
}

impl<'a> Test<'a> {
    fn new(filter: &'a Filter) -> Result<Self, ApiError> {
        let time = || {
            let time: Result<jiff::Timestamp, _> = filter.value.parse();
            time.map(SystemTime::from)
                .map_err(|_| invalid_filter(&filter.value))
        };
        Ok(match filter.key.as_str() {
            "InvokedAfter" => Self::After(time()?),
            "InvokedBefore" => Self::Before(time()?),
            "Target" => Self::Target(&filter.value),
            "Owner" => Self::Owner(&filter.value),
            "Status" => Self::Status(&filter.value),
            "SessionId" => Self::SessionId(&filter.value),
            "AccessType" => Self::AccessType(&filter.value),
            other => return Err(invalid_filter(other)),
        })
    }

    fn passes(&self, session: &SessionInfo) -> bool {
        match self {
            Self::After(time) => session.started > *time,
            Self::Before(time) => session.started < *time,
            Self::Target(target) => session.target == *target,
            Self::Owner(owner) => session.owner == *owner,
            Self::Status(wanted) => status(session.status) == *wanted,
            Self::SessionId(id) => session.id == *id,
            Self::AccessType(access) => *access == "Standard",
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ConnectionStatus {
    target: String,
}

fn connection_status(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: ConnectionStatus = call.input()?;
    let world = call.shared.world();
    let connected = reachable(&world, call.shared, &input.target).is_some();
    let status = if connected {
        "connected"
    } else {
        "notconnected"
    };
    Ok(json!({ "Target": input.target, "Status": status }))
}

/// The container behind a target, if sessions can be opened to it now.
fn reachable<'w>(world: &'w World, shared: &Shared, name: &str) -> Option<&'w Container> {
    let target = Target::parse(name)?;
    let task = world.task(&target.task)?;
    let mut named = task
        .containers
        .iter()
        .filter(|container| container.runtime_id.as_deref() == Some(target.runtime_id));
    named.find(|container| {
        container.agent_status() == Some(AgentStatus::Running)
            && prerequisites::is_connected(world, &shared.account, task, &container.name)
            && shared
                .sessions
                .attached(&container.place)
                .is_none_or(|agents| agents.is_online(name))
    })
}

/// Takes both places of every container with sessions that nobody is in.
pub(crate) fn fill(shared: &Shared) {
    let world = shared.world();
    for task in world.tasks() {
        for container in &task.containers {
            let Some(target) = container.target(&task.key) else {
                continue;
            };
            for _ in 0..2 {
                shared.sessions.start(SessionRequest {
                    id_prefix: "ecs-execute-command".to_owned(),
                    target: target.clone(),
                    kind: SessionKind::Interactive {
                        command: "sleep 86400".to_owned(),
                    },
                    document: EXEC_DOCUMENT.to_owned(),
                    owner: shared.account.caller(),
                    reason: None,
                    refusal: None,
                    place: container.place.clone(),
                    log: None,
                    kms_key: None,
                });
            }
        }
    }
}

/// `ecs:<cluster>_<task id>_<runtime id>`.
#[derive(Debug, PartialEq)]
struct Target<'a> {
    task: TaskKey,
    runtime_id: &'a str,
}

impl<'a> Target<'a> {
    /// From the right: the name of a cluster may contain `_`, the two ids cannot.
    fn parse(target: &'a str) -> Option<Self> {
        let mut fields = target.strip_prefix("ecs:")?.rsplitn(3, '_');
        let (runtime_id, id, cluster) = (fields.next()?, fields.next()?, fields.next()?);
        let task = TaskKey {
            cluster: cluster.to_owned(),
            id: id.to_owned(),
        };
        Some(Self { task, runtime_id })
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn invalid_filter(word: &str) -> ApiError {
    ApiError::new(
        "InvalidFilterKey",
        format!("The filter {word} is not valid."),
    )
}

fn validation(message: &str) -> ApiError {
    ApiError::new("ValidationException", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_from_the_right() {
        let target = Target::parse("ecs:my_own_cluster_0123_0123-456").unwrap();
        assert_eq!(
            target.task,
            TaskKey {
                cluster: "my_own_cluster".to_owned(),
                id: "0123".to_owned()
            }
        );
        assert_eq!(target.runtime_id, "0123-456");
        for bad in ["", "ecs:", "ecs:a_b", "i-0123456789", "a_b_c"] {
            assert_eq!(Target::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn documents_decide_what_runs() {
        let (none, world) = (Map::new(), World::default());
        assert_eq!(
            kind(SHELL_DOCUMENT, &none, &world, "").unwrap(),
            SessionKind::Shell
        );
        let parameters = json!({ "command": ["echo hi"] });
        let interactive = kind(EXEC_DOCUMENT, parameters.as_object().unwrap(), &world, "").unwrap();
        assert_eq!(
            interactive,
            SessionKind::Interactive {
                command: "echo hi".to_owned()
            }
        );
        let command = kind(
            COMMAND_DOCUMENT,
            parameters.as_object().unwrap(),
            &world,
            "",
        )
        .unwrap();
        assert_eq!(
            command,
            SessionKind::NonInteractive {
                command: "echo hi".to_owned(),
                separate: true,
            }
        );
        assert_eq!(
            kind("Nope", &none, &world, "").unwrap_err().code,
            "InvalidDocument"
        );
        assert_eq!(
            kind(EXEC_DOCUMENT, &none, &world, "").unwrap_err().code,
            "InvalidParameters"
        );
    }
}
