//! Why an adapter cannot be put for a reader, a variant per cause.

use std::path::PathBuf;

use burn_lora_text::listed;

use super::Reader;

/// The ways out of what has no adapter that is read.
const MERGED: &str = "merge it into its base and bring the merged model, or extract a LoRA adapter from the two models";

/// What a reader does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReaderProblem {
    /// Another kind than LoRA.
    #[error("{} is a {title} adapter, and {reader} reads plain LoRA alone: {MERGED}", dir.display())]
    Kind {
        /// The adapter.
        dir: PathBuf,
        /// Who is to read it.
        reader: Reader,
        /// What people call the kind.
        title: &'static str,
    },
    /// Parameters that are no layer's weight.
    #[error(
        "{} adapts parameters that are no layers' weights, {}, which {reader} does not read: {MERGED}",
        dir.display(), listed(parameters)
    )]
    Parameters {
        /// The adapter.
        dir: PathBuf,
        /// Who is to read it.
        reader: Reader,
        /// The parameters.
        parameters: Vec<String>,
    },
    /// Rows of an embedding.
    #[error(
        "{} trains single rows of an embedding (`trainable_token_indices` is {tokens}), which {reader} does not read: merge it into \
         its base and bring the merged model",
        dir.display()
    )]
    Tokens {
        /// The adapter.
        dir: PathBuf,
        /// Who is to read it.
        reader: Reader,
        /// The rows.
        tokens: String,
    },
    /// Trained biases.
    #[error(
        "{} trains biases (`bias` is \"{bias}\"), which {reader} does not read: merge it into its base and bring the merged model",
        dir.display()
    )]
    Bias {
        /// The adapter.
        dir: PathBuf,
        /// Who is to read it.
        reader: Reader,
        /// Which.
        bias: String,
    },
    /// Modules or tensors that were trained whole.
    #[error(
        "{} holds what was trained whole, {}, which {reader} does not read: merge it into its base and bring the merged model",
        dir.display(), listed(trained)
    )]
    Whole {
        /// The adapter.
        dir: PathBuf,
        /// Who is to read it.
        reader: Reader,
        /// The modules, or the tensors.
        trained: Vec<String>,
    },
    /// A convolution.
    #[error(
        "{} adapts the convolution `{layer}`, and {reader} adapts linear layers and the token table: merge it into its base and bring the \
         merged model",
        dir.display()
    )]
    Convolution {
        /// The adapter.
        dir: PathBuf,
        /// Who is to read it.
        reader: Reader,
        /// The layer.
        layer: String,
    },
    /// An embedding that vLLM has no adapter for.
    #[error(
        "{} adapts the embedding `{layer}`, and of embeddings vLLM adapts those that are called `{known}`: {MERGED}",
        dir.display()
    )]
    Table {
        /// The adapter.
        dir: PathBuf,
        /// The embedding.
        layer: String,
        /// The name that is read.
        known: &'static str,
    },
    /// A rank beyond vLLM's.
    #[error(
        "{} has the rank {rank} on `{layer}`, and vLLM reads up to {most}: compress it to that rank first",
        dir.display()
    )]
    Rank {
        /// The adapter.
        dir: PathBuf,
        /// The first such layer.
        layer: String,
        /// Its rank.
        rank: usize,
        /// The largest that is read.
        most: usize,
    },
}
