//! Why a model cannot be written as a GGUF file.

use std::path::PathBuf;

use super::super::GgmlType;

/// Every error of writing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufWriteError {
    /// The file cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model of a family without GGUF files.
    #[error(
        "a model of `model_type` `{found}` cannot be written as a GGUF file: written are {supported}"
    )]
    Architecture {
        /// Its `model_type`.
        found: String,
        /// Those that can be written.
        supported: String,
    },
    /// A setting that files of the architecture mean otherwise, and cannot state.
    #[error(
        "`{key}` is `{found}`, and a GGUF file of `{architecture}` always means {}: write the model as a \
         Hugging Face directory",
        quoted(means)
    )]
    Implied {
        /// The key in `config.json`.
        key: &'static str,
        /// What it is.
        found: String,
        /// `general.architecture`.
        architecture: &'static str,
        /// What is meant.
        means: &'static [&'static str],
    },
    /// A configuration that the architecture's files cannot state.
    #[error(
        "a GGUF file of `{architecture}` cannot state this model: {reason}; write it as a Hugging Face \
         directory"
    )]
    Configuration {
        /// `general.architecture`.
        architecture: &'static str,
        /// What cannot be stated.
        reason: String,
    },
    /// A tensor that the architecture's files have no name for.
    #[error("a GGUF file of `{architecture}` has no name for the tensor `{key}`")]
    NoName {
        /// `general.architecture`.
        architecture: &'static str,
        /// Its Hugging Face key.
        key: String,
    },
    /// A layer to adapt that the base has not.
    #[error(
        "the base has no layer `{path}` with a weight, which the adapter adapts: name the base that the adapter was trained on"
    )]
    NoLayer {
        /// The layer.
        path: String,
    },
    /// A layer to adapt that has other sizes in the base.
    #[error(
        "the adapter's `{path}` is from {} to {} numbers, and the base's from {} to {}: name the base that the adapter was trained on",
        found[0], found[1], expected[0], expected[1]
    )]
    Sizes {
        /// The layer.
        path: String,
        /// Inputs and outputs of the adapter's.
        found: [usize; 2],
        /// Inputs and outputs of the base's.
        expected: [usize; 2],
    },
    /// An embedding that is looked up without adapters.
    #[error(
        "the adapter adapts `{path}`, which llama.cpp looks up without asking for an adapter: merge the adapter into its base, and write \
         the merged model"
    )]
    NotAdapted {
        /// The embedding.
        path: String,
    },
    /// The token table of a base whose head it is.
    #[error(
        "the adapter adapts the token table `{path}`, which is the base's head, too, and llama.cpp asks for an adapter of both, so that it \
         would stop: write the adapter as PEFT has it, or train one that leaves the table out"
    )]
    TiedTable {
        /// The table.
        path: String,
    },
    /// The head of a base whose token table it is.
    #[error(
        "the adapter adapts the head `{path}`, which is the token table in this base, so that a GGUF file has no tensor for it: write the \
         adapter as PEFT has it, or train one that leaves the head out"
    )]
    TiedHead {
        /// The head.
        path: String,
    },
    /// Rows that cannot be shared out among the heads.
    #[error("`{key}` has {rows} rows, not an even number for each of {heads} heads")]
    Heads {
        /// The tensor's Hugging Face key.
        key: String,
        /// Its rows.
        rows: usize,
        /// Heads, from the configuration.
        heads: usize,
    },
    /// A number that its type cannot hold, or none that is finite.
    #[error(
        "`{key}` holds {value}, which {ggml_type} cannot hold: {}",
        match value.is_finite() {
            true => "write the model as bf16 or f32",
            false => "the model is damaged, or its training went astray",
        }
    )]
    Range {
        /// The tensor's Hugging Face key.
        key: String,
        /// The number.
        value: f32,
        /// The type.
        ggml_type: GgmlType,
    },
    /// A tensor that cannot be read from its device.
    #[error("`{key}` cannot be read from its device: {source}")]
    Unreadable {
        /// The tensor's Hugging Face key.
        key: String,
        /// What Burn says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A tokenizer of another kind than can be written.
    #[error(
        "tokenizer `{}`: it is {found}, and only byte-level BPE can be written into a GGUF file: write the \
         model as a Hugging Face directory",
        path.display()
    )]
    TokenizerKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// A tokenizer that cuts texts into words as no name for it says.
    #[error(
        "tokenizer `{}`: how it normalises texts and cuts them into words has no name in GGUF files (known \
         are {supported}): write the model as a Hugging Face directory",
        path.display()
    )]
    PreTokenizer {
        /// The file.
        path: PathBuf,
        /// The names that exist.
        supported: String,
    },
    /// A token that the file cannot describe.
    #[error("tokenizer `{}`: {reason}, which a GGUF file cannot say", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Which token, and what of it.
        reason: String,
    },
    /// More tokens than the model has rows for.
    #[error(
        "tokenizer `{}`: token {id} has no row in the model, whose table has {rows}", path.display()
    )]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// The token.
        id: usize,
        /// Rows of the token table.
        rows: usize,
    },
}

fn quoted(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" or ")
}
