//! Encoders with a classification head: the classes of whole rows of tokens.

use std::borrow::Cow;
use std::path::Path;

use burn::tensor::{Int, Tensor};
use serde_json::{Map, Value, json};

use crate::weights::Storage;
use crate::{LoadReport, Model, ModelConfig, ModelError};

/// The configuration of a model with a classification head.
pub trait ClassifierConfig: ModelConfig {
    /// The names of the classes, in the order of the logits.
    fn labels(&self) -> &[String];

    /// The same encoder with other classes.
    #[must_use]
    fn with_labels(self, labels: Vec<String>) -> Self;

    /// The same encoder with so many classes; their names stay where the number does, and else are
    /// `LABEL_0`, `LABEL_1`, ….
    #[must_use]
    fn with_num_labels(self, count: usize) -> Self {
        match self.labels().len() == count {
            true => self,
            false => self.with_labels(numbered(count)),
        }
    }
}

/// transformers' own names of classes that have none.
pub(crate) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("LABEL_{index}")).collect()
}

/// The classes that a `config.json` names, in the order of their numbers; without a usable `id2label`, numbered.
pub(crate) fn classes(
    id2label: Option<&Map<String, Value>>,
    num_labels: Option<usize>,
) -> Vec<String> {
    let named = id2label.and_then(|map| {
        let name = |index: usize| map.get(&index.to_string())?.as_str().map(str::to_owned);
        (0..map.len()).map(name).collect::<Option<Vec<_>>>()
    });
    match (named, num_labels) {
        (Some(labels), None) if !labels.is_empty() => labels,
        (Some(labels), Some(count)) if labels.len() == count => labels,
        // transformers' own default is two.
        (_, count) => numbered(count.unwrap_or(2)),
    }
}

/// The text of a `config.json`, with the classes of a head of transformers' `class`.
pub(crate) fn with_classes<'a>(text: &'a str, class: &str, labels: &[String]) -> Cow<'a, str> {
    let Ok(Value::Object(mut map)) = serde_json::from_str(text) else {
        return Cow::Borrowed(text);
    };
    let numbered = || labels.iter().enumerate();
    map.insert("architectures".into(), json!([class]));
    let by_index = numbered().map(|(index, label)| (index.to_string(), json!(label)));
    map.insert("id2label".into(), Value::Object(by_index.collect()));
    let by_label = numbered().map(|(index, label)| (label.clone(), json!(index)));
    map.insert("label2id".into(), Value::Object(by_label.collect()));
    // What the base was trained for is not what this head does.
    if map.get("problem_type").is_some_and(|kind| !kind.is_null()) {
        map.insert("problem_type".into(), json!("single_label_classification"));
    }
    // transformers counts id2label; two numbers that differ would be a trap.
    map.remove("num_labels");
    Cow::Owned(format!("{:#}\n", Value::Object(map)))
}

/// An encoder with a classification head.
pub trait Classifier: Model<Config: ClassifierConfig> {
    /// Logits of the classes.
    ///
    /// Row `i` of `ids` has `lengths[i]` tokens, then padding of any id, which no token sees.
    ///
    /// # Shapes
    ///
    /// - ids: `[batch, tokens]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// Where a row is longer than the model's context, an id is outside the vocabulary, or `lengths`
    /// has another number of rows than `ids`.
    fn logits(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2>;

    /// [`Model::load`] with a head of `num_labels` classes, as many as the directory's configuration
    /// says where it is none. A head (and a pooler) that no file has starts from `seed`; the report
    /// says so.
    ///
    /// # Errors
    ///
    /// As [`Model::load`]; a head of no classes, or of another number than the files have.
    fn load_with_head<'a>(
        dir: &Path,
        num_labels: Option<usize>,
        seed: u64,
        at: impl Into<Storage<'a>>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, LoadReport), ModelError> {
        let mut config = Self::Config::from_path(dir)?;
        if let Some(count) = num_labels {
            config = config.with_num_labels(count);
        }
        if config.labels().is_empty() {
            return Err(ModelError::Config {
                path: dir.join("config.json"),
                problems: vec!["a head of 0 classes was asked for: at least 1 is needed".into()],
            });
        }
        Self::load_as(&config, dir, seed, at, progress)
    }
}
