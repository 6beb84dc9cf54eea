//! Behaviour of one end, through the public interface, on virtual time.

// What cannot be read or made here is a failed test; the lint knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod agent;
mod client;
mod closing;
mod delivery;
mod encryption;
mod hostile;
mod resuming;
mod sending;
