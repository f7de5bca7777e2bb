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
//! A template comes with a model, from strangers. It reads no files and includes nothing, and
//! [`Limits`] bound its instructions, its recursion and what it writes. They do not bound what a
//! template keeps in variables: one made for the purpose can double a text until memory is gone, or
//! nest lists until freeing them takes more stack than there is. Use templates of models you trust.
//!
//! Left out: other templates than the default one of a list; tuples, which print as lists; Python's
//! way of printing lists and dictionaries inside of `~` and `join` (it is followed in `{{ … }}` and
//! `|string`).

mod error;
mod files;
mod generation;
mod json;
mod limits;
mod pieces;
mod python;
mod time;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, Value};

pub use error::{Instability, TemplateError};
pub use limits::Limits;
pub use pieces::Piece;

use crate::conversation::Message;
use error::Raised;
use limits::Bounded;

/// The name of the one template in its environment.
const NAME: &str = "chat_template";

/// A parsed chat template, with the variables that it is given besides the messages.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    /// As it was given.
    source: String,
    environment: Environment<'static>,
    variables: BTreeMap<String, Value>,
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
        let given = source.to_owned();
        // Python's Jinja knows only this line end once it has read a template.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        // Any name that is included or imported becomes one that does not exist, its own too.
        environment.set_path_join_callback(|_, _| "".into());
        python::install(&mut environment);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
            Err(Raised::error(message))
        });
        environment
            .add_template_owned(NAME, generation::as_scopes(&source))
            .map_err(|error| TemplateError::syntax(&error))?;
        let variables = ["tools", "documents"].map(|name| (name.to_owned(), Value::from(())));
        let mut template = Self {
            source: given,
            environment,
            variables: variables.into(),
            limits: Limits::default(),
        };
        template.set_limits(Limits::default());
        Ok(template)
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
        self.variables.insert(name.to_owned(), Value::from_serialize(value));
        self
    }

    /// The same with a clock, in seconds since 1970-01-01 00:00 of the wanted time zone.
    ///
    /// Without one there is no `strftime_now`, and the same messages always give the same text.
    #[must_use]
    pub fn with_time(mut self, seconds: i64) -> Self {
        self.environment
            .add_function("strftime_now", move |format: &str| time::strftime(format, seconds));
        self
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.set_limits(limits);
        self
    }

    fn set_limits(&mut self, limits: Limits) {
        self.environment.set_fuel(Some(limits.instructions));
        self.environment.set_recursion_limit(limits.recursion);
        self.limits = limits;
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
        self.write(&values(messages), add_generation_prompt)
    }

    fn write(
        &self,
        messages: &[Value],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        let mut variables = self.variables.clone();
        variables.insert("messages".to_owned(), Value::from(messages.to_vec()));
        variables.insert("add_generation_prompt".to_owned(), add_generation_prompt.into());
        let mut output = Bounded::new(self.limits.output);
        let done = self
            .environment
            .get_template(NAME)
            .and_then(|template| template.render_captured_to(Value::from(variables), &mut output))
            .map(drop);
        match done {
            Ok(()) => output.into_text(),
            Err(_) if output.is_full() => {
                Err(TemplateError::TooMuchOutput { limit: self.limits.output })
            }
            Err(error) => Err(TemplateError::rendering(&error, &self.limits)),
        }
    }
}

/// The messages as the template sees them.
fn values(messages: &[Message]) -> Vec<Value> {
    messages.iter().map(|message| Value::from_serialize(message.fields())).collect()
}
