//! Adapters made of adapters: several as one, or one of a smaller rank.
//!
//! Everything here works on factors, layer by layer, as they lie in files ([`StoredAdapter`]) or hang on a model
//! ([`combine_adapters`]). What is combined is LoRA on linear layers, embeddings and convolutions without groups, whose
//! change is `scale · B A`. The ways are those of PEFT 0.21.2's `add_weighted_adapter`, with `w` an adapter's weight:
//!
//! | [`Combination`] | A | B | what it is |
//! | --- | --- | --- | --- |
//! | `cat` | all `w scale A`, one below the other | all B, side by side | the weighted sum, of the sum of the ranks |
//! | `svd` | `Vᵀ` | `U S` | the best of one rank that the weighted sum has |
//! | `linear` | `Σ ±√(|w scale|) A` | `Σ √(|w scale|) B` | rough: also mixes each B with others' A |
//! | `magnitude_prune` | as `linear`, of each factor's largest entries | | rough |
//! | `ties` (arXiv 2306.01708) | as `magnitude_prune`, the mean of entries whose sign wins | | rough |
//! | `dare_linear`, `dare_ties` (arXiv 2311.03099) | as `linear` or `ties`, of random entries over the density | | rough |
//! | `…_svd` | `Vᵀ` | `U S` | the same of each dense change, and the best of one rank of that |
//!
//! The sign of `w scale` goes to A alone, so that a negative weight subtracts. One adapter alone is `linear`, as in
//! PEFT: its change times the weight. `cat` and `svd` form no matrix of a weight's shape, and nor does [`compress`];
//! `…_svd` prunes the change itself and has to. All arithmetic is f64; files are f32.
//!
//! What comes out has one rank on all layers (rows and columns of zeros fill up a layer that needs less) and the scale
//! 1: no pattern and no rsLoRA, so that whoever reads adapters reads it right. PEFT keeps `use_rslora` of the first
//! adapter, by whose other scale its result is too large.
//!
//! `svd_clamp` clamps the entries of what is cut, A and B together, to a quantile of theirs, as PEFT does. Singular vectors
//! have no signs of their own, and a quantile of signed numbers depends on them: close to 1 hardly.
//!
//! Left out: other kinds of adapter, whose change is no product of two factors, by name.

mod compress;
mod folded;
mod layer;
mod model;
mod patterns;
mod problem;
mod prune;
mod stored;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

pub use compress::{Keep, LayerKept, compress, kept};
pub use layer::Factors;
pub use model::combine_adapters;
pub use patterns::Scales;
pub use problem::CombineProblem;
pub use stored::{Place, StoredAdapter, StoredLayer, WholeTensor};

use crate::error::PatchError;
use layer::Layer;
use prune::Pruned;

/// How adapters become one, by PEFT's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Combination {
    /// Weighted factors, added: approximate, exact for one adapter.
    Linear,
    /// Factors beside each other: exact, of the sum of the ranks.
    Cat,
    /// The weighted sum, cut to a rank.
    #[default]
    Svd,
    /// Pruned factors whose signs are elected.
    Ties,
    /// [`Ties`](Self::Ties) of the changes, cut to a rank.
    TiesSvd,
    /// Randomly pruned factors, added.
    DareLinear,
    /// Randomly pruned factors whose signs are elected.
    DareTies,
    /// [`DareLinear`](Self::DareLinear) of the changes, cut to a rank.
    DareLinearSvd,
    /// [`DareTies`](Self::DareTies) of the changes, cut to a rank.
    DareTiesSvd,
    /// Pruned factors, added.
    MagnitudePrune,
    /// [`MagnitudePrune`](Self::MagnitudePrune) of the changes, cut to a rank.
    MagnitudePruneSvd,
}

/// What is combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Each factor by itself.
    Factors,
    /// Factors beside each other.
    Ranks,
    /// Changes, cut to a rank.
    Changes,
}

