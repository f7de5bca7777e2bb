//! The configuration of a Llama-family model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::gguf;
use crate::config::{Basics, Checked, ConfigKeys, Problems, Stated, settings};
use crate::decoder::gated::{
    Blueprint, Gated, HeadNorms, LayerPlan, Sizes, checkpoint_keys, only_silu,
};
use crate::decoder::rope::RopeConfig;
use crate::dropout::Dropouts;
use crate::footprint::CostModel;
use crate::gguf::GgufFamily;

/// What a Llama-family `config.json` means, checked.
pub type LlamaConfig = Checked<LlamaKeys>;

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LlamaKeys {
    #[serde(skip)]
    variant: Variant,
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
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added under the root of each norm.
    #[serde(default = "default_epsilon")]
    pub rms_norm_eps: f64,
    /// Whether the head is the embedding's table.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "default_activation")]
    hidden_act: String,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    /// The rotary positions, by whichever of the keys says them.
    #[serde(skip)]
    pub rope: RopeConfig,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    /// Standard deviation of a random start.
    #[serde(default = "default_deviation")]
    pub initializer_range: f64,
    attention_dropout: Option<f64>,
}

/// Which of the family it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Variant {
    /// Llama and what has its layers and its `model_type`, SmolLM2 for one.
    #[default]
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on q, k and v.
    Qwen2,
    /// Qwen3: norms on q and k.
    Qwen3,
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

impl ConfigKeys for LlamaKeys {
    const MODEL_TYPES: &'static [&'static str] = &["llama", "mistral", "qwen2", "qwen3"];
    const GGUF: &'static [GgufFamily] = &[gguf::LLAMA, gguf::QWEN2, gguf::QWEN3];
    const ROTARY: &'static [&'static str] = &["rope_theta", "rope_scaling", "rope_parameters"];

    fn check(&mut self, model_type: &'static str, problems: &mut Problems) {
        self.variant = match model_type {
            "mistral" => Variant::Mistral,
            "qwen2" => Variant::Qwen2,
            "qwen3" => Variant::Qwen3,
            _ => Variant::Llama,
        };
        self.sizes().check(problems);
        self.check_values(problems);
        self.rope = problems.take(RopeConfig::from_parts(
            self.rope_theta,
            self.rope_scaling.as_ref(),
            self.rope_parameters.as_ref(),
        ));
        // What was left out or said elsewhere, once it is known to fit.
        self.rope_theta = Some(self.rope.theta);
        self.num_key_value_heads = Some(self.n_kv_heads());
        self.head_dim = Some(self.head_dim());
    }

    fn settings(&self) -> Map<String, Value> {
        settings(self)
    }

    fn stated(&self) -> Stated<'_> {
        self.without_layers().stated()
    }

    fn does(&self, key: &str, value: &Value) -> Option<bool> {
        match key {
            "use_qk_norm" | "qk_norm" => value.as_bool().map(|on| on == self.qk_norm()),
            _ => None,
        }
    }

    fn basics(&self) -> Basics {
        Basics {
            vocab_size: self.vocab_size,
            context: Some(self.context()),
            initializer_range: self.initializer_range,
            dropouts: Dropouts::new(0.0, self.attention_dropout.unwrap_or(0.0), 0.0, 0.0),
            checkpoint_keys: checkpoint_keys(self.num_hidden_layers, self.tie_word_embeddings),
        }
    }

    fn cost(&self, dropouts: Dropouts) -> Box<dyn CostModel + '_> {
        Box::new(self.blueprint().cost(dropouts))
    }
}

impl Gated for LlamaKeys {
    fn blueprint(&self) -> Blueprint {
        let layers = vec![LayerPlan::of_heads(self.head_dim()); self.num_hidden_layers];
        Blueprint { layers, ..self.without_layers() }
    }
}

