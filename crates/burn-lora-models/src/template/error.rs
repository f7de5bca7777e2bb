//! What can go wrong with a chat template.

use std::fmt;
use std::path::PathBuf;

use super::jinja::{Cause, Fault};
use super::limits::{Limits, MAX_SOURCE};

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is larger than any that is read.
    #[error("`{}` has more than the {limit} bytes that are read: is it the right file?", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// In bytes.
        limit: u64,
    },
    /// A file is not the JSON that it should be.
    #[error("`{}` is not valid: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: serde_json::Error,
    },
    /// `chat_template` is neither a text nor a list of named texts.
    #[error(
        "`{}`: `chat_template` must be a text or a list of {{name, template}}; put the template \
         into `chat_template.jinja` beside it",
        path.display()
    )]
    Form {
        /// The `tokenizer_config.json`.
        path: PathBuf,
    },
    /// A list of templates has none to go by.
    #[error(
        "`{}` names the chat templates {} and none of them `default`; put the one to use into \
         `chat_template.jinja` beside it",
        path.display(),
        names.join(", ")
    )]
    NoDefault {
        /// The `tokenizer_config.json`.
        path: PathBuf,
        /// The names that there are.
        names: Vec<String>,
    },
    /// The template's text is too long to be one.
    #[error("the chat template has {bytes} bytes, more than the {MAX_SOURCE} that are read")]
    SourceTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The template is not Jinja.
    #[error("chat template, line {line}: {message}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A message holds something that the template leaves out.
    #[error(
        "`messages[{message}].{key}` is not written by this model's chat template, so nothing of it would be learned: write it into `content` as the model should, take a model whose template has it, or leave the key out"
    )]
    NotWritten {
        /// The message, counted from 0.
        message: usize,
        /// The key.
        key: &'static str,
    },
    /// A conversation begins with an answer, and the template writes no prompt of nothing.
    #[error(
        "the conversation begins with an answer, for which this model's chat template writes no prompt: put a message before it, or leave it out ({source})"
    )]
    NothingAsked {
        /// What it does wrong there.
        source: Box<TemplateError>,
    },
    /// A conversation has tools that the template leaves out.
    #[error(
        "the row's `tools` are not written by this model's chat template: take a model whose template has them (one that tokenizer_config.json lists as `tool_use` goes into `chat_template.jinja`), write them into the system text, or leave the key out"
    )]
    ToolsNotWritten,
    /// The template calls `raise_exception`.
    #[error("the chat template refuses these messages: {message}")]
    Raised {
        /// What it says.
        message: String,
    },
    /// The template does what cannot be done.
    #[error("chat template, line {line}: {message}")]
    Failed {
        /// The line, counted from 1.
        line: usize,
        /// What it did.
        message: String,
    },
    /// The template includes or imports another.
    #[error(
        "chat template, line {line}: it asks for another file, which is not done; write it out"
    )]
    Include {
        /// The line, counted from 1.
        line: usize,
    },
    /// The template asks for the date, and was given no clock.
    #[error("chat template, line {line}: it asks for the date, and was given none")]
    NoTime {
        /// The line, counted from 1.
        line: usize,
    },
    /// The template ran too long.
    #[error(
        "chat template, line {line}: it took more than {limit} steps; shorten the conversation, or the template"
    )]
    TooManySteps {
        /// The line, counted from 1.
        line: usize,
        /// How many were allowed.
        limit: u64,
    },
    /// The template keeps too much.
    #[error(
        "chat template, line {line}: its values take more than {limit} bytes; shorten the conversation, or the template"
    )]
    TooMuchMemory {
        /// The line, counted from 1.
        line: usize,
        /// In bytes.
        limit: usize,
    },
    /// The template called itself too often.
    #[error(
        "chat template, line {line}: it is nested deeper than {limit} levels of blocks, brackets and calls"
    )]
    TooDeep {
        /// The line, counted from 1.
        line: usize,
        /// How deep was allowed.
        limit: usize,
    },
    /// The template wrote too much.
    #[error(
        "the chat template wrote more than {limit} bytes; shorten the conversation, or the template"
    )]
    TooMuchOutput {
        /// In bytes.
        limit: usize,
    },
    /// What the template writes for a message changes with what comes after it.
    #[error(
        "messages[{message}]: {change}; answers cannot be told from prompts with this chat template"
    )]
    Unstable {
        /// The assistant's message, counted from 0.
        message: usize,
        /// What differs from what.
        change: Instability,
    },
    /// The template cannot write the conversation up to a message.
    #[error("messages[{message}]: the conversation up to here cannot be written: {source}")]
    Beginning {
        /// The assistant's message, counted from 0.
        message: usize,
        /// Why not.
        source: Box<TemplateError>,
    },
    /// A message without a role.
    #[error("a message has the keys {} and no `role` that is a text", keys.join(", "))]
    NoRole {
        /// The keys that it has.
        keys: Vec<String>,
    },
}

/// How a template fails to be stable in its prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instability {
    /// The prompt for an answer is not what stands before it.
    Prompt,
    /// An answer is written otherwise once messages follow.
    Later,
}

impl fmt::Display for Instability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prompt => "the prompt for this answer is not how the text with it begins",
            Self::Later => "the text up to this answer is not how the whole conversation begins",
        })
    }
}

impl TemplateError {
    pub(super) fn syntax(fault: Fault) -> Self {
        match fault.cause {
            Cause::Failed(message) => Self::Syntax { line: fault.line.max(1), message },
            _ => Self::rendering(fault, &Limits::DEFAULT),
        }
    }

    /// From what the engine says about a rendering.
    pub(super) fn rendering(fault: Fault, limits: &Limits) -> Self {
        let line = fault.line.max(1);
        match fault.cause {
            Cause::Failed(message) => Self::Failed { line, message },
            Cause::Raised(message) => Self::Raised { message },
            Cause::Include => Self::Include { line },
            Cause::NoTime => Self::NoTime { line },
            Cause::Steps => Self::TooManySteps { line, limit: limits.steps },
            Cause::Memory => Self::TooMuchMemory { line, limit: limits.memory },
            Cause::Depth => Self::TooDeep { line, limit: limits.depth },
            Cause::Output => Self::TooMuchOutput { limit: limits.output },
        }
    }
}
