//! What every model can: be built from any source of tensors, be loaded, and be saved.
//!
//! A family writes the keys of its `config.json` (a [`ModelConfig`] follows from them) and [`Model::build`] (which tensors it
//! asks for, and where they go). Loading a checkpoint, drawing random weights, planning by shapes
//! alone and saving are then the same code for all of them.
//!
//! ```
//! use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = CausalConfig::from_json(
//!     r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
//!         "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}"#,
//!     "config.json".as_ref(),
//! )?;
//! let device = burn_lora::device::parse("cpu")?;
//! let model = CausalLm::random(&config, 0, &device)?;
//! assert_eq!(model.config().context(), Some(64));
//! # Ok(())
//! # }
//! ```

use std::borrow::Cow;
use std::fmt::Debug;
use std::path::Path;

use burn::module::{Module, ModuleDisplay};
use serde_json::{Map, Value};

use crate::config::text_of;
use crate::footprint::CostModel;
use crate::gguf::GgufFamily;
use crate::weights::{
    Builder, CheckpointKeys, LoadReport, Manifest, Random, SaveDtype, Storage, TensorPair,
    TensorSpec, each, file_sizes, load, outline, pairs, save,
};
use crate::{ModelError, gguf};

/// What there is to know of a model without its weights.
pub trait Description {
    /// By what its training steps are counted.
    fn cost(&self) -> Box<dyn CostModel + '_>;

    /// The text of the `config.json` that goes with the weights.
    fn to_json(&self) -> Cow<'_, str>;

    /// The keys of `config.json` that are known here with their values, whether it states them or leaves
    /// them out. None of families without GGUF files.
    fn settings(&self) -> Map<String, Value>;

    /// The keys of `config.json` that are not known here, and had no effect.
    fn unknown_keys(&self) -> &[String];

    /// Rows of the token table.
    fn vocab_size(&self) -> usize;

    /// The longest sequence, in tokens; none where positions have no limit.
    fn context(&self) -> Option<usize>;

    /// Standard deviation of a random start.
    fn initializer_range(&self) -> f64;

    /// How the keys of checkpoints may differ from the model's.
    fn checkpoint_keys(&self) -> CheckpointKeys;

    /// Whether files store the weight of the linear at that path `[d_in, d_out]`
    /// ([`Builder::conv1d`] builds it so). PEFT says `fan_in_fan_out` of such.
    fn is_conv1d(&self, _path: &str) -> bool {
        false
    }
}

/// What a model's `config.json` means, checked.
pub trait ModelConfig: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The architectures of GGUF files that it is read from.
    const GGUF: &'static [GgufFamily] = &[];

    /// From the text of a `config.json`. `path` is for the errors.
    ///
    /// # Errors
    ///
    /// What is not JSON, a `model_type` of other models, and all at once the values that contradict
    /// one another or ask for what is not supported.
    fn from_json(text: &str, path: &Path) -> Result<Self, ModelError>;

    /// From a `config.json`, the one in a directory, or what a GGUF file says in its place.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, and what [`Self::from_json`] says.
    fn from_path(path: &Path) -> Result<Self, ModelError> {
        let (text, path) = text_of(path)?;
        Self::from_json(&text, &path)
    }

    /// The same model with the dropout of its `config.json` ([`Dropouts`](crate::Dropouts)), which acts in
    /// training only. Without this nothing is dropped but what an adapter drops.
    #[must_use]
    fn with_dropout(self) -> Self;

    /// What is known of the model.
    fn about(&self) -> &dyn Description;
}

/// A model with its configuration.
pub trait Model: Module + ModuleDisplay {
    /// What its `config.json` means.
    type Config: ModelConfig;

    /// Builds the model from any source.
    ///
    /// # Errors
    ///
    /// What the source says.
    fn build(config: &Self::Config, root: &mut Builder<'_>) -> Result<Self, ModelError>;

    /// Its configuration, without what only its family knows.
    fn config(&self) -> &dyn Description;

    /// Loads a Hugging Face directory: `config.json` and safetensors, f32, f16 or bf16, in one file or
    /// sharded, with or without the family's prefix (`model.`, `bert.`, …); or a `.gguf` file.
    /// Parameters are where and in the format that `at` says; those in f32 (all, where `at` is a device
    /// alone) are trainable.
    ///
    /// `progress` is told of the bytes read so far and of all there are. Memory peaks at the
    /// weights in their format and a few megabytes; where blocks are made of a GGUF file's queries and keys, whose rows are moved,
    /// also at one tensor in f32.
    ///
    /// # Errors
    ///
    /// A number format that the device lacks, files that cannot be read or are damaged, a configuration that is not supported, and all at
    /// once the tensors that are missing, surplus or of another shape; nothing is read before
    /// they fit.
    fn load<'a>(
        dir: &Path,
        at: impl Into<Storage<'a>>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, LoadReport), ModelError> {
        Self::load_as(&Self::Config::from_path(dir)?, dir, 0, at, progress)
    }

