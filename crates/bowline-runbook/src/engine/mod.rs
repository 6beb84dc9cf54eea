//! A run as a state machine.

pub(crate) mod condition;
