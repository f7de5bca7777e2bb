//! The choice of the next token.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// How the next token is chosen from the logits.
///
/// Top-k first, then temperature, then top-p on what is left, as Hugging Face's order has it (the
/// order of the first two makes no difference).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits; 0 takes the highest one, always.
    pub temperature: f64,
    /// Only so many of the highest logits count.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens count whose probabilities reach this sum.
    pub top_p: Option<f64>,
    /// The same seed, prompt and row give the same tokens, whichever rows run beside it.
    pub seed: u64,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Self { temperature: 0.0, top_k: None, top_p: None, seed: 0 }
    }
}

impl Sampling {
    /// Whether all is inside its range.
    ///
    /// # Errors
    ///
    /// What is not, in words.
    pub fn check(&self) -> Result<(), String> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(format!(
                "temperature is {}: it must be 0 (greedy) or above",
                self.temperature
            ));
        }
        if self.top_k == Some(0) {
            return Err("top_k is 0: it must be at least 1; leave it out to allow all".into());
        }
        match self.top_p {
            Some(p) if !(p > 0.0 && p <= 1.0) => {
                Err(format!("top_p is {p}: it must be above 0 and at most 1"))
            }
            _ => Ok(()),
        }
    }
}

/// The sampler of one row.
pub(super) struct Sampler {
    options: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    pub(super) fn new(options: &Sampling, row: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        // Streams of one seed: what a row gets does not depend on the rows beside it.
        rng.set_stream(row as u64);
        Self { options: options.clone(), rng }
    }

    /// The next token.
    pub(super) fn next(&mut self, logits: &[f32]) -> Result<u32, ModelError> {
        let Some(highest) = highest(logits) else {
            return Err(ModelError::Generation {
                reason: "the model's logits are not numbers (NaN): the weights or the adapter are \
                         damaged, or training diverged"
                    .into(),
            });
        };
        if self.options.temperature == 0.0 {
            return Ok(highest);
        }
        let candidates = candidates(logits, &self.options);
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut left = self.rng.random::<f64>() * total;
        for &(token, weight) in &candidates {
            left -= weight;
            if left < 0.0 {
                return Ok(token);
            }
        }
        // Rounding can leave a hair over the last one.
        Ok(candidates.last().map_or(0, |&(token, _)| token))
    }
}

/// The token with the highest of the logits, the first of equals, as torch's argmax has it; none where one is
/// not a number.
fn highest(logits: &[f32]) -> Option<u32> {
    const LANES: usize = 16;
    let (chunks, tail) = logits.as_chunks::<LANES>();
    let (mut tops, mut wrong) = ([f32::NEG_INFINITY; LANES], [false; LANES]);
    for chunk in chunks {
        for ((top, wrong), logit) in tops.iter_mut().zip(&mut wrong).zip(chunk) {
            *top = if logit > top { *logit } else { *top };
            *wrong |= logit.is_nan();
        }
    }
    if wrong.contains(&true) || tail.iter().any(|logit| logit.is_nan()) {
        return None;
    }
    let top = tops.iter().chain(tail).fold(f32::NEG_INFINITY, |top, &logit| top.max(logit));
    Some(logits.iter().position(|&logit| logit == top).unwrap_or(0) as u32)
}

