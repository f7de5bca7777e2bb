//! The forms that a row can have.
//!
//! What there is to know of a format stands in a [`Spec`] of its own file: its name, its keys, and how
//! an object with them is read. The order of [`Format::ALL`] is that in which the keys of a row are
//! tried.

mod classification;
mod instruction;
mod messages;
mod prompt_completion;
mod squad;
mod text;

use std::fmt;

pub use messages::conversation;
pub use squad::{Squad, SquadTemplate, SquadTemplateError};

use crate::object::Object;
use crate::problem::RowProblem;
use crate::row::Row;
use crate::row_file::Reading;

/// What a row of a data file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `messages`: a list of `{role, content}`, or ShareGPT's `conversations`, a list of
    /// `{from, value}`; what the assistant says is learned.
    Messages,
    /// `prompt` and `completion`; the completion is learned. Or `prompt` and `references`, a list of
    /// texts that are all right: the first is learned, and what is generated is scored by all.
    PromptCompletion,
    /// Alpaca's `instruction` and `output`, with an optional `input`: a conversation of one
    /// question, the input below the instruction, and its answer, which is learned.
    Instruction,
    /// SQuAD's `context`, `question` and `answers`, in rows or in the nested file that the data set
    /// comes in: a prompt by a [template](Squad), and the answer, which is learned.
    Squad,
    /// `text` and `label`; the label is learned.
    Classification,
    /// `text` alone; all of it is learned.
    Text,
}

/// What there is to know of a format.
pub(crate) struct Spec {
    /// The name in configurations and messages.
    pub(crate) name: &'static str,
    /// The keys that a row must have.
    pub(crate) keys: &'static [Key],
    /// Keys that it may have besides.
    pub(crate) optional: &'static [&'static str],
    /// What its rows are.
    pub(crate) holds: Holds,
    /// Reads a row that has the keys.
    pub(crate) read: fn(&Object, &Reading) -> Result<Row, RowProblem>,
}

/// A key that a row must have.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The key that may stand for it.
    pub(crate) or: Option<&'static str>,
    /// What other tools call it.
    pub(crate) elsewhere: &'static [&'static str],
}

impl Key {
    const fn new(name: &'static str, elsewhere: &'static [&'static str]) -> Self {
        Self { name, or: None, elsewhere }
    }

    /// Whether the name is this key, or the one that may stand for it.
    pub(crate) fn is(&self, name: &str) -> bool {
        name == self.name || self.or == Some(name)
    }
}

/// What a row is turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A conversation, written as the tokenizer's model has it.
    Conversation,
    /// A prompt and a completion, or one text.
    Text,
    /// A text and its class.
    Label,
}

impl Format {
    /// Every format, in the order in which the keys of a row are tried: a row that also has a text is
    /// that text only if it is nothing else, since Alpaca's rows carry one, ready-made.
    pub const ALL: [Self; 6] = [
        Self::Messages,
        Self::PromptCompletion,
        Self::Instruction,
        Self::Squad,
        Self::Classification,
        Self::Text,
    ];

    pub(crate) fn spec(self) -> &'static Spec {
        match self {
            Self::Messages => &messages::SPEC,
            Self::PromptCompletion => &prompt_completion::SPEC,
            Self::Instruction => &instruction::SPEC,
            Self::Squad => &squad::SPEC,
            Self::Classification => &classification::SPEC,
            Self::Text => &text::SPEC,
        }
    }

    /// The name in configurations and messages.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// Whether rows are conversations, written as the tokenizer's chat has it.
    pub fn is_conversation(self) -> bool {
        self.spec().holds == Holds::Conversation
    }

    /// Whether a row of this format is read by that key: of two that may stand for one another, one is.
    pub(crate) fn reads(self, name: &str, row: &Object) -> bool {
        let is_there = |name: &str| row.get(name).is_some_and(|value| !value.is_null());
        let stands_beside = |key: &Key| key.or == Some(name) && is_there(key.name);
        self.has(name) && !self.spec().keys.iter().any(stands_beside)
    }

    /// Whether rows of this format have such a key.
    pub(crate) fn has(self, name: &str) -> bool {
        let spec = self.spec();
        spec.keys.iter().any(|key| key.is(name)) || spec.optional.contains(&name)
    }

    /// The keys of this format that a row lacks.
    pub(crate) fn missing(self, row: &Object) -> Vec<&'static str> {
        let lacks = |key: &&Key| !row.keys().any(|name| key.is(name));
        self.spec().keys.iter().filter(lacks).map(|key| key.name).collect()
    }

    /// The first format whose keys are all there. One whose keys are all null is that of other rows of a joined table, and is
    /// this row's where there is no other.
    pub(crate) fn of(row: &Object) -> Option<Self> {
        let fitting = || Self::ALL.into_iter().filter(|format| format.missing(row).is_empty());
        let says = |format: &Self| {
            row.iter().any(|(name, value)| {
                !value.is_null() && format.spec().keys.iter().any(|key| key.is(name))
            })
        };
        fitting().find(says).or_else(|| fitting().next())
    }

    /// Reads an object as a row of this format.
    pub(crate) fn read(self, row: &Object, reading: &Reading) -> Result<Row, RowProblem> {
        let missing = self.missing(row);
        if !missing.is_empty() {
            return Err(RowProblem::Keys {
                format: self,
                missing,
                found: row.keys().cloned().collect(),
                other: Self::of(row),
            });
        }
        (self.spec().read)(row, reading)
    }
}

/// Whether some format has this key.
#[cfg(feature = "parquet")]
pub(crate) fn is_known(key: &str) -> bool {
    let specs = Format::ALL.iter().map(|format| format.spec());
    specs
        .into_iter()
        .any(|spec| spec.keys.iter().any(|known| known.is(key)) || spec.optional.contains(&key))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
