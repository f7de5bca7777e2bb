//! The configuration of a DistilBERT.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::EPSILON;
use crate::activation::Activation;
use crate::classifier::{ClassifierConfig, classes, with_classes};
use crate::config::{Basics, Checked, ConfigKeys, Problems, Stated};
use crate::dropout::Dropouts;
use crate::footprint::{CostModel, EncoderCost, EncoderNames, EncoderNorms};
use crate::weights::{Blocks, CheckpointKeys};

/// What a DistilBERT's `config.json` means, checked.
pub type DistilBertConfig = Checked<DistilBertKeys>;

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DistilBertKeys {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Rows of the position table.
    pub max_position_embeddings: usize,
    /// Width of the residual stream.
    pub dim: usize,
    /// Width between the two products of a layer.
    pub hidden_dim: usize,
    /// How many layers.
    pub n_layers: usize,
    /// How many heads; divides `dim`.
    pub n_heads: usize,
    activation: String,
    /// What `activation` names: between the two products of a layer.
    #[serde(skip)]
    pub act: Activation,
    dropout: f64,
    attention_dropout: f64,
    seq_classif_dropout: f64,
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

impl Default for DistilBertKeys {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            max_position_embeddings: 512,
            dim: 768,
            hidden_dim: 3072,
            n_layers: 6,
            n_heads: 12,
            activation: "gelu".into(),
            act: Activation::Gelu,
            dropout: 0.1,
            attention_dropout: 0.1,
            seq_classif_dropout: 0.2,
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
    table: "distilbert.embeddings.word_embeddings",
    embedding_norm: "distilbert.embeddings.LayerNorm",
    layers: "distilbert.transformer.layer",
    attention: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    attention_out: "attention.out_lin",
    activation: "ffn.lin1",
    activation_out: "ffn.lin2",
    head: &["pre_classifier", "classifier"],
};

impl ConfigKeys for DistilBertKeys {
    const MODEL_TYPES: &'static [&'static str] = &["distilbert"];
    /// transformers takes these, too.
    const ALSO: &'static [(&'static str, &'static str)] = &[
        ("hidden_size", "dim"),
        ("num_attention_heads", "n_heads"),
        ("num_hidden_layers", "n_layers"),
    ];

    fn check(&mut self, _: &'static str, problems: &mut Problems) {
        problems.blocks("n_layers", self.n_layers);
        problems.sizes([
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("dim", self.dim),
            ("hidden_dim", self.hidden_dim),
            ("n_heads", self.n_heads),
            ("num_labels", self.num_labels.unwrap_or(2)),
        ]);
        problems.shared_out(("dim", self.dim), ("n_heads", self.n_heads), "");
        problems.not_negative("initializer_range", self.initializer_range);
        problems.probabilities([
            ("dropout", Some(self.dropout)),
            ("attention_dropout", Some(self.attention_dropout)),
            ("seq_classif_dropout", Some(self.seq_classif_dropout)),
        ]);
        self.act = problems.take(Activation::parse("activation", &self.activation));
        if problems.is_empty() {
            let named = [self.id2label.as_ref(), self.label2id.as_ref()];
            self.labels = classes(named, self.num_labels, self.problem_type.as_deref(), problems);
        }
    }

    fn stated(&self) -> Stated<'_> {
        let heads = (self.n_heads, self.dim);
        let plain = Stated::of_layer_norms(heads, EPSILON, self.act, Stated::LEARNED);
        Stated { norms_first: Some(false), ..plain }
    }

    fn does(&self, key: &str, value: &Value) -> Option<bool> {
        match key {
            "is_causal" | "causal" | "use_causal_mask" => value.as_bool().map(|causal| !causal),
            "bidirectional" | "is_bidirectional" => value.as_bool(),
            // The table is in the files, whatever it started from.
            "sinusoidal_pos_embds" => Some(value.is_boolean()),
            _ => None,
        }
    }

    fn basics(&self) -> Basics {
        let blocks = Blocks { path: "transformer.layer", key: "n_layers", count: self.n_layers };
        let (dropout, attention) = (self.dropout, self.attention_dropout);
        Basics {
            vocab_size: self.vocab_size,
            context: Some(self.max_position_embeddings),
            initializer_range: self.initializer_range,
            dropouts: Dropouts::new(dropout, attention, dropout, self.seq_classif_dropout),
            checkpoint_keys: CheckpointKeys {
                prefix: "distilbert.",
                blocks,
                fresh: &["pre_classifier.", "classifier."],
                // `vocab`: the head of pre-training.
                tolerated: |key| {
                    key.ends_with("position_ids")
                        || ["vocab_transform.", "vocab_layer_norm.", "vocab_projector."]
                            .iter()
                            .any(|head| key.starts_with(head))
                },
                tied: false,
                renamed: &[],
                parts: &[],
            },
        }
    }

    fn cost(&self, dropouts: Dropouts) -> Box<dyn CostModel + '_> {
        Box::new(EncoderCost {
            d: self.dim,
            inner: self.hidden_dim,
            n_layers: self.n_layers,
            n_heads: self.n_heads,
            classes: self.labels.len(),
            activation: self.act.cost(),
            norms: EncoderNorms::After,
            residual_dropouts: [false, true],
            dropouts,
            names: NAMES,
        })
    }

    /// What was parsed, with the classes of this head.
    fn to_json<'a>(&self, text: &'a str) -> Cow<'a, str> {
        with_classes(text, "DistilBertForSequenceClassification", &self.labels)
    }
}

impl ClassifierConfig for DistilBertConfig {
    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.keys.labels = labels;
        self
    }
}
