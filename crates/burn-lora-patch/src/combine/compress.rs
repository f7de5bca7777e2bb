//! An adapter of a smaller rank: of each layer's change the largest singular values.

use std::collections::BTreeMap;

use burn_lora::decomposition::Parts;

use super::{CombineProblem, Factors, StoredAdapter, StoredLayer};
use crate::error::PatchError;

/// How much of a change is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    /// So many singular values of each layer.
    Rank(usize),
    /// In every layer at least this share of the square of the change's norm, with the smallest rank for all that does it.
    Energy(f64),
}

impl Keep {
    /// That it can be.
    ///
    /// # Errors
    ///
    /// A rank of 0, a share that is not above 0 and up to 1.
    pub fn checked(self) -> Result<Self, CombineProblem> {
        match self {
            Self::Rank(0) => Err(CombineProblem::Rank),
            Self::Energy(energy) if !(energy > 0.0 && energy <= 1.0) => {
                Err(CombineProblem::Energy { energy })
            }
            keep => Ok(keep),
        }
    }

    /// How many of these singular values it takes: at least one.
    pub fn rank_of(self, singular: &[f64]) -> usize {
        let rank = match self {
            Self::Rank(rank) => rank.min(singular.len()),
            Self::Energy(energy) => {
                let shares = kept(singular);
                // Rounding leaves the last share next to 1 and not at it.
                let enough = |share: &f64| *share >= energy - 1e-12;
                shares.iter().position(enough).map_or(shares.len(), |at| at + 1)
            }
        };
        rank.max(1)
    }
}

/// The share of the square of a change's norm that the first 1, 2, … of its singular values have; 1 of a change of nothing.
///
/// ```
/// use burn_lora_patch::combine::kept;
///
/// assert_eq!(kept(&[4.0, 2.0, 2.0, 1.0]), [0.64, 0.8, 0.96, 1.0]);
/// ```
pub fn kept(singular: &[f64]) -> Vec<f64> {
    let whole: f64 = singular.iter().map(|value| value * value).sum();
    let mut sum = 0.0;
    singular
        .iter()
        .map(|value| {
            sum += value * value;
            if whole == 0.0 { 1.0 } else { sum / whole }
        })
        .collect()
}

/// What is left of a layer's change.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LayerKept {
    /// The layer.
    pub layer: String,
    /// The rank that it had.
    pub rank: usize,
    /// The share of the square of its change's norm that is kept.
    pub energy: f64,
}

/// The adapter with of each layer's change what is kept, and what that is. The rank is one for all layers.
///
/// By the QR decompositions of the factors and the singular values of a matrix of the rank's sizes: nothing of a weight's
/// shape is formed. Modules trained whole stay as they are.
///
/// # Errors
///
/// [`PatchError::Combine`]: a rank or share that is none, or that leaves all as it is.
pub fn compress(
    adapter: &StoredAdapter,
    keep: Keep,
) -> Result<(StoredAdapter, Vec<LayerKept>), PatchError> {
    let keep = keep.checked()?;
    let mut found: Vec<(&String, &StoredLayer, Parts)> = Vec::new();
    for (path, layer) in &adapter.layers {
        let parts = layer.factors.parts();
        let parts = parts.ok_or_else(|| CombineProblem::NoConvergence { layer: path.clone() })?;
        found.push((path, layer, parts));
    }
    let needed = found.iter().map(|(.., parts)| keep.rank_of(parts.singular()));
    let (rank, largest) = (needed.max().unwrap_or(1), adapter.rank());
    if rank >= largest {
        return Err(CombineProblem::Small { rank, largest }.into());
    }
    let mut layers = BTreeMap::new();
    let mut told = Vec::with_capacity(found.len());
    for (path, StoredLayer { place, factors }, parts) in found {
        let energy = kept(parts.singular()).get(rank - 1).copied().unwrap_or(1.0);
        told.push(LayerKept { layer: path.clone(), rank: factors.rank, energy });
        let factors = Factors::halved(&parts, rank, [factors.d_out, factors.d_in]);
        layers.insert(path.clone(), StoredLayer { place: place.clone(), factors });
    }
    Ok((StoredAdapter::of(adapter.config.clone(), layers, adapter.whole.clone()), told))
}
