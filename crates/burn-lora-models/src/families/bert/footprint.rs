//! The encoder's count; see `layer.rs` for what is counted. Its norms, softmax and GELU are Burn's,
//! composed of single operations, so that what they keep is what those keep.

use super::config::BertKeys;
use crate::dropout::{Dropout, Dropouts};
use crate::footprint::{BatchShape, CostModel, Footprint, Learned, LearnedAt, Pass, floats};

/// How often a training step passes over what its layers keep, beside its products: norms, softmax, GELU
/// and their backward passes are made of many operations each. Measured on all-MiniLM-L6-v2.
const PASSES: f64 = 30.0;

/// The cost of an encoder.
pub(super) struct EncoderCost<'a> {
    pub(super) keys: &'a BertKeys,
    pub(super) dropouts: Dropouts,
}

impl CostModel for EncoderCost<'_> {
    fn footprint(&self, batch: &BatchShape, learned: &LearnedAt<'_>) -> Footprint {
        let keys = self.keys;
        let (d, inner) = (keys.hidden_size, keys.intermediate_size);
        let (rows, width) = (batch.rows, batch.width);
        let tokens = batch.tokens();
        let attended = rows * keys.num_attention_heads * width * width;
        let root = keys.root();
        let words = learned(&format!("{root}.embeddings.word_embeddings"));
        // What was centred; and what was divided, where the scale is learned.
        let norm = tokens * d * if words == Learned::Whole { 2 } else { 1 };
        let mut pass = Pass::new(learned);
        pass.tracked = words.any() || learned(&format!("{root}.embeddings.LayerNorm")).any();
        pass.keep(tokens * words.kept_of_ids());
        pass.keep(norm);
        // Where something is dropped, its mask.
        let mask = |dropout: Dropout, values: usize| if dropout.is_on() { values } else { 0 };
        let dropped = mask(self.dropouts.residual(), tokens * d);
        pass.keep(mask(self.dropouts.embeddings(), tokens * d));

        for layer in 0..keys.num_hidden_layers {
            let before = pass.kept;
            let at = |name: &str| format!("{root}.encoder.layer.{layer}.{name}");
            let projections = ["query", "key", "value"].map(|n| at(&format!("attention.self.{n}")));
            pass.linears(&projections, tokens, d);
            // Queries, keys, values; exponentials and probabilities.
            pass.keep(3 * tokens * d + 2 * attended);
            pass.keep(mask(self.dropouts.attention(), attended));
            pass.linears(&[at("attention.output.dense")], tokens, d);
            pass.keep(dropped + norm);
            pass.linears(&[at("intermediate.dense")], tokens, d);
            pass.keep(tokens * inner);
            pass.linears(&[at("output.dense")], tokens, inner);
            pass.keep(dropped + norm);
            pass.block_ends(before);
        }

        // Backward of the wide product: the stream's gradient, that of GELU's output and input; of the
        // attention: the gradients through the division and the exponential.
        let wide = tokens * (2 * d + 2 * inner);
        let mixed = tokens * 4 * d + 4 * attended;
        let passing = if pass.tracked { wide.max(mixed) } else { 0 };
        let forward = tokens * 2 * d + (2 * tokens * inner).max(3 * tokens * d + 3 * attended);
        Footprint {
            kept: floats(pass.kept),
            logits: floats(
                rows * (4 * d + 4 * keys.labels.len()) + mask(self.dropouts.head(), 2 * rows * d),
            ),
            passing: floats(passing),
            evaluation: floats(forward),
            blocks: pass.blocks(tokens * d),
        }
    }

    /// Two products forward and four backward.
    fn attention_flops(&self, batch: &BatchShape) -> f64 {
        let scores = batch.rows * batch.width * batch.width;
        12.0 * scores as f64 * self.attention_width() as f64
    }

    fn attention_forward_flops(&self, batch: &BatchShape) -> f64 {
        self.attention_flops(batch) * 2.0 / 6.0
    }

    fn attention_width(&self) -> usize {
        self.keys.hidden_size * self.keys.num_hidden_layers
    }

    fn passes(&self) -> f64 {
        PASSES
    }

    fn head(&self) -> (usize, usize) {
        (self.keys.hidden_size, self.keys.labels.len())
    }

    fn is_of_head(&self, path: &str) -> bool {
        path == "classifier" || path.starts_with("classifier.") || path == "bert.pooler.dense"
    }

    fn generating(&self, _: usize, _: usize, _: usize) -> u64 {
        0
    }
}
