//! The configuration of a BLOOM, and the count of its training step.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;

use super::gguf;
use crate::config::{Problems, model_type, parse};
use crate::dropout::Dropouts;
use crate::footprint::{Counted, PlainDecoder};
use crate::gguf::GgufFamily;
use crate::weights::CheckpointKeys;
use crate::{Description, ModelConfig, ModelError};

/// What a BLOOM's `config.json` means, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BloomConfig {
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
    /// Where it drops in training.
    pub dropouts: Dropouts,
    counted: PlainDecoder,
    /// The JSON that it was parsed from; written back by `save`.
    text: String,
}

/// `config.json`; what it leaves out is as transformers has it. The published models' files say
/// `n_embed` and `num_attention_heads`.
#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    vocab_size: usize,
    #[serde(alias = "n_embed")]
    hidden_size: usize,
    #[serde(alias = "num_hidden_layers")]
    n_layer: usize,
    #[serde(alias = "num_attention_heads")]
    n_head: usize,
    layer_norm_epsilon: f64,
    tie_word_embeddings: bool,
    initializer_range: f64,
    attention_dropout: f64,
    hidden_dropout: f64,
    apply_residual_connection_post_layernorm: bool,
}

impl Default for Raw {
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

impl Raw {
    fn counted(&self) -> PlainDecoder {
        PlainDecoder {
            d: self.hidden_size,
            inner: 4 * self.hidden_size,
            layers: self.n_layer,
            heads: self.n_head,
            vocabulary: self.vocab_size,
            context: None,
            tied: self.tie_word_embeddings,
            dropouts: self.dropouts(),
            tables: &["transformer.word_embeddings"],
            embedding_norm: Some("transformer.word_embeddings_layernorm"),
            blocks: "transformer.h",
            norms: ["input_layernorm", "post_attention_layernorm"],
            linears: [
                "self_attention.query_key_value",
                "self_attention.dense",
                "mlp.dense_h_to_4h",
                "mlp.dense_4h_to_h",
            ],
            last_norm: "transformer.ln_f",
        }
    }

    fn dropouts(&self) -> Dropouts {
        Dropouts::new(0.0, self.attention_dropout, self.hidden_dropout, 0.0)
    }

    fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.at_least_one([
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("n_layer", self.n_layer),
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
        problems
    }
}

impl ModelConfig for BloomConfig {
    const GGUF: &'static [GgufFamily] = &[gguf::BLOOM];

    fn from_json(text: &str, path: &Path) -> Result<Self, ModelError> {
        model_type(text, path, &["bloom"])?;
        let raw: Raw = parse(text, path)?;
        raw.problems().none(path)?;
        Ok(Self {
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            n_layer: raw.n_layer,
            n_head: raw.n_head,
            layer_norm_epsilon: raw.layer_norm_epsilon,
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

impl Description for BloomConfig {
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
        None
    }

    fn initializer_range(&self) -> f64 {
        self.initializer_range
    }

    fn checkpoint_keys(&self) -> CheckpointKeys {
        CheckpointKeys {
            prefix: "transformer.",
            fresh: &[],
            tolerated: match self.tie_word_embeddings {
                true => |key| key == "lm_head.weight",
                false => |_| false,
            },
        }
    }
}
