//! Why there is no text, inside of the engine.

/// What went wrong, and in which line of the template; 0 until it is known.
#[derive(Debug)]
pub(in crate::template) struct Fault {
    pub(in crate::template) line: usize,
    pub(in crate::template) cause: Cause,
}

#[derive(Debug)]
pub(in crate::template) enum Cause {
    /// What cannot be done, in words.
    Failed(String),
    /// What `raise_exception` was given.
    Raised(String),
    /// Another file is asked for.
    Include,
    /// The date is asked for, and there is no clock.
    NoTime,
    Steps,
    Memory,
    Depth,
    Output,
}

impl Fault {
    /// The same with a line, unless it has one: the innermost counts.
    pub(super) fn at(mut self, line: usize) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        Self { line: 0, cause }
    }
}

/// What cannot be done.
pub(super) fn failed<T>(message: impl Into<String>) -> Result<T, Fault> {
    Err(Cause::Failed(message.into()).into())
}
