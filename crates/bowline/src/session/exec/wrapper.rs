//! The small POSIX-sh programs that run beside the user's command, and the command lines that carry them.
//!
//! They must survive dash, busybox ash and bash, and the agent's shell-like splitting of the command line: no single
//! quote may appear in them, so that single quotes can carry them.

use sha2::{Digest, Sha256};

/// The longest command line that is sent in an ExecuteCommand request, in bytes.
const LINE_LIMIT: usize = 4000;

/// The framed engine: `sh -c FRAMED bowline NONCE MODE argv…`; MODE holds `i` for stdin and `a` for an argv that
/// comes through the session.
///
/// What it prints, each line `RS NONCE` and then:
///
/// ```text
/// r<64|16> <0|1>      ready: the encoding of chunks; whether the terminal could be set up
/// o<text>, e<text>    a line of a chunk of stdout or stderr
/// o=<n> <crc> <len>   the end of chunk n, and cksum's CRC and length of its lines (`-` for the CRC without cksum)
/// o.<n>               the end of the stream after n chunks
/// w                   stdin is wanted: answered by a length, a newline and so many characters of base64; 0 ends it
/// x<status>           the command has ended
/// z                   nothing follows; waits for a newline, so that the agent does not leave before all is read
/// ```
///
/// - `noflsh`: without it the kernel throws away unread output when Ctrl-C interrupts.
/// - `dd count=1` reads what there is, so output is seen as it comes and chunks grow only with backlog.
/// - Lines are short and written by one `printf` each: then a terminal keeps the lines of the two writers apart, also
///   with busybox, which writes about 1 KiB at a time.
/// - The command runs in the foreground group with default SIGINT; the shells around it ignore or survive it.
/// - `x` sends its own stderr away, so that a shell's "Terminated" is not taken for the command's.
/// - Stdin is asked for piece by piece: a command that does not read must not stop the terminal, which carries Ctrl-C.
const FRAMED: &str = r#"n=$1 i=$2;shift 2
trap : INT
stty raw isig noflsh -echo 2>/dev/null&&t=1||t=0
exec 3>&1
h(){ command -v $1 >/dev/null;}
f(){ trap "" INT;}
if h base64;then q=64;b(){ base64 $w;};else q=16;b(){ od -An -v -tx1;};fi
if h cksum;then k(){ printf %s "$c"|cksum;};else k(){ echo - ${#c};};fi
e(){ f;IFS="
";j=0;base64 -w900 </dev/null >/dev/null 2>&1&&w=-w900||w=
while c=$(dd bs=61440 count=1 2>/dev/null|b);[ "$c" ];do
for l in $c;do printf "\036$n$1%s\n" "$l";done
j=$((j+1));printf "\036$n$1=%s %s\n" $j "$(k)"
done;printf "\036$n$1.%s\n" $j;}
s(){ f;while printf "\036${n}w\n">&3;read -r z&&[ "$z" -gt 0 ];do head -c $z|base64 -d;done;}
x(){ trap : INT;exec 5>&2 2>/dev/null;(r "$@") 2>&5 3>&- 4>&- 5>&-;printf "\036${n}x%s\n" $?>&3;}
r(){ exec "$@";}
printf "\036${n}r%s %s\n" $q $t
case $i in *a*)read -r z;eval "set -- $(printf %b "$z")";;esac
{ case $i in *i*)s|x "$@";;*)x "$@" </dev/null;;esac 2>&1 >&4|e e >&3 4>&-;} 4>&1|e o >&3
printf "\036${n}z\n";read -r z"#;

/// The tty engine: the command has the terminal to itself; a mark before it and one after it, with its status.
const TTY: &str = r#"n=$1 i=$2;shift 2
trap : INT QUIT
r(){ exec "$@";}
case $i in *a*)stty -echo 2>/dev/null;printf "\036${n}r\036";read -r z;stty echo 2>/dev/null;eval "set -- $(printf %b "$z")";;*)printf "\036${n}r\036";;esac
(r "$@")
printf "\036${n}x%s\036" $?"#;

/// Which of the programs above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Framed { stdin: bool },
    Tty,
}

