//! One turn of a conversation.

use serde_json::{Map, Value};

use crate::template::TemplateError;

/// One turn of a conversation: a role, mostly a content, and whatever else a template reads, such as
/// `tool_calls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    fields: Map<String, Value>,
}

impl Message {
    /// A role and what is said.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let fields = [("role", role.into()), ("content", content.into())];
        Self {
            fields: fields.map(|(key, text)| (key.to_owned(), text.into())).into_iter().collect(),
        }
    }

    /// From an object, with all its keys.
    ///
    /// # Errors
    ///
    /// No `role`, or one that is not a text.
    pub fn from_fields(fields: Map<String, Value>) -> Result<Self, TemplateError> {
        match fields.get("role") {
            Some(Value::String(_)) => Ok(Self { fields }),
            _ => Err(TemplateError::NoRole { keys: fields.keys().cloned().collect() }),
        }
    }

    /// The same with a key more, or another value for one.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        // A message keeps the role that it was made with: templates and training go by it.
        if key != "role" {
            self.fields.insert(key.to_owned(), value);
        }
        self
    }

    /// Who speaks: `system`, `user`, `assistant` or another name.
    pub fn role(&self) -> &str {
        self.fields.get("role").and_then(Value::as_str).unwrap_or_default()
    }

    /// What is said, if it is a text.
    pub fn content(&self) -> Option<&str> {
        self.fields.get("content").and_then(Value::as_str)
    }

    /// Whether something is said at the key.
    pub fn has(&self, key: &str) -> bool {
        self.fields.get(key).is_some_and(says)
    }

    /// Whether this is an answer, which is what training learns.
    pub fn is_answer(&self) -> bool {
        self.role() == "assistant"
    }

    /// Whether training learns it: an answer that neither a `weight` of 0 nor `train: false` takes out.
    pub fn is_learned(&self) -> bool {
        let weight = self.fields.get("weight").and_then(Value::as_f64);
        let train = self.fields.get("train").and_then(Value::as_bool);
        self.is_answer() && weight != Some(0.0) && train != Some(false)
    }

    /// Every key.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }
}

/// Whether a value of a message or a row says something: neither null nor white space, nor a list of nothing.
pub fn says(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => true,
    }
}
