//! The configuration of a Llama-family model.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::gguf;
use super::rope::RopeConfig;
use crate::config::{Problems, model_type, parse};
use crate::dropout::Dropouts;
use crate::footprint::Counted;
use crate::gguf::GgufFamily;
use crate::weights::CheckpointKeys;
use crate::{Description, ModelConfig, ModelError};

/// What a Llama-family `config.json` means, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LlamaConfig {
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated unit.
    pub intermediate_size: usize,
    /// How many blocks.
    pub num_hidden_layers: usize,
    /// Heads of the queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values; divides the queries'.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added under the root of each norm.
    pub rms_norm_eps: f64,
    /// Whether the head is the embedding's table.
    pub tie_word_embeddings: bool,
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// Bias on o.
    pub o_bias: bool,
    /// Biases in the gated unit.
    pub mlp_bias: bool,
    /// Norms on q and k, over each head.
    pub qk_norm: bool,
    /// The rotary positions.
    pub rope: RopeConfig,
    /// Standard deviation of a random start.
    pub initializer_range: f64,
    /// Where it drops in training.
    pub dropouts: Dropouts,
    /// The JSON that it was parsed from; written back by `save`.
    text: String,
}

/// Which of the family it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Llama and what has its layers and its `model_type`, SmolLM2 for one.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on q, k and v.
    Qwen2,
    /// Qwen3: norms on q and k.
    Qwen3,
}

#[derive(Deserialize)]
struct Raw {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    #[serde(default = "default_epsilon")]
    rms_norm_eps: f64,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "default_activation")]
    hidden_act: String,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    #[serde(default = "default_deviation")]
    initializer_range: f64,
    attention_dropout: Option<f64>,
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_activation() -> String {
    "silu".into()
}

fn default_deviation() -> f64 {
    0.02
}

impl ModelConfig for LlamaConfig {
    const GGUF: &'static [GgufFamily] = &[gguf::LLAMA, gguf::QWEN2];

    fn from_json(text: &str, path: &Path) -> Result<Self, ModelError> {
        let variant = match model_type(text, path, &["llama", "mistral", "qwen2", "qwen3"])? {
            "mistral" => Variant::Mistral,
            "qwen2" => Variant::Qwen2,
            "qwen3" => Variant::Qwen3,
            _ => Variant::Llama,
        };
        let raw: Raw = parse(text, path)?;
        let mut problems = raw.problems(variant);
        let rope = problems.take(RopeConfig::from_parts(
            raw.rope_theta,
            raw.rope_scaling.as_ref(),
            raw.rope_parameters.as_ref(),
        ));
        problems.none(path)?;
        let is_llama_like = matches!(variant, Variant::Llama | Variant::Qwen3);
        Ok(Self {
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            num_key_value_heads: raw.key_value_heads(),
            head_dim: raw.head_width(variant),
            max_position_embeddings: raw.max_position_embeddings,
            rms_norm_eps: raw.rms_norm_eps,
            tie_word_embeddings: raw.tie_word_embeddings,
            qkv_bias: variant == Variant::Qwen2 || (is_llama_like && raw.attention_bias),
            o_bias: is_llama_like && raw.attention_bias,
            mlp_bias: variant == Variant::Llama && raw.mlp_bias,
            qk_norm: variant == Variant::Qwen3,
            rope: rope.unwrap_or_default(),
            initializer_range: raw.initializer_range,
            dropouts: Dropouts::new(0.0, raw.attention_dropout.unwrap_or(0.0), 0.0, 0.0),
            text: text.to_owned(),
        })
    }

    fn with_dropout(mut self) -> Self {
        self.dropouts = self.dropouts.switched_on();
        self
    }

    fn about(&self) -> &dyn Description {
        self
    }
}

impl Description for LlamaConfig {
    fn counted(&self) -> &dyn Counted {
        self
    }

    fn to_json(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.text)
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn context(&self) -> Option<usize> {
        Some(self.max_position_embeddings)
    }

    fn initializer_range(&self) -> f64 {
        self.initializer_range
    }

    fn checkpoint_keys(&self) -> CheckpointKeys {
        CheckpointKeys {
            prefix: "model.",
            fresh: &[],
            tolerated: match self.tie_word_embeddings {
                true => |key| key.ends_with("rotary_emb.inv_freq") || key == "lm_head.weight",
                false => |key| key.ends_with("rotary_emb.inv_freq"),
            },
        }
    }
}

impl Raw {
    fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn head_width(&self, variant: Variant) -> usize {
        self.head_dim.unwrap_or(match variant {
            // The one of the family whose heads do not share out the residual stream by default.
            Variant::Qwen3 => 128,
            _ => self.hidden_size / self.num_attention_heads.max(1),
        })
    }

    fn problems(&self, variant: Variant) -> Problems {
        let mut problems = Problems::default();
        problems.at_least_one([
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_value_heads()),
            ("max_position_embeddings", self.max_position_embeddings),
        ]);
        if !problems.is_empty() {
            return problems;
        }
        let (heads, kv_heads) = (self.num_attention_heads, self.key_value_heads());
        problems.shared_out(("num_attention_heads", heads), ("num_key_value_heads", kv_heads), "");
        if self.head_dim.is_none() && variant != Variant::Qwen3 {
            problems.shared_out(
                ("hidden_size", self.hidden_size),
                ("num_attention_heads", heads),
                " and there is no `head_dim`",
            );
        }
        let width = self.head_width(variant);
        if width == 0 || !width.is_multiple_of(2) {
            problems
                .add(format!("the width of a head is {width}: rotary positions need an even one"));
        }
        problems.positive("rms_norm_eps", self.rms_norm_eps);
        problems.not_negative("initializer_range", self.initializer_range);
        problems.probabilities([("attention_dropout", self.attention_dropout)]);
        if !matches!(self.hidden_act.as_str(), "silu" | "swish") {
            problems.add(format!(
                "`hidden_act` is `{}`: only `silu` is supported in this family",
                self.hidden_act
            ));
        }
        if let Some(window) = self.window(variant) {
            problems.add(format!(
                "`sliding_window` is {window} and in use: sliding windows are not supported"
            ));
        }
        problems
    }

    /// The sliding window, where it changes anything: switched on, on some layer, and shorter than
    /// the longest sequence.
    fn window(&self, variant: Variant) -> Option<usize> {
        let window = self.sliding_window.filter(|&size| size < self.max_position_embeddings)?;
        let switched_on = match variant {
            Variant::Mistral => true,
            Variant::Qwen2 | Variant::Qwen3 => self.use_sliding_window == Some(true),
            Variant::Llama => false,
        };
        let on_some_layer = match (&self.layer_types, variant) {
            (Some(types), _) => types.iter().any(|kind| kind != "full_attention"),
            (None, Variant::Mistral) => true,
            (None, _) => self.max_window_layers.is_none_or(|first| first < self.num_hidden_layers),
        };
        (switched_on && on_some_layer).then_some(window)
    }
}
