//! The configuration of a GPT-2, and the count of its training step.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;

use super::gguf;
use crate::activation::Activation;
use crate::config::{Problems, model_type, parse};
use crate::dropout::Dropouts;
use crate::footprint::{Counted, PlainDecoder};
use crate::gguf::GgufFamily;
use crate::weights::CheckpointKeys;
use crate::{Description, ModelConfig, ModelError};

/// What a GPT-2's `config.json` means, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Gpt2Config {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Width between the two products of a block.
    pub n_inner: usize,
    /// How many blocks.
    pub n_layer: usize,
    /// How many heads; divides `n_embd`.
    pub n_head: usize,
    /// Rows of the position table.
    pub n_positions: usize,
    /// Added under the root of each norm.
    pub layer_norm_epsilon: f64,
    /// Between the two products of a block.
    pub activation: Activation,
    /// Whether the head is the token table.
    pub tie_word_embeddings: bool,
    /// Standard deviation of a random start.
    pub initializer_range: f64,
    /// Where it drops in training.
    pub dropouts: Dropouts,
    counted: PlainDecoder,
    /// The JSON that it was parsed from; written back by `save`.
    text: String,
}

/// `config.json`; what it leaves out is as transformers has it.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    vocab_size: usize,
    n_embd: usize,
    n_inner: Option<usize>,
    n_layer: usize,
    n_head: usize,
    n_positions: usize,
    layer_norm_epsilon: f64,
    activation_function: String,
    tie_word_embeddings: bool,
    initializer_range: f64,
    embd_pdrop: f64,
    attn_pdrop: f64,
    resid_pdrop: f64,
    scale_attn_weights: bool,
    scale_attn_by_inverse_layer_idx: bool,
    add_cross_attention: bool,
}

impl Default for Raw {
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

impl Raw {
    fn counted(&self) -> PlainDecoder {
        PlainDecoder {
            d: self.n_embd,
            inner: self.inner(),
            layers: self.n_layer,
            heads: self.n_head,
            vocabulary: self.vocab_size,
            context: Some(self.n_positions),
            tied: self.tie_word_embeddings,
            dropouts: self.dropouts(),
            tables: &["transformer.wte", "transformer.wpe"],
            embedding_norm: None,
            blocks: "transformer.h",
            norms: ["ln_1", "ln_2"],
            linears: ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
            last_norm: "transformer.ln_f",
        }
    }

    fn dropouts(&self) -> Dropouts {
        Dropouts::new(self.embd_pdrop, self.attn_pdrop, self.resid_pdrop, 0.0)
    }

    fn inner(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.at_least_one([
            ("vocab_size", self.vocab_size),
            ("n_embd", self.n_embd),
            ("n_inner", self.inner()),
            ("n_layer", self.n_layer),
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
        problems
    }
}

impl ModelConfig for Gpt2Config {
    const GGUF: &'static [GgufFamily] = &[gguf::GPT2];

    fn from_json(text: &str, path: &Path) -> Result<Self, ModelError> {
        model_type(text, path, &["gpt2"])?;
        let raw: Raw = parse(text, path)?;
        let mut problems = raw.problems();
        let activation =
            problems.take(Activation::parse("activation_function", &raw.activation_function));
        problems.none(path)?;
        Ok(Self {
            vocab_size: raw.vocab_size,
            n_embd: raw.n_embd,
            n_inner: raw.inner(),
            n_layer: raw.n_layer,
            n_head: raw.n_head,
            n_positions: raw.n_positions,
            layer_norm_epsilon: raw.layer_norm_epsilon,
            activation: activation.unwrap_or(Activation::GeluTanh),
            tie_word_embeddings: raw.tie_word_embeddings,
            initializer_range: raw.initializer_range,
            dropouts: raw.dropouts(),
            counted: raw.counted(),
            text: text.to_owned(),
        })
    }

    fn with_dropout(mut self) -> Self {
        self.dropouts = self.dropouts.switched_on();
        self.counted.dropouts = self.dropouts;
        self
    }

    fn about(&self) -> &dyn Description {
        self
    }
}

impl Description for Gpt2Config {
    fn counted(&self) -> &dyn Counted {
        &self.counted
    }

    fn to_json(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.text)
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn context(&self) -> Option<usize> {
        Some(self.n_positions)
    }

    fn initializer_range(&self) -> f64 {
        self.initializer_range
    }

    fn checkpoint_keys(&self) -> CheckpointKeys {
        CheckpointKeys {
            prefix: "transformer.",
            fresh: &[],
            // The first checkpoints have the causal mask of each layer, and the number masked with.
            tolerated: match self.tie_word_embeddings {
                true => |key| is_mask(key) || key == "lm_head.weight",
                false => is_mask,
            },
        }
    }

    fn is_conv1d(&self, path: &str) -> bool {
        path != "lm_head"
    }
}

fn is_mask(key: &str) -> bool {
    key.ends_with(".attn.bias") || key.ends_with(".attn.masked_bias")
}
