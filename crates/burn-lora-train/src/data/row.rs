//! The forms that a row can have, and how a JSON object is read as one.

use std::fmt;

use serde_json::Value;

use super::conversation;
use super::problem::RowProblem;
use super::read::Object;

/// What a row of a data file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `messages`: a list of `{role, content}`, or ShareGPT's `conversations`, a list of
    /// `{from, value}`; what the assistant says is learned.
    Messages,
    /// Alpaca's `instruction` and `output`, with an optional `input`: a conversation of one
    /// question, the input below the instruction, and its answer, which is learned.
    Instruction,
    /// `prompt` and `completion`; the completion is learned. Or `prompt` and `references`, a list of
    /// texts that are all right: the first is learned, and what is generated is scored by all.
    PromptCompletion,
    /// `text` alone; all of it is learned.
    Text,
    /// `text` and `label`; the label is learned.
    Classification,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [
        Self::Messages,
        Self::Instruction,
        Self::PromptCompletion,
        Self::Text,
        Self::Classification,
    ];

    /// The name in configurations and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Instruction => "instruction",
            Self::PromptCompletion => "prompt-completion",
            Self::Text => "text",
            Self::Classification => "classification",
        }
    }

    /// The keys that a row of this format must have; others are passed over. `conversations` may
    /// stand for `messages`, and `references` for `completion`.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Messages => &["messages"],
            Self::Instruction => &["instruction", "output"],
            Self::PromptCompletion => &["prompt", "completion"],
            Self::Text => &["text"],
            Self::Classification => &["text", "label"],
        }
    }

    /// Whether rows are conversations, written as the tokenizer's chat has it.
    pub fn is_conversation(self) -> bool {
        matches!(self, Self::Messages | Self::Instruction)
    }

    /// The keys of this format that a row lacks.
    fn missing(self, row: &Object) -> Vec<&'static str> {
        let there = |key: &str| {
            row.contains_key(key) || stand_in(key).is_some_and(|other| row.contains_key(other))
        };
        self.keys().iter().copied().filter(|key| !there(key)).collect()
    }

    /// The first format whose keys are all there.
    pub(super) fn of(row: &Object) -> Option<Self> {
        // In this order, a row that also has a text is that text only if it is nothing else: Alpaca
        // rows carry one, ready-made.
        [
            Self::Messages,
            Self::PromptCompletion,
            Self::Instruction,
            Self::Classification,
            Self::Text,
        ]
        .into_iter()
        .find(|format| format.missing(row).is_empty())
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The key that may stand for this one.
pub(super) fn stand_in(key: &str) -> Option<&'static str> {
    match key {
        "messages" => Some("conversations"),
        "completion" => Some("references"),
        _ => None,
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
        /// What is to be written; of a row with `references`, the first of them.
        completion: String,
        /// What would be as right: the other references.
        alternatives: Vec<String>,
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
    pub(super) fn from_json(row: &Object, format: Format) -> Result<Self, RowProblem> {
        let missing = format.missing(row);
        if !missing.is_empty() {
            return Err(RowProblem::Keys {
                format,
                missing,
                found: row.keys().cloned().collect(),
                other: Format::of(row),
            });
        }
        Ok(match format {
            Format::Messages => Self::Messages(conversation::messages(row)?),
            Format::Instruction => Self::Messages(conversation::instruction(row)?),
            Format::PromptCompletion => {
                let prompt = string(row, "prompt")?;
                let (completion, alternatives) = completions(row)?;
                Self::PromptCompletion { prompt, completion, alternatives }
            }
            Format::Text => Self::Text(string(row, "text")?),
            Format::Classification => {
                Self::Classification { text: string(row, "text")?, label: label(row)? }
            }
        })
    }
}

/// The string at `key`.
pub(super) fn string(row: &Object, key: &'static str) -> Result<String, RowProblem> {
    match row.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => Err(wrong(key, "a string", other)),
    }
}

/// What a row wants written, and what would be as right. `references` counts where there is no
/// `completion`; a Parquet file that has both columns has nulls in one of them.
fn completions(row: &Object) -> Result<(String, Vec<String>), RowProblem> {
    let value = match (row.get("completion"), row.get("references")) {
        (None | Some(Value::Null), Some(value)) => value,
        _ => return Ok((string(row, "completion")?, Vec::new())),
    };
    let Value::Array(references) = value else {
        return Err(wrong("references", "a list of strings, as [\"…\", \"…\"]", Some(value)));
    };
    let mut texts = references.iter().enumerate().map(|(index, text)| match text {
        Value::String(text) if text.trim().is_empty() => Err(RowProblem::EmptyReference { index }),
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong(format!("references[{index}]"), "a string", Some(other))),
    });
    let first = texts.next().ok_or(RowProblem::NoReferences)??;
    Ok((first, texts.collect::<Result<_, _>>()?))
}

fn label(row: &Object) -> Result<Label, RowProblem> {
    let value = row.get("label");
    let label = match value {
        Some(Value::String(name)) => Some(Label::Name(name.clone())),
        Some(Value::Number(number)) => number.as_i64().map(Label::Number),
        _ => None,
    };
    label.ok_or_else(|| wrong("label", "a string or a whole number", value))
}

/// That another type is needed than the value has.
pub(super) fn wrong(
    key: impl Into<String>,
    expected: &'static str,
    found: Option<&Value>,
) -> RowProblem {
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
