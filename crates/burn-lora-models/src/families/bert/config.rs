//! The configuration of a BERT-family model.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::activation::Activation;
use crate::classifier::{ClassifierConfig, classes, with_classes};
use crate::config::{Basics, Checked, ConfigKeys, Problems, Stated};
use crate::dropout::Dropouts;
use crate::footprint::{CostModel, EncoderCost, EncoderNames, EncoderNorms};
use crate::weights::{Blocks, CheckpointKeys};

/// What a BERT-family `config.json` means, checked.
pub type BertConfig = Checked<BertKeys>;

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct BertKeys {
    #[serde(skip)]
    variant: Variant,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the two products of a layer.
    pub intermediate_size: usize,
    /// How many layers.
    pub num_hidden_layers: usize,
    /// How many heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Rows of the position table.
    pub max_position_embeddings: usize,
    /// Rows of the token-type table; only row 0 is used.
    #[serde(default = "default_types")]
    pub type_vocab_size: usize,
    /// Added under the root of each norm.
    #[serde(default = "default_epsilon")]
    pub layer_norm_eps: f64,
    #[serde(default = "default_activation")]
    hidden_act: String,
    /// What `hidden_act` names: between the two products of a layer.
    #[serde(skip)]
    pub activation: Activation,
    pad_token_id: Option<usize>,
    /// Standard deviation of a random start.
    #[serde(default = "default_deviation")]
    pub initializer_range: f64,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
    classifier_dropout: Option<f64>,
    #[serde(default = "default_positions")]
    position_embedding_type: String,
    #[serde(default)]
    is_decoder: bool,
    id2label: Option<Value>,
    label2id: Option<Value>,
    num_labels: Option<usize>,
    problem_type: Option<String>,
    /// The names of the classes, in the order of the logits.
    #[serde(skip)]
    pub labels: Vec<String>,
}

/// Which of the family it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Variant {
    /// BERT and what has its layers, MiniLM for one.
    #[default]
    Bert,
    /// RoBERTa: positions start after the padding index, the head has two layers.
    Roberta,
}

fn default_types() -> usize {
    2
}

fn default_epsilon() -> f64 {
    1e-12
}

fn default_activation() -> String {
    "gelu".into()
}

fn default_deviation() -> f64 {
    0.02
}

fn default_positions() -> String {
    "absolute".into()
}

const BERT: EncoderNames = EncoderNames {
    table: "bert.embeddings.word_embeddings",
    embedding_norm: "bert.embeddings.LayerNorm",
    layers: "bert.encoder.layer",
    attention: &["attention.self.query", "attention.self.key", "attention.self.value"],
    attention_out: "attention.output.dense",
    activation: "intermediate.dense",
    activation_out: "output.dense",
    head: &["classifier", "bert.pooler.dense"],
};

const ROBERTA: EncoderNames = EncoderNames {
    table: "roberta.embeddings.word_embeddings",
    embedding_norm: "roberta.embeddings.LayerNorm",
    layers: "roberta.encoder.layer",
    head: &["classifier"],
    ..BERT
};

