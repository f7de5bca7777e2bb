//! A conversation as the tokens of a model: the one room in which it is written, for training and for
//! generation alike.
//!
//! A [`Chat`] is made of a tokenizer and knows one [`ChatFormat`]: the chat template of the model's
//! files, or else ChatML where the vocabulary has its tokens, or else lines. The two that stand here
//! are templates as well, so that one walk over the conversation serves all three:
//!
//! | format | a turn | the prompt for an answer | written before the text |
//! | --- | --- | --- | --- |
//! | template | as the model's files have it | `add_generation_prompt` | nothing: the template writes it |
//! | ChatML | `<\|im_start\|>role\ncontent<\|im_end\|>\n` | `<\|im_start\|>assistant\n` | the tokenizer's special tokens |
//! | lines | `role: content\n`, answers closed by the end token | `assistant:` | the tokenizer's special tokens |
//!
//! What is learned of an answer is its content and the token that closes it, so that the model also
//! learns to stop. Every prompt and every answer is encoded by itself. Hence the law that training
//! rests on: the tokens of a training row up to an answer are, token by token, the [prompt](Chat::prompt)
//! for the messages before that answer.
//!
//! ```no_run
//! use burn_lora_models::conversation::{Chat, Message};
//! use burn_lora_models::tokenizer::Tokenizer;
//!
//! let tokenizer = Tokenizer::from_dir("models/smollm2-135m".as_ref())?;
//! let chat = Chat::of(&tokenizer);
//! let messages = [Message::new("user", "Hi"), Message::new("assistant", "Hello")];
//! let prompt = chat.prompt(&messages[..1])?;
//! let segments = chat.prompt_and_answers(&messages)?;
//! assert_eq!(segments[0].ids, prompt);
//! assert!(segments[1].learned);
//! # Ok::<(), burn_lora_models::ModelError>(())
//! ```
//!
//! Left out: images.

mod message;

use std::borrow::Cow;
use std::sync::OnceLock;

pub use message::{Message, says};

use crate::ModelError;
use crate::template::{ChatTemplate, Piece, TemplateError};
use crate::tokenizer::Tokenizer;

const CHAT_ML: &str = "{% for message in messages %}\
    {{ '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

// The space goes with the answer, as it does in the words of most vocabularies.
const LINES: &str = "{% for message in messages %}{{ message.role ~ ': ' ~ message.content }}\
    {% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}\
    {% if add_generation_prompt %}assistant:{% endif %}";

/// Keys of a message that hold something said beside its content.
const SPOKEN: [&str; 5] =
    ["tool_calls", "function_call", "reasoning_content", "reasoning", "thinking"];

/// How conversations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatFormat {
    /// As the chat template of the model's files says.
    Template,
    /// Turns between `<|im_start|>` and `<|im_end|>`, which the vocabulary has.
    ChatMl,
    /// A line a turn.
    Lines,
}

/// A run of tokens that either all carry loss or all do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The token ids, not empty.
    pub ids: Vec<u32>,
    /// What they were made of.
    pub text: String,
    /// Whether the assistant writes them.
    pub learned: bool,
}

/// Writes conversations as tokens.
#[derive(Debug, Clone)]
pub struct Chat<'a> {
    tokenizer: &'a Tokenizer,
    format: ChatFormat,
    template: Cow<'a, ChatTemplate>,
    /// Whether the template is given tools.
    tools: bool,
    /// The token that closes an answer, once it was asked for.
    closing: OnceLock<Option<u32>>,
}

impl<'a> Chat<'a> {
    /// Conversations as the tokenizer's model knows them.
    pub fn of(tokenizer: &'a Tokenizer) -> Self {
        let is_token =
            |token: &str| tokenizer.token_to_id(token).is_some_and(|id| tokenizer.is_added(id));
        let (format, template) = match tokenizer.template() {
            Some(template) => (ChatFormat::Template, Cow::Borrowed(template)),
            None if ["<|im_start|>", "<|im_end|>"].into_iter().all(is_token) => {
                (ChatFormat::ChatMl, Cow::Owned(built_in(CHAT_ML)))
            }
            None => (ChatFormat::Lines, Cow::Owned(lines(tokenizer.eos_token().as_deref()))),
        };
        Self { tokenizer, format, template, tools: false, closing: OnceLock::new() }
    }

