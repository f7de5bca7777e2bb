//! The configuration of a BERT-family model.

use std::path::Path;

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, gelu_approximate, relu};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::ModelError;
use crate::config::{Architecture, parse, text_of};

/// What a BERT-family `config.json` means, checked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BertConfig {
    /// BERT or RoBERTa.
    pub architecture: Architecture,
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
    pub type_vocab_size: usize,
    /// Added under the root of each norm.
    pub layer_norm_eps: f64,
    /// Between the two products of a layer.
    pub activation: Activation,
    /// RoBERTa's positions start one after it.
    pub pad_token_id: usize,
    /// Standard deviation of a random start.
    pub initializer_range: f64,
    /// The names of the classes, in the order of the logits.
    pub labels: Vec<String>,
    /// The JSON that it was parsed from; written back by `save`.
    text: String,
}

/// What stands between the two products of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// GELU, exact.
    Gelu,
    /// GELU by its tanh approximation: `gelu_new`, `gelu_pytorch_tanh`.
    GeluTanh,
    /// The larger of x and 0.
    Relu,
}

impl Activation {
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            other => Err(format!(
                "`hidden_act` is `{other}`: supported are `gelu`, `gelu_new`, `gelu_pytorch_tanh`, \
                 `relu`"
            )),
        }
    }

    pub(super) fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_approximate(x),
            Self::Relu => relu(x),
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    #[serde(default = "default_types")]
    type_vocab_size: usize,
    #[serde(default = "default_epsilon")]
    layer_norm_eps: f64,
    #[serde(default = "default_activation")]
    hidden_act: String,
    pad_token_id: Option<usize>,
    #[serde(default = "default_deviation")]
    initializer_range: f64,
    #[serde(default = "default_positions")]
    position_embedding_type: String,
    #[serde(default)]
    is_decoder: bool,
    id2label: Option<Map<String, Value>>,
    num_labels: Option<usize>,
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

impl BertConfig {
    /// From a `config.json`, or from the one in a directory.
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
        use Architecture::{Bert, Roberta};
        let architecture = Architecture::among(text, path, &[Bert, Roberta])?;
        let raw: Raw = parse(text, path)?;
        let mut problems = raw.problems(architecture);
        let activation = Activation::parse(&raw.hidden_act).map_err(|found| problems.push(found));
        let activation = match activation {
            Ok(activation) if problems.is_empty() => activation,
            _ => return Err(ModelError::Config { path: path.to_owned(), problems }),
        };
        Ok(Self {
            architecture,
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            max_position_embeddings: raw.max_position_embeddings,
            type_vocab_size: raw.type_vocab_size,
            layer_norm_eps: raw.layer_norm_eps,
            activation,
            pad_token_id: raw.padding(architecture),
            initializer_range: raw.initializer_range,
            labels: raw.labels(),
            text: text.to_owned(),
        })
    }

    /// The same encoder with other classes.
    pub fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.labels = labels;
        self
    }

    /// The same encoder with so many classes; their names stay where the number does, and else are
    /// `LABEL_0`, `LABEL_1`, ….
    pub fn with_num_labels(self, count: usize) -> Self {
        match self.labels.len() == count {
            true => self,
            false => self.with_labels(numbered(count)),
        }
    }

    /// The longest sequence, in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings - self.first_position()
    }

    /// The row of the position table that the first token takes.
    pub(super) fn first_position(&self) -> usize {
        match self.architecture {
            Architecture::Roberta => self.pad_token_id + 1,
            _ => 0,
        }
    }

    /// The text of the `config.json` of a model with this head: what was parsed, with its classes.
    pub(super) fn to_json(&self) -> String {
        let Ok(Value::Object(mut map)) = serde_json::from_str(&self.text) else {
            return self.text.clone();
        };
        let class = match self.architecture {
            Architecture::Roberta => "RobertaForSequenceClassification",
            _ => "BertForSequenceClassification",
        };
        let numbered = || self.labels.iter().enumerate();
        map.insert("architectures".into(), json!([class]));
        let by_index = numbered().map(|(index, label)| (index.to_string(), json!(label)));
        map.insert("id2label".into(), Value::Object(by_index.collect()));
        let by_label = numbered().map(|(index, label)| (label.clone(), json!(index)));
        map.insert("label2id".into(), Value::Object(by_label.collect()));
        // transformers counts id2label; two numbers that differ would be a trap.
        map.remove("num_labels");
        format!("{:#}\n", Value::Object(map))
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("LABEL_{index}")).collect()
}

