//! Programs that read adapters and are not PEFT: what each reads right, and an adapter put so that it does.
//!
//! | [`Reader`] | what it adapts | the scale of a layer | what it passes over |
//! | --- | --- | --- | --- |
//! | vLLM | linear layers and `embed_tokens` | `lora_alpha / r`, one for all layers | `rank_pattern`, `alpha_pattern` |
//! | llama.cpp | linear layers and the token table | one alpha over the rank that the layer's tensors have | `alpha_pattern`, `use_rslora` |
//!
//! So for vLLM every layer gets the scale 1 and one rank, by B and by zeros ([`StoredAdapter::with_one_scale`]); rsLoRA, which
//! its newer versions read, is folded, too. For llama.cpp every layer gets one alpha ([`StoredAdapter::with_one_alpha`]); its
//! file is written by whoever knows the base's GGUF names. An adapter that has one scale already keeps its numbers bit for bit.
//!
//! Neither reads DoRA, MiSS, a bias of factor B, trained biases, single rows of an embedding, modules trained whole, or
//! convolutions: such an adapter is refused by what it has. LoRA-FA, and what started in a part of the base (PiSSA, OLoRA), are
//! plain LoRA in files.
//!
//! ```no_run
//! use burn_lora_patch::readers::{Reader, for_reader};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let read = for_reader("runs/poems/adapter", Reader::Vllm)?;
//! read.adapter.write("poems-for-vllm")?;
//! # Ok(())
//! # }
//! ```

mod problem;

use std::fmt;
use std::path::Path;

use burn_lora::Method;

use crate::combine::{StoredAdapter, WholeTensor};
use crate::error::PatchError;
use crate::path::last_segment;
use crate::peft::{PeftConfig, bare, read_config};

pub use problem::ReaderProblem;

/// The ranks that vLLM can be started for (`max_lora_rank`).
const VLLM_RANKS: [usize; 9] = [1, 8, 16, 32, 64, 128, 256, 320, 512];
/// The one that it is started for unless told.
const VLLM_RANK: usize = 16;
/// The embedding that vLLM adapts.
const VLLM_TABLE: &str = "embed_tokens";
/// The layers around the blocks, which vLLM adapts in the classes of models that register them (`embedding_modules`).
const VLLM_AROUND: [&str; 2] = [VLLM_TABLE, "lm_head"];
/// What follows the path of an adapted embedding in the key of the base's own table, which PEFT saves with it.
const OWN_TABLE: &str = ".base_layer.weight";

/// A program that reads adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// vLLM, from PEFT's two files.
    Vllm,
    /// llama.cpp, from a GGUF file.
    LlamaCpp,
}

impl Reader {
    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::LlamaCpp => "llama.cpp",
        }
    }
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// An adapter put for a reader.
#[derive(Debug, Clone, PartialEq)]
pub struct ForReader {
    /// Factors, and what the configuration is to say.
    pub adapter: StoredAdapter,
    /// What should be known.
    pub notes: Vec<String>,
}

