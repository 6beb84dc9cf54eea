//! What an engine's output means, whichever engine it is. Pure: bytes in, steps out.

use base64::Engine as _;
use bytes::Bytes;

use super::Engine;
use super::framed::{self, Damage, Input, Output};
use super::marked::{self, Mender};
use super::wrapper;

/// A piece of stdin in one answer to the framed wrapper, before base64 …
const PIECE: usize = 45_000;
/// … and where it is escaped instead, which the shell reads byte by byte …
const ESCAPED_PIECE: usize = 4000;
/// … and where its line has to pass a terminal that edits lines, which takes 4,095 characters: five for a byte.
const EDITED_PIECE: usize = 800;

/// What the far end said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The command is about to start.
    Ready {
        /// The terminal is fit for stdin.
        terminal: bool,
    },
    /// The wrapper waits for a line before it starts the command.
    Waits,
    /// Bytes of the command.
    Stdout(Bytes),
    /// Bytes of the command.
    Stderr(Bytes),
    /// The wrapper wants a piece of stdin.
    Want,
    /// The command has ended with this status.
    Status(i64),
    /// Nothing follows; the wrapper may be waiting for a newline.
    Done { waits: bool },
    /// The framed engine cannot work in this image; nothing was run.
    NoEncoder,
}

/// The reader of one engine.
pub(super) enum Protocol {
    Framed {
        decoder: framed::Decoder,
        input: Input,
        /// The terminal echoes and edits what is sent.
        edited: bool,
    },
    Plain {
        scanner: marked::Scanner,
        stdout: Mender,
        stderr: Mender,
    },
    Tty(marked::Scanner),
    /// Without a wrapper: all is output, and the end is the channel's.
    Raw,
}

impl Protocol {
    pub(super) fn new(engine: Engine, nonce: &str) -> Self {
        match engine {
            Engine::Framed => Self::Framed {
                decoder: framed::Decoder::new(nonce),
                input: Input::Base64,
                edited: false,
            },
            Engine::Plain => Self::Plain {
                scanner: marked::Scanner::new(nonce),
                stdout: Mender::default(),
                stderr: Mender::default(),
            },
            Engine::Tty => Self::Tty(marked::Scanner::new(nonce)),
            Engine::Bare | Engine::Native | Engine::Shell => Self::Raw,
        }
    }

    /// Reads a piece of output.
    pub(super) fn feed(&mut self, bytes: &Bytes, steps: &mut Vec<Step>) -> Result<(), Damage> {
        match self {
            Self::Framed {
                decoder,
                input,
                edited,
            } => {
                let mut items = Vec::new();
                let result = decoder.feed(bytes, &mut items);
                if *edited {
                    // Our own lines, echoed.
                    items.retain(|item| !matches!(item, framed::Item::Stray(_)));
                }
                steps.extend(items.into_iter().map(|item| framed_step(item, input)));
                return result;
            }
            Self::Plain {
                scanner,
                stdout,
                stderr,
            } => {
                let mut items = Vec::new();
                scanner.feed(bytes, &mut items);
                for item in items {
                    plain_steps(item, stdout, stderr, steps);
                }
            }
            Self::Tty(scanner) => {
                let mut items = Vec::new();
                scanner.feed(bytes, &mut items);
                for item in items {
                    tty_steps(item, steps);
                }
            }
            Self::Raw => steps.push(Step::Stdout(bytes.clone())),
        }
        Ok(())
    }

    /// The channel was closed: what was held back as the beginning of a mark is output after all.
    pub(super) fn finish(&mut self, steps: &mut Vec<Step>) {
        let mut items = Vec::new();
        match self {
            Self::Plain {
                scanner,
                stdout,
                stderr,
            } => {
                scanner.finish(&mut items);
                for item in items {
                    plain_steps(item, stdout, stderr, steps);
                }
                mend_ends(stdout, stderr, steps);
            }
            Self::Tty(scanner) => {
                scanner.finish(&mut items);
                for item in items {
                    tty_steps(item, steps);
                }
            }
            Self::Framed { .. } | Self::Raw => {}
        }
    }

