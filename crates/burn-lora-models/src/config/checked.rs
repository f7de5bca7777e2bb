//! A configuration of any family: the keys of its `config.json`, checked, with the dropout that was asked for
//! and the text that it was read from.
//!
//! A family writes [`ConfigKeys`]; [`ModelConfig`] and [`Description`] follow from it here. Left out:
//! configurations that no file stated; [`Checked`] is made of a text alone.

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Deref;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Problems, Stated, by_own_names, keys_of, model_type, parse, quantised, unread};
use crate::dropout::Dropouts;
use crate::footprint::CostModel;
use crate::gguf::GgufFamily;
use crate::weights::CheckpointKeys;
use crate::{Description, ModelConfig, ModelError};

/// The keys of a family's `config.json`, parsed; in fields that serde skips, what is made of them.
pub trait ConfigKeys: DeserializeOwned + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The `model_type`s of the family.
    const MODEL_TYPES: &'static [&'static str];

    /// The architectures of GGUF files that it is read from.
    const GGUF: &'static [GgufFamily] = &[];

    /// The keys by which it is told its rotary positions, where it has those.
    const ROTARY: &'static [&'static str] = &[];

    /// Keys that stand for others of the family's: theirs and its own.
    const ALSO: &'static [(&'static str, &'static str)] = &[];

    /// The keys as the family reads them, of those that were given: of a model of several parts, its own part's.
    ///
    /// # Errors
    ///
    /// Those that are not what they should be.
    fn own_keys(given: Map<String, Value>) -> Result<Map<String, Value>, Vec<String>> {
        Ok(given)
    }

    /// Fills what is made of the keys, and tells what is wrong with them.
    fn check(&mut self, model_type: &'static str, problems: &mut Problems);

    /// See [`Description::settings`]: what a family with GGUF files has to say.
    fn settings(&self) -> Map<String, Value> {
        Map::new()
    }

    /// What is computed with, once the keys are [checked](Self::check).
    fn stated(&self) -> Stated<'_>;

    /// Whether the family does what a key asks for that it does not read; none where the key is none of its own. What nobody knows, what
    /// changes nothing, and what [`Self::stated`] has need no answer.
    fn does(&self, _key: &str, _value: &Value) -> Option<bool> {
        None
    }

    /// What every model has.
    fn basics(&self) -> Basics;

    /// By what training steps with that dropout are counted.
    fn cost(&self, dropouts: Dropouts) -> Box<dyn CostModel + '_>;

    /// See [`Description::is_conv1d`].
    fn is_conv1d(&self, _path: &str) -> bool {
        false
    }

    /// The text of the `config.json` that goes with the weights, made of the one that was read.
    fn to_json<'a>(&self, text: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(text)
    }
}

/// What every model has, whatever its family calls it.
#[derive(Debug)]
pub struct Basics {
    /// Rows of the token table.
    pub vocab_size: usize,
    /// The longest sequence, in tokens; none where positions have no limit.
    pub context: Option<usize>,
    /// Standard deviation of a random start.
    pub initializer_range: f64,
    /// Where it drops in training, not switched on.
    pub dropouts: Dropouts,
    /// How the keys of checkpoints may differ from the model's.
    pub checkpoint_keys: CheckpointKeys,
}

/// What a `config.json` means, checked. Its keys are its fields.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Checked<K> {
    pub(crate) keys: K,
    /// Where it drops in training.
    pub dropouts: Dropouts,
    /// Its keys that are not known here, and had no effect.
    unknown: Vec<String>,
    /// The JSON that it was parsed from; written back by `save`.
    text: String,
}

impl<K> Deref for Checked<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.keys
    }
}

impl<K: ConfigKeys> ModelConfig for Checked<K> {
    const GGUF: &'static [GgufFamily] = K::GGUF;

    fn from_json(text: &str, path: &Path) -> Result<Self, ModelError> {
        let model_type = model_type(text, path, K::MODEL_TYPES)?;
        let given: Map<String, Value> = parse(text, path)?;
        if let Some((how, way)) = quantised(&given) {
            return Err(ModelError::Quantised { path: path.to_owned(), how, way });
        }
        let given = K::own_keys(given)
            .and_then(|given| by_own_names(given, K::ALSO))
            .map_err(|problems| ModelError::Config { path: path.to_owned(), problems })?;
        let (mut keys, unread): (K, _) = keys_of(given, path)?;
        let mut problems = Problems::default();
        keys.check(model_type, &mut problems);
        unread::tell(&keys, &unread, &mut problems);
        let unknown = problems.none(path)?;
        let dropouts = keys.basics().dropouts;
        Ok(Self { keys, dropouts, unknown, text: text.to_owned() })
    }

    fn with_dropout(mut self) -> Self {
        self.dropouts = self.dropouts.switched_on();
        self
    }

    fn about(&self) -> &dyn Description {
        self
    }
}

impl<K: ConfigKeys> Description for Checked<K> {
    fn cost(&self) -> Box<dyn CostModel + '_> {
        self.keys.cost(self.dropouts)
    }

    fn to_json(&self) -> Cow<'_, str> {
        self.keys.to_json(&self.text)
    }

    fn settings(&self) -> Map<String, Value> {
        self.keys.settings()
    }

    fn unknown_keys(&self) -> &[String] {
        &self.unknown
    }

    fn vocab_size(&self) -> usize {
        self.basics().vocab_size
    }

    fn context(&self) -> Option<usize> {
        self.basics().context
    }

    fn initializer_range(&self) -> f64 {
        self.basics().initializer_range
    }

    fn checkpoint_keys(&self) -> CheckpointKeys {
        self.basics().checkpoint_keys
    }

    fn is_conv1d(&self, path: &str) -> bool {
        self.keys.is_conv1d(path)
    }
}
