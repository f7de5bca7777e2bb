//! Texts, which are made piece by piece so that the meter is asked before each grows.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::fault::{Cause, Fault};
use super::meter;
use super::value::Value;

/// What a text takes beside its bytes.
const OVERHEAD: usize = 64;

/// A text that does not change.
#[derive(Clone)]
pub(in crate::template) struct Text(Arc<Inner>);

struct Inner {
    text: String,
    held: usize,
    escaped: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        meter::release(self.held);
    }
}

impl Text {
    /// A text of the template's source or of what it is given, which is not the template's to count.
    pub(in crate::template) fn given(text: &str) -> Self {
        Self(Arc::new(Inner { text: text.to_owned(), held: 0, escaped: false }))
    }

    /// A copy.
    pub(super) fn made(text: &str) -> Result<Self, Fault> {
        let mut maker = TextMaker::new();
        maker.push(text)?;
        maker.finish()
    }

    /// Whether it was escaped, or marked as if it were: what is added to it is escaped as well.
    pub(super) fn is_escaped(&self) -> bool {
        self.0.escaped
    }

    /// Whether both are one and the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0.text
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A text in the making.
pub(super) struct TextMaker {
    text: String,
    held: usize,
    most: usize,
}

impl TextMaker {
    pub(super) fn new() -> Self {
        Self { text: String::new(), held: 0, most: usize::MAX }
    }

    /// What the template writes, which has a limit of its own.
    pub(super) fn output() -> Self {
        let mut maker = Self::new();
        maker.most = meter::longest_output();
        maker
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), Fault> {
        self.grow(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub(super) fn push_char(&mut self, c: char) -> Result<(), Fault> {
        self.grow(c.len_utf8())?;
        self.text.push(c);
        Ok(())
    }

    pub(super) fn push_times(&mut self, text: &str, times: usize) -> Result<(), Fault> {
        self.grow(text.len().saturating_mul(times))?;
        let times = if text.is_empty() { 0 } else { times };
        (0..times).for_each(|_| self.text.push_str(text));
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn finish(self) -> Result<Text, Fault> {
        self.finish_as(false)
    }

    fn finish_as(mut self, escaped: bool) -> Result<Text, Fault> {
        meter::hold(OVERHEAD)?;
        let held = std::mem::take(&mut self.held) + OVERHEAD;
        Ok(Text(Arc::new(Inner { text: std::mem::take(&mut self.text), held, escaped })))
    }

    /// A text that counts as escaped.
    pub(super) fn escaped(self) -> Result<Value, Fault> {
        self.finish_as(true).map(Value::Text)
    }

    /// Writes `& < > " '` as HTML has them.
    pub(super) fn push_escaped(&mut self, text: &str) -> Result<(), Fault> {
        meter::letters(text.len())?;
        for c in text.chars() {
            match c {
                '&' => self.push("&amp;")?,
                '<' => self.push("&lt;")?,
                '>' => self.push("&gt;")?,
                '"' => self.push("&#34;")?,
                '\'' => self.push("&#39;")?,
                c => self.push_char(c)?,
            }
        }
        Ok(())
    }

    pub(super) fn value(self) -> Result<Value, Fault> {
        self.finish().map(Value::Text)
    }

    /// What was written, which leaves the engine.
    pub(super) fn into_output(mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn grow(&mut self, more: usize) -> Result<(), Fault> {
        let length = self.text.len().saturating_add(more);
        if length > self.most {
            return Err(Cause::Output.into());
        }
        if length > self.held {
            let room = length.max(self.held.saturating_mul(2).min(self.held + (1 << 20)));
            meter::hold(room - self.held)?;
            self.held = room;
            self.text.reserve_exact(room - self.text.len());
        }
        Ok(())
    }
}

impl Drop for TextMaker {
    fn drop(&mut self) {
        meter::release(self.held);
    }
}