    /// Whether pieces of stdin are asked for one by one.
    pub(super) fn asks_for_stdin(&self) -> bool {
        matches!(self, Self::Framed { .. })
    }

    /// From now on stdin goes through a terminal that echoes and edits lines. False if that is not possible.
    pub(super) fn edit_lines(&mut self) -> bool {
        match self {
            Self::Framed {
                input: Input::Escaped,
                edited,
                ..
            } => {
                *edited = true;
                true
            }
            _ => false,
        }
    }

    /// The longest piece of stdin to send at once.
    pub(super) fn piece_limit(&self) -> usize {
        match self {
            Self::Framed { edited: true, .. } => EDITED_PIECE,
            Self::Framed {
                input: Input::Escaped,
                ..
            } => ESCAPED_PIECE,
            _ => PIECE,
        }
    }

    /// A piece of stdin as the wrapper wants it; an empty one is the end.
    pub(super) fn piece(&self, piece: &[u8]) -> Vec<u8> {
        match self {
            _ if piece.is_empty() => b"0\n".to_vec(),
            Self::Framed {
                input: Input::Escaped,
                ..
            } => wrapper::escaped_bytes(piece),
            _ => {
                let text = base64::engine::general_purpose::STANDARD.encode(piece);
                format!("{}\n{text}", text.len()).into_bytes()
            }
        }
    }
}

fn framed_step(item: framed::Item, input: &mut Input) -> Step {
    match item {
        framed::Item::Ready {
            terminal,
            input: wanted,
        } => {
            *input = wanted;
            Step::Ready { terminal }
        }
        framed::Item::NoEncoder => Step::NoEncoder,
        framed::Item::Chunk(Output::Stdout, bytes) => Step::Stdout(bytes),
        // Programs that write to the terminal past their streams mean people.
        framed::Item::Chunk(Output::Stderr, bytes) | framed::Item::Stray(bytes) => {
            Step::Stderr(bytes)
        }
        framed::Item::Want => Step::Want,
        framed::Item::Status(status) => Step::Status(status),
        framed::Item::Done => Step::Done { waits: true },
    }
}

fn plain_steps(
    item: marked::Item,
    stdout: &mut Mender,
    stderr: &mut Mender,
    steps: &mut Vec<Step>,
) {
    let step = match item {
        marked::Item::Bytes(Output::Stdout, bytes) => Step::Stdout(stdout.mend(&bytes)),
        marked::Item::Bytes(Output::Stderr, bytes) => Step::Stderr(stderr.mend(&bytes)),
        marked::Item::Ready => Step::Ready { terminal: true },
        marked::Item::Waits => Step::Waits,
        marked::Item::NoTerminal => Step::Ready { terminal: false },
        marked::Item::Status(status) => Step::Status(status),
        marked::Item::Done => {
            mend_ends(stdout, stderr, steps);
            Step::Done { waits: true }
        }
    };
    steps.push(step);
}

/// What the menders held back in case more came.
fn mend_ends(stdout: &mut Mender, stderr: &mut Mender, steps: &mut Vec<Step>) {
    for last in [Step::Stdout(stdout.finish()), Step::Stderr(stderr.finish())] {
        if !matches!(&last, Step::Stdout(bytes) | Step::Stderr(bytes) if bytes.is_empty()) {
            steps.push(last);
        }
    }
}

fn tty_steps(item: marked::Item, steps: &mut Vec<Step>) {
    match item {
        marked::Item::Ready => steps.push(Step::Ready { terminal: true }),
        marked::Item::Waits => steps.push(Step::Waits),
        marked::Item::NoTerminal => steps.push(Step::Ready { terminal: false }),
        marked::Item::Bytes(Output::Stdout, bytes) => steps.push(Step::Stdout(bytes)),
        marked::Item::Bytes(Output::Stderr, bytes) => steps.push(Step::Stderr(bytes)),
        marked::Item::Status(status) => {
            steps.push(Step::Status(status));
            steps.push(Step::Done { waits: false });
        }
        marked::Item::Done => {}
    }
}
