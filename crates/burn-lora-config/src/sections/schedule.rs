//! How the learning rate goes on after the warm-up: a word and its formula, declared together.

use std::f64::consts::PI;

use crate::named::named;

named! {
    /// How the learning rate goes on after the warm-up.
    pub enum Schedule {
        /// Half a cosine down to 0.
        Cosine = "cosine",
        /// A line down to 0.
        Linear = "linear",
        /// Stays as it is.
        Constant = "constant",
    }
}

impl Schedule {
    /// The share of the highest rate when the share `done` of the way from the warm-up to the end is gone,
    /// both in `[0, 1]`: transformers' `get_*_schedule_with_warmup`.
    pub fn factor(self, done: f64) -> f64 {
        match self {
            Self::Cosine => 0.5 * (1.0 + (PI * done).cos()),
            Self::Linear => 1.0 - done,
            Self::Constant => 1.0,
        }
    }
}