impl ConfigKeys for BertKeys {
    const MODEL_TYPES: &'static [&'static str] = &["bert", "roberta"];

    fn check(&mut self, model_type: &'static str, problems: &mut Problems) {
        self.variant = match model_type {
            "roberta" => Variant::Roberta,
            _ => Variant::Bert,
        };
        problems.blocks("num_hidden_layers", self.num_hidden_layers);
        problems.sizes([
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
            ("num_labels", self.num_labels.unwrap_or(2)),
        ]);
        problems.shared_out(
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            "",
        );
        let padding = self.pad_token_id();
        if self.variant == Variant::Roberta
            && padding >= self.max_position_embeddings.saturating_sub(1)
        {
            problems.add(format!(
                "`max_position_embeddings` ({}) leaves no position after `pad_token_id` ({padding})",
                self.max_position_embeddings
            ));
        }
        problems.positive("layer_norm_eps", self.layer_norm_eps);
        problems.not_negative("initializer_range", self.initializer_range);
        problems.probabilities([
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout", self.classifier_dropout),
        ]);
        if self.position_embedding_type != "absolute" {
            problems.add(format!(
                "`position_embedding_type` is `{}`: only `absolute` is supported",
                self.position_embedding_type
            ));
        }
        if self.is_decoder {
            problems.add("`is_decoder` is true: only encoders are supported");
        }
        self.activation = problems.take(Activation::parse("hidden_act", &self.hidden_act));
        if problems.is_empty() {
            let named = [self.id2label.as_ref(), self.label2id.as_ref()];
            self.labels = classes(named, self.num_labels, self.problem_type.as_deref(), problems);
        }
    }

    fn stated(&self) -> Stated<'_> {
        let heads = (self.num_attention_heads, self.hidden_size);
        let (epsilon, activation) = (self.layer_norm_eps, self.activation);
        let plain = Stated::of_layer_norms(heads, epsilon, activation, Stated::LEARNED);
        Stated { norms_first: Some(false), ..plain }
    }

    fn does(&self, key: &str, value: &Value) -> Option<bool> {
        match key {
            "is_causal" | "causal" | "use_causal_mask" => value.as_bool().map(|causal| !causal),
            "bidirectional" | "is_bidirectional" => value.as_bool(),
            _ => None,
        }
    }

    /// Where there is none, transformers' default of dropout is one in ten; the head's is the stream's.
    fn basics(&self) -> Basics {
        let hidden = self.hidden_dropout_prob.unwrap_or(0.1);
        let attention = self.attention_probs_dropout_prob.unwrap_or(0.1);
        let head = self.classifier_dropout.unwrap_or(hidden);
        let blocks = Blocks {
            path: "encoder.layer",
            key: "num_hidden_layers",
            count: self.num_hidden_layers,
        };
        Basics {
            vocab_size: self.vocab_size,
            context: Some(self.max_position_embeddings - self.first_position()),
            initializer_range: self.initializer_range,
            dropouts: Dropouts::new(hidden, attention, hidden, head),
            checkpoint_keys: match self.variant {
                Variant::Bert => CheckpointKeys {
                    prefix: "bert.",
                    blocks,
                    fresh: &["classifier.", "bert.pooler."],
                    // `cls`: the heads of pre-training.
                    tolerated: |key| key.ends_with("position_ids") || key.starts_with("cls."),
                    tied: false,
                    renamed: &[],
                    parts: &[],
                },
                Variant::Roberta => CheckpointKeys {
                    prefix: "roberta.",
                    blocks,
                    fresh: &["classifier."],
                    // `lm_head`: the head of pre-training. The pooler is none of this head's.
                    tolerated: |key| {
                        key.ends_with("position_ids")
                            || key.starts_with("lm_head.")
                            || key.starts_with("pooler.")
                    },
                    tied: false,
                    renamed: &[],
                    parts: &[],
                },
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
            activation: self.activation.cost(),
            norms: EncoderNorms::After,
            residual_dropouts: [true, true],
            dropouts,
            names: match self.variant {
                Variant::Bert => BERT,
                Variant::Roberta => ROBERTA,
            },
        })
    }

    /// What was parsed, with the classes of this head.
    fn to_json<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let class = match self.variant {
            Variant::Bert => "BertForSequenceClassification",
            Variant::Roberta => "RobertaForSequenceClassification",
        };
        with_classes(text, class, &self.labels)
    }
}

impl ClassifierConfig for BertConfig {
    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.keys.labels = labels;
        self
    }
}

impl BertKeys {
    /// The row of the position table that the first token takes.
    pub(super) fn first_position(&self) -> usize {
        match self.variant {
            Variant::Bert => 0,
            Variant::Roberta => self.pad_token_id() + 1,
        }
    }

    /// RoBERTa's positions start one after it.
    fn pad_token_id(&self) -> usize {
        self.pad_token_id.unwrap_or(usize::from(self.variant == Variant::Roberta))
    }
}
