//! Classification of whole rows with an encoder.

use burn::tensor::{Device, Tensor};
use burn_lora_models::footprint::BatchShape;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{Classifier, ClassifierConfig, Model, SequenceClassifier};
use burn_lora_patch::TaskType;
use burn_lora_report::sample::Sample;

use super::{Batch, TrainableModel, ids, probe_ids};
use crate::TrainError;
use crate::observe::Observer;
use crate::prepare::{Files, ReadRows, label_rows};
use burn_lora_config::RunConfig;
use burn_lora_data::{LabelBatch, Prompt};

impl Batch for LabelBatch {
    fn target_ids(&self) -> Vec<i32> {
        self.labels.iter().map(|&label| label as i32).collect()
    }

    fn tokens(&self) -> usize {
        Self::tokens(self)
    }

    /// All that is no padding.
    fn looked_at(&self) -> Vec<bool> {
        let of_row = |length: &usize| {
            let length = *length;
            (0..self.width).map(move |at| at < length)
        };
        self.lengths.iter().flat_map(of_row).collect()
    }

    fn shape(&self) -> BatchShape {
        BatchShape { rows: self.rows, width: self.width, segments: None, targets: self.rows }
    }
}

impl TrainableModel for SequenceClassifier {
    type Batch = LabelBatch;

    const TASK: TaskType = TaskType::SeqCls;

    fn read(
        files: Files,
        tokenizer: &Tokenizer,
        config: &mut RunConfig,
    ) -> Result<ReadRows<Self::Batch>, TrainError> {
        label_rows(files, tokenizer, config)
    }

    fn with_task(config: Self::Config, run: &RunConfig) -> Self::Config {
        config.with_labels(run.data.labels.clone().unwrap_or_default())
    }

    fn target_logits(&self, batch: &LabelBatch, device: &Device) -> Tensor<2> {
        self.logits(ids(&batch.ids, [batch.rows, batch.width], device), &batch.lengths)
    }

    fn probe(&self, device: &Device) -> Tensor<2> {
        let (ids, lengths) = probe_ids(self.config(), device);
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
}