/// The tokens that may come, likeliest first, with weights in proportion to their probabilities.
fn candidates(logits: &[f32], options: &Sampling) -> Vec<(u32, f64)> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let descending =
        |&a: &u32, &b: &u32| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b));
    if let Some(k) = options.top_k.filter(|&k| k < order.len()) {
        order.select_nth_unstable_by(k - 1, descending);
        order.truncate(k);
    }
    order.sort_unstable_by(descending);
    let highest = order.first().map_or(0.0, |&token| f64::from(logits[token as usize]));
    let mut candidates: Vec<(u32, f64)> = order
        .into_iter()
        .map(|token| {
            let below = f64::from(logits[token as usize]) - highest;
            (token, (below / options.temperature).exp())
        })
        .collect();
    if let Some(p) = options.top_p {
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0.0;
        let kept = candidates.iter().take_while(|(_, weight)| {
            let before = sum;
            sum += weight;
            before < p * total
        });
        let kept = kept.count().max(1);
        candidates.truncate(kept);
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities 0.5, 0.25, 0.125, 0.125 at temperature 1, out of order.
    const LOGITS: [f32; 4] = [-2.079_441_5, -std::f32::consts::LN_2, -2.079_441_5, -1.386_294_4];

    fn sampling(temperature: f64, top_k: Option<usize>, top_p: Option<f64>) -> Sampling {
        Sampling { temperature, top_k, top_p, seed: 3 }
    }

    fn check_candidates(options: &Sampling, expected: &[(u32, f64)]) {
        let found = candidates(&LOGITS, options);
        let total: f64 = found.iter().map(|(_, weight)| weight).sum();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((token, weight), (expected_token, probability)) in found.iter().zip(expected) {
            assert_eq!(token, expected_token);
            // The logits are f32: seven digits.
            assert!((weight / total - probability).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn candidates_have_the_probabilities_of_the_definition() {
        let all = [(1, 0.5), (3, 0.25), (0, 0.125), (2, 0.125)];
        check_candidates(&sampling(1.0, None, None), &all);
        check_candidates(&sampling(1.0, Some(2), None), &[(1, 2.0 / 3.0), (3, 1.0 / 3.0)]);
        check_candidates(&sampling(1.0, Some(9), None), &all);
        // 0.5 + 0.25 reaches 0.7; 0.5 alone reaches 0.4.
        check_candidates(&sampling(1.0, None, Some(0.7)), &[(1, 2.0 / 3.0), (3, 1.0 / 3.0)]);
        check_candidates(&sampling(1.0, None, Some(0.4)), &[(1, 1.0)]);
        // At half the temperature probabilities are squared: 1/4, 1/16, 1/64, 1/64 of 22/64.
        let squared = [(1, 16.0 / 22.0), (3, 4.0 / 22.0), (0, 1.0 / 22.0), (2, 1.0 / 22.0)];
        check_candidates(&sampling(0.5, None, None), &squared);
    }

    #[test]
    fn draws_come_in_proportion() {
        let mut sampler = Sampler::new(&sampling(1.0, None, None), 0);
        let mut counts = [0_u32; 4];
        for _ in 0..10_000 {
            counts[sampler.next(&LOGITS).unwrap() as usize] += 1;
        }
        for (count, probability) in counts.iter().zip([0.125, 0.5, 0.125, 0.25]) {
            // Four standard deviations of a binomial.
            let slack = 4.0 * (10_000.0 * probability * (1.0_f64 - probability)).sqrt();
            assert!((f64::from(*count) - 10_000.0 * probability).abs() < slack, "{counts:?}");
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_highest() {
        let mut sampler = Sampler::new(&Sampling::default(), 0);
        assert_eq!(sampler.next(&[0.0, 2.0, 1.0, 2.0]).unwrap(), 1);
    }

    #[test]
    fn rows_and_seeds_draw_differently_and_reproducibly() {
        let flat = [0.0_f32; 1000];
        let draw = |seed, row| {
            let options = Sampling { temperature: 1.0, seed, ..Sampling::default() };
            Sampler::new(&options, row).next(&flat).unwrap()
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }

    #[test]
    fn scores_that_are_not_numbers_are_refused() {
        let mut sampler = Sampler::new(&Sampling::default(), 0);
        assert!(sampler.next(&[0.0, f32::NAN]).unwrap_err().to_string().contains("NaN"));
    }

    #[test]
    fn options_outside_their_ranges_are_refused() {
        for (options, word) in [
            (sampling(-0.1, None, None), "temperature"),
            (sampling(f64::NAN, None, None), "temperature"),
            (sampling(1.0, Some(0), None), "top_k"),
            (sampling(1.0, None, Some(0.0)), "top_p"),
            (sampling(1.0, None, Some(1.1)), "top_p"),
        ] {
            assert!(options.check().unwrap_err().starts_with(word));
        }
        assert_eq!(sampling(0.7, Some(50), Some(1.0)).check(), Ok(()));
    }
}
