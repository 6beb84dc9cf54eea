//! What programs an image has: chosen by a docker label on the container definition, made of links to the host's.
//!
//! The sandbox has no images. The label `bowline.sandbox.tools` gives a container a folder of its own with links to
//! programs of the host; that folder is its whole PATH, and a command of ECS or of a session is started only from
//! there or from the container's own directory. A shell that runs already can still open any absolute path: this
//! shows a client what is missing, it does not lock anything in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::room::Room;
use crate::simulated::Fate;

/// The label's name.
pub(crate) const LABEL: &str = "bowline.sandbox.tools";

/// The PATH of a container whose image sets none, and where an image's programs seem to be.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `-shells` removes, and what is gone from an image that has one shell only.
const SHELLS: [&str; 16] = [
    "sh",
    "ash",
    "bash",
    "busybox",
    "csh",
    "dash",
    "fish",
    "hush",
    "ksh",
    "ksh93",
    "mksh",
    "rbash",
    "static-sh",
    "tcsh",
    "yash",
    "zsh",
];

/// Where a command of a container is started, and what it sees.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// All of it: nothing is inherited.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: PathBuf,
    /// The folder with the image's programs; `None` if it has all of the host's.
    pub(crate) programs: Option<PathBuf>,
    /// There are no processes, and the agent plays them.
    pub(crate) simulated: Option<Fate>,
    /// What it is in, where the directories above are; `None` if it is a plain process.
    pub(crate) room: Option<Room>,
}

impl Place {
    /// A variable of the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let mut all = self.environment.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The programs that a label describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    base: Base,
    without: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// All programs of the host.
    Host,
    /// No program at all.
    Nothing,
    /// busybox under the names of its applets.
    Busybox,
    /// The host's programs, with this as `sh` and no other shell.
    Shell(&'static str),
}

impl Image {
    /// Reads a label: words between spaces or commas.
    pub(crate) fn parse(label: &str) -> Result<Self, String> {
        let mut base = None;
        let mut without = BTreeSet::new();
        let words = label.split(|letter: char| letter == ',' || letter.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            let named = match word {
                "none" => Base::Nothing,
                "busybox" => Base::Busybox,
                "bash" => Base::Shell("bash"),
                "dash" => Base::Shell("dash"),
                "-shells" => {
                    without.extend(SHELLS.map(str::to_owned));
                    continue;
                }
                _ => {
                    let name = word.strip_prefix('-').filter(|name| is_program_name(name));
                    let name = name.ok_or_else(|| {
                        format!(
                            "label {LABEL}: {word:?} is none of none, busybox, bash, dash, -shells, -PROGRAM"
                        )
                    })?;
                    without.insert(name.to_owned());
                    continue;
                }
            };
            if base.replace(named).is_some_and(|before| before != named) {
                return Err(format!(
                    "label {LABEL}: only one of none, busybox, bash, dash"
                ));
            }
        }
        Ok(Self {
            base: base.unwrap_or(Base::Host),
            without,
        })
    }

    /// Makes `folder` and fills it with links to the programs. Blocks for some milliseconds.
    pub(crate) fn install(&self, folder: &Path) -> Result<(), String> {
        let mut programs = self.programs()?;
        programs.retain(|name, _| {
            name.to_str()
                .is_none_or(|name| !self.without.contains(name))
        });
        let linked = fs::create_dir_all(folder).and_then(|()| {
            programs.iter().try_for_each(|(name, program)| {
                std::os::unix::fs::symlink(program, folder.join(name))
            })
        });
        linked.map_err(|error| format!("cannot link the image's programs: {error}"))
    }

    fn programs(&self) -> Result<BTreeMap<OsString, PathBuf>, String> {
        match self.base {
            Base::Nothing => Ok(BTreeMap::new()),
            Base::Host => Ok(host_programs()),
            Base::Busybox => busybox_applets(),
            Base::Shell(shell) => {
                let mut programs = host_programs();
                let path = programs.get(OsStr::new(shell)).cloned();
                let path = path.ok_or_else(|| missing(shell))?;
                programs.retain(|name, _| name.to_str().is_none_or(|name| !SHELLS.contains(&name)));
                programs.insert("sh".into(), path.clone());
                programs.insert(shell.into(), path);
                Ok(programs)
            }
        }
    }
}

/// The file to execute for the first word of a command, if the image has one. A word without a slash is left to the
/// lookup in PATH.
pub(crate) fn locate(programs: Option<&Path>, directory: &Path, word: &str) -> Option<PathBuf> {
    let Some(programs) = programs.filter(|_| word.contains('/')) else {
        return Some(word.into());
    };
    let path = normal(&directory.join(word));
    if path.starts_with(directory) || path.starts_with(programs) {
        return Some(path);
    }
    let standard = path
        .parent()
        .is_some_and(|parent| PATH.split(':').any(|folder| parent == Path::new(folder)));
    let link = programs.join(path.file_name().filter(|_| standard)?);
    // The link itself counts, not what it leads to: that is the host's business.
    link.symlink_metadata().is_ok().then_some(link)
}

/// Without `.` and `..`, as far as the text alone tells.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

/// Nothing with a slash, and no second dash by mistake.
fn is_program_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['-', '.']) && !name.contains('/')
}

