//! The command lines that carry a wrapper and the user's argv to the agent.

use sha2::{Digest, Sha256};

use super::scripts::{FRAMED, PLAIN, TTY};

/// The longest command line that is sent in an ExecuteCommand request, in bytes.
const LINE_LIMIT: usize = 4000;

/// Which of the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Framed { stdin: bool },
    Plain,
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
        Kind::Plain => (PLAIN, ""),
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

/// The argv alone, for the agent to split. `None` if it cannot be carried that way.
pub(super) fn bare_line(argv: &[Vec<u8>]) -> Option<String> {
    let words: Option<Vec<&str>> = argv
        .iter()
        .map(|word| std::str::from_utf8(word).ok())
        .collect();
    let line = words?
        .into_iter()
        .map(plain_or_quoted)
        .collect::<Vec<_>>()
        .join(" ");
    (line.len() <= LINE_LIMIT).then_some(line)
}

/// Bytes of stdin as one line for `printf %b`.
pub(crate) fn escaped_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(bytes.len() * 2);
    match bytes {
        // Alone on its line it would be the end of the input.
        b"0" => line.extend_from_slice(br"\0060"),
        bytes => escape(bytes, &mut line),
    }
    line.push(b'\n');
    line
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
        escape(&shell, &mut line);
    }
    line.push(b'\n');
    line
}

/// Every byte that is not plain as `\0ooo`: then neither the terminal nor `read` sees anything special.
fn escape(bytes: &[u8], line: &mut Vec<u8>) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_./".contains(&byte) {
            line.push(byte);
        } else {
            line.extend_from_slice(format!("\\0{byte:03o}").as_bytes());
        }
    }
}

fn digest(argv: &[Vec<u8>]) -> String {
    let mut hash = Sha256::new();
    for word in argv {
        hash.update(word);
        hash.update([0]);
    }
    format!("sha256:{}", hex::encode(&hash.finalize()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(argv: &[&str]) -> Vec<Vec<u8>> {
        argv.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_scripts_can_stand_in_single_quotes_and_leave_room_for_an_argv() {
        for script in [FRAMED, PLAIN, TTY] {
            assert!(!script.contains('\''));
            assert!(script.len() < 2050, "{}", script.len());
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