impl Combination {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Linear,
        Self::Cat,
        Self::Svd,
        Self::Ties,
        Self::TiesSvd,
        Self::DareLinear,
        Self::DareTies,
        Self::DareLinearSvd,
        Self::DareTiesSvd,
        Self::MagnitudePrune,
        Self::MagnitudePruneSvd,
    ];

    /// PEFT's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Cat => "cat",
            Self::Svd => "svd",
            Self::Ties => "ties",
            Self::TiesSvd => "ties_svd",
            Self::DareLinear => "dare_linear",
            Self::DareTies => "dare_ties",
            Self::DareLinearSvd => "dare_linear_svd",
            Self::DareTiesSvd => "dare_ties_svd",
            Self::MagnitudePrune => "magnitude_prune",
            Self::MagnitudePruneSvd => "magnitude_prune_svd",
        }
    }

    /// What is left of each tensor.
    fn pruned(self) -> Pruned {
        match self {
            Self::Linear | Self::Cat | Self::Svd => Pruned::Whole,
            Self::Ties | Self::TiesSvd | Self::MagnitudePrune | Self::MagnitudePruneSvd => {
                Pruned::Largest
            }
            Self::DareLinear | Self::DareTies | Self::DareLinearSvd | Self::DareTiesSvd => {
                Pruned::Drawn
            }
        }
    }

    /// Whether entries vote on their signs.
    fn elects(self) -> bool {
        matches!(self, Self::Ties | Self::TiesSvd | Self::DareTies | Self::DareTiesSvd)
    }

    fn of(self) -> Of {
        match self {
            Self::Cat => Of::Ranks,
            Self::Linear
            | Self::Ties
            | Self::DareLinear
            | Self::DareTies
            | Self::MagnitudePrune => Of::Factors,
            Self::Svd
            | Self::TiesSvd
            | Self::DareLinearSvd
            | Self::DareTiesSvd
            | Self::MagnitudePruneSvd => Of::Changes,
        }
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Combination {
    type Err = CombineProblem;

    fn from_str(name: &str) -> Result<Self, CombineProblem> {
        let known = Self::ALL.into_iter().find(|combination| combination.name() == name);
        known.ok_or_else(|| CombineProblem::Unknown { found: name.to_owned() })
    }
}

/// Which sign wins where adapters disagree on an entry; of equal votes the positive one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MajoritySign {
    /// That of the sum.
    #[default]
    Total,
    /// That of more of them.
    Frequency,
}

/// How to combine.
///
/// ```
/// use burn_lora_patch::combine::{CombineOptions, Combination};
///
/// let options = CombineOptions::new(Combination::Ties, [0.7, 0.4]).with_density(0.5);
/// assert_eq!(options.weights, [0.7, 0.4]);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CombineOptions {
    /// The way.
    pub combination: Combination,
    /// What each adapter's change is multiplied by.
    pub weights: Vec<f64>,
    /// The share of entries that pruning leaves, for ways that prune.
    pub density: Option<f64>,
    /// Whose sign wins, for ways that elect signs.
    pub majority_sign: MajoritySign,
    /// The rank of ways that cut to one; the adapters' largest unless given.
    pub rank: Option<usize>,
    /// The quantile of the entries of A and B, from 0.5 to 1, to which both are clamped after they are cut: PEFT's
    /// `svd_clamp`.
    pub svd_clamp: Option<f64>,
    /// What is drawn, for ways that prune at random: the same seed draws the same.
    pub seed: u64,
}

impl CombineOptions {
    /// That way, with a weight for each adapter.
    pub fn new(combination: Combination, weights: impl Into<Vec<f64>>) -> Self {
        Self {
            combination,
            weights: weights.into(),
            density: None,
            majority_sign: MajoritySign::default(),
            rank: None,
            svd_clamp: None,
            seed: 0,
        }
    }

    /// Sets the share of entries that pruning leaves.
    pub fn with_density(mut self, density: f64) -> Self {
        self.density = Some(density);
        self
    }

    /// Says whose sign wins.
    pub fn with_majority_sign(mut self, majority_sign: MajoritySign) -> Self {
        self.majority_sign = majority_sign;
        self
    }

    /// Sets the rank to cut to.
    pub fn with_rank(mut self, rank: usize) -> Self {
        self.rank = Some(rank);
        self
    }

    /// Sets the quantile to which what is cut is clamped.
    pub fn with_svd_clamp(mut self, quantile: f64) -> Self {
        self.svd_clamp = Some(quantile);
        self
    }

