//! What a template may use up.

use super::TemplateError;

/// The longest text, in bytes, that is parsed as a template; real ones have up to some ten thousand.
pub(super) const MAX_SOURCE: usize = 256 << 10;

/// What one rendering may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps: one for each part of an expression or statement that is evaluated and each item that is gone through, and one for every 64
    /// bytes that are copied or compared, 16 that are searched and 8 whose characters are looked at. They are the same on every machine.
    /// Qwen2.5's and Llama 3.1's templates take about a hundred a message.
    pub steps: u64,
    /// Bytes that the template's texts, lists and dictionaries hold at one time, its output among them and what it is given not.
    pub memory: usize,
    /// Levels of nested expressions, blocks and calls.
    pub depth: usize,
    /// The length of the text, in bytes.
    pub output: usize,
}

impl Limits {
    pub(super) const DEFAULT: Self =
        Self { steps: 5_000_000, memory: 64 << 20, depth: 400, output: 16 << 20 };
}

impl Default for Limits {
    /// Five million steps, about half a second; 64 MiB; 400 levels; a text of 16 MiB.
    fn default() -> Self {
        Self::DEFAULT
    }
}

pub(super) fn check_source(source: &str) -> Result<(), TemplateError> {
    match source.len() {
        bytes if bytes > MAX_SOURCE => Err(TemplateError::SourceTooLong { bytes }),
        _ => Ok(()),
    }
}
