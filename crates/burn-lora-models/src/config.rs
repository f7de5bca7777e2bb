//! Which architecture a `config.json` describes.
//!
//! The configuration of each family is parsed beside its model ([`crate::llama::LlamaConfig`],
//! [`crate::bert::BertConfig`]); here is what they share.
//!
//! ```no_run
//! use burn_lora_models::config::Architecture;
//!
//! let architecture = Architecture::of_dir(std::path::Path::new("models/smollm2-135m"))?;
//! assert_eq!(architecture, Architecture::Llama);
//! # Ok::<(), burn_lora_models::ModelError>(())
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{ModelError, gguf};

/// The architectures that are built here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// Llama and what has its layers and its `model_type`, SmolLM2 for one.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on q, k and v.
    Qwen2,
    /// Qwen3: norms on q and k.
    Qwen3,
    /// BERT and what has its layers, MiniLM for one.
    Bert,
    /// RoBERTa: positions start after the padding index, the head has two layers.
    Roberta,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3, Self::Bert, Self::Roberta];

    /// Its `model_type`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Bert => "bert",
            Self::Roberta => "roberta",
        }
    }

    /// Whether it generates text; else it classifies.
    pub fn is_causal(self) -> bool {
        !matches!(self, Self::Bert | Self::Roberta)
    }

    /// The architecture of the directory's `config.json`.
    /// A GGUF file names one as well.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or parsed, a `model_type` that is not supported.
    pub fn of_dir(dir: &Path) -> Result<Self, ModelError> {
        let (text, path) = text_of(dir)?;
        Self::of_json(&text, &path)
    }

    /// The architecture that the text of a `config.json` names. `path` is for the errors.
    ///
    /// # Errors
    ///
    /// As [`Self::of_dir`].
    pub fn of_json(text: &str, path: &Path) -> Result<Self, ModelError> {
        Self::among(text, path, &Self::ALL)
    }

    /// As [`Self::of_json`], for a caller that takes some of them only.
    pub(crate) fn among(text: &str, path: &Path, allowed: &[Self]) -> Result<Self, ModelError> {
        #[derive(Deserialize)]
        struct Raw {
            model_type: Option<String>,
        }
        let raw: Raw = parse(text, path)?;
        let found = raw.model_type.as_deref();
        allowed.iter().copied().find(|known| found == Some(known.model_type())).ok_or_else(|| {
            ModelError::UnknownArchitecture {
                path: path.to_owned(),
                found: found.map_or("missing".into(), |name| format!("`{name}`")),
                supported: allowed
                    .iter()
                    .map(|known| format!("`{}`", known.model_type()))
                    .collect::<Vec<_>>()
                    .join(", "),
            }
        })
    }
}

/// The text of a `config.json`, and where it stands: `path` itself, the one in a directory, or what
/// a GGUF file says in its place.
pub(crate) fn text_of(path: &Path) -> Result<(String, PathBuf), ModelError> {
    if gguf::is_gguf(path) {
        return Ok((gguf::config_text(path)?, path.to_owned()));
    }
    let path = config_path(path);
    Ok((read(&path)?, path))
}

/// `path` itself, or the `config.json` in it where it is a directory.
fn config_path(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join("config.json"),
        false => path.to_owned(),
    }
}

fn read(path: &Path) -> Result<String, ModelError> {
    std::fs::read_to_string(path).map_err(ModelError::io("read", path))
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str, path: &Path) -> Result<T, ModelError> {
    serde_json::from_str(text).map_err(|source| ModelError::Json { path: path.to_owned(), source })
}