impl Raw {
    fn padding(&self, architecture: Architecture) -> usize {
        self.pad_token_id.unwrap_or(usize::from(architecture == Architecture::Roberta))
    }

    /// In the order of their numbers; without a usable `id2label`, numbered.
    fn labels(&self) -> Vec<String> {
        let named = self.id2label.as_ref().and_then(|map| {
            let name = |index: usize| map.get(&index.to_string())?.as_str().map(str::to_owned);
            (0..map.len()).map(name).collect::<Option<Vec<_>>>()
        });
        match (named, self.num_labels) {
            (Some(labels), None) if !labels.is_empty() => labels,
            (Some(labels), Some(count)) if labels.len() == count => labels,
            // transformers' own default is two.
            (_, count) => numbered(count.unwrap_or(2)),
        }
    }

    fn problems(&self, architecture: Architecture) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
            ("num_labels", self.num_labels.unwrap_or(2)),
        ] {
            if value == 0 {
                problems.push(format!("`{key}` is 0: at least 1 is needed"));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads.max(1)) {
            problems.push(format!(
                "`hidden_size` ({}) is not a multiple of `num_attention_heads` ({})",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if architecture == Architecture::Roberta
            && self.padding(architecture) + 1 >= self.max_position_embeddings
        {
            problems.push(format!(
                "`max_position_embeddings` ({}) leaves no position after `pad_token_id` ({})",
                self.max_position_embeddings,
                self.padding(architecture)
            ));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps.is_finite()) {
            problems
                .push(format!("`layer_norm_eps` is {}: it must be positive", self.layer_norm_eps));
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            problems.push(format!(
                "`initializer_range` is {}: it must not be negative",
                self.initializer_range
            ));
        }
        if self.position_embedding_type != "absolute" {
            problems.push(format!(
                "`position_embedding_type` is `{}`: only `absolute` is supported",
                self.position_embedding_type
            ));
        }
        if self.is_decoder {
            problems.push("`is_decoder` is true: only encoders are supported".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_activation(name: &str, definition: fn(f64) -> f64) {
        let device = burn_lora::device::parse("cpu").unwrap();
        let inputs: Vec<f32> = (-40..=40).map(|step| step as f32 / 8.0).collect();
        let x = Tensor::<1>::from_floats(inputs.as_slice(), &device);
        let outputs: Vec<f32> =
            Activation::parse(name).unwrap().apply(x).into_data().try_to_vec().unwrap();
        for (x, y) in inputs.into_iter().zip(outputs) {
            let expected = definition(f64::from(x));
            // Outputs of size 5 in f32, after a handful of operations.
            assert!((f64::from(y) - expected).abs() < 5e-6, "{name}({x}) = {y}, not {expected}");
        }
    }

    #[test]
    fn activations_are_those_of_their_names() {
        let tanh_approximation = |x: f64| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        };
        check_activation("gelu_new", tanh_approximation);
        check_activation("gelu_pytorch_tanh", tanh_approximation);
        check_activation("relu", |x| x.max(0.0));
        // x Φ(x), the normal distribution integrated by Simpson's rule from 0 in 1000 steps.
        check_activation("gelu", |x| {
            let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
            let step = x / 1000.0;
            let weight = |i: i32| match i {
                0 | 1000 => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            let integral =
                (0..=1000).map(|i| weight(i) * density(f64::from(i) * step)).sum::<f64>();
            x * (0.5 + integral * step / 3.0)
        });
    }
}
