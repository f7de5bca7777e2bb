//! The metadata of a file: keys and values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::GgufError;

/// A metadata value. Integers keep their sign only, not their width.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// An integer that cannot be negative.
    Unsigned(u64),
    /// An integer that can.
    Signed(i64),
    /// A number in single precision.
    F32(f32),
    /// A number in double precision.
    F64(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// Several values of one kind.
    Array(Array),
}

/// Values of one kind.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Array {
    /// Integers that cannot be negative.
    Unsigned(Vec<u64>),
    /// Integers that can.
    Signed(Vec<i64>),
    /// Numbers in single precision.
    F32(Vec<f32>),
    /// Numbers in double precision.
    F64(Vec<f64>),
    /// Truth values.
    Bool(Vec<bool>),
    /// Texts.
    Text(Vec<String>),
    /// Arrays.
    Array(Vec<Array>),
}

impl Array {
    /// How many values it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Unsigned(values) => values.len(),
            Self::Signed(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Array(values) => values.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Value {
    fn index(&self) -> Option<usize> {
        match *self {
            Self::Unsigned(value) => usize::try_from(value).ok(),
            Self::Signed(value) => usize::try_from(value).ok(),
            _ => None,
        }
    }
}

/// Short, for a message: long texts and arrays are told by their length.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Signed(value) => write!(f, "{value}"),
            Self::F32(value) => write!(f, "{value}"),
            Self::F64(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(text) if text.len() > 80 => write!(f, "a text of {} bytes", text.len()),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Array(array) => write!(f, "an array of {}", array.len()),
        }
    }
}

/// The keys and values of a file.
#[derive(Debug, Clone)]
pub struct Metadata {
    pub(super) path: PathBuf,
    pub(super) values: BTreeMap<String, Value>,
}

impl Metadata {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A size, a count or an id.
    pub(crate) fn index(&self, key: &str) -> Result<Option<usize>, GgufError> {
        self.typed(key, "an integer of at least 0", Value::index)
    }

    /// A count that some files give once a layer: allowed where it is the same for all.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, GgufError> {
        self.typed(key, "one integer of at least 0, the same for every layer,", |value| {
            let Value::Array(array) = value else { return value.index() };
            match array {
                Array::Unsigned(all) => Value::Unsigned(only(all)?).index(),
                Array::Signed(all) => Value::Signed(only(all)?).index(),
                _ => None,
            }
        })
    }

    /// A finite number. One in single precision becomes the number that its shortest decimal means,
    /// so that 1e-5 is 1e-5 and not 0.000009999999747378752.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.typed(key, "a finite number", |value| {
            match value {
                Value::F32(value) => value.to_string().parse().ok(),
                Value::F64(value) => Some(*value),
                Value::Unsigned(value) => Some(*value as f64),
                Value::Signed(value) => Some(*value as f64),
                _ => None,
            }
            .filter(|value| value.is_finite())
        })
    }

    /// A truth value.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a truth value", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// Texts.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.typed(key, "an array of texts", |value| match value {
            Value::Array(Array::Text(texts)) => Some(texts.as_slice()),
            _ => None,
        })
    }

    /// `value`, or an error that names the key that was looked up for it.
    pub(crate) fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, GgufError> {
        value.ok_or_else(|| GgufError::MissingKey { path: self.path.clone(), key: key.to_owned() })
    }

    /// The error for a value that is not as it should be.
    pub(crate) fn unfit(&self, key: &str, found: String, expected: &'static str) -> GgufError {
        GgufError::KeyValue { path: self.path.clone(), key: key.to_owned(), found, expected }
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(self.unfit(key, value.to_string(), expected)),
        }
    }
}

/// The value that all of some values are.
fn only<T: Copy + PartialEq>(values: &[T]) -> Option<T> {
    let first = *values.first()?;
    values.iter().all(|next| *next == first).then_some(first)
}
