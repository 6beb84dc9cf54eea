//! Isolated tasks: each in a user, mount, PID and network namespace of its own, on a Linux that allows it.
//!
//! A task's namespaces are made when its first container starts (`isolation/space.rs`), and all of its containers share
//! them but for their files. What runs in them is in `init/`.

mod space;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use space::{Inside, Space};

use crate::process::InitCommand;

/// Whether tasks are isolated from the machine and from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Their containers are processes of this machine like any others.
    #[default]
    Off,
    /// They are if the machine allows it; this is tried at the start. Not with agents from outside.
    Auto,
    /// They are, or the sandbox does not start.
    On,
}

/// What became of an [`Isolation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolated {
    /// Every task has namespaces of its own.
    Yes,
    /// None has. With a reason if it was tried.
    No(Option<String>),
}

/// How the namespaces of tasks are made.
#[derive(Clone, Debug)]
pub(crate) struct Makings {
    init: InitCommand,
    /// The port of the sandbox, which tasks reach at the same address as everybody.
    port: u16,
    doors: mpsc::Sender<Door>,
    /// Files without overlays.
    plain: bool,
}

/// A listener in the network of a task, at the address of the sandbox: whoever connects there is a client as any other.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    /// The task is over.
    pub(crate) over: CancellationToken,
}

/// Doors that nobody has opened yet, at most.
const DOORS: usize = 1024;

impl Makings {
    pub(crate) fn new(init: InitCommand, port: u16, plain: bool) -> (Self, mpsc::Receiver<Door>) {
        let (doors, opened) = mpsc::channel(DOORS);
        let makings = Self {
            init,
            port,
            doors,
            plain,
        };
        (makings, opened)
    }

    /// Namespaces for one more task; they are made when they are needed. `folder` belongs to the task.
    pub(crate) fn space(&self, folder: PathBuf, hostname: String) -> Space {
        Space::new(Arc::new(self.clone()), folder, hostname)
    }

    /// What the machine makes of the wish, with `root` to try it in. The error is what it refuses to one who insists.
    pub(crate) async fn decide(&self, wish: Isolation, root: &Path) -> Result<Isolated, String> {
        if wish == Isolation::Off {
            return Ok(Isolated::No(None));
        }
        match self.probe(root).await {
            Ok(()) => Ok(Isolated::Yes),
            Err(reason) if wish == Isolation::On => Err(reason),
            Err(reason) => Ok(Isolated::No(Some(reason))),
        }
    }

    /// Tries what a task needs. The error is what the machine refuses.
    async fn probe(&self, root: &Path) -> Result<(), String> {
        let folder = root.join("probe");
        let failed = |error: std::io::Error| format!("cannot make a directory: {error}");
        tokio::fs::create_dir(&folder).await.map_err(failed)?;
        let space = self.space(folder.clone(), "probe".to_owned());
        let tried = space.probe().await;
        space.end().await;
        // It goes with the sandbox at the latest.
        let _ = tokio::fs::remove_dir_all(&folder).await;
        tried.map_err(|reason| match restriction() {
            Some(why) => format!("{reason} ({why})"),
            None => reason,
        })
    }
}

/// A setting of this machine that forbids namespaces, as far as one is known.
fn restriction() -> Option<String> {
    let settings = [
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("kernel/unprivileged_userns_clone", "0"),
        ("user/max_user_namespaces", "0"),
    ];
    settings.iter().find_map(|(name, value)| {
        let found = std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
        let said = name.replace('/', ".");
        (found.trim() == *value).then(|| format!("{said} is {value}"))
    })
}
