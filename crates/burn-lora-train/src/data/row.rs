//! The forms that a row can have, and how a JSON object is read as one.

use std::fmt;

use serde_json::{Map, Value};

use super::error::RowProblem;

/// What a row of a data file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `messages`: a list of `{role, content}`; what the assistant says is learned.
    Messages,
    /// `prompt` and `completion`; the completion is learned.
    PromptCompletion,
    /// `text` alone; all of it is learned.
    Text,
    /// `text` and `label`; the label is learned.
    Classification,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] =
        [Self::Messages, Self::PromptCompletion, Self::Text, Self::Classification];

    /// The name in configurations and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::PromptCompletion => "prompt-completion",
            Self::Text => "text",
            Self::Classification => "classification",
        }
    }

    /// The keys that a row of this format must have; others are passed over.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Messages => &["messages"],
            Self::PromptCompletion => &["prompt", "completion"],
            Self::Text => &["text"],
            Self::Classification => &["text", "label"],
        }
    }

    /// The format with the most keys among those whose keys are all there.
    pub(super) fn of(row: &Map<String, Value>) -> Option<Self> {
        // In this order, a row with text and label is a classification before it is a text.
        [Self::Messages, Self::PromptCompletion, Self::Classification, Self::Text]
            .into_iter()
            .find(|format| format.keys().iter().all(|key| row.contains_key(*key)))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant` or another name.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// The class of a row as the file names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// A number.
    Number(i64),
    /// A name.
    Name(String),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A conversation.
    Messages(Vec<Message>),
    /// A prompt and what should follow it.
    PromptCompletion {
        /// What is given.
        prompt: String,
        /// What is to be written.
        completion: String,
    },
    /// A text.
    Text(String),
    /// A text and its class.
    Classification {
        /// The text.
        text: String,
        /// Its class.
        label: Label,
    },
}

impl Row {
    /// Reads an object as a row of `format`.
    pub(super) fn from_json(row: &Map<String, Value>, format: Format) -> Result<Self, RowProblem> {
        let missing: Vec<_> =
            format.keys().iter().copied().filter(|key| !row.contains_key(*key)).collect();
        if !missing.is_empty() {
            return Err(RowProblem::Keys {
                format,
                missing,
                found: row.keys().cloned().collect(),
                other: Format::of(row),
            });
        }
        Ok(match format {
            Format::Messages => Self::Messages(messages(row)?),
            Format::PromptCompletion => Self::PromptCompletion {
                prompt: string(row, "prompt")?,
                completion: string(row, "completion")?,
            },
            Format::Text => Self::Text(string(row, "text")?),
            Format::Classification => {
                Self::Classification { text: string(row, "text")?, label: label(row)? }
            }
        })
    }
}

fn string(row: &Map<String, Value>, key: &'static str) -> Result<String, RowProblem> {
    match row.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => Err(wrong(key, "a string", other)),
    }
}

fn label(row: &Map<String, Value>) -> Result<Label, RowProblem> {
    let value = row.get("label");
    let label = match value {
        Some(Value::String(name)) => Some(Label::Name(name.clone())),
        Some(Value::Number(number)) => number.as_i64().map(Label::Number),
        _ => None,
    };
    label.ok_or_else(|| wrong("label", "a string or a whole number", value))
}

fn messages(row: &Map<String, Value>) -> Result<Vec<Message>, RowProblem> {
    let value = row.get("messages");
    let Some(Value::Array(turns)) = value else {
        return Err(wrong("messages", "a list of {role, content}", value));
    };
    let messages: Vec<_> = turns
        .iter()
        .enumerate()
        .map(|(index, turn)| {
            let part = |key: &str| {
                turn.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
                    wrong(format!("messages[{index}].{key}"), "a string", turn.get(key))
                })
            };
            Ok(Message { role: part("role")?, content: part("content")? })
        })
        .collect::<Result<_, _>>()?;
    if messages.iter().any(|message| message.role == "assistant") {
        Ok(messages)
    } else {
        Err(RowProblem::NoAssistant { roles: messages.into_iter().map(|m| m.role).collect() })
    }
}

fn wrong(key: impl Into<String>, expected: &'static str, found: Option<&Value>) -> RowProblem {
    let found = match found {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "true or false",
        Some(Value::Number(number)) if number.is_f64() => "a number with a fraction",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
    };
    RowProblem::Type { key: key.into(), expected, found }
}
