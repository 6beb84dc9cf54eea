//! A shell in a container: the command that finds one there and becomes it. Pure: wishes in, an argv out.
//!
//! The argv is for [`Engine::Tty`](super::exec::Engine::Tty). Everything is found out in the container, in the one
//! session, because each further session costs a second and there may be only two.

/// What the shell should be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shell {
    /// The shell: a name or a path. Without one the first of bash, ash and sh that the image has.
    pub program: Option<Vec<u8>>,
    /// Whose shell, by name or number, with the help of `su`.
    pub user: Option<Vec<u8>>,
    /// The directory to start in, if not the container's own.
    pub directory: Option<Vec<u8>>,
    /// Variables to set, as `NAME=value`.
    pub environment: Vec<Vec<u8>>,
}

/// What a [`Shell`]'s argv says and returns when the directory, the user or `su` is missing. A missing shell is 127, as
/// in any shell.
pub const CANNOT_ENTER: u8 = 125;

/// `sh -c ENTER bowline DIRECTORY PROGRAM NAME=value…`
///
/// - Positional parameters only where a variable to be set could otherwise change what is done.
/// - The path is found before the variables are set: one of them may be PATH.
/// - No `-i` or `-l`: on a terminal a shell is interactive, and other programs do not know those options.
const ENTER: &str = r#"d=$1 s=$2;shift 2
e(){ printf "bowline: %s\n" "$1">&2;exit $2;}
if [ "$d" ];then cd -- "$d" 2>/dev/null||{ [ -d "$d" ]&&e "directory $d cannot be entered" 125;e "there is no directory $d in this container" 125;};fi
if [ "$s" ];then p=$(command -v "$s")||e "there is no $s in this container" 127
else for s in bash ash sh;do p=$(command -v $s)&&break;done;fi
set -- "$@" "$p"
while [ $# -gt 1 ];do export "$1";shift;done
exec "$1""#;

/// `sh -c BECOME bowline USER argv…`
///
/// - `su -s SHELL -- USER -c …` and not `su -c … USER`: with its own `-c`, util-linux's takes the terminal away from
///   what it starts (it calls setsid), and job control and Ctrl-C with it. What stands behind the user is for the shell
///   in all three: util-linux, shadow and busybox.
/// - The user's own shell may be `nologin`, so `sh` is named.
const BECOME: &str = r#"u=$1 f=;shift
e(){ printf "bowline: %s\n" "$1">&2;exit 125;}
{ while IFS=: read -r n p i r;do case $u in "$n"|"$i")u=$n f=1;break;;esac;done </etc/passwd;} 2>/dev/null
[ "$f" ]||id -u "$u" >/dev/null 2>&1||e "there is no user $u in this container"
[ "$u" = "$(id -un 2>/dev/null)" ]&&exec "$@"
command -v su >/dev/null||e "there is no su in this container, which is needed to become $u"
exec su -s "$(command -v sh)" -- "$u" -c "exec \"\$@\"" bowline "$@""#;

impl Shell {
    /// The command to run on a terminal. Its exit code is the shell's.
    #[must_use]
    pub fn argv(&self) -> Vec<Vec<u8>> {
        let mut argv: Vec<Vec<u8>> = Vec::new();
        if let Some(user) = &self.user {
            argv.extend(["sh", "-c", BECOME, "bowline"].map(Vec::from));
            argv.push(user.clone());
        }
        argv.extend(["sh", "-c", ENTER, "bowline"].map(Vec::from));
        argv.push(self.directory.clone().unwrap_or_default());
        argv.push(self.program.clone().unwrap_or_default());
        argv.extend(self.environment.iter().cloned());
        argv
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    /// Runs the argv with nothing but these programs on its PATH.
    fn run(shell: &Shell, programs: &Path) -> Output {
        let argv = shell.argv();
        let words: Vec<&str> = argv
            .iter()
            .map(|word| std::str::from_utf8(word).unwrap())
            .collect();
        Command::new(programs.join(words[0]))
            .args(&words[1..])
            .env_clear()
            .env("PATH", programs)
            .current_dir("/")
            .output()
            .unwrap()
    }

    fn programs(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            symlink("/bin/sh", directory.path().join(name)).unwrap();
        }
        directory
    }

    fn script(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_scripts_can_stand_in_single_quotes() {
        for script in [ENTER, BECOME] {
            assert!(!script.contains('\''));
        }
    }

    #[test]
    fn the_best_shell_there_is_is_started() {
        for (has, starts) in [
            (&["sh", "ash", "bash"][..], "bash"),
            (&["sh", "ash"], "ash"),
            (&["sh"], "sh"),
        ] {
            let programs = programs(&["sh"]);
            for name in has.iter().filter(|name| **name != "sh") {
                script(programs.path(), name, &format!("echo {name}"));
            }
            let output = run(&Shell::default(), programs.path());
            let expected = if starts == "sh" { "" } else { starts };
            assert_eq!(text(&output.stdout).trim(), expected);
            assert_eq!(output.status.code(), Some(0));
        }
    }

    #[test]
    fn variables_are_set_whatever_their_names_and_values() {
        let programs = programs(&["sh"]);
        script(
            programs.path(),
            "show",
            "echo \"$s|$d|$p|$PWD|$PATH\"; exit 9",
        );
        let shell = Shell {
            program: Some(b"show".to_vec()),
            directory: Some(b"/usr".to_vec()),
            environment: ["s=a b", "d=", "p=\"$x' *", "PATH=/nowhere"]
                .map(Vec::from)
                .to_vec(),
            ..Shell::default()
        };
        let output = run(&shell, programs.path());
        assert_eq!(text(&output.stdout), "a b||\"$x' *|/usr|/nowhere\n");
        assert_eq!(output.status.code(), Some(9));
    }

    #[test]
    fn su_is_told_the_user_before_anything_it_could_take_for_itself() {
        let programs = programs(&["sh"]);
        script(
            programs.path(),
            "su",
            "echo \"$1 ${2##*/} $3 $4 $5\"; shift 4; exec sh \"$@\"",
        );
        script(programs.path(), "show", "echo shown");
        script(programs.path(), "id", "exit 1");
        let mut shell = Shell {
            program: Some(b"show".to_vec()),
            // Every system has root, and the stand-in for `id` does not say that we are root.
            user: Some(b"root".to_vec()),
            ..Shell::default()
        };
        for user in ["root", "0"] {
            shell.user = Some(user.into());
            let output = run(&shell, programs.path());
            assert_eq!(text(&output.stdout), "-s sh -- root -c\nshown\n", "{user}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let programs = programs(&["sh"]);
        let missing = |shell: Shell| {
            let output = run(&shell, programs.path());
            (
                output.status.code().unwrap(),
                text(&output.stderr).trim().to_owned(),
            )
        };
        let directory = Shell {
            directory: Some(b"/no/such".to_vec()),
            ..Shell::default()
        };
        let program = Shell {
            program: Some(b"nosh".to_vec()),
            ..Shell::default()
        };
        let user = |user: &str| Shell {
            user: Some(user.into()),
            ..Shell::default()
        };
        let cannot = i32::from(CANNOT_ENTER);
        for (shell, code, said) in [
            (
                directory,
                cannot,
                "bowline: there is no directory /no/such in this container",
            ),
            (program, 127, "bowline: there is no nosh in this container"),
            (
                user("nobody-here"),
                cannot,
                "bowline: there is no user nobody-here in this container",
            ),
            (
                user("root"),
                cannot,
                "bowline: there is no su in this container, which is needed to become root",
            ),
        ] {
            assert_eq!(missing(shell), (code, said.to_owned()));
        }
    }
}
