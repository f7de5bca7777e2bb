//! How much longer than one the slowest of some ranks takes, by simulation.
//!
//! The seconds of a micro-batch are drawn log-normal around their mean, each apart from the others, and a round takes as long as the
//! longest of them. All numbers of ranks see the same draws, the first so many of each trial, so that one rank waits for nobody and more
//! ranks never wait less. Left out: a rank that is slow all the time, which costs all of what it is slower.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Rounds that are drawn.
const TRIALS: u32 = 2000;

/// What is waited for, by the number of ranks.
#[derive(Debug, Clone, PartialEq)]
pub struct Stragglers {
    /// Of one rank, of two, and so on.
    waits: Vec<f64>,
}

impl Stragglers {
    /// Of micro-batches whose seconds have that standard deviation, as a share of their mean (of their logarithm, exactly), for so many
    /// ranks at the most. The same for the same seed.
    pub fn simulated(spread: f64, most: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut waits = vec![0.0; most];
        for _ in 0..TRIALS {
            let (mut first, mut longest) = (None, f64::NEG_INFINITY);
            for wait in &mut waits {
                let normal: f64 = rng.sample(StandardNormal);
                let seconds = (spread * normal - spread * spread / 2.0).exp();
                longest = longest.max(seconds);
                *wait += longest - *first.get_or_insert(seconds);
            }
        }
        waits.iter_mut().for_each(|wait| *wait /= f64::from(TRIALS));
        Self { waits }
    }

    /// How much longer a round of so many micro-batches, a rank each, takes than one of them, as a share of it; nothing of no ranks. Of
    /// more ranks than were drawn, what those wait.
    pub fn wait(&self, ranks: usize) -> f64 {
        let drawn = ranks.min(self.waits.len());
        drawn.checked_sub(1).and_then(|last| self.waits.get(last)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_the_expected_maximum() {
        // Of small spreads it is that of normal values: 1/√π of two, 1.0294 of four, 3.2414 of a thousand (Harter 1961).
        let spread = 1e-3;
        let stragglers = Stragglers::simulated(spread, 1000, 7);
        for (ranks, expected, deviation) in
            [(2, 0.5642, 0.8), (4, 1.0294, 1.1), (1000, 3.2414, 1.1)]
        {
            // Four standard errors of the mean of that many trials.
            let tolerance = 4.0 * deviation / f64::from(TRIALS).sqrt();
            let found = stragglers.wait(ranks) / spread;
            assert!((found - expected).abs() < tolerance, "{ranks}: {found}");
        }
    }

    #[test]
    fn one_rank_waits_for_nobody_and_more_never_wait_less() {
        let stragglers = Stragglers::simulated(0.2, 64, 1);
        assert_eq!((stragglers.wait(0), stragglers.wait(1)), (0.0, 0.0));
        assert!((1..64).all(|ranks| stragglers.wait(ranks) <= stragglers.wait(ranks + 1)));
        assert_eq!(stragglers.wait(65), stragglers.wait(64));
        assert_eq!(stragglers, Stragglers::simulated(0.2, 64, 1));
        assert_ne!(stragglers, Stragglers::simulated(0.2, 64, 2));
        let none = Stragglers::simulated(0.0, 64, 1);
        assert_eq!(none.wait(64), 0.0);
    }
}