impl LlamaKeys {
    /// The blueprint but for its blocks, of which there may be too many to list before they are checked.
    fn without_layers(&self) -> Blueprint {
        let head_dim = self.head_dim();
        Blueprint {
            vocab_size: self.vocab_size,
            d: self.hidden_size,
            inner: self.intermediate_size,
            n_heads: self.num_attention_heads,
            n_kv_heads: self.n_kv_heads(),
            head_dim,
            context: self.context(),
            epsilon: self.rms_norm_eps,
            head_norms: if self.qk_norm() { HeadNorms::Each } else { HeadNorms::None },
            qkv_bias: self.qkv_bias(),
            o_bias: self.o_bias(),
            mlp_bias: self.mlp_bias(),
            rope: self.rope,
            turned: head_dim,
            tied: self.tie_word_embeddings,
            ..Blueprint::default()
        }
    }

    /// Heads of keys and values; divides the queries'.
    pub fn n_kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.sizes().head_dim()
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.n_kv_heads(),
            head_dim: self.head_dim.or(match self.variant {
                // The one of the family whose heads do not share out the residual stream by default.
                Variant::Qwen3 => Some(128),
                _ => None,
            }),
            max_position_embeddings: self.max_position_embeddings,
        }
    }

    /// Biases on q, k and v.
    pub fn qkv_bias(&self) -> bool {
        self.variant == Variant::Qwen2 || self.o_bias()
    }

    /// Bias on o.
    pub fn o_bias(&self) -> bool {
        matches!(self.variant, Variant::Llama | Variant::Qwen3) && self.attention_bias
    }

    /// Biases in the gated unit.
    pub fn mlp_bias(&self) -> bool {
        self.variant == Variant::Llama && self.mlp_bias
    }

    /// Norms on q and k, over each head.
    pub fn qk_norm(&self) -> bool {
        self.variant == Variant::Qwen3
    }

    fn check_values(&self, problems: &mut Problems) {
        problems.positive("rms_norm_eps", self.rms_norm_eps);
        problems.not_negative("initializer_range", self.initializer_range);
        problems.probabilities([("attention_dropout", self.attention_dropout)]);
        only_silu(&self.hidden_act, problems);
        if self.window() == Some(0) {
            problems.add("`sliding_window` is 0 and in use: at least 1 is needed");
        }
        if let (Variant::Llama, Some(size)) = (self.variant, self.narrow_window()) {
            problems.add(format!(
                "`sliding_window` is {size}: models of this `model_type` have no window; take the key out if the model was trained \
                 without one"
            ));
        }
        let types = self.layer_types.iter().flatten();
        if let Some(kind) = types
            .map(String::as_str)
            .find(|kind| !matches!(*kind, "full_attention" | "sliding_attention"))
        {
            problems.add(format!("`layer_types` has `{kind}`: not supported in this family"));
        }
    }

    /// The longest sequence, in tokens: as many as there are positions, or, where a sliding window is in use, as fit
    /// into it. Of those, no token is further from another than the window reaches, so that all see what plain causal
    /// attention sees (Mistral: a token sees itself and the `sliding_window - 1` tokens before it).
    fn context(&self) -> usize {
        self.window().unwrap_or(self.max_position_embeddings)
    }

    /// The sliding window of a variant that has one, where it changes anything.
    fn window(&self) -> Option<usize> {
        self.narrow_window().filter(|_| self.variant != Variant::Llama)
    }

    /// The sliding window that is asked for, where it would change anything: switched on, on some layer, and shorter
    /// than the longest sequence.
    fn narrow_window(&self) -> Option<usize> {
        let window = self.sliding_window.filter(|&size| size < self.max_position_embeddings)?;
        let switched_on = match self.variant {
            Variant::Mistral => true,
            Variant::Qwen2 | Variant::Qwen3 => self.use_sliding_window == Some(true),
            Variant::Llama => self.use_sliding_window != Some(false),
        };
        let on_some_layer = match (&self.layer_types, self.variant) {
            // Its code asks for no more than the size.
            (_, Variant::Mistral) => true,
            (Some(types), _) => types.iter().any(|kind| kind != "full_attention"),
            (None, _) => self.max_window_layers.is_none_or(|first| first < self.num_hidden_layers),
        };
        (switched_on && on_some_layer).then_some(window)
    }
}
