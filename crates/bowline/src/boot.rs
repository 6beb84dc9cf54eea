//! Programs of ours for a container's shell that are longer than a request should be.
//!
//! They come as the first line of their own input. So the request, which is somebody's audit log, shows what is asked
//! and not how it is done, and no image needs `stty` for a long program.

use bytes::Bytes;

use crate::session::exec::ExecRequest;
use crate::session::exec::wrapper::escaped_bytes;

/// Reads the program with what every shell has built in, byte by byte, so that nothing behind it is touched.
pub(crate) const BOOT: &str = r#"IFS= read -r p;eval "$(printf %b "$p")""#;

/// A request that runs `program` under this name with these arguments; `input` is what its stdin begins with.
pub(crate) fn request<'a>(
    program: &str,
    name: &'a str,
    arguments: impl IntoIterator<Item = &'a [u8]>,
    input: &[u8],
) -> ExecRequest {
    let words = [b"sh", b"-c", BOOT.as_bytes(), name.as_bytes()];
    let mut first = escaped_bytes(program.as_bytes());
    first.extend_from_slice(input);
    ExecRequest {
        first: Bytes::from(first),
        lines: true,
        ..ExecRequest::new(words.into_iter().chain(arguments))
    }
}
