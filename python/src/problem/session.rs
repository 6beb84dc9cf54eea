//! Commands and forwards.

use bowline::forward::ForwardError;
use bowline::session::ChannelError;
use bowline::session::exec::ExecError;

use super::advice::network_hint;
use super::{Field, Problem, chain};

impl From<ExecError> for Problem {
    fn from(error: ExecError) -> Self {
        let text = chain(&error);
        let hint = hint(&error);
        let problem = match error {
            ExecError::Aws(error) => return error.into(),
            ExecError::Target(error) => return error.into(),
            ExecError::NoCommand => Self::usage(text),
            ExecError::NotEnabled { .. }
            | ExecError::AgentStopped { .. }
            | ExecError::NotReady { .. }
            | ExecError::Silent { .. } => Self::new("NotReadyError", text),
            ExecError::TimedOut { limit } => {
                let limit = Field::Number(Some(limit.as_secs_f64()));
                Self::new("TimeLimitError", text).field("limit", limit)
            }
            ExecError::StatusUnknown { .. } => Self::new("StatusUnknownError", text),
            ExecError::Lost { .. } | ExecError::Incomplete { .. } => {
                Self::new("OutputIncompleteError", text)
            }
            _ => Self::new("SessionError", text),
        };
        problem.maybe_hint(hint.map(str::to_owned))
    }
}

impl From<ForwardError> for Problem {
    fn from(error: ForwardError) -> Self {
        let text = chain(&error);
        match error {
            ForwardError::Session(error) => error.into(),
            ForwardError::Target(error) => error.into(),
            ForwardError::Aws(error) => error.into(),
            ForwardError::Listen { .. } => {
                Self::new("ForwardError", text).hint("local_port=0 takes any port that is free")
            }
            ForwardError::TooOld { .. } | ForwardError::Forbidden { .. } => {
                Self::new("ForwardError", text).hint(
                    "relay=True goes through a program in the container instead (socat, nc, python3, bash)",
                )
            }
            _ => Self::new("ForwardError", text),
        }
    }
}

fn hint(error: &ExecError) -> Option<&'static str> {
    Some(match error {
        ExecError::NotEnabled { .. } => {
            "a running task cannot be changed: enable ECS Exec for the service and deploy it again, or run the task \
             again with it"
        }
        ExecError::AgentStopped { .. } => {
            "the task has to be replaced; check the task role (ssmmessages:*) and the network to ssmmessages"
        }
        ExecError::NotReady { .. } => "give it longer with wait=",
        ExecError::Silent { .. } => "end one of the other sessions, or choose another task",
        ExecError::Open(ChannelError::Network(error)) => network_hint(error),
        ExecError::Open(ChannelError::Refused {
            status: 401 | 403, ..
        }) => "the caller needs the permission ssmmessages:OpenDataChannel",
        ExecError::Open(ChannelError::NoKey { .. }) => {
            "the cluster encrypts its exec sessions: the caller needs the permission kms:GenerateDataKey on that key"
        }
        ExecError::NoShell { .. } => {
            "the image needs sh to bring back the exit code; engine=\"bare\" runs the command without it"
        }
        ExecError::NoTerminal { .. } | ExecError::NoEncoder { .. } => {
            "put the missing tool into the image, or send the data some other way"
        }
        ExecError::NotCarried => "use another engine than bare and native",
        ExecError::TimedOut { .. } => "the command was ended; give it more time with timeout=",
        ExecError::StatusUnknown { .. } => {
            "the output so far was delivered; the command may or may not have succeeded"
        }
        ExecError::Lost {
            source: ChannelError::ResumeDenied { .. },
            ..
        } => "the caller needs the permission ssm:ResumeSession on its own sessions",
        ExecError::Lost { .. } | ExecError::Incomplete { .. } => {
            "what was delivered is right as far as it goes; the command may still be running"
        }
        _ => return None,
    })
}
