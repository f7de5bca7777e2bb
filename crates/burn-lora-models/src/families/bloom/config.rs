//! The configuration of a BLOOM, and the cost of its training step.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::gguf;
use crate::activation::Activation;
use crate::config::{Basics, Checked, ConfigKeys, Problems, Stated, settings};
use crate::dropout::Dropouts;
use crate::footprint::{CostModel, DecoderCost, DecoderNames, HalfNorms, Norms};
use crate::gguf::GgufFamily;
use crate::weights::{Blocks, CheckpointKeys};

/// What a BLOOM's `config.json` means, checked.
pub type BloomConfig = Checked<BloomKeys>;

/// `config.json`; what it leaves out is as transformers has it. The published models' files say
/// `n_embed` and `num_attention_heads`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BloomKeys {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// How many blocks.
    pub n_layer: usize,
    /// How many heads; divides `hidden_size`.
    pub n_head: usize,
    /// Added under the root of each norm.
    pub layer_norm_epsilon: f64,
    /// Whether the head is the token table.
    pub tie_word_embeddings: bool,
    /// Standard deviation of a random start.
    pub initializer_range: f64,
    attention_dropout: f64,
    hidden_dropout: f64,
    apply_residual_connection_post_layernorm: bool,
}

impl Default for BloomKeys {
    fn default() -> Self {
        Self {
            vocab_size: 250_880,
            hidden_size: 64,
            n_layer: 2,
            n_head: 8,
            layer_norm_epsilon: 1e-5,
            tie_word_embeddings: true,
            initializer_range: 0.02,
            attention_dropout: 0.0,
            hidden_dropout: 0.0,
            apply_residual_connection_post_layernorm: false,
        }
    }
}

const NAMES: DecoderNames = DecoderNames {
    tables: &["transformer.word_embeddings"],
    embedding_norm: Some("transformer.word_embeddings_layernorm"),
    blocks: "transformer.h",
    norms: [HalfNorms::before("input_layernorm"), HalfNorms::before("post_attention_layernorm")],
    attention: &["self_attention.query_key_value"],
    attention_out: "self_attention.dense",
    activation: &["mlp.dense_h_to_4h"],
    activation_out: "mlp.dense_4h_to_h",
    last_norm: "transformer.ln_f",
};

impl ConfigKeys for BloomKeys {
    const MODEL_TYPES: &'static [&'static str] = &["bloom"];
    const GGUF: &'static [GgufFamily] = &[gguf::BLOOM];
    const ALSO: &'static [(&'static str, &'static str)] = &[
        ("n_embed", "hidden_size"),
        ("num_hidden_layers", "n_layer"),
        ("num_attention_heads", "n_head"),
    ];

    fn check(&mut self, _: &'static str, problems: &mut Problems) {
        problems.blocks("n_layer", self.n_layer);
        problems.sizes([
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("n_head", self.n_head),
        ]);
        problems.shared_out(("hidden_size", self.hidden_size), ("n_head", self.n_head), "");
        problems.positive("layer_norm_epsilon", self.layer_norm_epsilon);
        problems.not_negative("initializer_range", self.initializer_range);
        problems.probabilities([
            ("attention_dropout", Some(self.attention_dropout)),
            ("hidden_dropout", Some(self.hidden_dropout)),
        ]);
        if self.apply_residual_connection_post_layernorm {
            problems
                .add("`apply_residual_connection_post_layernorm` is true: only false is supported");
        }
    }

    fn settings(&self) -> Map<String, Value> {
        settings(self)
    }

    fn stated(&self) -> Stated<'_> {
        let heads = (self.n_head, self.hidden_size);
        let epsilon = self.layer_norm_epsilon;
        Stated::of_layer_norms(heads, epsilon, Activation::GeluTanh, &["alibi"])
    }

    fn does(&self, key: &str, _: &Value) -> Option<bool> {
        // What the training's own code had its positions from.
        (key == "offset_alibi").then_some(true)
    }

    fn basics(&self) -> Basics {
        Basics {
            vocab_size: self.vocab_size,
            context: None,
            initializer_range: self.initializer_range,
            dropouts: Dropouts::new(0.0, self.attention_dropout, self.hidden_dropout, 0.0),
            checkpoint_keys: CheckpointKeys {
                prefix: "transformer.",
                blocks: Blocks { path: "h", key: "n_layer", count: self.n_layer },
                fresh: &[],
                tolerated: |_| false,
                tied: self.tie_word_embeddings,
                renamed: &[],
                parts: &[],
            },
        }
    }

    fn cost(&self, dropouts: Dropouts) -> Box<dyn CostModel + '_> {
        Box::new(DecoderCost {
            d: self.hidden_size,
            inner: 4 * self.hidden_size,
            n_layers: self.n_layer,
            n_heads: self.n_head,
            n_kv_heads: self.n_head,
            head_dim: self.hidden_size / self.n_head,
            activation: Activation::GeluTanh.cost(),
            head_norms: false,
            norms: Norms::Composed,
            vocabulary: self.vocab_size,
            context: None,
            tied: self.tie_word_embeddings,
            capped: false,
            dropouts,
            names: NAMES,
        })
    }
}
