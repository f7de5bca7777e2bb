//! Memory of a run by part, counted from shapes.

use burn_lora::AdapterConfig;
use burn_lora_models::footprint::{BatchShape, Footprint};
use burn_lora_models::generate::ROWS;
use burn_lora_models::{Recompute, WeightDtype};
use burn_lora_patch::ParamInfo;
use serde::Serialize;

use super::Outline;
use crate::exchange::bytes_held;
use crate::learner::TrainableModel;
use crate::prepare::ReadRun;
use burn_lora_config::TrainSection;

/// What the allocator loses to fragments of blocks that come and go, as a share of those.
const FRAGMENTS: f64 = 0.05;

/// What the graph of a step and its small tensors take, whatever the model.
const BUFFERS: u64 = 7 << 20;

/// What each thread takes: its stack, and the panels that a product packs.
const A_THREAD: u64 = 1 << 20;

/// Bytes that a run has resident at its largest, by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The program, the tokenizer and the rows.
    pub process: u64,
    /// The base model's weights.
    pub weights: u64,
    /// The adapter's factors.
    pub adapter: u64,
    /// AdamW's two moments of what is trained.
    pub optimizer: u64,
    /// The gradients of what is trained.
    pub gradients: u64,
    /// What the layers keep for the backward pass, and what passes by meanwhile.
    pub activations: u64,
    /// Logits over the vocabulary or the classes, with what is made of them.
    pub logits: u64,
    /// Cache and logits of generating samples, which happens between steps.
    pub generating: u64,
    /// Buffers of what ranks exchange, which happens between their batches; 0 where a process is alone.
    pub exchange: u64,
    /// The most at one time. Less than the sum: what layers keep is given back while gradients come, and
    /// nothing is generated or exchanged meanwhile.
    pub peak: u64,
}

/// What does not depend on the batch.
pub(super) struct Needs {
    process: u64,
    weights: u64,
    adapter: u64,
    trained: u64,
    /// The largest tensor that is trained.
    largest_trained: u64,
    /// What a tied table's gradient takes beside the others', from the first moment of the backward.
    table: u64,
    /// Weights that a forward pass composes and a backward pass reads again, with what is made of the largest of them.
    pub(super) composed: u64,
    generating: u64,
    /// Whether there are checkpoints.
    saves: bool,
    /// How many ranks take the run.
    ranks: usize,
}

impl Needs {
    pub(super) fn of<M: TrainableModel>(
        run: &ReadRun<M>,
        outline: &Outline<M>,
        process: u64,
        ranks: usize,
    ) -> Self {
        let train = &run.config.train;
        let shown = if train.exact_match || train.bleu { usize::MAX } else { train.samples };
        let prompts = &run.prompts[..run.prompts.len().min(shown)];
        let longest = prompts.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(0);
        let (rows, new) = (prompts.len().min(ROWS), run.config.data.generate_max_tokens);
        let generating = match rows {
            0 => 0,
            _ => outline.model.config().cost().generating(rows, longest, new),
        };
        let alone = Self::of_steps(outline, run.config.model.held(), process);
        Self { generating, saves: true, ranks, ..alone }
    }

    /// Of steps that nothing else is done beside, by one process.
    pub(super) fn of_steps<M>(outline: &Outline<M>, dtype: WeightDtype, process: u64) -> Self {
        let weights = outline.base();
        let bytes = |count: usize| 4 * count as u64;
        let (adapter, trained, largest_trained, table) = match &outline.report {
            Some(report) => {
                let rows = || report.tokens().iter().map(|rows| rows.params);
                let factors = report.layers().iter().map(|layer| layer.adapter_params);
                let trained = report.layers().iter().map(|layer| layer.trained_params);
                let largest = trained.chain(report.saved().iter().map(|m| m.params)).chain(rows());
                (factors.chain(rows()).sum(), report.trainable(), largest.max().unwrap_or(0), 0)
            }
            None => {
                let largest = outline.base_params().map(ParamInfo::count).max().unwrap_or(0);
                let tables = outline.base_params().filter(|param| param.container == "Embedding");
                let table = tables.map(ParamInfo::count).max().unwrap_or(0);
                (0, weights, largest, table)
            }
        };
        // What the factors started from stays beside them.
        let moves_base = |adapter: &AdapterConfig| adapter.init.moves_base();
        let copies = if outline.adapter.as_ref().is_some_and(moves_base) { 2 } else { 1 };
        Self {
            process,
            weights: outline.base_bytes(dtype),
            adapter: bytes(copies * adapter),
            trained: bytes(trained),
            largest_trained: bytes(largest_trained),
            table: bytes(table),
            composed: 0,
            generating: 0,
            saves: false,
            ranks: 1,
        }
    }