    /// The same for a conversation in which these tools can be called: the template's variable `tools`.
    #[must_use]
    pub fn with_tools(&self, tools: &serde_json::Value) -> Self {
        let template = self.template.clone().into_owned().with_variable("tools", tools);
        Self { template: Cow::Owned(template), tools: true, ..self.clone() }
    }

    /// Whether the template may read this key of a message: its text has the word.
    pub fn may_read(&self, key: &str) -> bool {
        self.template.mentions(key)
    }

    /// The same without an end token behind the answers of [lines](ChatFormat::Lines), which the
    /// line break ends then.
    #[must_use]
    pub fn without_end_token(mut self) -> Self {
        if self.format == ChatFormat::Lines {
            self.template = Cow::Owned(lines(None));
            self.closing = OnceLock::new();
        }
        self
    }

    /// How conversations are written.
    pub fn format(&self) -> ChatFormat {
        self.format
    }

    /// The tokens that an answer to the messages is generated from.
    ///
    /// A template that cannot be trained with, since it writes turns otherwise once others follow
    /// them, still writes prompts.
    ///
    /// # Errors
    ///
    /// What the template refuses, or a text that cannot be encoded.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        Ok(self.given(messages)?.ids)
    }

    /// [`Self::prompt`] with its text.
    fn given(&self, messages: &[Message]) -> Result<Segment, ModelError> {
        let messages = &*self.closed_once(messages);
        self.writes_tools(messages)?;
        let pieces = match self.template.pieces(messages, true) {
            Err(TemplateError::Unstable { .. } | TemplateError::Beginning { .. }) => {
                let text = self.template.render(messages, true)?;
                vec![Piece { text, learned: false }]
            }
            pieces => pieces?,
        };
        let mut given = Segment { ids: Vec::new(), text: String::new(), learned: false };
        for Segment { ids, text, .. } in self.encode(pieces)? {
            given.ids.extend(ids);
            given.text.push_str(&text);
        }
        Ok(given)
    }

    /// [`Self::prompt`] of messages that somebody brought: what they hold beside their contents is in it, or refused.
    ///
    /// # Errors
    ///
    /// Those of [`Self::prompt`]; a key that the template does not write.
    pub fn prompt_of_all(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        self.writes_all(messages)?;
        self.prompt(messages)
    }

    /// The tokens of a conversation up to the end of its last answer, in segments: those learned are
    /// the answers. Of a conversation without an answer there are none.
    ///
    /// # Errors
    ///
    /// What the template refuses, a template that writes a turn otherwise once others follow it, or a
    /// text that cannot be encoded.
    pub fn prompt_and_answers(&self, messages: &[Message]) -> Result<Vec<Segment>, ModelError> {
        self.writes_all(messages)?;
        let messages = &*self.closed_once(messages);
        self.writes_tools(messages)?;
        self.encode(self.up_to_last_answer(messages)?)
    }

    fn up_to_last_answer(&self, messages: &[Message]) -> Result<Vec<Piece>, TemplateError> {
        let mut pieces = self.template.pieces(messages, false)?;
        // What follows the last answer has no bearing on any target.
        pieces.truncate(pieces.iter().rposition(|piece| piece.learned).map_or(0, |at| at + 1));
        Ok(pieces)
    }

    /// As [`prompt_and_answers`](Self::prompt_and_answers), of the last message alone, which is an answer: what stands before it is the
    /// [prompt](Self::prompt), and it alone is learned. So templates can be trained with that write a turn otherwise once others follow
    /// it, as those of reasoning models do.
    ///
    /// # Errors
    ///
    /// What the template refuses, or a text that cannot be encoded.
    pub fn prompt_and_last_answer(&self, messages: &[Message]) -> Result<Vec<Segment>, ModelError> {
        let Some((_, before)) = messages.split_last() else { return Ok(Vec::new()) };
        self.writes_all(messages)?;
        let text = self.template.last_answer(&self.closed_once(messages))?;
        let given = self.given(before)?;
        let answer = Segment { ids: self.tokenizer.encode(&text, false)?, text, learned: true };
        Ok([given, answer].into_iter().filter(|segment| !segment.ids.is_empty()).collect())
    }

    /// Sees to it that the tools that the template is given are in the text.
    fn writes_tools(&self, messages: &[Message]) -> Result<(), ModelError> {
        if !self.tools {
            return Ok(());
        }
        let none =
            self.template.clone().into_owned().with_variable("tools", &serde_json::Value::Null);
        let text = self.template.render(messages, true)?;
        // A template may refuse the messages without tools: then it is one that reads them.
        match none.render(messages, true) {
            Ok(without) if without == text => Err(TemplateError::ToolsNotWritten.into()),
            _ => Ok(()),
        }
    }

    /// Sees to it that what a message holds beside its content is in the text: what is not there cannot be learned, and nobody would
    /// see that it is missing.
    fn writes_all(&self, messages: &[Message]) -> Result<(), ModelError> {
        for (index, message) in messages.iter().enumerate() {
            for &key in SPOKEN.iter().filter(|key| message.has(key)) {
                let without = message.clone().with(key, serde_json::Value::Null);
                let others = [&messages[..index], &[without]].concat();
                // A template may refuse the message without it: then it is one that reads it.
                let Ok(text) = self.template.render(&others, false) else { continue };
                if self.template.render(&messages[..=index], false)? == text {
                    return Err(TemplateError::NotWritten { message: index, key }.into());
                }
            }
        }
        Ok(())
    }

    /// The token that closes an answer, where an added one does: what a model that was trained on
    /// conversations ends its answers with.
    pub fn answer_end(&self) -> Option<u32> {
        *self.closing.get_or_init(|| {
            let messages = [Message::new("user", "a"), Message::new("assistant", "a")];
            let segments = self.encode(self.up_to_last_answer(&messages).ok()?).ok()?;
            let last = *segments.last()?.ids.last()?;
            self.tokenizer.is_added(last).then_some(last)
        })
    }

    /// A text without the tokens at its end at which generation stops: data is found with them and without.
    pub fn without_end<'t>(&self, text: &'t str) -> &'t str {
        self.without(self.tokenizer.eos_ids(), text)
    }

    /// A text without the token that closes an answer, or one of these, at its end.
    fn without<'t>(&self, ends: &[u32], text: &'t str) -> &'t str {
        let ids = ends.iter().copied().chain(self.answer_end());
        let added = ids.filter(|&id| self.tokenizer.is_added(id));
        let ends: Vec<String> = added.filter_map(|id| self.tokenizer.id_to_token(id)).collect();
        let mut text = text;
        while let Some(before) =
            ends.iter().find_map(|end| text.trim_end().strip_suffix(end.as_str()))
        {
            text = before;
        }
        text
    }

    /// The messages, of which those answers that say their end themselves do so no more where the template says it.
    fn closed_once<'m>(&self, messages: &'m [Message]) -> Cow<'m, [Message]> {
        let mut messages = Cow::Borrowed(messages);
        if self.answer_end().is_none() {
            return messages;
        }
        for at in 0..messages.len() {
            let Some(content) = messages[at].content().filter(|_| messages[at].is_answer()) else {
                continue;
            };
            // Of several end tokens the others say something else: that a call is made, and the turn goes on.
            let first = self.tokenizer.eos_ids().get(..1).unwrap_or_default();
            let said = self.without(first, content);
            if said.len() < content.len() {
                let closed = messages[at].clone().with("content", said.into());
                messages.to_mut()[at] = closed;
            }
        }
        messages
    }

    fn encode(&self, pieces: Vec<Piece>) -> Result<Vec<Segment>, ModelError> {
        // Whatever begins a text is written once: by the template of the model's files, or here.
        let mut special = self.format != ChatFormat::Template;
        let mut segments = Vec::with_capacity(pieces.len());
        for Piece { text, learned } in pieces {
            let ids = match std::mem::take(&mut special) {
                true => self.tokenizer.encode_prompt(&text)?,
                false => self.tokenizer.encode(&text, false)?,
            };
            if !ids.is_empty() {
                segments.push(Segment { ids, text, learned });
            }
        }
        Ok(segments)
    }
}

fn lines(end: Option<&str>) -> ChatTemplate {
    built_in(LINES).with_variable("eos_token", &end.unwrap_or_default().into())
}

fn built_in(source: &str) -> ChatTemplate {
    ChatTemplate::parse(source).expect("the templates of this file are Jinja, as its tests show")
}
