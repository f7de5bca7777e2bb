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
