//! Everything that can be wrong with an adapter, one variant per cause.

use burn_lora_text::{listed, nearest};

use crate::{Init, Method};

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
    /// An orthogonal start needs an even rank.
    #[error(
        "the initialisation orthogonal needs an even rank, and {rank} is odd: use {}",
        even_neighbours(*rank)
    )]
    OddRank {
        /// The rank asked for.
        rank: usize,
    },
    /// A part that is taken out of the weight cannot be given back at a scale of zero.
    #[error(
        "the initialisation {init} takes a part out of the weight that the adapter gives back times its scale, and alpha is 0: use an \
         alpha above 0"
    )]
    InitScale {
        /// The initialisation asked for.
        init: Init,
    },
    /// The weight has not as many parts as the rank.
    #[error(
        "the initialisation {init} starts rank {rank} from as many parts of the weight, and a weight [{d_in}, {d_out}] has {}: use a rank \
         up to that, or leave the layer out",
        d_in.min(d_out)
    )]
    InitRank {
        /// The initialisation asked for.
        init: Init,
        /// The rank asked for.
        rank: usize,
        /// Input features.
        d_in: usize,
        /// Output features.
        d_out: usize,
    },
    /// This kind of adapter is no sum with a product of factors.
    #[error("{} cannot start with {init}, which takes a product of factors out of the weight", method.title())]
    InitMethod {
        /// The initialisation asked for.
        init: Init,
        /// The kind of adapter.
        method: Method,
    },
    /// The start follows from what goes into the layer, which is not known.
    #[error(
        "the initialisation {init} starts from what goes into the layer: find the directions in which that varies and start along \
         them (`Adapter::init_along`), or use another start"
    )]
    Inputs {
        /// The initialisation asked for.
        init: Init,
    },
    /// The start follows from the weight as it was.
    #[error(
        "the initialisation {init} starts from what the weight lost in the format that it is held in: give the weight as it was \
         (`Adapter::init_residual`), or use another start"
    )]
    Dense {
        /// The initialisation asked for.
        init: Init,
    },
    /// What the weight lost cannot be given back at a scale of zero.
    #[error(
        "the initialisation {init} gives back what the weight lost times the adapter's scale, and alpha is 0: use an alpha above 0"
    )]
    DenseScale {
        /// The initialisation asked for.
        init: Init,
    },
    /// This kind of adapter is no sum with a product of factors.
    #[error("{} cannot start with {init}, which gives back what the weight lost as a product of factors", method.title())]
    DenseMethod {
        /// The initialisation asked for.
        init: Init,
        /// The kind of adapter.
        method: Method,
    },
    /// A weight as it was, of another size.
    #[error("the weight is [{d_in}, {d_out}], and {count} values are given for what it was")]
    DenseValues {
        /// Input features.
        d_in: usize,
        /// Output features.
        d_out: usize,
        /// How many values were given.
        count: usize,
    },
    /// A format that holds nothing of a matrix.
    #[error(
        "the format does not hold what round {round} of LoftQ leaves of the weight: take fewer rounds, 1 at least, or a wider format"
    )]
    Unheld {
        /// The round.
        round: usize,
    },
    /// This kind of adapter starts one way.
    #[error("{} starts with {} alone, and not with {init}: leave the initialisation out", method.title(), Init::default())]
    OtherStart {
        /// The initialisation asked for.
        init: Init,
        /// The kind of adapter.
        method: Method,
    },
    /// This kind stands beside others.
    #[error(
        "{} stand beside a kind of adapter and are none by themselves: choose one, and name the tokens in `trainable_token_indices`",
        method.title()
    )]
    NotByItself {
        /// The kind asked for.
        method: Method,
    },
    /// The table has no such row.
    #[error("token {id} is not in the table, whose rows are {}: name tokens of that range", range(*rows))]
    Row {
        /// The row asked for.
        id: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// A row is named twice.
    #[error("token {id} is named twice: name every token once")]
    RowTwice {
        /// The row.
        id: usize,
    },
    /// No row is named.
    #[error("no token is named: name those whose rows are to be trained, or leave the table out")]
    NoRows,
    /// This kind of adapter is for linear layers.
    #[error("{} adapts linear layers and no embedding: leave it out, or use lora or dora", method.title())]
    EmbeddingMethod {
        /// The kind of adapter.
        method: Method,
    },
    /// A head that is the table cannot compute with this kind's change of it.
    #[error(
        "the head that is the table cannot compute with what {} makes of the table: leave ensure_weight_tying out, or use lora",
        method.title()
    )]
    TiedMethod {
        /// The kind of adapter.
        method: Method,
    },
    /// An embedding's adapter starts at zero.
    #[error(
        "the initialisation {init} takes a part out of a linear layer's weight, and an embedding's adapter starts at zero: leave the \
         embedding out, or use another initialisation"
    )]
    EmbeddingInit {
        /// The initialisation asked for.
        init: Init,
    },
    /// This kind of adapter is for linear layers.
    #[error("{} adapts linear layers and no convolution: leave it out, or use lora, dora, lora-fa or miss", method.title())]
    ConvolutionMethod {
        /// The kind of adapter.
        method: Method,
    },
    /// A convolution's A is drawn.
    #[error(
        "the initialisation {init} is for linear layers, and a convolution's adapter starts with kaiming or gaussian: leave the \
         convolution out, or use one of those"
    )]
    ConvolutionInit {
        /// The initialisation asked for.
        init: Init,
    },
    /// This kind of adapter is for layers.
    #[error("{} adapts layers and no parameters: leave the parameter out, or use lora", method.title())]
    ParameterMethod {
        /// The kind of adapter.
        method: Method,
    },
    /// Nothing can be dropped of what is multiplied with a parameter.
    #[error(
        "dropout is {dropout}, and a parameter does not know what it is multiplied with, so that nothing can be dropped of it: use a \
         dropout of 0, or leave the parameter out"
    )]
    ParameterDropout {
        /// The probability asked for.
        dropout: f64,
    },
    /// A parameter's A is drawn.
    #[error(
        "the initialisation {init} is for linear layers, and a parameter's adapter starts with kaiming or gaussian: leave the parameter \
         out, or use one of those"
    )]
    ParameterInit {
        /// The initialisation asked for.
        init: Init,
    },
    /// The groups of a convolution do not divide the rank.
    #[error(
        "rank is {rank}, and the convolution deals it out to {groups} groups: use a rank that {groups} divides ({}), or leave the layer out",
        divided(*rank, *groups)
    )]
    Groups {
        /// The rank asked for.
        rank: usize,
        /// The groups of the convolution.
        groups: usize,
    },
    /// The weight holds values that no decomposition exists of.
    #[error(
        "the initialisation {init} decomposes the weight, which holds values that are not finite: check the base model's files"
    )]
    NotFinite {
        /// The initialisation asked for.
        init: Init,
    },
    /// The weight's singular values were not found.
    #[error(
        "the singular value decomposition of the weight, for the initialisation {init}, does not converge: use olora, or another start"
    )]
    NoConvergence {
        /// The initialisation asked for.
        init: Init,
    },
    /// The weight cannot be read from its device.
    #[error(
        "the initialisation {init} reads the weight, which cannot be read from its device: {reason}"
    )]
    Unreadable {
        /// The initialisation asked for.
        init: Init,
        /// What the device said.
        reason: String,
    },
    /// No initialisation has that name.
    #[error("`{found}` is no initialisation: there are {}", Init::WORDS)]
    UnknownInit {
        /// The name asked for.
        found: String,
    },
    /// The weight has no inputs or no outputs.
    #[error(
        "the weight is [{d_in}, {d_out}]: there is nothing to adapt in a linear layer without inputs or outputs"
    )]
    Weight {
        /// Input features.
        d_in: usize,
        /// Output features.
        d_out: usize,
    },
    /// The rank is above the inputs of a layer that MiSS shares the rows of its block among.
    #[error(
        "rank is {rank}, but the layer has {d_in} inputs, and each row of MiSS's block needs one: use a rank up to {d_in}, or leave the layer out"
    )]
    Shards {
        /// The rank asked for.
        rank: usize,
        /// Input features.
        d_in: usize,
    },
    /// No weight has the path that an adapter was to be attached to.
    #[error("there is no weight `{path}` of two dimensions or more: {}", there_are(path, weights))]
    UnknownWeight {
        /// The path asked for.
        path: String,
        /// The weights there are.
        weights: Vec<String>,
    },
    /// The weight is not of the shape that the adapter was made for.
    #[error("the adapter is for a weight [{}, {}], but `{path}` is [{}, {}]", made_for[0], made_for[1], found[0], found[1])]
    WeightShape {
        /// The path of the weight.
        path: String,
        /// What the adapter was made for, `[d_in, d_out]`.
        made_for: [usize; 2],
        /// The shape of the weight.
        found: [usize; 2],
    },
    /// The values of a factor are not as many as it has.
    #[error("factor `{factor}` is of shape {shape:?}, but {count} values are given")]
    FactorValues {
        /// The name of the factor.
        factor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// How many values were given.
        count: usize,
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

/// The weight that was probably meant, or else those there are.
fn there_are(path: &str, weights: &[String]) -> String {
    match (weights, nearest(path, weights)) {
        ([], _) => "the module has none".to_owned(),
        (_, Some(near)) => format!("did you mean `{near}`?"),
        (weights, None) => format!("there are {}", listed(weights)),
    }
}

/// The ranks beside one that the groups divide.
fn divided(rank: usize, groups: usize) -> String {
    let below = rank - rank % groups.max(1);
    let above = below.saturating_add(groups);
    if below == 0 { above.to_string() } else { format!("{below} or {above}") }
}

/// The numbers of so many rows.
fn range(rows: usize) -> String {
    match rows.checked_sub(1) {
        Some(last) => format!("0 to {last}"),
        None => "none".to_owned(),
    }
}

/// The even ranks beside an odd one.
fn even_neighbours(rank: usize) -> String {
    match rank {
        0 | 1 => "2".to_owned(),
        rank => format!("{} or {}", rank - 1, rank.saturating_add(1)),
    }
}
