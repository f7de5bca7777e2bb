//! `[model]`.

use std::path::{Path, PathBuf};

use burn_lora_models::WeightDtype;

use crate::allowed::{flag, path_of, word_of};
use crate::keys::{Key, Part, UnwritableError, Written, keys};
use crate::reader::Reader;

keys! {
    /// `[model]`: what is trained.
    pub struct ModelSection in "model" {
        part source: ModelSource, "Where the weights come from.";

        /// Directory that holds tokenizer.json.
        tokenizer: PathBuf = source.path().to_owned() => "`path`", path_of("a directory");
        /// Number format that the base's matrices are held in. `f16` and `bf16` halve their memory and need
        /// an adapter (not `method = "full"`); arithmetic, adapters, norms and biases are f32 always.
        dtype: WeightDtype = WeightDtype::F32, word_of(&WeightDtype::DENSE);
        /// Blocks of a few bits that the base's matrices are held in instead, and stay in while it trains, on the CPU and with
        /// an adapter (not `method = "full"`). A GGUF file's own blocks are kept as they are, whichever word is given; other matrices are quantised
        /// while they are loaded: `q8` to 8 bits, `q4` and `nf4` (with double quantisation) to 4, tables of embeddings to 8.
        base: Option<WeightDtype> = None, word_of(&WeightDtype::QUANTISED).optional();
        /// Adapt the random start of `config` all the same, to measure its memory and speed: no other use is in it.
        random: bool = false, flag();
        /// Drop while training what the model's config.json says, beside what the adapter drops.
        dropout: bool = false, flag();
    }
}

impl ModelSection {
    /// What the base's matrices are held in.
    pub fn held(&self) -> WeightDtype {
        self.base.unwrap_or(self.dtype)
    }
}

/// Where a model's weights come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A Hugging Face directory with weights, a GGUF file, or a model of the hub.
    Pretrained(PathBuf),
    /// Random weights for the architecture in this config.json.
    Random(PathBuf),
}

keys! {
    /// The keys of a [`ModelSource`], of which one is given.
    pub struct SourceKeys in "model" {
        /// The base model: a Hugging Face directory (config.json, safetensors, tokenizer.json), a GGUF file, or
        /// `org/name`, with `@revision` if need be.
        path: Option<PathBuf> = None => "required, unless `config` is given",
            path_of("a directory or .gguf file, or a model of the hub").optional();
        /// A model's config.json, to start from random weights; needs `method = "full"`, or `random`, and a `tokenizer`.
        config: Option<PathBuf> = None, path_of("a file").optional();
    }
}

impl ModelSource {
    /// What was given.
    pub fn path(&self) -> &Path {
        match self {
            Self::Pretrained(path) | Self::Random(path) => path,
        }
    }
}

impl Part for ModelSource {
    fn keys() -> Vec<Key> {
        SourceKeys::keys()
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        match SourceKeys::read(reader)? {
            SourceKeys { path: Some(path), .. } => Some(Self::Pretrained(path)),
            SourceKeys { config: Some(_), .. } if !reader.has("model.tokenizer") => {
                let help =
                    "write `tokenizer = …`, a directory with tokenizer.json: a config has none";
                reader.missing("model.tokenizer", help);
                None
            }
            SourceKeys { config: Some(config), .. } => Some(Self::Random(config)),
            SourceKeys { path: None, config: None } => {
                let help = "write `path = …`, the directory of the base model";
                reader.missing("model.path", help);
                None
            }
        }
    }

    fn write(&self, out: &mut Vec<Written>) -> Result<(), UnwritableError> {
        let (path, config) = match self.clone() {
            Self::Pretrained(path) => (Some(path), None),
            Self::Random(config) => (None, Some(config)),
        };
        SourceKeys { path, config }.write(out)
    }
}
