//! The configuration of a GPT-NeoX, and the cost of its training step.

use serde::Deserialize;
use serde_json::Value;

use crate::activation::Activation;
use crate::config::{Basics, Checked, ConfigKeys, Problems, Rotary, Stated};
use crate::decoder::rope::{RopeConfig, turned};
use crate::dropout::Dropouts;
use crate::footprint::{CostModel, DecoderCost, DecoderNames, HalfNorms, Norms};
use crate::weights::{Blocks, CheckpointKeys};

/// What a GPT-NeoX's `config.json` means, checked.
pub type GptNeoXConfig = Checked<GptNeoXKeys>;

/// `config.json`; what it leaves out is as transformers has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GptNeoXKeys {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the two products of a block.
    pub intermediate_size: usize,
    /// How many blocks.
    pub num_hidden_layers: usize,
    /// How many heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added under the root of each norm.
    pub layer_norm_eps: f64,
    /// Whether both halves of a block read what comes into it.
    pub use_parallel_residual: bool,
    /// Whether the head is the token table.
    pub tie_word_embeddings: bool,
    /// Whether the linears of attention have biases.
    pub attention_bias: bool,
    /// Standard deviation of a random start.
    pub initializer_range: f64,
    hidden_act: String,
    /// What `hidden_act` names: between the two products of a block.
    #[serde(skip)]
    pub activation: Activation,
    rotary_pct: f64,
    rotary_emb_base: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    /// The rotary positions, by whichever of the keys says them.
    #[serde(skip)]
    pub rope: RopeConfig,
    /// How many numbers of a head turn, from the first.
    #[serde(skip)]
    pub turned: usize,
    attention_dropout: f64,
    hidden_dropout: f64,
}

impl Default for GptNeoXKeys {
    fn default() -> Self {
        Self {
            vocab_size: 50_432,
            hidden_size: 6144,
            intermediate_size: 24_576,
            num_hidden_layers: 44,
            num_attention_heads: 64,
            max_position_embeddings: 2048,
            layer_norm_eps: 1e-5,
            use_parallel_residual: true,
            tie_word_embeddings: false,
            attention_bias: true,
            initializer_range: 0.02,
            hidden_act: "gelu".into(),
            activation: Activation::Gelu,
            rotary_pct: 0.25,
            rotary_emb_base: 10_000.0,
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
            rope: RopeConfig::default(),
            turned: 0,
            attention_dropout: 0.0,
            hidden_dropout: 0.0,
        }
    }
}

const NAMES: DecoderNames = DecoderNames {
    tables: &["gpt_neox.embed_in"],
    embedding_norm: None,
    blocks: "gpt_neox.layers",
    norms: [HalfNorms::before("input_layernorm"), HalfNorms::before("post_attention_layernorm")],
    attention: &["attention.query_key_value"],
    attention_out: "attention.dense",
    activation: &["mlp.dense_h_to_4h"],
    activation_out: "mlp.dense_4h_to_h",
    last_norm: "gpt_neox.final_layer_norm",
};

impl ConfigKeys for GptNeoXKeys {
    const MODEL_TYPES: &'static [&'static str] = &["gpt_neox"];
    const ROTARY: &'static [&'static str] =
        &["rotary_pct", "rotary_emb_base", "rope_theta", "rope_scaling", "rope_parameters"];

    fn check(&mut self, _: &'static str, problems: &mut Problems) {
        let heads = ("num_attention_heads", self.num_attention_heads);
        problems.blocks("num_hidden_layers", self.num_hidden_layers);
        problems.sizes([
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            heads,
        ]);
        problems.at_least_one([("max_position_embeddings", self.max_position_embeddings)]);
        problems.shared_out(("hidden_size", self.hidden_size), heads, "");
        problems.positive("layer_norm_eps", self.layer_norm_eps);
        problems.not_negative("initializer_range", self.initializer_range);
        problems.probabilities([
            ("attention_dropout", Some(self.attention_dropout)),
            ("hidden_dropout", Some(self.hidden_dropout)),
        ]);
        self.activation = problems.take(Activation::parse("hidden_act", &self.hidden_act));
        self.check_positions(problems);
    }

    fn stated(&self) -> Stated<'_> {
        let heads = (self.num_attention_heads, self.hidden_size);
        let (epsilon, activation) = (self.layer_norm_eps, self.activation);
        let rotary = Rotary { theta: self.rope.theta, turned: self.turned };
        let plain = Stated::of_layer_norms(heads, epsilon, activation, Rotary::NAMES);
        Stated { rotary: Some(rotary), ..plain }
    }

    fn basics(&self) -> Basics {
        let (attention, hidden) = (self.attention_dropout, self.hidden_dropout);
        Basics {
            vocab_size: self.vocab_size,
            context: Some(self.max_position_embeddings),
            initializer_range: self.initializer_range,
            dropouts: Dropouts::new(hidden, attention, hidden, 0.0),
            checkpoint_keys: CheckpointKeys {
                prefix: "gpt_neox.",
                blocks: Blocks {
                    path: "layers",
                    key: "num_hidden_layers",
                    count: self.num_hidden_layers,
                },
                fresh: &[],
                // The first checkpoints have the causal mask of each layer, the number masked with, and frequencies.
                tolerated: |key| {
                    key.ends_with(".attention.bias")
                        || key.ends_with(".attention.masked_bias")
                        || key.ends_with("rotary_emb.inv_freq")
                },
                tied: self.tie_word_embeddings,
                renamed: &[("lm_head.weight", "embed_out.weight")],
                parts: &[],
            },
        }
    }

    fn cost(&self, dropouts: Dropouts) -> Box<dyn CostModel + '_> {
        Box::new(DecoderCost {
            d: self.hidden_size,
            inner: self.intermediate_size,
            n_layers: self.num_hidden_layers,
            n_heads: self.num_attention_heads,
            n_kv_heads: self.num_attention_heads,
            head_dim: self.hidden_size / self.num_attention_heads,
            activation: self.activation.cost(),
            head_norms: false,
            norms: Norms::Composed,
            vocabulary: self.vocab_size,
            context: Some(self.max_position_embeddings),
            tied: self.tie_word_embeddings,
            capped: false,
            dropouts,
            names: NAMES,
        })
    }
}

impl GptNeoXKeys {
    fn check_positions(&mut self, problems: &mut Problems) {
        problems.positive("rotary_emb_base", self.rotary_emb_base);
        problems.positive("rotary_pct", self.rotary_pct);
        let (rope, share) = problems.take(RopeConfig::with_share(
            Some(self.rotary_emb_base),
            self.rope_scaling.as_ref(),
            self.rope_parameters.as_ref(),
        ));
        if let Some(theta) = self.rope_theta.filter(|&theta| theta != rope.theta) {
            problems.add(format!(
                "`rope_theta` is {theta}, and `rotary_emb_base` or `rope_parameters` says {}: keep one",
                rope.theta
            ));
        }
        self.rope = rope;
        let head_dim = self.hidden_size / self.num_attention_heads.max(1);
        self.turned = problems.take(turned(head_dim, share.unwrap_or(self.rotary_pct)));
    }
}
