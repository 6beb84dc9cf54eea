//! The set of faults that is in force, and what has come of it so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::api::Calls;
use super::dice::Dice;
use super::{Faults, Resume};

/// Holds the set in force. Clones share it.
#[derive(Clone)]
pub(crate) struct Switch {
    active: Arc<Mutex<Arc<Active>>>,
}

impl Switch {
    pub(crate) fn new(faults: Faults) -> Self {
        Self {
            active: Arc::new(Mutex::new(Arc::new(Active::new(faults, 0)))),
        }
    }

    /// The set in force.
    pub(crate) fn now(&self) -> Arc<Active> {
        Arc::clone(&self.active.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another set in force: everything is counted from here again.
    pub(crate) fn set(&self, faults: Faults) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        *active = Arc::new(Active::new(faults, active.generation + 1));
    }
}

/// One set of faults in force.
pub(crate) struct Active {
    /// Another number for each set.
    pub(super) generation: u64,
    pub(super) faults: Faults,
    pub(super) dice: Dice,
    pub(super) calls: Calls,
    pub(super) happened: Happened,
}

/// How often something went wrong on purpose.
#[derive(Default)]
pub(super) struct Happened {
    pub(super) lost: AtomicU64,
    pub(super) duplicated: AtomicU64,
    pub(super) reordered: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) throttled: AtomicU64,
    refused: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

impl Active {
    fn new(faults: Faults, generation: u64) -> Self {
        // Short enough to be typed; a different run needs no more.
        let seed = faults
            .seed
            .unwrap_or_else(|| getrandom::u32().unwrap_or_default().into());
        Self {
            generation,
            dice: Dice::new(seed),
            calls: Calls::new(&faults),
            happened: Happened::default(),
            faults,
        }
    }

    /// The seed in use, given or chosen.
    pub(crate) fn seed(&self) -> u64 {
        self.dice.seed()
    }

    pub(crate) fn resume(&self) -> Resume {
        self.faults.resume
    }

    pub(crate) fn agent_delay(&self) -> Duration {
        self.faults.agent_delay
    }

    /// Whether a right token is to be refused this time.
    pub(crate) fn refuses_token(&self) -> bool {
        let wanted = self.faults.token_refused;
        let refused = &self.happened.refused;
        let more = |count| (count < wanted).then_some(count + 1);
        refused
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// For GetFaults and SetFaults.
    pub(crate) fn describe(&self) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let happened = &self.happened;
        json!({
            "faults": self.faults.to_json(),
            "seed": self.seed(),
            "happened": {
                "lost": count(&happened.lost),
                "duplicated": count(&happened.duplicated),
                "reordered": count(&happened.reordered),
                "cut": count(&happened.cut),
                "throttled": count(&happened.throttled),
                "refused": count(&happened.refused),
            },
        })
    }
}
