//! The configuration of a ModernBERT.

use std::borrow::Cow;

use burn::nn::LayerNorm;
use serde::Deserialize;
use serde_json::Value;

use crate::ModelError;
use crate::activation::Activation;
use crate::classifier::{ClassifierConfig, classes, with_classes};
use crate::config::{Basics, Checked, ConfigKeys, Problems, Rotary, Stated};
use crate::decoder::gated::sliding_blocks;
use crate::decoder::rope::RopeConfig;
use crate::dropout::Dropouts;
use crate::footprint::{CostModel, EncoderCost, EncoderNames, EncoderNorms};
use crate::weights::{Blocks, Builder, CheckpointKeys};

/// What a ModernBERT's `config.json` means, checked.
pub type ModernBertConfig = Checked<ModernBertKeys>;

/// What becomes one vector of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// The first token.
    #[default]
    Cls,
    /// The mean of its tokens.
    Mean,
}

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ModernBertKeys {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated unit.
    pub intermediate_size: usize,
    /// How many layers.
    pub num_hidden_layers: usize,
    /// How many heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// The longest row, in tokens.
    pub max_position_embeddings: usize,
    hidden_activation: String,
    /// What `hidden_activation` names: of the gate.
    #[serde(skip)]
    pub activation: Activation,
    norm_eps: f64,
    norm_bias: bool,
    /// Biases of the attention.
    pub attention_bias: bool,
    /// Biases of the gated unit.
    pub mlp_bias: bool,
    /// Bias of the layer before the classes.
    pub classifier_bias: bool,
    classifier_activation: String,
    /// What `classifier_activation` names: in the layer before the classes.
    #[serde(skip)]
    pub head_activation: Activation,
    classifier_pooling: String,
    /// What `classifier_pooling` names.
    #[serde(skip)]
    pub pooling: Pooling,
    /// How many tokens a layer sees that attends to what is near: half of them on either side.
    pub local_attention: usize,
    global_attn_every_n_layers: usize,
    layer_types: Option<Vec<String>>,
    /// Which layers attend to what is near alone.
    #[serde(skip)]
    pub local: Vec<bool>,
    global_rope_theta: f64,
    local_rope_theta: f64,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    /// The rotary positions of layers that see all, and of those that see what is near.
    #[serde(skip)]
    pub rope: [RopeConfig; 2],
    embedding_dropout: f64,
    attention_dropout: f64,
    mlp_dropout: f64,
    classifier_dropout: f64,
    /// Standard deviation of a random start.
    pub initializer_range: f64,
    id2label: Option<Value>,
    label2id: Option<Value>,
    num_labels: Option<usize>,
    problem_type: Option<String>,
    /// The names of the classes, in the order of the logits.
    #[serde(skip)]
    pub labels: Vec<String>,
}

impl Default for ModernBertKeys {
    fn default() -> Self {
        Self {
            vocab_size: 50_368,
            hidden_size: 768,
            intermediate_size: 1152,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            max_position_embeddings: 8192,
            hidden_activation: "gelu".into(),
            activation: Activation::Gelu,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            classifier_bias: false,
            classifier_activation: "gelu".into(),
            head_activation: Activation::Gelu,
            classifier_pooling: "cls".into(),
            pooling: Pooling::Cls,
            local_attention: 128,
            global_attn_every_n_layers: 3,
            layer_types: None,
            local: Vec::new(),
            global_rope_theta: 160_000.0,
            local_rope_theta: 10_000.0,
            rope_scaling: None,
            rope_parameters: None,
            rope: [RopeConfig::default(); 2],
            embedding_dropout: 0.0,
            attention_dropout: 0.0,
            mlp_dropout: 0.0,
            classifier_dropout: 0.0,
            initializer_range: 0.02,
            id2label: None,
            label2id: None,
            num_labels: None,
            problem_type: None,
            labels: Vec::new(),
        }
    }
}

const NAMES: EncoderNames = EncoderNames {
    table: "model.embeddings.tok_embeddings",
    embedding_norm: "model.embeddings.norm",
    layers: "model.layers",
    attention: &["attn.Wqkv"],
    attention_out: "attn.Wo",
    activation: "mlp.Wi",
    activation_out: "mlp.Wo",
    head: &["head", "classifier"],
};

