//! A conversation split into what is given and what the assistant writes.
//!
//! No template says where its answers stand. They are found by rendering: the text up to an answer,
//! with the prompt for it, must be how the text with the answer begins, and that in turn how the
//! whole conversation begins. What an answer adds is what the model has to write.

use minijinja::Value;

use super::error::Instability;
use super::{ChatTemplate, Message, TemplateError, values};

/// A text for private use, which is in no token.
const MARK: &str = "\u{f8ff}";

/// A piece of a conversation's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The text, not empty.
    pub text: String,
    /// Whether the assistant writes it.
    pub learned: bool,
}

impl ChatTemplate {
    /// The text of a conversation, in segments: together they are `render(messages, false)`, and
    /// those learned are what each turn of the assistant adds to the prompt for it, with the token
    /// that ends the turn and without the white space behind that token. Where a template ends turns
    /// with nothing but white space, that is learned.
    ///
    /// The template writes the token that begins a text, if there is one: encode the segments without
    /// adding special tokens.
    ///
    /// # Errors
    ///
    /// A template that writes a turn otherwise once others follow it, as those do that leave out the
    /// reasoning of earlier turns; and what [`render`](Self::render) refuses.
    pub fn prompt_and_answers(&self, messages: &[Message]) -> Result<Vec<Segment>, TemplateError> {
        let values = values(messages);
        let whole = self.write(&values, false)?;
        let mut segments = Vec::new();
        let mut add = |text: &str, learned| {
            if !text.is_empty() {
                segments.push(Segment { text: text.to_owned(), learned });
            }
        };
        let mut done = 0;
        for (index, message) in messages.iter().enumerate() {
            if message.role() != "assistant" {
                continue;
            }
            let beginning = |count, prompt| {
                self.write(&values[..count], prompt).map_err(|source| TemplateError::Beginning {
                    message: index,
                    source: Box::new(source),
                })
            };
            let unstable = |change| TemplateError::Unstable { message: index, change };
            let prompt = beginning(index, true)?;
            let answered = beginning(index + 1, false)?;
            if !whole.starts_with(&answered) {
                return Err(unstable(Instability::Later));
            }
            let answer = answered.strip_prefix(&prompt);
            let (Some(answer), Some(given)) = (answer, whole.get(done..prompt.len())) else {
                return Err(unstable(Instability::Prompt));
            };
            let trimmed = answer.trim_end();
            let closed = !trimmed.is_empty() && self.closes(&values[..index], message, trimmed);
            let learned = if closed { trimmed } else { answer };
            add(given, false);
            add(learned, true);
            done = prompt.len() + learned.len();
        }
        add(&whole[done..], false);
        Ok(segments)
    }

    /// Whether the template closes an answer, written as `trimmed`, with more than white space.
    fn closes(&self, before: &[Value], message: &Message, trimmed: &str) -> bool {
        let Some(said) = message.content().map(str::trim_end) else { return true };
        if !said.is_empty() && !trimmed.ends_with(said) {
            return true;
        }
        // Either nothing follows, or the answer ends as the closing token does. An answer that no
        // token ends in tells the two apart.
        let mark = Message::clone(message).with("content", MARK.into());
        let marked: Vec<_> = before.iter().cloned().chain(values(&[mark])).collect();
        match self.write(&marked, false) {
            Ok(text) => !text.trim_end().ends_with(MARK),
            Err(_) => true,
        }
    }
}
