//! Chance that can be repeated: a number for each question, and for the same question always the same number.

use sha2::{Digest, Sha256};
use std::time::Duration;

use super::Span;

/// Answers by chance, the same ones for the same seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dice {
    seed: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    pub(super) fn seed(self) -> u64 {
        self.seed
    }

    /// Any number; `about` and `which` say what the question is.
    pub(super) fn number(self, about: &str, which: &[u64]) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(about.as_bytes());
        for number in which {
            hash.update(number.to_be_bytes());
        }
        let digest = hash.finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// From 0 to below 1.
    fn fraction(self, about: &str, which: &[u64]) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.number(about, which) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this chance, which lies between 0 and 1.
    pub(super) fn happens(self, chance: f64, about: &str, which: &[u64]) -> bool {
        chance > 0.0 && self.fraction(about, which) < chance
    }

    /// Some length within the span.
    pub(super) fn within(self, span: Span, about: &str, which: &[u64]) -> Duration {
        let room = span.max.saturating_sub(span.min);
        if room.is_zero() {
            return span.min;
        }
        span.min + room.mul_f64(self.fraction(about, which))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_has_the_same_answer_and_chances_are_kept() {
        let dice = Dice::new(7);
        assert_eq!(dice.number("loss", &[1, 2]), dice.number("loss", &[1, 2]));
        assert_ne!(dice.number("loss", &[1, 2]), dice.number("loss", &[2, 1]));
        assert_ne!(dice.number("loss", &[1]), Dice::new(8).number("loss", &[1]));
        assert!(!dice.happens(0.0, "loss", &[1]) && dice.happens(1.0, "loss", &[1]));
        let hits = (0..10_000)
            .filter(|n| dice.happens(0.3, "x", &[*n]))
            .count();
        assert!((2800..3200).contains(&hits), "{hits}");
    }
}
