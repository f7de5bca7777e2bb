//! The batches of a cell: seeded random tokens, or what a file holds.
//!
//! The file is what the peers' scripts read as well, so that all do the same steps.

use std::path::Path;

use burn_lora_data::{LabelBatch, TokenBatch};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::record::Cell;

/// Steps to take, as `batches.json` holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// AdamW's.
    pub learning_rate: f64,
    /// AdamW's.
    pub weight_decay: f64,
    /// The largest global norm of the gradients.
    pub clip: f64,
    /// How many of the steps are not timed.
    pub warmup_steps: usize,
    /// A batch a step.
    pub batches: Vec<Rows>,
}

/// Token rows of one batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// Token ids, padded with 0 to one length.
    pub ids: Vec<Vec<u32>>,
    /// Ids of each row that are no padding.
    pub lengths: Vec<usize>,
    /// The first token of each row that carries loss.
    pub targets_from: Vec<usize>,
}

impl Workload {
    /// `steps` batches of random tokens of the cell's sizes; the first `masked` tokens of each row
    /// carry no loss (the very first token never does: nothing predicts it).
    pub fn random(cell: &Cell, vocabulary: usize, masked: usize, steps: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let batches = (0..steps)
            .map(|_| Rows {
                ids: (0..cell.batch)
                    .map(|_| {
                        let id = |_| rng.random_range(0..vocabulary.max(1) as u32);
                        (0..cell.length).map(id).collect()
                    })
                    .collect(),
                lengths: vec![cell.length; cell.batch],
                targets_from: vec![masked.max(1); cell.batch],
            })
            .collect();
        let warmup_steps = 1;
        Self { learning_rate: 2e-4, weight_decay: 0.01, clip: 1.0, warmup_steps, batches }
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = burn_lora_files::read_text(path).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Rows {
    /// As the trainer's batch for language modelling.
    pub fn tokens(&self) -> TokenBatch {
        let width = self.width();
        let mut targets = Vec::new();
        for (row, ids) in self.ids.iter().enumerate() {
            let from = self.targets_from[row].max(1);
            let carried = (from..self.lengths[row]).map(|at| (row * width + at - 1, ids[at]));
            targets.extend(carried);
        }
        TokenBatch {
            ids: self.ids.concat(),
            lengths: self.lengths.clone(),
            rows: self.ids.len(),
            width,
            targets,
            segments: self.lengths.iter().map(|&length| vec![length]).collect(),
        }
    }

    /// As the trainer's batch for classification, the classes in turn.
    pub fn labels(&self, classes: usize) -> LabelBatch {
        LabelBatch {
            ids: self.ids.concat(),
            lengths: self.lengths.clone(),
            rows: self.ids.len(),
            width: self.width(),
            labels: (0..self.ids.len()).map(|row| row % classes.max(1)).collect(),
        }
    }

    fn width(&self) -> usize {
        self.ids.first().map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use burn_lora_models::Recompute;
    use burn_lora_models::weights::WeightDtype;

    use super::*;
    use crate::bench::record::Method;

    #[test]
    fn targets_are_predicted_from_the_token_before() {
        let rows = Rows {
            ids: vec![vec![5, 6, 7, 8], vec![1, 2, 3, 0]],
            lengths: vec![4, 3],
            targets_from: vec![0, 2],
        };
        let batch = rows.tokens();
        assert_eq!(batch.targets, [(0, 6), (1, 7), (2, 8), (5, 3)]);
        assert_eq!((batch.rows, batch.width, batch.tokens()), (2, 4, 7));
        assert_eq!(rows.labels(2).labels, [0, 1]);
    }

    #[test]
    fn one_seed_gives_one_workload() {
        let cell = Cell {
            model: String::new(),
            backend: String::new(),
            dtype: WeightDtype::F32,
            recompute: Recompute::None,
            batch: 2,
            length: 3,
            method: Method::Full,
            rank: None,
        };
        let workload = |seed| Workload::random(&cell, 10, 0, 2, seed);
        assert_eq!(workload(1), workload(1));
        assert_ne!(workload(1), workload(2));
        assert!(workload(1).batches.iter().flat_map(|b| b.ids.concat()).all(|id| id < 10));
    }
}
