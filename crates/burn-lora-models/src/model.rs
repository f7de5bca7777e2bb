//! Whatever model a directory holds.

use std::path::Path;

use burn::tensor::Device;

use crate::ModelError;
use crate::bert::SequenceClassifier;
use crate::config::Architecture;
use crate::llama::LlamaForCausalLM;
use crate::weights::LoadReport;

/// A model of any architecture that is built here.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // A handful exist at a time; a box would only be in the way.
pub enum Model {
    /// It generates text.
    Causal(LlamaForCausalLM),
    /// It classifies.
    Classifier(SequenceClassifier),
}

impl Model {
    /// Loads a Hugging Face directory by the `model_type` of its `config.json`.
    ///
    /// `num_labels` and `seed` are for a classifier's head; see
    /// [`BertForSequenceClassification::load`](crate::bert::BertForSequenceClassification::load).
    /// A decoder makes no use of them.
    ///
    /// # Errors
    ///
    /// An architecture that does not exist here (the error names those that do), and what loading
    /// that architecture says.
    pub fn load(
        dir: &Path,
        num_labels: Option<usize>,
        seed: u64,
        device: &Device,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, LoadReport), ModelError> {
        if Architecture::of_dir(dir)?.is_causal() {
            let (model, report) = LlamaForCausalLM::load(dir, device, progress)?;
            return Ok((Self::Causal(model), report));
        }
        let (model, report) = SequenceClassifier::load(dir, num_labels, seed, device, progress)?;
        Ok((Self::Classifier(model), report))
    }
}
