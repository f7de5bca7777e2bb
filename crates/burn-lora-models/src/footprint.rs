//! What a training step of a model keeps in memory, counted from shapes alone.
//!
//! Each family's file follows that family's forward pass, operation by operation, and adds up what the
//! backward pass of each keeps: `footprint/llama.rs` mirrors `llama/`, `footprint/bert.rs` mirrors
//! `bert/`. Whoever changes what a layer computes changes its count there; a test compares the
//! prediction that is made of it with the measured peak of whole runs.
//!
//! Counted for f32 on the CPU backend Flex. Left out: weights, gradients and optimiser, which follow from
//! the parameters alone, and what an allocator loses to fragments.
//!
//! ```
//! use burn_lora_models::footprint::{BatchShape, Learned};
//! use burn_lora_models::llama::LlamaConfig;
//!
//! let text = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
//!     "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}"#;
//! let config = LlamaConfig::from_json(text, "config.json".as_ref())?;
//! let batch = BatchShape { rows: 2, width: 8, segments: None, targets: 10 };
//! let queries = |path: &str| match path.ends_with("q_proj") {
//!     true => Learned::Factors { rank: 4, dropout: false },
//!     false => Learned::Nothing,
//! };
//! assert!(config.footprint(&batch, &queries).kept > 0);
//! assert_eq!(config.footprint(&batch, &|_| Learned::Nothing).kept, 0);
//! # Ok::<(), burn_lora_models::ModelError>(())
//! ```

mod bert;
mod llama;

/// What is learned of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// Nothing: it is frozen.
    Nothing,
    /// Two factors beside a linear's weight.
    Factors {
        /// Columns of A and rows of B.
        rank: usize,
        /// Whether inputs of A are dropped, which keeps a mask of the input's size.
        dropout: bool,
    },
    /// All of it.
    Whole,
}

impl Learned {
    fn any(self) -> bool {
        self != Self::Nothing
    }
}

/// What is learned of the module at a path, such as `model.layers.0.self_attn.q_proj`.
pub type LearnedAt<'a> = dyn Fn(&str) -> Learned + 'a;

/// The size of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Rows.
    pub rows: usize,
    /// Tokens of each row, padding included.
    pub width: usize,
    /// Where rows hold several texts: how many texts there are in all, and the tokens of the longest.
    pub segments: Option<(usize, usize)>,
    /// Predictions that carry loss: tokens of a decoder, rows of a classifier.
    pub targets: usize,
}

impl BatchShape {
    /// Tokens, padding included.
    pub fn tokens(&self) -> usize {
        self.rows * self.width
    }

    /// Rows and tokens of each as attention sees them.
    fn attended(&self) -> (usize, usize) {
        self.segments.unwrap_or((self.rows, self.width))
    }
}

/// Bytes of one training step at its largest, beside weights, gradients and optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Kept from the forward to the backward pass by the layers.
    pub kept: u64,
    /// Of the scores over the classes, and what is made of them.
    pub scores: u64,
    /// What exists beside `kept` for a moment, at most: in the layers, not at the scores.
    pub passing: u64,
    /// Of an evaluation, which has no backward pass, at most.
    pub evaluation: u64,
}

impl Footprint {
    /// All of a training step together.
    pub fn step(&self) -> u64 {
        self.kept + self.scores.max(self.passing)
    }
}

/// Bytes of so many f32 values.
fn floats(count: usize) -> u64 {
    4 * count as u64
}

/// Counts along a forward pass: which values are tracked, and what is kept of them.
struct Pass<'a> {
    learned: &'a LearnedAt<'a>,
    /// Whether a gradient is wanted for the stream.
    tracked: bool,
    /// Values kept.
    kept: usize,
}

impl<'a> Pass<'a> {
    fn new(learned: &'a LearnedAt<'a>) -> Self {
        Self { learned, tracked: false, kept: 0 }
    }

    /// Keeps that many values if a gradient passes here.
    fn keep(&mut self, values: usize) {
        self.kept += if self.tracked { values } else { 0 };
    }

    /// Linears at `paths` that read one input of `rows` times `d_in`. It is kept once, however many of
    /// them learn; each keeps its low-rank product, and its mask if inputs are dropped.
    fn linears(&mut self, paths: &[String], rows: usize, d_in: usize) {
        let learned: Vec<Learned> = paths.iter().map(|path| (self.learned)(path)).collect();
        if learned.iter().any(|learned| learned.any()) {
            self.kept += rows * d_in;
            self.tracked = true;
        }
        for learned in learned {
            if let Learned::Factors { rank, dropout } = learned {
                self.kept += rows * rank + if dropout { rows * d_in } else { 0 };
            }
        }
    }
}
