//! What a template may use up.

use std::io;

use super::TemplateError;

/// The longest text, in bytes, that is parsed as a template; real ones have some thousand.
pub(super) const MAX_SOURCE: usize = 1 << 20;

/// What one rendering may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Instructions of the template engine. Qwen2.5's and Llama 3.1's templates take 35 a message.
    pub instructions: u64,
    /// Levels of nested blocks and calls; 500 is the most, more is taken as 500.
    pub recursion: usize,
    /// The length of the text, in bytes.
    pub output: usize,
}

impl Default for Limits {
    /// 200 000 instructions, 200 levels, 16 MiB.
    fn default() -> Self {
        Self { instructions: 200_000, recursion: 200, output: 16 << 20 }
    }
}

pub(super) fn check_source(source: &str) -> Result<(), TemplateError> {
    match source.len() {
        bytes if bytes > MAX_SOURCE => Err(TemplateError::SourceTooLong { bytes }),
        _ => Ok(()),
    }
}

/// Takes bytes up to a limit, and fails at the first beyond it.
pub(super) struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Bounded {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, full: false }
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn into_text(self) -> Result<String, TemplateError> {
        String::from_utf8(self.bytes)
            .map_err(|error| TemplateError::Failed { line: 1, message: error.to_string() })
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
