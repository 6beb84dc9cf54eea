//! Every command of the README and of the guide, run as it stands there, against a sandbox.
//!
//! What a page needs besides its text stands in comments that a reader does not see:
//!
//! | comment | meaning |
//! |---|---|
//! | `<!-- sandbox: OPTIONS -->` | options of the page's sandbox |
//! | `<!-- needs: PROGRAMS -->` | where one of these is missing the page is not run, and that is said; CI has all of them |
//! | `<!-- prepare: SHELL -->` | run at this place, before what follows |
//! | `<!-- file: NAME -->` | the next block is the content of this file |
//! | `<!-- append: NAME -->` | the next block is added to this file |
//! | `<!-- terminal: WORDS -->` | the next block runs on a terminal, where these lines are typed |
//! | `<!-- skip: REASON -->` | the next block is not run |
//!
//! A `sh` block is a script in which nothing may fail. A `console` block shows commands after `$ ` and what they print; what
//! differs from run to run is compared by its kind, and `…` stands for anything within a line.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod examples;
mod links;
mod page;
mod reference;
mod shown;
#[path = "../exec/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the harness is shared with the tests of exec, and each side leaves out some of it"
)]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use page::{Page, Part};
use support::{BOWLINE, LATER, Sandbox, has_program, run_with};
use tempfile::TempDir;

/// Between the outputs of a page's parts.
const MARK: &str = "=====next=====";

macro_rules! pages {
    ($($name:ident: $path:literal),* $(,)?) => {
        const TESTED: &[&str] = &[$($path),*];

        $(#[test]
        fn $name() {
            follow($path);
        })*
    };
}

pages! {
    readme: "README.md",
    audit: "docs/guide/audit.md",
    ci: "docs/guide/ci.md",
    databases: "docs/guide/databases.md",
    files: "docs/guide/files.md",
    fleets: "docs/guide/fleets.md",
    getting_in: "docs/guide/getting-in.md",
    moving: "docs/guide/moving.md",
    operations: "docs/guide/operations.md",
    plugin: "docs/guide/plugin.md",
    runbooks: "docs/guide/runbooks.md",
    security: "docs/guide/security.md",
    tasks: "docs/guide/tasks.md",
}

/// What needs the AWS CLI is replayed by `tests/conformance/test_guide.py`, Python by `python/tests/test_docs.py`.
const BY_THE_JUDGES: &[&str] = &["docs/guide/python.md", "docs/guide/sandbox.md"];

#[test]
fn no_page_is_left_out() {
    let entries = fs::read_dir(root().join("docs/guide")).unwrap();
    for entry in entries {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("docs/guide/{name}");
        let tested = TESTED.contains(&path.as_str());
        assert!(tested != BY_THE_JUDGES.contains(&path.as_str()), "{path}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Does what a page says, in one shell and one folder.
#[track_caller]
fn follow(path: &str) {
    let page = Page::parse(&fs::read_to_string(root().join(path)).unwrap());
    assert_eq!(page.mistakes, [] as [String; 0], "{path}");
    if !["bash"]
        .into_iter()
        .chain(page.needs.split_whitespace())
        .all(has_program)
    {
        return;
    }
    let options: Vec<&str> = page.sandbox.split_whitespace().collect();
    let sandbox = Sandbox::start(&options);
    let folder = TempDir::new().unwrap();
    std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples")).unwrap();
    let programs = TempDir::new().unwrap();
    std::os::unix::fs::symlink(BOWLINE, programs.path().join("bowline")).unwrap();
    let mut script = String::from("exec 2>&1\n");
    for (index, part) in page.parts.iter().enumerate() {
        script.push_str(&part.script(folder.path(), index));
        script.extend(["echo '", MARK, "'\n"]);
    }
    let mut shell = sandbox.command("bash");
    shell
        .args(["-c", &script])
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", programs.path().display()),
        )
        .env("COLUMNS", "100")
        .current_dir(folder.path());
    let finished = run_with(&mut shell, Vec::new(), LATER);
    let said = String::from_utf8_lossy(&finished.stdout).into_owned();
    let mut outputs: Vec<&str> = said.split(&format!("{MARK}\n")).collect();
    let rest = outputs.pop().unwrap_or_default();
    for (part, output) in page.parts.iter().zip(&outputs) {
        part.check(output, path);
    }
    if let Some(part) = page.parts.get(outputs.len()) {
        panic!("{path}: this failed:\n{}\n{rest}", part.text());
    }
}

impl Part {
    /// What bash is given. A part that fails although it may not ends the whole script.
    fn script(&self, folder: &Path, index: usize) -> String {
        let file = folder.join(format!(".part-{index}"));
        match self {
            Self::Prepare(text) | Self::Script { text, typed: None } => {
                format!("set -e\n{text}\nset +e\n")
            }
            Self::Script {
                text,
                typed: Some(typed),
            } => {
                fs::write(&file, text).unwrap();
                let typed: String = typed.iter().map(|line| format!("{line}\n")).collect();
                let lines = file.with_extension("typed");
                fs::write(&lines, typed).unwrap();
                format!(
                    "set -e\nscript -qec 'bash -e {}' /dev/null <'{}'\nset +e\n",
                    file.display(),
                    lines.display()
                )
            }
            Self::Shown { command, .. } => format!("{command}\n"),
            Self::File { name, text, append } => {
                fs::write(&file, text).unwrap();
                let to = if *append { ">>" } else { ">" };
                format!(
                    "set -e\nmkdir -p \"$(dirname {name})\"\ncat '{}' {to}{name}\nset +e\n",
                    file.display()
                )
            }
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Prepare(text) | Self::Script { text, .. } | Self::File { text, .. } => text,
            Self::Shown { command, .. } => command,
        }
    }

    #[track_caller]
    fn check(&self, output: &str, path: &str) {
        let Self::Shown {
            command,
            output: wanted,
        } = self
        else {
            return;
        };
        assert!(
            shown::is_like(wanted, output),
            "{path}: $ {command}\n--- the page says\n{wanted}--- it printed\n{output}"
        );
    }
}
