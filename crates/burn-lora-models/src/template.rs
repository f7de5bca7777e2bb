//! Chat templates: the Jinja programs in which Hugging Face models say how a conversation is written.
//!
//! Rendering is that of transformers' `apply_chat_template`: blocks are trimmed, `break` and
//! `continue` exist, as do `raise_exception`, `strftime_now`, a `tojson` like Python's, the methods
//! of Python's strings and dictionaries, and `{% generation %}`, whose content is rendered as if the
//! tags were not there. [`ChatTemplate::pieces`] splits a conversation into what is given and what the
//! assistant writes; as tokens, a [`Chat`](crate::conversation::Chat) has it.
//!
//! ```
//! use burn_lora_models::conversation::Message;
//! use burn_lora_models::template::ChatTemplate;
//!
//! let template = ChatTemplate::parse(
//!     "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}
//!      {%- if add_generation_prompt %}<|assistant|>{% endif %}",
//! )?;
//! let messages = [Message::new("user", "Hi"), Message::new("assistant", "Hello")];
//! assert_eq!(template.render(&messages[..1], true)?, "<|user|>Hi<|end|>\n<|assistant|>");
//!
//! let pieces = template.pieces(&messages, false)?;
//! let learned: Vec<_> = pieces.iter().filter(|p| p.learned).map(|p| p.text.as_str()).collect();
//! assert_eq!(learned, ["Hello<|end|>"]);
//! # Ok::<(), burn_lora_models::template::TemplateError>(())
//! ```
//!
//! A template comes with a model, from strangers. It reads no files and includes nothing, and [`Limits`] bound its steps, its memory, how
//! deep it is nested and what it writes; the engine (`jinja`) says how they hold.
//!
//! Left out: other templates than the default one of a list, and what the engine leaves out.

mod calls;
mod error;
mod files;
mod jinja;
mod limits;
mod pieces;
pub(crate) mod time;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Map;

pub use error::{Instability, TemplateError};
pub(crate) use files::map_decides;
pub use limits::Limits;
pub use pieces::Piece;

use crate::conversation::Message;
use jinja::{Program, Scope, Text, Value};

/// A parsed chat template, with the variables that it is given besides the messages.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    /// As it was given.
    source: String,
    program: Arc<Program>,
    variables: IndexMap<String, serde_json::Value>,
    time: Option<i64>,
    limits: Limits,
}

impl ChatTemplate {
    /// From the text of a template.
    ///
    /// # Errors
    ///
    /// A text that is too long or is not Jinja.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        limits::check_source(source)?;
        let program = Program::parse(source).map_err(TemplateError::syntax)?;
        let variables =
            ["tools", "documents"].map(|name| (name.to_owned(), serde_json::Value::Null));
        Ok(Self {
            source: source.to_owned(),
            program: Arc::new(program),
            variables: variables.into(),
            time: None,
            limits: Limits::default(),
        })
    }

    /// The text that it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The same with a variable more, or another value for one: `tools`, `enable_thinking`, …
    ///
    /// `messages` and `add_generation_prompt` are what [`render`](Self::render) is given, whatever
    /// is set here.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &serde_json::Value) -> Self {
        self.variables.insert(name.to_owned(), value.clone());
        self
    }

    /// Whether the template's text has this word anywhere: one that it has not cannot be a key that it reads.
    pub fn mentions(&self, word: &str) -> bool {
        self.source.contains(word)
    }

    /// The same with a clock, in seconds since 1970-01-01 00:00 of the wanted time zone.
    ///
    /// Without one there is no `strftime_now`, and the same messages always give the same text.
    #[must_use]
    pub fn with_time(mut self, seconds: i64) -> Self {
        self.time = Some(seconds);
        self
    }

    /// Its clock, if it has one.
    pub fn time(&self) -> Option<i64> {
        self.time
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The text of a conversation; with `add_generation_prompt`, up to where the assistant's answer
    /// begins.
    ///
    /// # Errors
    ///
    /// What the template refuses (for instance roles that do not alternate), what it does wrong, and
    /// a limit that it meets.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        self.write(&self.given(), &self.values(messages), add_generation_prompt)
    }

    /// The messages as the template sees them and as transformers gives them: without keys that are null, and with their reasoning under
    /// each name that templates know. The arguments of a call are what they say, where the template would write a text as JSON (a text of
    /// JSON once more in quotes is no call that anybody could read), and a text where it can do nothing with an object.
    fn values(&self, messages: &[Message]) -> Vec<Value> {
        type Other = fn(&Map<String, serde_json::Value>) -> Option<Map<String, serde_json::Value>>;
        let has = |other: Other| messages.iter().any(|message| other(message.fields()).is_some());
        let other: Other = if has(calls::unquoted) && self.quotes_arguments() {
            calls::unquoted
        } else if has(calls::quoted) && self.joins_arguments() {
            calls::quoted
        } else {
            |_| None
        };
        let value =
            |message: &Message| value(other(message.fields()).as_ref().unwrap_or(message.fields()));
        messages.iter().map(value).collect()
    }

    /// Whether the template takes the arguments of a call as a text alone, which it joins with others.
    fn joins_arguments(&self) -> bool {
        let written = |arguments: serde_json::Value| {
            let messages = [Message::new("user", "a"), calls::with(arguments)];
            self.write(&self.given(), &messages.map(|told| value(told.fields())), false)
        };
        written(calls::object()).is_err() && written(calls::text()).is_ok()
    }

    /// Whether the template writes the arguments of a call, given as a text, as JSON of a text.
    fn quotes_arguments(&self) -> bool {
        let messages = [Message::new("user", "a"), calls::with(calls::text())]
            .map(|told| value(told.fields()));
        let text = self.write(&self.given(), &messages, false);
        text.is_ok_and(|text| text.contains(calls::QUOTED))
    }

    /// The variables as the template sees them.
    fn given(&self) -> Scope {
        let variables = self.variables.iter();
        variables.map(|(name, value)| (Text::given(name), Value::given(value))).collect()
    }

    fn write(
        &self,
        given: &Scope,
        messages: &[Value],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        let mut variables = given.clone();
        let own = [
            ("messages", Value::given_list(messages.to_vec())),
            ("add_generation_prompt", Value::Bool(add_generation_prompt)),
        ];
        variables.extend(own.map(|(name, value)| (Text::given(name), value)));
        let text = self.program.render(&variables, self.time, self.limits);
        text.map_err(|fault| TemplateError::rendering(fault, &self.limits))
    }
}

/// Names under which a message has its reasoning. Templates read the first; gpt-oss's reads the second.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

fn value(fields: &Map<String, serde_json::Value>) -> Value {
    let told = REASONING.iter().any(|name| fields.contains_key(*name));
    if !told && !fields.values().any(serde_json::Value::is_null) {
        return Value::given_object(fields);
    }
    let mut fields = fields.clone();
    fields.retain(|_, value| !value.is_null());
    if let Some(reasoning) = REASONING.iter().find_map(|name| fields.get(*name)).cloned() {
        fields.insert(REASONING[0].to_owned(), reasoning.clone());
        fields.entry(REASONING[1]).or_insert(reasoning);
    }
    Value::given_object(&fields)
}
