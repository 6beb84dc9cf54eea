//! Which files hold the configuration.

use std::io;
use std::path::PathBuf;

use super::Environment;
use super::error::ConfigError;

/// The name of a project's file.
const PROJECT_FILE: &str = ".bowline.toml";

/// The files of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Files {
    /// The user's file, if there is one.
    pub user: Option<PathBuf>,
    /// Where the user's file is or would be.
    pub user_place: Option<PathBuf>,
    /// The project's file: the nearest one upward.
    pub project: Option<PathBuf>,
    /// Where the search for the project's file began.
    pub directory: Option<PathBuf>,
}

/// Finds the files: `BOWLINE_CONFIG`, else `bowline/config.toml` in the folder for configurations; and the nearest
/// `.bowline.toml` from `directory` upward.
///
/// # Errors
/// If `BOWLINE_CONFIG` names a file that is not there.
pub fn locate(
    environment: Environment<'_>,
    directory: Option<PathBuf>,
) -> Result<Files, ConfigError> {
    let set = |name: &str| {
        environment(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let named = set("BOWLINE_CONFIG");
    // The XDG specification has relative paths ignored.
    let base = set("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".config")));
    let user_place = named
        .clone()
        .or_else(|| base.map(|base| base.join("bowline/config.toml")));
    let user = user_place.clone().filter(|path| path.exists());
    if let (Some(path), None) = (named, &user) {
        let source = io::Error::new(
            io::ErrorKind::NotFound,
            "BOWLINE_CONFIG names it, and it is not there",
        );
        return Err(ConfigError::Unreadable { path, source });
    }
    let project = directory
        .as_deref()
        .into_iter()
        .flat_map(|directory| directory.ancestors())
        .map(|folder| folder.join(PROJECT_FILE))
        .find(|path| path.exists() && Some(path) != user.as_ref());
    Ok(Files {
        user,
        user_place,
        project,
        directory,
    })
}