    /// The memory of a run whose largest batches, to train on and to evaluate, are of these sizes.
    pub(super) fn memory<M: TrainableModel>(
        &self,
        outline: &Outline<M>,
        largest: &BatchShape,
        evaluation: Option<&BatchShape>,
        train: &TrainSection,
    ) -> Memory {
        let step = outline.footprint(largest).with(train.recompute);
        let optimizer = 2 * self.trained;
        // Those of earlier batches are kept beside those of the next: of ranks each keeps its part.
        let trained = usize::try_from(self.trained / 4).unwrap_or(usize::MAX);
        let exchange = bytes_held(trained, self.ranks);
        let kept_gradients = match self.ranks {
            ..2 if train.accumulate > 1 => self.trained,
            ..2 => 0,
            ranks => 4 * trained.div_ceil(ranks) as u64,
        };
        // That part is one of the buffers. The gradients have gone into another, and leave places that are too small for one.
        let exchanging = match exchange {
            0 => 0,
            exchange => self.trained + exchange - kept_gradients,
        };
        let gradients = self.trained + kept_gradients;

        // Layers give back what they keep while gradients come; those of factors are small enough to be
        // counted from the start.
        let early = if outline.report.is_some() { self.trained } else { self.table };
        let backward = early + self.composed + step.step();
        // Parameters and moments are written where they lie; a copy is made of a gradient that does not lie in a row.
        let updating = self.trained + self.table.max(self.largest_trained);
        // A checkpoint is written of a copy of the moments.
        let saving = if self.saves { 2 * self.trained } else { 0 };
        let evaluating = evaluation.map_or(0, |batch| outline.footprint(batch).evaluation);
        let moving = kept_gradients
            + [backward, updating, saving, evaluating, self.generating, exchanging]
                .into_iter()
                .fold(0, u64::max);
        let fixed = self.process + self.weights + self.adapter + optimizer;
        Memory {
            process: self.process,
            weights: self.weights,
            adapter: self.adapter,
            optimizer,
            gradients,
            activations: self.composed + step.kept + step.passing,
            logits: step.logits,
            generating: self.generating,
            exchange,
            peak: fixed + Self::with_loss(moving, train),
        }
    }

    /// The memory of forward passes alone on batches of that size, of which all logits are there at once, beside so many bytes of other
    /// weights.
    pub(super) fn passes<M: TrainableModel>(
        &self,
        outline: &Outline<M>,
        batch: &BatchShape,
        beside: u64,
        train: &TrainSection,
    ) -> Memory {
        let (_, classes) = outline.model.config().cost().head();
        let (step, logits) = (outline.footprint(batch), 4 * (batch.targets * classes) as u64);
        let (process, adapter, weights) = (self.process, self.adapter, self.weights + beside);
        let moving = step.evaluation.max(logits);
        Memory {
            process,
            weights,
            adapter,
            optimizer: 0,
            gradients: 0,
            activations: step.evaluation,
            logits,
            generating: 0,
            exchange: 0,
            peak: process + weights + adapter + Self::with_loss(moving, train),
        }
    }

    /// What comes and goes, with what the allocator loses of it and what buffers and threads take.
    fn with_loss(moving: u64, train: &TrainSection) -> u64 {
        let lost = (moving as f64 * FRAGMENTS) as u64;
        let threads = train.threads.unwrap_or_else(rayon::current_num_threads) as u64;
        moving + lost + BUFFERS + threads * A_THREAD
    }
}

