//! The memory of training steps alone: of a model of a shape, on batches of given sizes, without the files of a run. What
//! [`take_steps`](crate::take_steps) will have resident.
//!
//! ```
//! use burn_lora_config::RunConfig;
//! use burn_lora_models::footprint::BatchShape;
//! use burn_lora_models::{CausalConfig, CausalLm, ModelConfig, WeightDtype};
//! use burn_lora_patch::LoraConfig;
//! use burn_lora_train::plan::{Steps, Trained};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shape = CausalConfig::from_json(
//!     r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
//!         "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}"#,
//!     "config.json".as_ref(),
//! )?;
//! let text = "[model]\npath = 'm'\n[data]\ntrain = 't'\n[train]\nsteps = 1\n[output]\ndir = 'o'\n";
//! let train = RunConfig::parse(text, "run.toml", &[])?.train;
//! let batch = BatchShape { rows: 4, width: 64, segments: None, targets: 252 };
//! let of = |trained| {
//!     Steps { dtype: WeightDtype::F32, trained, train: &train, batches: &[batch], process: 0 }
//!         .memory::<CausalLm>(&shape)
//! };
//! let lora = LoraConfig::new(4);
//! assert!(of(Trained::Adapter(&lora))?.optimizer < of(Trained::Whole)?.optimizer);
//! # Ok(())
//! # }
//! ```

use burn_lora_config::TrainSection;
use burn_lora_models::footprint::{BatchShape, Learned};
use burn_lora_models::{Recompute, WeightDtype};
use burn_lora_patch::{LayerStatus, LoraConfig};

use super::memory::Needs;
use super::{Memory, Outline};
use crate::TrainError;
use crate::learner::TrainableModel;

/// What is trained of a model that steps are taken of.
#[derive(Debug, Clone, Copy)]
pub enum Trained<'a> {
    /// Every parameter.
    Whole,
    /// An adapter, through its own path.
    Adapter(&'a LoraConfig),
    /// Factors that Burn composes a weight of (`apply_lora`), on the linears that this would adapt.
    Composed(&'a LoraConfig),
}

/// Steps to take.
#[derive(Debug, Clone, Copy)]
pub struct Steps<'a> {
    /// What the model's matrices are held in.
    pub dtype: WeightDtype,
    /// What is trained.
    pub trained: Trained<'a>,
    /// `[train]`.
    pub train: &'a TrainSection,
    /// The sizes of their batches.
    pub batches: &'a [BatchShape],
    /// What the process has resident without a model, in bytes.
    pub process: u64,
}

impl Steps<'_> {
    /// What they will have resident on a CPU, with a model of that shape.
    ///
    /// # Errors
    ///
    /// What the model or the targets say.
    pub fn memory<M: TrainableModel>(&self, shape: &M::Config) -> Result<Memory, TrainError> {
        let mut outline = self.outline::<M>(shape)?;
        let mut needs = Needs::of_steps(&outline, self.dtype, self.process);
        if matches!(self.trained, Trained::Composed(_)) {
            needs.composed = outline.compose();
        }
        let largest = outline.largest(self.batches, self.train.recompute);
        Ok(needs.memory(&outline, &largest, None, self.train))
    }

    /// What forward passes on the same batches will have resident, without a backward pass and with all logits of a batch at once, where
    /// the weights of the adapted linears are there merged, too, in f32.
    ///
    /// # Errors
    ///
    /// Those of [`Self::memory`].
    pub fn passes<M: TrainableModel>(&self, shape: &M::Config) -> Result<Memory, TrainError> {
        let mut outline = self.outline::<M>(shape)?;
        let needs = Needs::of_steps(&outline, self.dtype, self.process);
        let (merged, _) = outline.adapted_weights();
        // Nothing goes back, so that nothing is kept.
        outline.linears.clear();
        let largest = outline.largest(self.batches, Recompute::None);
        Ok(needs.passes(&outline, &largest, merged, self.train))
    }

    fn outline<M: TrainableModel>(&self, shape: &M::Config) -> Result<Outline<M>, TrainError> {
        let model = M::outline(shape, &burn_lora::device::parse("cpu")?)?;
        match self.trained {
            Trained::Whole => Ok(Outline::whole(model)),
            Trained::Adapter(config) | Trained::Composed(config) => Outline::adapted(model, config),
        }
    }
}

impl<M> Outline<M> {
    /// Has the weights of the adapted linears composed in place of their low-rank products; what that keeps and makes, in bytes.
    fn compose(&mut self) -> u64 {
        for learned in self.linears.values_mut() {
            if let Learned::Factors { kept, input, .. } = learned {
                // The input is what the weight's gradient is made with.
                (*kept, *input) = (0, true);
            }
        }
        let (all, largest) = self.adapted_weights();
        // The gradient of a composed weight, and the same scaled.
        all + 2 * largest
    }

    /// Bytes of the weights of the adapted linears in f32, and of the largest of them.
    fn adapted_weights(&self) -> (u64, u64) {
        let layers = self.report.iter().flat_map(|report| report.layers());
        let adapted = layers.filter(|layer| layer.status == LayerStatus::Adapted);
        let bytes = adapted.map(|layer| 4 * (layer.d_in * layer.d_out) as u64);
        bytes.fold((0, 0), |(all, largest), bytes| (all + bytes, largest.max(bytes)))
    }
}
