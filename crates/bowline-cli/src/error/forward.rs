//! Why nothing is forwarded, and what to do about it.

use std::io;

use bowline::forward::{ForwardError, Local};

use super::{CommandError, ErrorKind, chain};

impl From<ForwardError> for CommandError {
    fn from(error: ForwardError) -> Self {
        let text = chain(&error);
        match error {
            ForwardError::Session(error) => Self::from(error),
            ForwardError::Target(error) => Self::from(error),
            ForwardError::Listen { local, source, .. } => {
                let error = Self::new(ErrorKind::Failed, text);
                match (&local, source.kind()) {
                    (Local::Port { .. }, io::ErrorKind::AddrInUse) => {
                        error.hint("choose another local port; 0 takes any that is free: 0:PORT")
                    }
                    (Local::Port { port, .. }, io::ErrorKind::PermissionDenied) if *port < 1024 => {
                        error.hint(format!(
                            "ports below 1024 need privileges: choose another local port, as in 8{port:03}:{port}"
                        ))
                    }
                    (Local::Socket(_), io::ErrorKind::AddrInUse) => {
                        error.hint("somebody serves this socket, or it is another file: choose another path")
                    }
                    _ => error,
                }
            }
            ForwardError::TooOld { .. } | ForwardError::Forbidden { .. } => {
                Self::new(ErrorKind::Unavailable, text)
                    .hint("--relay goes through a program in the container instead (socat, nc, python3, bash)")
            }
            _ => Self::new(ErrorKind::Unavailable, text),
        }
    }
}
