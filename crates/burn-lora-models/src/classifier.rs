//! Encoders with a classification head: the classes of whole rows of tokens.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use burn::tensor::{Int, Tensor};
use serde_json::{Value, json};

use crate::config::Problems;
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

/// The names of the classes that a head tells apart, by those keys of its `config.json`, in the order of their numbers: those of `id2label`, or else of `label2id`; transformers' own where neither is there or
/// `num_labels` is another number. Names that are lost or mean two classes are problems, as is a head that gives no class.
pub(crate) fn classes(
    [id2label, label2id]: [Option<&Value>; 2],
    num_labels: Option<usize>,
    problem_type: Option<&str>,
    problems: &mut Problems,
) -> Vec<String> {
    if let Some(kind) = problem_type.filter(|kind| *kind != SINGLE_LABEL) {
        problems.add(format!(
            "`problem_type` is `{kind}`, and a head gives one class a row here (`{SINGLE_LABEL}`): take the key out to train another head"
        ));
    }
    let by_number = problems.take(id2label.map_or(Ok(BTreeMap::new()), by_number));
    let by_name = problems.take(label2id.map_or(Ok(BTreeMap::new()), by_name));
    for (number, name) in &by_number {
        match by_name.get(name) {
            Some(other) if other != number => problems.add(format!(
                "`{name}` is {number} in `id2label` and {other} in `label2id`: make them agree"
            )),
            _ => {}
        }
    }
    let turned = || by_name.into_iter().map(|(name, number)| (number, name)).collect();
    let (key, named) = match by_number.is_empty() {
        true => ("label2id", turned()),
        false => ("id2label", by_number),
    };
    let count = num_labels.unwrap_or(if named.is_empty() { 2 } else { named.len() });
    if named.len() != count {
        return numbered(count);
    }
    if let Some(lacking) = (0..count).find(|number| !named.contains_key(number)) {
        problems.add(format!(
            "`{key}` has {count} classes and no {lacking}: number them from 0 to {}",
            count - 1
        ));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = named.values().find(|name| !seen.insert(*name)) {
        problems.add(format!("`{key}` names two classes `{twice}`: give each a name of its own"));
    }
    named.into_values().collect()
}

/// One class a row, in transformers' words.
const SINGLE_LABEL: &str = "single_label_classification";

/// The names of classes by their numbers.
fn by_number(id2label: &Value) -> Result<BTreeMap<usize, String>, Vec<String>> {
    let no_object = || vec!["`id2label` must be an object, as {\"0\": \"a\"}".to_owned()];
    let names = id2label.as_object().ok_or_else(no_object)?;
    let one = |(number, name): (&String, &Value)| {
        let name = match name {
            Value::String(name) => name.clone(),
            // Stars and yes or no are classes as well.
            Value::Number(_) | Value::Bool(_) => name.to_string(),
            _ => return Err(vec![format!("`id2label` has no name for `{number}`: write a text")]),
        };
        match number.parse() {
            Ok(parsed) if format!("{parsed}") == *number => Ok((parsed, name)),
            _ => Err(vec![format!(
                "`id2label` has the key `{number}`, which is no number of a class"
            )]),
        }
    };
    names.iter().map(one).collect()
}

/// The numbers of classes by their names, of which a class may have several.
fn by_name(label2id: &Value) -> Result<BTreeMap<String, usize>, Vec<String>> {
    let no_object = || vec!["`label2id` must be an object, as {\"a\": 0}".to_owned()];
    let numbers = label2id.as_object().ok_or_else(no_object)?;
    let one = |(name, number): (&String, &Value)| {
        let text = number.as_str().map(str::parse).and_then(Result::ok);
        let number = number.as_u64().or(text).and_then(|number| usize::try_from(number).ok());
        number.map(|number| (name.clone(), number)).ok_or_else(|| {
            vec![format!("`label2id` has no number for `{name}`: write a whole one")]
        })
    };
    numbers.iter().map(one).collect()
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
    // A base may say nothing.
    if map.get("problem_type").is_some_and(|kind| !kind.is_null()) {
        map.insert("problem_type".into(), json!(SINGLE_LABEL));
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