/// A command line for ExecuteCommand, and what has to follow through the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) line: String,
    /// The argv, to be written after the ready mark with a newline, if it did not fit into the line.
    pub(super) later: Option<Vec<u8>>,
}

/// Builds the command line that runs `argv` under a wrapper whose marks carry `nonce`.
///
/// The argv stands in clear behind the wrapper: the request is somebody's audit log. One that is too long or not
/// UTF-8 travels through the session; the line then shows its first word and a digest.
pub(super) fn command_line(kind: Kind, nonce: &str, argv: &[Vec<u8>]) -> CommandLine {
    let (script, stdin) = match kind {
        Kind::Framed { stdin } => (FRAMED, if stdin { "i" } else { "" }),
        Kind::Tty => (TTY, ""),
    };
    let head = format!("sh -c {} bowline {nonce}", quoted(script));
    let words: Option<Vec<&str>> = argv
        .iter()
        .map(|word| std::str::from_utf8(word).ok())
        .collect();
    if let Some(words) = words {
        let words: Vec<String> = words.into_iter().map(plain_or_quoted).collect();
        let line = format!("{head} n{stdin} {}", words.join(" "));
        if line.len() <= LINE_LIMIT {
            return CommandLine { line, later: None };
        }
    }
    let shown: String = argv
        .first()
        .map(|word| String::from_utf8_lossy(word).chars().take(200).collect())
        .unwrap_or_default();
    let line = format!(
        "{head} a{stdin} {} {}",
        plain_or_quoted(&shown),
        digest(argv)
    );
    CommandLine {
        line,
        later: Some(escaped(argv)),
    }
}

/// In single quotes, which the agent's lexer and every shell read alike.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn plain_or_quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        quoted(word)
    }
}

/// The words as one line for `printf %b` and `eval`: shell-quoted, every byte that is not plain as `\0ooo`.
fn escaped(argv: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for word in argv {
        let mut shell = vec![b'\''];
        for &byte in word {
            if byte == b'\'' {
                shell.extend_from_slice(br"'\''");
            } else {
                shell.push(byte);
            }
        }
        shell.extend_from_slice(b"' ");
        for byte in shell {
            if byte.is_ascii_alphanumeric() || b"-_./".contains(&byte) {
                line.push(byte);
            } else {
                line.extend_from_slice(format!("\\0{byte:03o}").as_bytes());
            }
        }
    }
    line.push(b'\n');
    line
}

fn digest(argv: &[Vec<u8>]) -> String {
    let mut hash = Sha256::new();
    for word in argv {
        hash.update(word);
        hash.update([0]);
    }
    let hex: String = hash
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(argv: &[&str]) -> Vec<Vec<u8>> {
        argv.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_scripts_can_stand_in_single_quotes_and_leave_room_for_an_argv() {
        for script in [FRAMED, TTY] {
            assert!(!script.contains('\''));
            assert!(script.len() < 1500, "{}", script.len());
        }
    }

    #[test]
    fn a_short_argv_stays_visible() {
        let kind = Kind::Framed { stdin: true };
        let line = command_line(kind, "k1", &words(&["sh", "-c", "echo 'a b'; exit 3", ""]));
        assert!(
            line.line
                .ends_with(r" bowline k1 ni sh -c 'echo '\''a b'\''; exit 3' ''"),
            "{}",
            line.line
        );
        assert_eq!(line.later, None);
    }

    #[test]
    fn a_long_or_foreign_argv_travels_through_the_session() {
        let long = "x".repeat(5000);
        let line = command_line(Kind::Tty, "k1", &words(&["echo", &long]));
        assert!(
            line.line.len() < LINE_LIMIT && line.line.contains(" k1 a echo sha256:"),
            "{}",
            line.line
        );
        assert!(line.later.is_some_and(|later| later.len() > 5000));
        let line = command_line(Kind::Tty, "k1", &[b"echo".to_vec(), vec![0xff, b'\'']]);
        assert_eq!(
            line.later.as_deref(),
            Some(&b"\\0047echo\\0047\\0040\\0047\\0377\\0047\\0134\\0047\\0047\\0047\\0040\n"[..])
        );
    }
}
