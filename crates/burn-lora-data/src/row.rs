//! What a row holds, whatever format it was written in, and where it stood.

use std::fmt;
use std::ops::Deref;

use burn_lora_models::conversation::Message;
use serde_json::Value;

/// The turns of a conversation, and what it is about as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conversation {
    /// The turns.
    pub messages: Vec<Message>,
    /// The tools that can be called in it, as a template is given them.
    pub tools: Option<Value>,
}

impl From<Vec<Message>> for Conversation {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, tools: None }
    }
}

impl Deref for Conversation {
    type Target = [Message];

    fn deref(&self) -> &[Message] {
        &self.messages
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A conversation.
    Messages(Conversation),
    /// A prompt and what should follow it.
    PromptCompletion {
        /// What is given.
        prompt: String,
        /// What is to be written; of a row with several references, the first of them.
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

/// Where in its file a row stands; displayed as it follows the file's name in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The line, from 1; in a Parquet file, the row.
    Line(usize),
    /// In words: an article and a question of it.
    Named(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, ":{line}"),
            Self::Named(name) => write!(f, ": {name}"),
        }
    }
}

/// A row and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedRow {
    /// Where in the file.
    pub place: Place,
    /// The number of the article that it belongs to, where the file has articles: rows of one article
    /// are held out together, since they say the same.
    pub article: Option<usize>,
    /// The row.
    pub row: Row,
}