/// The adapter in `dir`, put for that reader.
///
/// # Errors
///
/// [`PatchError::Reader`]: what the reader does not read. Otherwise as [`StoredAdapter::read`].
pub fn for_reader(dir: impl AsRef<Path>, reader: Reader) -> Result<ForReader, PatchError> {
    let dir = dir.as_ref();
    let config = read_config(dir)?;
    says_what_is_read(dir, &config, reader)?;
    let mut read = StoredAdapter::read(dir)?;
    let mut notes: Vec<String> = config.passed_over().into_iter().collect();
    let (own_tables, whole): (Vec<WholeTensor>, _) =
        read.whole.into_iter().partition(|tensor| tensor.key.ends_with(OWN_TABLE));
    read.whole = whole;
    if !own_tables.is_empty() {
        let keys: Vec<&str> = own_tables.iter().map(|tensor| bare(&tensor.key)).collect();
        notes.push(format!(
            "left out, since {reader} takes it from the base: {}",
            burn_lora_text::listed(&keys)
        ));
    }
    has_what_is_read(dir, &read, reader)?;
    let around = || read.layers.keys().filter(|layer| VLLM_AROUND.contains(&last_segment(layer)));
    if reader == Reader::Vllm && around().next().is_some() {
        notes.push(format!(
            "vLLM adapts {} where the class of the model registers it, as those of Llama, Mistral and Granite do; those of Qwen and Gemma do not, and \
             refuse the adapter",
            burn_lora_text::listed(&around().collect::<Vec<_>>())
        ));
    }
    let ranks = |adapter: &StoredAdapter| adapter.layers.values().map(|it| it.factors.rank).max();
    let before = read.clone();
    let adapter = match reader {
        Reader::Vllm => read.with_one_scale(),
        Reader::LlamaCpp => read.with_one_alpha()?,
    };
    if adapter.layers != before.layers {
        notes.push(format!(
            "{reader} has one {} for all layers: what the layers' own come to beyond it is in B",
            match reader {
                Reader::Vllm => "rank and one scale",
                Reader::LlamaCpp => "alpha",
            }
        ));
    }
    let rank = ranks(&adapter).unwrap_or(0);
    if reader == Reader::Vllm && rank > VLLM_RANK {
        let least = VLLM_RANKS.into_iter().find(|most| *most >= rank).unwrap_or(rank);
        notes.push(format!(
            "the rank is {rank}: start vLLM with `max_lora_rank` {least}, for its own is {VLLM_RANK}"
        ));
    }
    Ok(ForReader { adapter, notes })
}

/// That the configuration asks for nothing that is not read.
fn says_what_is_read(dir: &Path, config: &PeftConfig, reader: Reader) -> Result<(), ReaderProblem> {
    let dir = || dir.to_owned();
    // What is no kind at all is told when it is read.
    let method = config.method().unwrap_or_default();
    if method.saved_as() != Method::Lora {
        return Err(ReaderProblem::Kind { dir: dir(), reader, title: method.title() });
    }
    if let Some(parameters) = config.target_parameters.as_ref().filter(|it| !it.is_empty()) {
        let parameters = parameters.clone();
        return Err(ReaderProblem::Parameters { dir: dir(), reader, parameters });
    }
    let tokens = &config.trainable_token_indices;
    if !tokens.is_null() {
        let tokens = tokens.to_string();
        return Err(ReaderProblem::Tokens { dir: dir(), reader, tokens });
    }
    if config.bias != "none" {
        let bias = config.bias.clone();
        return Err(ReaderProblem::Bias { dir: dir(), reader, bias });
    }
    match config.modules_to_save.as_ref().filter(|modules| !modules.is_empty()) {
        Some(modules) => Err(ReaderProblem::Whole { dir: dir(), reader, trained: modules.clone() }),
        None => Ok(()),
    }
}

/// That the files hold nothing that is not read.
fn has_what_is_read(dir: &Path, read: &StoredAdapter, reader: Reader) -> Result<(), ReaderProblem> {
    let dir = || dir.to_owned();
    if !read.whole.is_empty() {
        let keys = read.whole.iter().map(|tensor| bare(&tensor.key).to_owned());
        return Err(ReaderProblem::Whole { dir: dir(), reader, trained: keys.collect() });
    }
    for (layer, stored) in &read.layers {
        let layer = || layer.clone();
        if stored.place.is_convolution() {
            return Err(ReaderProblem::Convolution { dir: dir(), reader, layer: layer() });
        }
        let is_known = last_segment(&layer()) == VLLM_TABLE;
        if reader == Reader::Vllm && stored.place.is_table() && !is_known {
            return Err(ReaderProblem::Table { dir: dir(), layer: layer(), known: VLLM_TABLE });
        }
        let (rank, most) = (stored.factors.rank, VLLM_RANKS[VLLM_RANKS.len() - 1]);
        if reader == Reader::Vllm && rank > most {
            return Err(ReaderProblem::Rank { dir: dir(), layer: layer(), rank, most });
        }
    }
    Ok(())
}
