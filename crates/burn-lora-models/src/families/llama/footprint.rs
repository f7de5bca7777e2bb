//! The decoder's count; see `layer.rs`, `attention.rs` and `fused.rs` for what is counted.

use super::LlamaConfig;
use crate::footprint::{
    BatchShape, Counted, Footprint, HeadCount, Learned, LearnedAt, Pass, floats,
};

/// How often a training step passes over what its layers keep, beside its products: norms, gates, sums
/// and their backward passes, each a kernel that reads its input once. Measured on SmolLM2-135M.
const PASSES: f64 = 6.0;

impl Counted for LlamaConfig {
    fn footprint(&self, batch: &BatchShape, learned: &LearnedAt<'_>) -> Footprint {
        let (d, inner) = (self.hidden_size, self.intermediate_size);
        let q = self.num_attention_heads * self.head_dim;
        let kv = self.num_key_value_heads * self.head_dim;
        let tokens = batch.tokens();
        let (rows, width) = batch.attended();
        let attended = rows * width;
        let mut pass = Pass::new(learned);
        pass.tracked = learned("model.embed_tokens") == Learned::Whole;
        // Where probabilities are dropped, attention is composed: exponentials, mask, what is left.
        let composed = match self.dropouts.attention().is_on() {
            true => 3 * self.num_attention_heads * attended * width,
            false => 0,
        };

        for layer in 0..self.num_hidden_layers {
            let at = |name: &str| format!("model.layers.{layer}.{name}");
            let attention = ["q_proj", "k_proj", "v_proj"].map(|n| at(&format!("self_attn.{n}")));
            pass.tracked |= learned(&at("input_layernorm")) == Learned::Whole;
            pass.keep(tokens * d);
            pass.linears(&attention, tokens, d);
            if self.qk_norm {
                pass.keep(tokens * (q + kv));
            }
            pass.keep(attended * (q + 2 * kv) + composed);
            pass.linears(&[at("self_attn.o_proj")], tokens, q);
            pass.tracked |= learned(&at("post_attention_layernorm")) == Learned::Whole;
            pass.keep(tokens * d);
            pass.linears(&[at("mlp.gate_proj"), at("mlp.up_proj")], tokens, d);
            pass.keep(2 * tokens * inner);
            pass.linears(&[at("mlp.down_proj")], tokens, inner);
        }
        pass.tracked |= learned("model.norm") == Learned::Whole;
        pass.keep(tokens * d);

        // Backward of the gated unit: the gradients of the stream, of what was gated, of gate and up,
        // and that of their input; of packed attention, those of the rows taken out.
        let gated = tokens * (2 * d + 3 * inner);
        let mixed = tokens * (2 * d + q) + attended * 2 * (q + 2 * kv) + composed;
        let passing = if pass.tracked { gated.max(mixed) } else { 0 };
        let forward = tokens * (2 * d) + (tokens * 3 * inner).max(attended * 2 * (q + 2 * kv));

        Footprint {
            kept: floats(pass.kept),
            scores: floats(self.output().training(batch, learned)),
            passing: floats(passing),
            evaluation: floats(forward.max(self.output().evaluating(batch))),
        }
    }

    /// Two products forward and five backward (the scores are computed again), of which causality leaves
    /// half.
    fn attention_flops(&self, batch: &BatchShape) -> f64 {
        let (rows, width) = batch.attended();
        7.0 * (rows * width * width) as f64 * self.attention_width() as f64
    }

    fn attention_width(&self) -> usize {
        self.num_attention_heads * self.head_dim * self.num_hidden_layers
    }

    fn passes(&self) -> f64 {
        PASSES
    }

    fn head(&self) -> (usize, usize) {
        (self.hidden_size, self.vocab_size)
    }

    fn is_of_head(&self, path: &str) -> bool {
        path == "lm_head"
    }

    /// The cache of keys and values (the one of a layer twice, while it grows), the scores of the last
    /// tokens, one pass of the prompts.
    fn generating(&self, rows: usize, prompt: usize, new: usize) -> u64 {
        let kv = 2 * self.num_key_value_heads * self.head_dim;
        let columns = rows * prompt.saturating_add(new).min(self.max_position_embeddings);
        let cache = columns * kv * (self.num_hidden_layers + 1);
        // Read back from the device and sorted by the sampler.
        let scores = 3 * rows * self.vocab_size;
        let tokens = rows * prompt;
        let attended = self.num_attention_heads * rows * prompt * prompt;
        let pass = tokens * (2 * self.hidden_size + 3 * self.intermediate_size) + 2 * attended;
        floats(cache + scores + pass)
    }
}

impl LlamaConfig {
    fn output(&self) -> HeadCount {
        HeadCount {
            d: self.hidden_size,
            vocabulary: self.vocab_size,
            tied: self.tie_word_embeddings,
        }
    }
}
