//! Recordings: what was done in a container, by whom, and what came of it, in files that show tampering.
//!
//! A terminal is recorded as asciicast v3, everything else as lines of JSON. Every line is sealed by a digest of all
//! bytes before it ([`verify`]), and secrets are taken out on the way ([`Patterns`]). A [`Recorder`] has a thread and a
//! bounded queue, so that a session never waits for a disk for long.

mod cast;
mod chain;
mod copy;
mod entry;
mod file;
mod plan;
mod recorder;
mod redact;
mod writer;

pub use self::cast::{Cast, CastError, CastEvent, CastHeader, CastKind};
pub use self::chain::{Broken, Verdict, Verified, verify};
pub use self::copy::{CopyError, Destination};
pub use self::entry::{End, Output, Start};
pub use self::file::{Summary, summary};
pub use self::plan::{RecordPlan, ssm_target};
pub use self::recorder::{Closed, RecordError, RecordOptions, Recorder, Recording, WeakRecorder};
pub use self::redact::{PatternError, Patterns};
