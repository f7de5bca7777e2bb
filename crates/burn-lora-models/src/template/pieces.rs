//! A conversation split into what is given and what the assistant writes.
//!
//! No template says where its answers stand. They are found by rendering: what stands before an
//! answer must be how the prompt for it begins, that prompt how the text with the answer begins, and
//! all of it how the whole conversation begins. What an answer adds to its prompt is what the model
//! has to write.

use super::error::Instability;
use super::jinja::{Scope, Value};
use super::{ChatTemplate, TemplateError, value};
use crate::conversation::Message;

/// A text for private use, which is in no token.
const MARK: &str = "\u{f8ff}";

/// A piece of a conversation's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text, not empty.
    pub text: String,
    /// Whether the assistant writes it.
    pub learned: bool,
}

impl ChatTemplate {
    /// The text of a conversation, in pieces: together they are `render(messages,
    /// add_generation_prompt)`, and those learned are what each turn of the assistant that [is
    /// learned](Message::is_learned) adds to the
    /// prompt for it, with the token that ends the turn and without the white space behind that
    /// token. Where a template ends turns with nothing but white space, that is learned.
    ///
    /// The pieces of the messages before an answer, with `add_generation_prompt`, are the pieces
    /// that stand before that answer in any longer conversation.
    ///
    /// # Errors
    ///
    /// A template that writes a turn otherwise once others follow it, as those do that leave out the
    /// reasoning of earlier turns; and what [`render`](Self::render) refuses.
    pub fn pieces(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<Piece>, TemplateError> {
        let (given, values) = (self.given(), self.values(messages));
        let whole = self.write(&given, &values, add_generation_prompt)?;
        let mut written = Written::default();
        for (index, message) in messages.iter().enumerate().filter(|(_, m)| m.is_answer()) {
            let (prompt, answer) = self.answer_at(&given, &values, message, index)?;
            written.give(&prompt, index)?;
            written.add(&answer, message.is_learned());
            written.last_answer = Some(index);
        }
        written.give(&whole, messages.len())?;
        Ok(written.pieces)
    }

    /// What the last message, an answer, adds to the prompt for it, up to where [`pieces`](Self::pieces) would learn it. It can be asked
    /// of templates that write a turn otherwise once others follow it.
    ///
    /// # Errors
    ///
    /// What [`pieces`](Self::pieces) refuses of this one answer; no message at all.
    pub fn last_answer(&self, messages: &[Message]) -> Result<String, TemplateError> {
        let (given, values) = (self.given(), self.values(messages));
        match messages.split_last() {
            Some((message, before)) => {
                Ok(self.answer_at(&given, &values, message, before.len())?.1)
            }
            None => Ok(String::new()),
        }
    }

    /// The prompt for an answer, and what the answer adds to it.
    fn answer_at(
        &self,
        given: &Scope,
        values: &[Value],
        message: &Message,
        index: usize,
    ) -> Result<(String, String), TemplateError> {
        let beginning = |count, prompt| {
            self.write(given, &values[..count], prompt).map_err(|source| match count {
                0 => TemplateError::NothingAsked { source: Box::new(source) },
                _ => TemplateError::Beginning { message: index, source: Box::new(source) },
            })
        };
        let prompt = beginning(index, true)?;
        let answered = beginning(index + 1, false)?;
        let change = Instability::Prompt;
        let answer = answered
            .strip_prefix(&prompt)
            .ok_or(TemplateError::Unstable { message: index, change })?;
        let trimmed = answer.trim_end();
        let closed = !trimmed.is_empty() && self.closes(given, &values[..index], message, trimmed);
        let answer = if closed { trimmed } else { answer }.to_owned();
        Ok((prompt, answer))
    }

    /// Whether the template closes an answer, written as `trimmed`, with more than white space.
    fn closes(&self, given: &Scope, before: &[Value], message: &Message, trimmed: &str) -> bool {
        let Some(said) = message.content().map(str::trim_end) else { return true };
        if !said.is_empty() && !trimmed.ends_with(said) {
            return true;
        }
        // Either nothing follows, or the answer ends as the closing token does. An answer that no
        // token ends in tells the two apart.
        let mark = Message::clone(message).with("content", MARK.into());
        let marked: Vec<_> = before.iter().cloned().chain([value(mark.fields())]).collect();
        match self.write(given, &marked, false) {
            Ok(text) => !text.trim_end().ends_with(MARK),
            Err(_) => true,
        }
    }
}

/// What is written so far, which every longer text has to begin with.
#[derive(Default)]
struct Written {
    pieces: Vec<Piece>,
    text: String,
    last_answer: Option<usize>,
}

impl Written {
    /// Goes on to the end of `text`, the text up to the message with this number.
    fn give(&mut self, text: &str, message: usize) -> Result<(), TemplateError> {
        match text.strip_prefix(self.text.as_str()) {
            Some(given) => self.add(given, false),
            None => {
                // Only what an answer was written as can have changed.
                let message = self.last_answer.unwrap_or(message);
                return Err(TemplateError::Unstable { message, change: Instability::Later });
            }
        }
        Ok(())
    }

    fn add(&mut self, text: &str, learned: bool) {
        if !text.is_empty() {
            self.text.push_str(text);
            self.pieces.push(Piece { text: text.to_owned(), learned });
        }
    }
}
