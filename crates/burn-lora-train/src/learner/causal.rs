//! Next-token prediction with a decoder.
//!
//! Only positions that carry loss reach the output head: with prompts masked, most rows of the
//! `[tokens, vocabulary]` product would be thrown away.

use burn::tensor::{Device, Int, Tensor, TensorData, TensorReadError};
use burn_lora_models::footprint::BatchShape;
use burn_lora_models::fused::rows_evaluated_at_once;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{CausalLm, Decoder, Model};
use burn_lora_patch::TaskType;
use burn_lora_report::sample::Sample;

use super::{Batch, TrainableModel, ids, judge, probe_ids};
use crate::TrainError;
use crate::observe::Observer;
use crate::prepare::{Files, ReadRows, token_rows};
use crate::samples::generate_samples;
use burn_lora_config::RunConfig;
use burn_lora_data::{Prompt, TokenBatch};

impl Batch for TokenBatch {
    fn target_ids(&self) -> Vec<i32> {
        self.targets.iter().map(|&(_, id)| id as i32).collect()
    }

    fn tokens(&self) -> usize {
        Self::tokens(self)
    }

    fn shape(&self) -> BatchShape {
        let segments = || self.segments.iter().flatten();
        let segments =
            self.is_packed().then(|| (segments().count(), segments().copied().max().unwrap_or(0)));
        BatchShape { rows: self.rows, width: self.width, segments, targets: self.targets() }
    }

    /// Those that a token with loss is predicted from, as PEFT leaves out prompts.
    fn looked_at(&self) -> Vec<bool> {
        let mut looked_at = vec![false; self.rows * self.width];
        self.targets.iter().for_each(|&(at, _)| looked_at[at] = true);
        looked_at
    }

    fn targets(&self) -> usize {
        self.target_tokens()
    }
}

impl TrainableModel for CausalLm {
    type Batch = TokenBatch;

    const TASK: TaskType = TaskType::CausalLm;

    fn read(
        files: Files,
        tokenizer: &Tokenizer,
        config: &mut RunConfig,
    ) -> Result<ReadRows<Self::Batch>, TrainError> {
        token_rows(files, tokenizer, config)
    }

    fn target_logits(&self, batch: &TokenBatch, device: &Device) -> Tensor<2> {
        self.logits(target_rows(self, batch, device))
    }

    fn loss(&self, batch: &TokenBatch, device: &Device) -> Tensor<1> {
        let hidden = target_rows(self, batch, device);
        Decoder::loss(self, hidden, batch.target_ids())
    }

    /// A share of the targets at a time: the logits of all would be the largest thing in memory.
    fn measure(
        &self,
        batch: &TokenBatch,
        device: &Device,
    ) -> Result<(f64, usize), TensorReadError> {
        let hidden = target_rows(self, batch, device);
        let targets = batch.target_ids();
        let at_once = rows_evaluated_at_once(self.config().vocab_size());
        let (mut loss, mut correct) = (0.0, 0);
        for (index, targets) in targets.chunks(at_once).enumerate() {
            let rows = hidden.clone().narrow(0, index * at_once, targets.len());
            let (of_rows, right) = judge(self.logits(rows), targets.to_vec())?;
            loss += of_rows;
            correct += right;
        }
        Ok((loss, correct))
    }

    fn probe(&self, device: &Device) -> Tensor<2> {
        let (ids, lengths) = probe_ids(self.config(), device);
        let logits = self.logits(self.hidden(ids, &lengths, None));
        let [rows, tokens, vocabulary] = logits.dims();
        logits.reshape([rows * tokens, vocabulary])
    }

    fn samples(
        &self,
        tokenizer: &Tokenizer,
        prompts: &[Prompt],
        max_tokens: usize,
        observer: &Observer,
    ) -> Result<Vec<Sample>, TrainError> {
        generate_samples(self, tokenizer, prompts, max_tokens, observer)
    }
}

/// The stream where a token that carries loss is predicted, `[targets, hidden]`.
fn target_rows(model: &CausalLm, batch: &TokenBatch, device: &Device) -> Tensor<2> {
    let ids = ids(&batch.ids, [batch.rows, batch.width], device);
    let hidden = match batch.is_packed() {
        true => model.hidden_packed(ids, &batch.segments),
        false => model.hidden(ids, &batch.lengths, None),
    };
    let [rows, tokens, width] = hidden.dims();
    let positions: Vec<i32> = batch.targets.iter().map(|&(at, _)| at as i32).collect();
    let count = positions.len();
    let positions = Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), device);
    hidden.reshape([rows * tokens, width]).select(0, positions)
}