fn missing(program: &str) -> String {
    format!("the image wants {program}, and this machine has none")
}

/// Everything in the folders of [`PATH`], the first of each name.
fn host_programs() -> BTreeMap<OsString, PathBuf> {
    let mut programs = BTreeMap::new();
    for folder in PATH.split(':') {
        // Not every machine has all of them.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            programs
                .entry(entry.file_name())
                .or_insert_with(|| entry.path());
        }
    }
    programs
}

fn busybox_applets() -> Result<BTreeMap<OsString, PathBuf>, String> {
    let busybox = PATH
        .split(':')
        .map(|folder| Path::new(folder).join("busybox"))
        .find(|path| path.is_file())
        .ok_or_else(|| missing("busybox"))?;
    let unusable = |error: io::Error| format!("cannot ask busybox for its applets: {error}");
    let output = Command::new(&busybox)
        .arg("--list")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(unusable)?;
    let list = String::from_utf8_lossy(&output.stdout);
    let names = list.lines().filter(|name| is_applet_name(name));
    let names: BTreeMap<OsString, PathBuf> = names
        .chain(["busybox"])
        .map(|name| (name.into(), busybox.clone()))
        .collect();
    Ok(names)
}

/// `[` and `[[` are among them.
fn is_applet_name(name: &str) -> bool {
    is_program_name(name) && !name.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(label: &str) -> (tempfile::TempDir, impl Fn(&str) -> Option<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let programs = folder.path().join("bin");
        Image::parse(label).unwrap().install(&programs).unwrap();
        (folder, move |name: &str| {
            fs::read_link(programs.join(name)).ok()
        })
    }

    #[test]
    fn labels_are_words_between_spaces_or_commas() {
        let image = Image::parse(" busybox, -base64\n-stty ").unwrap();
        assert_eq!(image.base, Base::Busybox);
        assert!(image.without.iter().eq(["base64", "stty"]));
        assert_eq!(Image::parse("").unwrap().base, Base::Host);
        for wrong in ["busybox bash", "alpine", "-", "--x", "-../sh", "-a/b"] {
            let error = Image::parse(wrong).unwrap_err();
            assert!(error.contains(LABEL), "{error}");
        }
    }

    #[test]
    fn an_image_has_what_its_label_leaves() {
        let (_folder, link) = installed("none");
        assert_eq!(link("sh"), None);

        let (_folder, link) = installed("-base64 -shells");
        assert_eq!(
            (link("base64"), link("sh"), link("dash")),
            (None, None, None)
        );
        assert!(link("cat").is_some(), "the rest stays");

        let (_folder, link) = installed("bash");
        assert!(link("sh").is_some_and(|target| target.ends_with("bash")));
        assert_eq!((link("dash"), link("busybox")), (None, None));
    }

    #[test]
    fn commands_are_found_only_in_the_image_and_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let (programs, directory) = (folder.path().join("bin"), folder.path().join("app"));
        fs::create_dir(&programs).unwrap();
        std::os::unix::fs::symlink("/bin/cat", programs.join("cat")).unwrap();
        let find = |word: &str| locate(Some(&programs), &directory, word);
        assert_eq!(find("/usr/bin/cat"), Some(programs.join("cat")));
        assert_eq!(find("/bin/sh"), None);
        assert_eq!(find("/opt/cat"), None);
        assert_eq!(find("./tool"), Some(directory.join("tool")));
        assert_eq!(find("../../etc/x"), None);
        assert_eq!(find("../bin/cat"), Some(programs.join("cat")));
        assert_eq!(find("sh"), Some("sh".into()), "PATH decides");
        assert_eq!(locate(None, &directory, "/bin/sh"), Some("/bin/sh".into()));
    }
}
