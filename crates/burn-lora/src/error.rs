//! Everything that can be wrong with an adapter, one variant per cause.

/// An adapter that cannot be built as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// The rank is zero.
    #[error(
        "rank is {rank}, but a factor needs at least one column: use a rank from 1 up (8 and 16 are common)"
    )]
    Rank {
        /// The rank asked for.
        rank: usize,
    },
    /// Alpha is negative or not a number.
    #[error(
        "alpha is {alpha}, which is outside [0, ∞): alpha is the numerator of the scale, often 2 · rank"
    )]
    Alpha {
        /// The alpha asked for.
        alpha: f64,
    },
    /// The dropout probability is outside `[0, 1)`.
    #[error(
        "dropout is {dropout}, which is outside [0, 1): it is the probability that an input of A is zeroed"
    )]
    Dropout {
        /// The probability asked for.
        dropout: f64,
    },
    /// The scale is not a finite number.
    #[error(
        "scale is {scale}, which is not a finite number: it is alpha / rank, or alpha / √rank with rsLoRA"
    )]
    Scale {
        /// The scale asked for.
        scale: f64,
    },
    /// The two factors do not agree on the rank.
    #[error(
        "factor A is {a:?} and factor B is {b:?}: A is [d_in, rank] and B is [rank, d_out], with the same rank"
    )]
    FactorShapes {
        /// Shape of A.
        a: [usize; 2],
        /// Shape of B.
        b: [usize; 2],
    },
}
