//! Why adapters do not become one, a variant per cause.

use std::path::PathBuf;

use burn_lora_text::{listed, or};

use super::Combination;

/// Adapters that cannot be combined or compressed as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CombineProblem {
    /// No such way.
    #[error("`{found}` is no way to combine adapters: there are {}", ways())]
    Unknown {
        /// What was asked for.
        found: String,
    },
    /// Not a weight for each adapter.
    #[error("{given} weights are given for {adapters} adapters: give one for each, in their order")]
    Weights {
        /// How many weights.
        given: usize,
        /// How many adapters.
        adapters: usize,
    },
    /// A weight that is no number.
    #[error("a weight is {weight}, which is not a finite number")]
    Weight {
        /// The weight.
        weight: f64,
    },
    /// No share of entries, or one that is none.
    #[error(
        "{combination} prunes, and {}: give the share of entries that are kept, {} to 1 (0.5 keeps half)",
        density.map_or("no density is given".to_owned(), |density| format!("its density is {density}")),
        if combination.name().starts_with("dare") { "above 0" } else { "0" }
    )]
    Density {
        /// The way.
        combination: Combination,
        /// What was given.
        density: Option<f64>,
    },
    /// A share of entries for a way that takes all.
    #[error(
        "{combination} prunes nothing, and a density is given: leave it out, or combine by a way that prunes, such as magnitude_prune{}",
        if *combination == Combination::Svd { "_svd" } else { "" }
    )]
    NoDensity {
        /// The way.
        combination: Combination,
    },
    /// A rank of nothing.
    #[error("the rank asked for is 0: use one from 1 up")]
    Rank,
    /// A rank for a way that has one of its own.
    #[error(
        "{combination} has the rank that its adapters give it, and a rank is given: leave it out, or combine by svd or a way that ends in \
         _svd"
    )]
    NoRank {
        /// The way.
        combination: Combination,
    },
    /// One adapter, and a rank.
    #[error(
        "one adapter alone is only scaled, and keeps its rank: leave the rank out, or compress the adapter to it"
    )]
    OneAdapter,
    /// A quantile that is none.
    #[error(
        "svd_clamp is {clamp}: it is the share of entries below the bound, from 0.5 to 1 (0.999 clamps the largest)"
    )]
    Clamp {
        /// What was given.
        clamp: f64,
    },
    /// A quantile for a way that cuts nothing.
    #[error(
        "{combination} cuts nothing, and svd_clamp is given: leave it out, or combine by svd or a way that ends in _svd"
    )]
    NoClamp {
        /// The way.
        combination: Combination,
    },
    /// One adapter, and a quantile.
    #[error("one adapter alone is only scaled, and nothing of it is cut: leave svd_clamp out")]
    OneAdapterClamped,
    /// Parameters that are adapted by themselves.
    #[error(
        "{} adapts parameters by themselves ({}), whose factors are no single pair: merge it into its base instead",
        dir.display(), listed(parameters)
    )]
    Parameters {
        /// The adapter.
        dir: PathBuf,
        /// The parameters.
        parameters: Vec<String>,
    },
    /// A kind whose change is no product.
    #[error("{} is a {title} adapter: {reason}", dir.display())]
    Kind {
        /// The adapter.
        dir: PathBuf,
        /// What people call the kind.
        title: &'static str,
        /// Why it cannot be, and the way out.
        reason: &'static str,
    },
    /// Factors that cannot be multiplied.
    #[error(
        "{}: the factors of `{layer}` do not fit: A is {a:?}, B is {b:?}{}",
        dir.display(),
        if *grouped { " (a convolution with groups, whose change is no product of two matrices): merge the adapter into its base instead" }
        else { ", and A should be [rank, d_in], B [d_out, rank]: save or copy the adapter again" }
    )]
    Shapes {
        /// The adapter.
        dir: PathBuf,
        /// The layer.
        layer: String,
        /// The shape of A.
        a: Vec<usize>,
        /// The shape of B.
        b: Vec<usize>,
        /// Whether it is what groups look like.
        grouped: bool,
    },
    /// Factors of another rank than the configuration says.
    #[error(
        "{}: the factors of `{layer}` are of rank {rank}, the configuration says {configured}, and alpha means something else over \
         each: bring the two files from one training, or write the right number (r, or rank_pattern) into adapter_config.json",
        dir.display()
    )]
    OtherRank {
        /// The adapter.
        dir: PathBuf,
        /// The layer.
        layer: String,
        /// The rank of its factors.
        rank: usize,
        /// The rank that the configuration gives it.
        configured: usize,
    },
    /// An alpha that makes no scale.
    #[error(
        "{}: the alpha of `{layer}` is {alpha}, of which no scale can be made: correct `lora_alpha` or `alpha_pattern` in adapter_config.json",
        dir.display()
    )]
    Scale {
        /// The adapter.
        dir: PathBuf,
        /// The layer.
        layer: String,
        /// Its alpha.
        alpha: f64,
    },
    /// A factor that no plain LoRA has.
    #[error(
        "{}: `{key}` is no factor of a LoRA as adapter_config.json describes it: correct that file, or save the adapter again",
        dir.display()
    )]
    Stray {
        /// The adapter.
        dir: PathBuf,
        /// The tensor.
        key: String,
    },
    /// Half of a pair.
    #[error("{} has no `{missing}` beside the layer's other factor: save or copy it again", dir.display())]
    Unpaired {
        /// The adapter.
        dir: PathBuf,
        /// The key that is missing.
        missing: String,
    },
    /// Numbers that are not read.
    #[error("{}: `{key}` is {dtype}, which is not read: save it as f32, f16 or bf16", dir.display())]
    Dtype {
        /// The adapter.
        dir: PathBuf,
        /// The tensor.
        key: String,
        /// Its number format.
        dtype: String,
    },
    /// A pattern that is none.
    #[error("{}: `{key}` has `{pattern}`: {reason}", dir.display())]
    Pattern {
        /// The adapter.
        dir: PathBuf,
        /// The setting that has it.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// No layer at all.
    #[error("{} has no layer with factors: there is nothing to combine or compress", dir.display())]
    Empty {
        /// The adapter.
        dir: PathBuf,
    },
    /// Factors of unlike layers.
    #[error("`{layer}` has other sizes in {} than in the first adapter: combine adapters of one base", dir.display())]
    Place {
        /// The layer.
        layer: String,
        /// The adapter.
        dir: PathBuf,
    },
    /// Ranks that have to be equal.
    #[error(
        "`{layer}` has the ranks {}, and {combination} adds factors, which needs them equal: combine by cat (exact, of the sum of the \
         ranks) or by {}",
        listed(&ranks.iter().map(ToString::to_string).collect::<Vec<_>>()),
        match combination { Combination::Linear => "svd".to_owned(), other => format!("{other}_svd") }
    )]
    Ranks {
        /// The layer.
        layer: String,
        /// The way.
        combination: Combination,
        /// The ranks, in the order of the adapters.
        ranks: Vec<usize>,
    },
    /// Two adapters that trained modules whole.
    #[error(
        "{} and {} both trained modules whole, of which there is one each: combine one of them alone with adapters of factors only",
        one.display(), other.display()
    )]
    TwoWhole {
        /// One adapter.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// Singular values that were not found.
    #[error(
        "the singular values of the change of `{layer}` are not found: are its values of a usual size?"
    )]
    NoConvergence {
        /// The layer.
        layer: String,
    },
    /// A share of energy that is none.
    #[error("the share of energy to keep is {energy}: use one above 0 and up to 1, such as 0.9")]
    Energy {
        /// The share.
        energy: f64,
    },
    /// Nothing to cut.
    #[error("no layer has a rank above {rank}, to which it was to be compressed: ask for less than {}", if *largest > 1 { largest.to_string() } else { "what it has".to_owned() })]
    Small {
        /// The rank asked for.
        rank: usize,
        /// The largest that there is.
        largest: usize,
    },
}

fn ways() -> String {
    or(&Combination::ALL.map(Combination::name))
}
