//! The configuration of a GPT-2, and the cost of its training step.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::gguf;
use crate::activation::Activation;
use crate::config::{Basics, Checked, ConfigKeys, Problems, Stated, settings};
use crate::dropout::Dropouts;
use crate::footprint::{CostModel, DecoderCost, DecoderNames, HalfNorms, Norms};
use crate::gguf::GgufFamily;
use crate::weights::{Blocks, CheckpointKeys};

/// What a GPT-2's `config.json` means, checked.
pub type Gpt2Config = Checked<Gpt2Keys>;

/// `config.json`; what it leaves out is as transformers has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Gpt2Keys {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    n_inner: Option<usize>,
    /// How many blocks.
    pub n_layer: usize,
    /// How many heads; divides `n_embd`.
    pub n_head: usize,
    /// Rows of the position table.
    pub n_positions: usize,
    /// Added under the root of each norm.
    pub layer_norm_epsilon: f64,
    activation_function: String,
    /// What `activation_function` names: between the two products of a block.
    #[serde(skip)]
    pub activation: Activation,
    /// Whether the head is the token table.
    pub tie_word_embeddings: bool,
    /// Standard deviation of a random start.
    pub initializer_range: f64,
    embd_pdrop: f64,
    attn_pdrop: f64,
    resid_pdrop: f64,
    scale_attn_weights: bool,
    scale_attn_by_inverse_layer_idx: bool,
    add_cross_attention: bool,
}

impl Default for Gpt2Keys {
    fn default() -> Self {
        Self {
            vocab_size: 50_257,
            n_embd: 768,
            n_inner: None,
            n_layer: 12,
            n_head: 12,
            n_positions: 1024,
            layer_norm_epsilon: 1e-5,
            activation_function: "gelu_new".into(),
            activation: Activation::GeluTanh,
            tie_word_embeddings: true,
            initializer_range: 0.02,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            resid_pdrop: 0.1,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            add_cross_attention: false,
        }
    }
}

const NAMES: DecoderNames = DecoderNames {
    tables: &["transformer.wte", "transformer.wpe"],
    embedding_norm: None,
    blocks: "transformer.h",
    norms: [HalfNorms::before("ln_1"), HalfNorms::before("ln_2")],
    attention: &["attn.c_attn"],
    attention_out: "attn.c_proj",
    activation: &["mlp.c_fc"],
    activation_out: "mlp.c_proj",
    last_norm: "transformer.ln_f",
};

impl Gpt2Keys {
    /// Width between the two products of a block.
    pub fn inner(&self) -> usize {
        self.n_inner.unwrap_or(self.n_embd.saturating_mul(4))
    }
}

impl ConfigKeys for Gpt2Keys {
    const MODEL_TYPES: &'static [&'static str] = &["gpt2"];
    const GGUF: &'static [GgufFamily] = &[gguf::GPT2];
    const ALSO: &'static [(&'static str, &'static str)] = &[
        ("hidden_size", "n_embd"),
        ("num_hidden_layers", "n_layer"),
        ("num_attention_heads", "n_head"),
        ("max_position_embeddings", "n_positions"),
    ];

    fn check(&mut self, _: &'static str, problems: &mut Problems) {
        problems.blocks("n_layer", self.n_layer);
        problems.sizes([
            ("vocab_size", self.vocab_size),
            ("n_embd", self.n_embd),
            ("n_inner", self.inner()),
            ("n_head", self.n_head),
            ("n_positions", self.n_positions),
        ]);
        problems.shared_out(("n_embd", self.n_embd), ("n_head", self.n_head), "");
        problems.positive("layer_norm_epsilon", self.layer_norm_epsilon);
        problems.not_negative("initializer_range", self.initializer_range);
        problems.probabilities([
            ("embd_pdrop", Some(self.embd_pdrop)),
            ("attn_pdrop", Some(self.attn_pdrop)),
            ("resid_pdrop", Some(self.resid_pdrop)),
        ]);
        for (key, refused, value) in [
            ("scale_attn_weights", !self.scale_attn_weights, false),
            ("scale_attn_by_inverse_layer_idx", self.scale_attn_by_inverse_layer_idx, true),
            ("add_cross_attention", self.add_cross_attention, true),
        ] {
            if refused {
                problems.add(format!("`{key}` is {value}: only {} is supported", !value));
            }
        }
        self.n_inner = Some(self.inner());
        self.activation =
            problems.take(Activation::parse("activation_function", &self.activation_function));
    }

    fn settings(&self) -> Map<String, Value> {
        settings(self)
    }

    fn stated(&self) -> Stated<'_> {
        let heads = (self.n_head, self.n_embd);
        Stated::of_layer_norms(heads, self.layer_norm_epsilon, self.activation, Stated::LEARNED)
    }

    fn basics(&self) -> Basics {
        Basics {
            vocab_size: self.vocab_size,
            context: Some(self.n_positions),
            initializer_range: self.initializer_range,
            dropouts: Dropouts::new(self.embd_pdrop, self.attn_pdrop, self.resid_pdrop, 0.0),
            checkpoint_keys: CheckpointKeys {
                prefix: "transformer.",
                blocks: Blocks { path: "h", key: "n_layer", count: self.n_layer },
                fresh: &[],
                // The first checkpoints have the causal mask of each layer, and the number masked with.
                tolerated: |key| key.ends_with(".attn.bias") || key.ends_with(".attn.masked_bias"),
                tied: self.tie_word_embeddings,
                renamed: &[],
                parts: &[],
            },
        }
    }

    fn cost(&self, dropouts: Dropouts) -> Box<dyn CostModel + '_> {
        Box::new(DecoderCost {
            d: self.n_embd,
            inner: self.inner(),
            n_layers: self.n_layer,
            n_heads: self.n_head,
            n_kv_heads: self.n_head,
            head_dim: self.n_embd / self.n_head,
            activation: self.activation.cost(),
            head_norms: false,
            norms: Norms::Composed,
            vocabulary: self.vocab_size,
            context: Some(self.n_positions),
            tied: self.tie_word_embeddings,
            capped: false,
            dropouts,
            names: NAMES,
        })
    }

    fn is_conv1d(&self, path: &str) -> bool {
        path != "lm_head"
    }
}