    /// Sets the seed of what is drawn.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The options for so many adapters, of which one alone is only scaled.
    fn checked(&self, adapters: usize) -> Result<Self, CombineProblem> {
        let given = self.weights.len();
        if adapters == 0 || given != adapters {
            return Err(CombineProblem::Weights { given, adapters });
        }
        if let Some(&weight) = self.weights.iter().find(|weight| !weight.is_finite()) {
            return Err(CombineProblem::Weight { weight });
        }
        let (combination, pruned) = (self.combination, self.combination.pruned());
        match (pruned, self.density) {
            (Pruned::Whole, Some(_)) => return Err(CombineProblem::NoDensity { combination }),
            (Pruned::Whole, None) => {}
            (_, None) => return Err(CombineProblem::Density { combination, density: None }),
            // What is drawn is divided by the density.
            (_, Some(density)) => {
                let above = if pruned == Pruned::Drawn { density > 0.0 } else { density >= 0.0 };
                if !above || density > 1.0 {
                    let density = Some(density);
                    return Err(CombineProblem::Density { combination, density });
                }
            }
        }
        match self.rank {
            Some(0) => return Err(CombineProblem::Rank),
            Some(_) if combination.of() != Of::Changes => {
                return Err(CombineProblem::NoRank { combination });
            }
            Some(_) if adapters == 1 => return Err(CombineProblem::OneAdapter),
            _ => {}
        }
        match self.svd_clamp {
            Some(clamp) if !(0.5..=1.0).contains(&clamp) => {
                return Err(CombineProblem::Clamp { clamp });
            }
            Some(_) if combination.of() != Of::Changes => {
                return Err(CombineProblem::NoClamp { combination });
            }
            Some(_) if adapters == 1 => return Err(CombineProblem::OneAdapterClamped),
            _ => {}
        }
        let alone = adapters == 1;
        let combination = if alone { Combination::Linear } else { combination };
        Ok(Self { combination, ..self.clone() })
    }
}

/// One adapter of several.
///
/// Modules that one of the adapters trained whole are the result's; two that trained modules whole are refused, and so
/// are adapters of other kinds when they are [read](StoredAdapter::read).
///
/// ```no_run
/// use burn_lora_patch::combine::{Combination, CombineOptions, StoredAdapter, combine};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let adapters = [StoredAdapter::read("poems")?, StoredAdapter::read("letters")?];
/// let options = CombineOptions::new(Combination::Cat, [0.7, 0.4]);
/// combine(&adapters, &options)?.write("both")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`PatchError::Combine`]: options that do not fit the way or the adapters, factors of other sizes, modules trained
/// whole by two.
pub fn combine(
    adapters: &[StoredAdapter],
    options: &CombineOptions,
) -> Result<StoredAdapter, PatchError> {
    let options = options.checked(adapters.len())?;
    let mut layers = BTreeMap::new();
    let paths: BTreeSet<&String> =
        adapters.iter().flat_map(|adapter| adapter.layers.keys()).collect();
    let rank = rank_of(&options, adapters.iter().map(StoredAdapter::rank));
    for path in paths {
        let parts: Vec<(usize, &StoredLayer)> = adapters
            .iter()
            .enumerate()
            .filter_map(|(at, adapter)| Some((at, adapter.layers.get(path)?)))
            .collect();
        let Some(&(_, first)) = parts.first() else { continue };
        if let Some((at, _)) = parts.iter().find(|(_, part)| part.place != first.place) {
            let (layer, dir) = (path.clone(), adapters[*at].dir.clone());
            return Err(CombineProblem::Place { layer, dir }.into());
        }
        let parts: Vec<_> = parts.iter().map(|&(at, part)| (at, &part.factors)).collect();
        let factors = Layer { path, parts: &parts }.combined(&options, rank)?;
        let place = first.place.clone();
        layers.insert(path.clone(), StoredLayer { place, factors });
    }
    let whole: Vec<&StoredAdapter> =
        adapters.iter().filter(|adapter| !adapter.whole.is_empty()).collect();
    if let [one, other, ..] = whole[..] {
        let [one, other] = [one, other].map(|adapter| adapter.dir.clone());
        return Err(CombineProblem::TwoWhole { one, other }.into());
    }
    let config = targets::config_of(adapters, whole.first().copied(), &layers);
    let whole = whole.first().map(|adapter| adapter.whole.clone()).unwrap_or_default();
    Ok(StoredAdapter::of(config, layers, whole))
}

/// The rank that ways cut to.
fn rank_of(options: &CombineOptions, ranks: impl Iterator<Item = usize>) -> usize {
    options.rank.unwrap_or_else(|| ranks.max().unwrap_or(1))
}
