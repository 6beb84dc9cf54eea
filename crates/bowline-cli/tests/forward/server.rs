//! A server on this machine that stands behind a task: it sends, takes and echoes bytes that can be checked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// `D` and a number: so many bytes, then the end. `U` and a number: so many are taken, then `1` if they were right.
/// `E`: echo. `H`: says hello at once, whatever comes. A number is eight digits.
pub(crate) struct Server {
    pub(crate) port: u16,
}

impl Server {
    /// Serves until the test's process ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that breaks off is the business of its test.
                thread::spawn(move || drop(serve(stream)));
            }
        });
        Self { port }
    }

    /// The words that put it behind the sandbox's tasks as `bulk:9`.
    pub(crate) fn behind_tasks(&self) -> [String; 2] {
        let to = format!("bulk:9=127.0.0.1:{}", self.port);
        ["--remote-host".to_owned(), to]
    }
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    match kind[0] {
        b'D' => {
            let length = number(&mut stream)?;
            stream.write_all(&bytes(length))
        }
        b'U' => {
            let length = number(&mut stream)?;
            let mut taken = vec![0; length];
            stream.read_exact(&mut taken)?;
            stream.write_all(if taken == bytes(length) { b"1" } else { b"0" })
        }
        b'H' => {
            stream.write_all(b"hello")?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        }
        _ => {
            let mut piece = [0; 4096];
            loop {
                match stream.read(&mut piece)? {
                    0 => return Ok(()),
                    length => stream.write_all(&piece[..length])?,
                }
            }
        }
    }
}

fn number(stream: &mut TcpStream) -> std::io::Result<usize> {
    let mut digits = [0; 8];
    stream.read_exact(&mut digits)?;
    let text = std::str::from_utf8(&digits).map_err(std::io::Error::other)?;
    text.parse().map_err(std::io::Error::other)
}

/// So many bytes, in no order that a mistake could keep.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// Takes so many bytes from a server and checks them, to the end of the connection.
pub(crate) fn download(mut stream: TcpStream, length: usize) {
    stream
        .write_all(format!("D{length:08}").as_bytes())
        .unwrap();
    let mut taken = Vec::new();
    stream.read_to_end(&mut taken).unwrap();
    assert_eq!(taken.len(), length);
    assert!(taken == bytes(length), "other bytes");
}

/// Gives a server so many bytes and has them checked there.
pub(crate) fn upload(mut stream: TcpStream, length: usize) {
    stream
        .write_all(format!("U{length:08}").as_bytes())
        .unwrap();
    stream.write_all(&bytes(length)).unwrap();
    let mut verdict = [0];
    stream.read_exact(&mut verdict).unwrap();
    assert_eq!(verdict, *b"1");
}

/// Sends something and has it come back.
pub(crate) fn echo(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}
