//! The forms of a listing: tables for people, JSON for programs, names to be used as targets.

pub(crate) mod age;
pub(crate) mod json;
pub(crate) mod listing;
pub(crate) mod table;