impl ConfigKeys for ModernBertKeys {
    const MODEL_TYPES: &'static [&'static str] = &["modernbert"];
    const ROTARY: &'static [&'static str] =
        &["global_rope_theta", "local_rope_theta", "rope_scaling", "rope_parameters"];

    fn check(&mut self, _: &'static str, problems: &mut Problems) {
        let heads = ("num_attention_heads", self.num_attention_heads);
        problems.blocks("num_hidden_layers", self.num_hidden_layers);
        problems.sizes([
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            heads,
            ("num_labels", self.num_labels.unwrap_or(2)),
        ]);
        // No table is made of all of them.
        problems.at_least_one([("max_position_embeddings", self.max_position_embeddings)]);
        let is_sound = problems.is_empty();
        problems.shared_out(("hidden_size", self.hidden_size), heads, "");
        problems.positive("norm_eps", self.norm_eps);
        problems.not_negative("initializer_range", self.initializer_range);
        problems.probabilities([
            ("embedding_dropout", Some(self.embedding_dropout)),
            ("attention_dropout", Some(self.attention_dropout)),
            ("mlp_dropout", Some(self.mlp_dropout)),
            ("classifier_dropout", Some(self.classifier_dropout)),
        ]);
        let activation = |key, name: &str| Activation::parse(key, name);
        self.activation = problems.take(activation("hidden_activation", &self.hidden_activation));
        self.head_activation =
            problems.take(activation("classifier_activation", &self.classifier_activation));
        self.pooling = match self.classifier_pooling.as_str() {
            "cls" => Pooling::Cls,
            "mean" => Pooling::Mean,
            other => {
                problems
                    .add(format!("`classifier_pooling` is `{other}`: supported are `cls`, `mean`"));
                Pooling::Cls
            }
        };
        self.check_positions(problems);
        if is_sound {
            self.check_layers(problems);
        }
        if problems.is_empty() {
            let named = [self.id2label.as_ref(), self.label2id.as_ref()];
            self.labels = classes(named, self.num_labels, self.problem_type.as_deref(), problems);
        }
    }

    fn stated(&self) -> Stated<'_> {
        let heads = (self.num_attention_heads, self.hidden_size);
        let rotary = Rotary { theta: self.rope[0].theta, turned: self.head_dim() };
        let plain = Stated::of_layer_norms(heads, self.norm_eps, self.activation, Rotary::NAMES);
        Stated { rotary: Some(rotary), ..plain }
    }

    fn does(&self, key: &str, value: &Value) -> Option<bool> {
        match key {
            "is_causal" | "causal" | "use_causal_mask" => value.as_bool().map(|causal| !causal),
            "bidirectional" | "is_bidirectional" => value.as_bool(),
            // The published files say `absolute`, and mean nothing by it.
            "position_embedding_type" => Some(
                value == "absolute"
                    || value.as_str().is_some_and(|kind| Rotary::NAMES.contains(&kind)),
            ),
            _ => None,
        }
    }

    fn basics(&self) -> Basics {
        let (attention, embedding) = (self.attention_dropout, self.embedding_dropout);
        let dropouts = Dropouts::new(embedding, attention, attention, self.classifier_dropout);
        Basics {
            vocab_size: self.vocab_size,
            context: Some(self.max_position_embeddings),
            initializer_range: self.initializer_range,
            dropouts: dropouts.with_inner(self.mlp_dropout),
            checkpoint_keys: CheckpointKeys {
                prefix: "model.",
                blocks: Blocks {
                    path: "layers",
                    key: "num_hidden_layers",
                    count: self.num_hidden_layers,
                },
                // The layer before the classes is that of pre-training too.
                fresh: &["classifier.", "head."],
                // `decoder`: what it led to.
                tolerated: |key| {
                    key.ends_with("rotary_emb.inv_freq") || key.starts_with("decoder.")
                },
                tied: false,
                renamed: &[],
                parts: &[],
            },
        }
    }

    fn cost(&self, dropouts: Dropouts) -> Box<dyn CostModel + '_> {
        Box::new(EncoderCost {
            d: self.hidden_size,
            inner: self.intermediate_size,
            n_layers: self.num_hidden_layers,
            n_heads: self.num_attention_heads,
            classes: self.labels.len(),
            activation: self.activation.gated_cost(),
            norms: EncoderNorms::Before,
            residual_dropouts: [true, false],
            dropouts,
            names: NAMES,
        })
    }

    /// What was parsed, with the classes of this head.
    fn to_json<'a>(&self, text: &'a str) -> Cow<'a, str> {
        with_classes(text, "ModernBertForSequenceClassification", &self.labels)
    }
}

impl ClassifierConfig for ModernBertConfig {
    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.keys.labels = labels;
        self
    }
}

impl ModernBertKeys {
    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    /// How far a token sees in layers that attend to what is near, to either side.
    pub fn window(&self) -> usize {
        self.local_attention / 2
    }

    /// A norm, with a bias where norms have them.
    pub(super) fn norm(&self, name: &str, at: &mut Builder<'_>) -> Result<LayerNorm, ModelError> {
        match self.norm_bias {
            true => at.layer_norm(name, self.hidden_size, self.norm_eps),
            false => at.unbiased_layer_norm(name, self.hidden_size, self.norm_eps),
        }
    }

    fn check_positions(&mut self, problems: &mut Problems) {
        let thetas = [self.global_rope_theta, self.local_rope_theta];
        problems.positive("global_rope_theta", thetas[0]);
        problems.positive("local_rope_theta", thetas[1]);
        let scaling = self.rope_scaling.as_ref();
        let both = RopeConfig::of_blocks(thetas, [scaling; 2], self.rope_parameters.as_ref());
        self.rope = problems.take(both);
        let head_dim = self.head_dim();
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            problems.add(format!(
                "the width of a head is {head_dim}: rotary positions need an even one"
            ));
        }
    }

    fn check_layers(&mut self, problems: &mut Problems) {
        let every = self.global_attn_every_n_layers;
        if every == 0 {
            problems.add("`global_attn_every_n_layers` is 0: at least 1 is needed");
            return;
        }
        let near = |index: usize| !index.is_multiple_of(every);
        let types = self.layer_types.as_deref();
        self.local = problems.take(sliding_blocks(types, self.num_hidden_layers, near));
    }
}
