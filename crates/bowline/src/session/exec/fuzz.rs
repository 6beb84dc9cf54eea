//! What must hold for the readers of all engines, whatever a wrapper prints.

use bytes::Bytes;

use super::Engine;
use super::protocol::{Protocol, Step};

const NONCE: &str = "k";

/// What a reading comes to.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// All other steps, in order.
    said: Vec<Step>,
    damaged: bool,
}

/// The first byte chooses the engine, the second the length of the pieces in which the rest is read.
///
/// However it is cut, the same is read; no more bytes come out than went in; what is no base64 or hexadecimal of the
/// wrapper's own appears in the input as it is, in order.
pub fn exec_output(data: &[u8]) {
    let [engine, length, output @ ..] = data else {
        return;
    };
    let engine = match engine % 4 {
        0 => Engine::Framed,
        1 => Engine::Plain,
        2 => Engine::Tty,
        _ => Engine::Bare,
    };
    let whole = read(engine, output.chunks(output.len().max(1)));
    let pieces = read(engine, output.chunks(1 + usize::from(length % 64)));
    // What a damaged line leaves unread in its piece depends on the cuts; what was read until then does not, but for
    // strays of the same piece.
    assert_eq!(whole.damaged, pieces.damaged);
    assert_eq!(whole.stdout, pieces.stdout);
    assert_eq!(whole.said, pieces.said);
    if !whole.damaged {
        assert_eq!(whole.stderr, pieces.stderr);
    }
    match engine {
        // The mender makes at most three bytes of one, and never takes one away.
        Engine::Plain => assert!(whole.stdout.len() + whole.stderr.len() <= 3 * output.len()),
        Engine::Framed => {
            assert!(whole.stdout.len() + whole.stderr.len() <= output.len());
            assert!(is_within(&whole.stderr, output) || holds_chunks(output));
        }
        _ => {
            assert!(is_within(&whole.stdout, output));
            assert!(is_within(&whole.stderr, output));
        }
    }
}

fn read<'a>(engine: Engine, pieces: impl Iterator<Item = &'a [u8]>) -> Reading {
    let mut protocol = Protocol::new(engine, NONCE);
    let mut reading = Reading::default();
    let mut steps = Vec::new();
    for piece in pieces {
        if protocol
            .feed(&Bytes::copy_from_slice(piece), &mut steps)
            .is_err()
        {
            reading.damaged = true;
            break;
        }
        let piece = protocol.piece(&[7; 3]);
        assert!(piece.len() < 64 && protocol.piece_limit() > 0, "{piece:?}");
    }
    protocol.finish(&mut steps);
    for step in steps {
        match step {
            Step::Stdout(bytes) => reading.stdout.extend_from_slice(&bytes),
            Step::Stderr(bytes) => reading.stderr.extend_from_slice(&bytes),
            other => reading.said.push(other),
        }
    }
    reading
}

/// The bytes of `part` stand in `whole`, in this order.
fn is_within(part: &[u8], whole: &[u8]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|byte| whole.any(|other| other == byte))
}

/// Whether there may be encoded bytes of stderr, which look like nothing in the input.
fn holds_chunks(output: &[u8]) -> bool {
    output.windows(4).any(|window| window == b"\x1eke=")
}
