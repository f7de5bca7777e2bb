//! Classification of whole rows with an encoder.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use burn_lora_models::bert::SequenceClassifier;
use burn_lora_models::footprint::{BatchShape, Counted};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{ModelError, SaveDtype};
use burn_lora_patch::TaskType;
use burn_lora_report::sample::Sample;

use super::{Batch, Objective, ids, probe_ids};
use crate::TrainError;
use crate::data::{LabelBatch, Prompt};
use crate::observe::Observer;

impl Batch for LabelBatch {
    fn target_ids(&self) -> Vec<i32> {
        self.labels.iter().map(|&label| label as i32).collect()
    }

    fn tokens(&self) -> usize {
        Self::tokens(self)
    }

    fn shape(&self) -> BatchShape {
        BatchShape { rows: self.rows, width: self.width, segments: None, targets: self.rows }
    }
}

impl Objective for SequenceClassifier {
    type Batch = LabelBatch;

    const TASK: TaskType = TaskType::SeqCls;

    fn scores(&self, batch: &LabelBatch, device: &Device) -> Tensor<2> {
        self.logits(ids(&batch.ids, [batch.rows, batch.width], device), &batch.lengths)
    }

    fn counted(&self) -> &dyn Counted {
        self.config()
    }

    fn probe(&self, device: &Device) -> Tensor<2> {
        let width = self.config().max_tokens().min(32);
        let (ids, lengths) = probe_ids(self.config().vocab_size, width, device);
        self.logits(ids, &lengths)
    }

    fn samples(
        &self,
        _: &Tokenizer,
        _: &[Prompt],
        _: usize,
        _: &Observer,
    ) -> Result<Vec<Sample>, TrainError> {
        Ok(Vec::new())
    }

    fn save(&self, dir: &Path, dtype: SaveDtype) -> Result<(), ModelError> {
        Self::save(self, dir, dtype)
    }

    fn file_sizes(&self, dtype: SaveDtype) -> Result<Vec<(&'static str, u64)>, ModelError> {
        Self::file_sizes(self, dtype)
    }
}
