//! The singular values of a layer's change, and what a smaller rank would keep of it.

use burn_lora_patch::combine::{Factors, Keep, kept};
use serde::Serialize;

/// The share of the square of a change's norm that a suggested rank keeps.
pub(super) const ENOUGH: f64 = 0.99;

/// The singular values of a change `scale · B A`, by QR decompositions of the factors: no matrix of the weight's shape is
/// formed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spectrum {
    /// The singular values, the largest first.
    pub singular_values: Vec<f64>,
    /// The exponential of the entropy of the singular values as shares of their sum (Roy and Vetterli 2007): the rank where
    /// they are all alike, less where a few are larger; 0 of a change of nothing.
    pub effective_rank: f64,
    /// The share of the square of the norm that the rank 1, 2, … would keep.
    pub energy: Vec<f64>,
    /// The smallest rank that keeps 99 % of it; 0 of a change of nothing.
    pub suggested_rank: usize,
}

impl Spectrum {
    /// Of a layer's factors; none where they hold values that are not finite.
    pub(super) fn of(factors: &Factors) -> Option<Self> {
        let singular_values = factors.parts()?.singular().to_vec();
        let sum: f64 = singular_values.iter().sum();
        let entropy: f64 = singular_values
            .iter()
            .map(|value| value / sum)
            .filter(|share| *share > 0.0)
            .map(|share| -share * share.ln())
            .sum();
        let effective_rank = if sum > 0.0 { entropy.exp() } else { 0.0 };
        let energy = kept(&singular_values);
        let mut spectrum = Self { singular_values, effective_rank, energy, suggested_rank: 0 };
        spectrum.suggested_rank = spectrum.rank_of(ENOUGH);
        Some(spectrum)
    }

    /// The smallest rank that keeps that share; 0 of a change of nothing.
    pub(super) fn rank_of(&self, share: f64) -> usize {
        match self.singular_values.first() {
            Some(first) if *first > 0.0 => Keep::Energy(share).rank_of(&self.singular_values),
            _ => 0,
        }
    }
}
