//! The configuration of a Llama-family model.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::rope::RopeConfig;
use crate::ModelError;
use crate::config::{Architecture, parse, text_of};

/// What a Llama-family `config.json` means, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LlamaConfig {
    /// Which of the family it is.
    pub architecture: Architecture,
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
    /// The JSON that it was parsed from; written back by `save`.
    pub(crate) text: String,
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

impl LlamaConfig {
    /// From a `config.json`, the one in a directory, or what a GGUF file says in its place.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, and what [`Self::from_json`] says.
    pub fn from_path(path: &Path) -> Result<Self, ModelError> {
        let (text, path) = text_of(path)?;
        Self::from_json(&text, &path)
    }

    /// From the text of a `config.json`. `path` is for the errors.
    ///
    /// # Errors
    ///
    /// What is not JSON, an architecture outside the family, and all at once the values that
    /// contradict one another or ask for what is not supported.
    pub fn from_json(text: &str, path: &Path) -> Result<Self, ModelError> {
        use Architecture::{Llama, Mistral, Qwen2, Qwen3};
        let architecture = Architecture::among(text, path, &[Llama, Mistral, Qwen2, Qwen3])?;
        let raw: Raw = parse(text, path)?;
        let mut problems = raw.problems(architecture);
        let rope = RopeConfig::from_parts(
            raw.rope_theta,
            raw.rope_scaling.as_ref(),
            raw.rope_parameters.as_ref(),
        )
        .map_err(|found| problems.extend(found));
        let rope = match rope {
            Ok(rope) if problems.is_empty() => rope,
            _ => return Err(ModelError::Config { path: path.to_owned(), problems }),
        };
        let is_llama_like = matches!(architecture, Llama | Qwen3);
        Ok(Self {
            architecture,
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            num_key_value_heads: raw.key_value_heads(),
            head_dim: raw.head_width(architecture),
            max_position_embeddings: raw.max_position_embeddings,
            rms_norm_eps: raw.rms_norm_eps,
            tie_word_embeddings: raw.tie_word_embeddings,
            qkv_bias: architecture == Qwen2 || (is_llama_like && raw.attention_bias),
            o_bias: is_llama_like && raw.attention_bias,
            mlp_bias: architecture == Llama && raw.mlp_bias,
            qk_norm: architecture == Qwen3,
            rope,
            initializer_range: raw.initializer_range,
            text: text.to_owned(),
        })
    }
}

impl Raw {
    fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn head_width(&self, architecture: Architecture) -> usize {
        self.head_dim.unwrap_or(match architecture {
            // The one of the family whose heads do not share out the residual stream by default.
            Architecture::Qwen3 => 128,
            _ => self.hidden_size / self.num_attention_heads.max(1),
        })
    }

    fn problems(&self, architecture: Architecture) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_value_heads()),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if value == 0 {
                problems.push(format!("`{key}` is 0: at least 1 is needed"));
            }
        }
        if !problems.is_empty() {
            return problems;
        }
        let (heads, shared) = (self.num_attention_heads, self.key_value_heads());
        if !heads.is_multiple_of(shared) {
            problems.push(format!(
                "`num_attention_heads` ({heads}) is not a multiple of `num_key_value_heads` ({shared})"
            ));
        }
        if self.head_dim.is_none()
            && architecture != Architecture::Qwen3
            && !self.hidden_size.is_multiple_of(heads)
        {
            problems.push(format!(
                "`hidden_size` ({}) is not a multiple of `num_attention_heads` ({heads}) and \
                 there is no `head_dim`",
                self.hidden_size
            ));
        }
        let width = self.head_width(architecture);
        if width == 0 || !width.is_multiple_of(2) {
            problems
                .push(format!("the width of a head is {width}: rotary positions need an even one"));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps.is_finite()) {
            problems.push(format!("`rms_norm_eps` is {}: it must be positive", self.rms_norm_eps));
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            problems.push(format!(
                "`initializer_range` is {}: it must not be negative",
                self.initializer_range
            ));
        }
        if !matches!(self.hidden_act.as_str(), "silu" | "swish") {
            problems.push(format!(
                "`hidden_act` is `{}`: only `silu` is supported in this family",
                self.hidden_act
            ));
        }
        if let Some(window) = self.window(architecture) {
            problems.push(format!(
                "`sliding_window` is {window} and in use: sliding windows are not supported"
            ));
        }
        problems
    }

    /// The sliding window, where it changes anything: switched on, on some layer, and shorter than
    /// the longest sequence.
    fn window(&self, architecture: Architecture) -> Option<usize> {
        let window = self.sliding_window.filter(|&size| size < self.max_position_embeddings)?;
        let switched_on = match architecture {
            Architecture::Mistral => true,
            Architecture::Qwen2 | Architecture::Qwen3 => self.use_sliding_window == Some(true),
            _ => false,
        };
        let on_some_layer = match (&self.layer_types, architecture) {
            (Some(types), _) => types.iter().any(|kind| kind != "full_attention"),
            (None, Architecture::Mistral) => true,
            (None, _) => self.max_window_layers.is_none_or(|first| first < self.num_hidden_layers),
        };
        (switched_on && on_some_layer).then_some(window)
    }
}
