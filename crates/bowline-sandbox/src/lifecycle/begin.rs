//! The beginning of a container's process, and what of it is on the machine until the task ends.

use std::path::PathBuf;

use crate::image::{Image, Place};
use crate::process::{Container, ContainerSpec, StartError};
use crate::room::Room;

/// A container to start.
pub(super) struct Beginning {
    pub(super) spec: ContainerSpec,
    /// The label that says what the image has.
    pub(super) tools: Option<String>,
    /// The folder on the machine for the image's programs.
    pub(super) collected: Option<PathBuf>,
    pub(super) room: Option<Room>,
}

/// Makes its directories and starts its process.
pub(super) async fn start(beginning: Beginning) -> Result<Container, StartError> {
    let Beginning {
        spec,
        tools,
        collected,
        room,
    } = beginning;
    let inside = match room {
        Some(Room::Engine(contained)) => {
            return contained.start(&spec.environment, spec.output).await;
        }
        Some(Room::Isolated(inside)) => Some(inside),
        None => None,
    };
    let directory = match &inside {
        Some(inside) => inside.space.folder(),
        None => &spec.directory,
    };
    if let Err(error) = tokio::fs::create_dir_all(directory).await {
        return Err(StartError(format!(
            "cannot make the container's directory: {error}"
        )));
    }
    if spec.argv.is_empty() {
        return Err(StartError("no command specified".to_owned()));
    }
    if let (Some(folder), Some(tools)) = (collected.clone(), tools) {
        let install = move || Image::parse(&tools)?.install(&folder);
        let installed = tokio::task::spawn_blocking(install).await;
        installed
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(StartError)?;
    }
    Container::start_in(spec, inside.map(|inside| (inside, collected))).await
}

/// Removes what the containers of a task had, and the namespaces they were in.
pub(super) async fn clear(places: &[Place]) {
    let mut directories = Vec::new();
    for place in places {
        match &place.room {
            Some(Room::Isolated(inside)) => {
                inside.space.end().await;
                directories.push(inside.space.folder());
            }
            // It had none here.
            Some(Room::Engine(_)) => {}
            None => {
                directories.push(&place.directory);
                directories.extend(place.programs.as_deref());
            }
        }
    }
    for directory in directories {
        // Nothing to remove if the task never started, or its containers had one together.
        if let Err(error) = tokio::fs::remove_dir_all(directory).await {
            tracing::debug!(%error, "a container's directory stays behind");
        }
    }
}
