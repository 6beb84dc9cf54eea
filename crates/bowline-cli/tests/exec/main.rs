//! The built binary driven as a user would drive it, against real sandboxes on loopback.
//!
//! Every wait has a deadline far beyond what a busy machine needs; none waits for luck.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod argv;
mod completion;
mod config;
mod credentials;
mod encrypted;
mod endings;
mod engines;
mod failures;
mod hostile;
mod images;
mod login;
mod network;
mod picker;
mod private_sandbox;
mod resume;
mod stdin;
mod streams;
mod support;
mod terminal;