impl<M: TrainableModel> Outline<M> {
    /// The batch that needs most.
    pub(super) fn largest(&self, training: &[BatchShape], recompute: Recompute) -> BatchShape {
        let needed = |shape: &BatchShape| self.footprint(shape).with(recompute).step();
        let mut distinct = training.to_vec();
        distinct.sort_by_key(|shape| (shape.rows, shape.width, shape.segments, shape.targets));
        distinct.dedup();
        let nothing = BatchShape { rows: 0, width: 0, segments: None, targets: 0 };
        distinct.into_iter().max_by_key(needed).unwrap_or(nothing)
    }

    /// The footprint of a training step on a batch, everything kept.
    pub(super) fn footprint(&self, batch: &BatchShape) -> Footprint {
        self.model.config().cost().footprint(batch, &|path| self.learned(path))
    }
}

#[cfg(test)]
mod tests {
    use burn_lora_config::RunConfig;
    use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig};

    use super::*;

    /// The memory of a run that so many ranks take, of so many trained values and rows of so many tokens.
    fn memory(trained: u64, ranks: usize, width: usize) -> Memory {
        let text = r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 8,
            "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 1, "max_position_embeddings": 16, "tie_word_embeddings": true}"#;
        let model = CausalConfig::from_json(text, "config.json".as_ref()).unwrap();
        let device = burn_lora::device::parse("cpu").unwrap();
        let text = "[model]\npath = \"m\"\n[data]\ntrain = \"t.jsonl\"\n[train]\nsteps = 2\nthreads = 1\naccumulate = 12\n\
                    [output]\ndir = \"o\"\n";
        let config = RunConfig::parse(text, "run.toml", &[]).unwrap();
        let outline = Outline::of(CausalLm::outline(&model, &device).unwrap(), &config).unwrap();
        let needs = Needs {
            process: 1 << 20,
            weights: 1 << 21,
            adapter: 4 * trained,
            trained: 4 * trained,
            largest_trained: 4 * trained / 8,
            table: 0,
            composed: 0,
            generating: 0,
            saves: true,
            ranks,
        };
        let batch = BatchShape { rows: 1, width, segments: None, targets: width };
        needs.memory(&outline, &batch, None, &config.train)
    }

    /// Where what is trained is large beside a batch, the flat buffers are what a step needs most.
    #[test]
    fn the_peak_of_a_rank_holds_the_buffers_of_the_exchange_beside_the_gradients() {
        const TRAINED: u64 = 12 << 20;
        let alone = memory(TRAINED, 1, 16);
        assert_eq!(alone.exchange, 0);
        let fixed = |memory: &Memory| {
            memory.process + memory.weights + memory.adapter + memory.optimizer + BUFFERS + A_THREAD
        };
        for ranks in [2, 3, 4] {
            let shared = memory(TRAINED, ranks, 16);
            // The gradients in a row, what goes out, what comes in and that by rank; the part that is added up.
            let buffers = 4 * (4 * TRAINED + TRAINED / ranks as u64);
            assert_eq!(shared.exchange, buffers);
            let moving = 4 * TRAINED + buffers;
            let lost = (moving as f64 * FRAGMENTS) as u64;
            assert_eq!(shared.peak, fixed(&shared) + moving + lost, "{ranks} ranks");
            assert_eq!(fixed(&shared), fixed(&alone));
        }
    }

    /// A rank keeps its part of the sum where a process alone keeps all of it.
    #[test]
    fn where_a_batch_needs_more_than_the_exchange_a_rank_needs_less_than_a_process_alone() {
        const TRAINED: u64 = 1200;
        let (alone, shared) = (memory(TRAINED, 1, 4000), memory(TRAINED, 4, 4000));
        assert!(shared.exchange < shared.activations);
        let less = (4 * TRAINED * 3 / 4) as f64 * (1.0 + FRAGMENTS);
        let found = (alone.peak - shared.peak) as f64;
        // The share that fragments take is cut to whole bytes.
        assert!((found - less).abs() <= 1.0, "{found}, {less}");
        assert_eq!(alone.gradients - shared.gradients, 4 * TRAINED * 3 / 4);
    }
}