    /// [`Self::load`] with a configuration other than the directory's: another head. What no file has,
    /// and may be missing, starts from `seed`; the report says so.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    fn load_as<'a>(
        config: &Self::Config,
        dir: &Path,
        seed: u64,
        at: impl Into<Storage<'a>>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, LoadReport), ModelError> {
        let at = at.into().supported()?;
        let build = |root: &mut Builder<'_>| Self::build(config, root);
        if gguf::is_gguf(dir) {
            return gguf::load(dir, at, progress, build);
        }
        let random = Random::new(seed, config.about().initializer_range());
        load(dir, at, &config.about().checkpoint_keys(), random, progress, build)
    }

    /// A model with seeded random weights: normal with `initializer_range` as standard deviation,
    /// norms one, biases zero.
    ///
    /// # Errors
    ///
    /// A number format that the device lacks.
    fn random<'a>(
        config: &Self::Config,
        seed: u64,
        at: impl Into<Storage<'a>>,
    ) -> Result<Self, ModelError> {
        let at: Storage<'_> = at.into().supported()?;
        let mut source = Random::new(seed, config.about().initializer_range());
        Self::build(config, &mut Builder::new(&mut source, at))
    }

    /// A model whose parameters exist by their shapes only, to plan with: no weight is read or made.
    ///
    /// # Errors
    ///
    /// A number format that the device lacks.
    fn outline<'a>(config: &Self::Config, at: impl Into<Storage<'a>>) -> Result<Self, ModelError> {
        let at: Storage<'_> = at.into().supported()?;
        Self::build(config, &mut Builder::new(&mut Manifest::default(), at))
    }

    /// [`Self::outline`] of the model at `dir`, whose files are compared with what the model needs, as
    /// [`Self::load_as`] does; no weight is read.
    ///
    /// # Errors
    ///
    /// As [`Self::load_as`].
    fn outline_of<'a>(
        config: &Self::Config,
        dir: &Path,
        at: impl Into<Storage<'a>>,
    ) -> Result<Self, ModelError> {
        let at = at.into().supported()?;
        let build = |root: &mut Builder<'_>| Self::build(config, root);
        match gguf::is_gguf(dir) {
            true => gguf::outline(dir, at, build),
            false => outline(dir, at, &config.about().checkpoint_keys(), build),
        }
    }

    /// [`Self::outline`] of a model that has two checkpoints, such as a base and what full training made of it. `show` is
    /// given every tensor as the two have it, one pair in memory at a time, and says whether it wants more.
    ///
    /// # Errors
    ///
    /// As [`Self::load`], of either; a GGUF file, which has no such tensors.
    fn compare<'a>(
        config: &Self::Config,
        dirs: [&Path; 2],
        at: impl Into<Storage<'a>>,
        show: &mut dyn FnMut(TensorPair<'_>) -> bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, ModelError> {
        let at = at.into().supported()?;
        let build = |root: &mut Builder<'_>| Self::build(config, root);
        pairs(dirs, at, &config.about().checkpoint_keys(), build, show, progress)
    }

    /// [`Self::outline`] of the model in that directory. `show` is given every tensor as its files have it, in f32 and row by row
    /// (a linear's weight is `[d_out, d_in]`), one in memory at a time, and says whether it wants more.
    ///
    /// # Errors
    ///
    /// As [`Self::load`]; a GGUF file, which has no such tensors.
    fn each_tensor<'a>(
        config: &Self::Config,
        dir: &Path,
        at: impl Into<Storage<'a>>,
        show: &mut dyn FnMut(&TensorSpec, Vec<f32>) -> bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, ModelError> {
        let at = at.into().supported()?;
        let build = |root: &mut Builder<'_>| Self::build(config, root);
        each(dir, at, &config.about().checkpoint_keys(), build, show, progress)
    }

    /// Writes `model.safetensors` and `config.json` as Hugging Face's, each atomically. The base
    /// weights are written as stored: merge and unload adapters first.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn save(&self, dir: &Path, dtype: SaveDtype) -> Result<(), ModelError> {
        save(self, dir, dtype, self.config())
    }

    /// The names of the files that [`save`](Self::save) writes, with their sizes in bytes.
    ///
    /// # Errors
    ///
    /// None that a model can cause.
    fn file_sizes(&self, dtype: SaveDtype) -> Result<Vec<(&'static str, u64)>, ModelError> {
        file_sizes(self, dtype, self.config())
    }
}
