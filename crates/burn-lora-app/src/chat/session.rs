//! What was said, and with which adapter the next answer is to be made.

use burn_lora_models::conversation::Message;
use burn_lora_text::nearest;

use super::{ChatError, Command};

/// A conversation and how it goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    system: Option<String>,
    /// Question, answer, question, … : an odd number while a question waits.
    turns: Vec<Message>,
    adapter: Option<String>,
    scale: f64,
}

/// What the caller has to do after a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// Make this adapter the active one, multiplied by the scale; none is the base model.
    Switch {
        /// Its name.
        adapter: Option<String>,
        /// Its multiplier.
        scale: f64,
    },
    /// Give the active adapter another multiplier.
    Scale(f64),
    /// Show the names of the adapters.
    ShowAdapters,
    /// Show the commands.
    ShowHelp,
    /// End.
    Quit,
}

impl Session {
    /// An empty conversation with an adapter, or with the base model, at a scale of 1.
    pub fn new(adapter: Option<String>) -> Self {
        Self { system: None, turns: Vec::new(), adapter, scale: 1.0 }
    }

    /// Does what a command says to the conversation, and says what is left to do.
    ///
    /// The conversation goes on when the adapter, the scale or the system text changes. The scale is
    /// kept from one adapter to the next.
    ///
    /// # Errors
    ///
    /// An adapter that is none of `known`; a scale while the base model is active. Nothing has
    /// changed then.
    pub fn apply<S: AsRef<str>>(
        &mut self,
        command: Command,
        known: &[S],
    ) -> Result<Change, ChatError> {
        match command {
            Command::Adapter(name) => {
                if !known.iter().any(|known| known.as_ref() == name) {
                    return Err(ChatError::UnknownAdapter {
                        nearest: nearest(&name, known).map(|near| near.as_ref().to_owned()),
                        known: known.iter().map(|name| name.as_ref().to_owned()).collect(),
                        name,
                    });
                }
                Ok(self.switch(Some(name)))
            }
            Command::Base => Ok(self.switch(None)),
            Command::Scale(_) if self.adapter.is_none() => Err(ChatError::NoAdapter),
            Command::Scale(scale) if scale == self.scale => Ok(Change::Nothing),
            Command::Scale(scale) => {
                self.scale = scale;
                Ok(Change::Scale(scale))
            }
            Command::System(text) => {
                self.system = text;
                Ok(Change::Nothing)
            }
            Command::Clear => {
                self.turns.clear();
                Ok(Change::Nothing)
            }
            Command::Adapters => Ok(Change::ShowAdapters),
            Command::Help => Ok(Change::ShowHelp),
            Command::Quit => Ok(Change::Quit),
        }
    }

    fn switch(&mut self, adapter: Option<String>) -> Change {
        if adapter == self.adapter {
            return Change::Nothing;
        }
        self.adapter.clone_from(&adapter);
        Change::Switch { adapter, scale: self.scale }
    }

    /// The user says something.
    ///
    /// # Errors
    ///
    /// What was said before has no answer yet.
    pub fn ask(&mut self, text: impl Into<String>) -> Result<(), ChatError> {
        if self.waits() {
            return Err(ChatError::Unanswered);
        }
        self.turns.push(Message::new("user", text));
        Ok(())
    }

    /// The assistant answers.
    ///
    /// # Errors
    ///
    /// Nothing waits for an answer.
    pub fn answer(&mut self, text: impl Into<String>) -> Result<(), ChatError> {
        if !self.waits() {
            return Err(ChatError::NothingAsked);
        }
        self.turns.push(Message::new("assistant", text));
        Ok(())
    }

    /// Takes back what waits for an answer, and returns it.
    pub fn undo(&mut self) -> Option<String> {
        if !self.waits() {
            return None;
        }
        self.turns.pop().and_then(|message| message.content().map(str::to_owned))
    }

    /// Whether the last message waits for an answer.
    pub fn waits(&self) -> bool {
        self.turns.len() % 2 == 1
    }

    /// Leaves out the oldest turns, each a message and its answer, until what is left has at most
    /// `max_tokens` by `count`; returns how many turns were left out.
    ///
    /// The system text and a message that waits for an answer stay.
    ///
    /// # Errors
    ///
    /// What has to stay is too long. Nothing has changed then.
    pub fn fit(
        &mut self,
        max_tokens: usize,
        count: &dyn Fn(&[Message]) -> usize,
    ) -> Result<usize, ChatError> {
        let mut kept = self.messages();
        let first = usize::from(self.system.is_some());
        let mut dropped = 0;
        loop {
            let tokens = count(&kept);
            if tokens <= max_tokens {
                self.turns.drain(..2 * dropped);
                return Ok(dropped);
            }
            if kept.len() < first + 2 {
                return Err(ChatError::TooLong { tokens, max_tokens });
            }
            kept.drain(first..first + 2);
            dropped += 1;
        }
    }

    /// The conversation, the system text first.
    pub fn messages(&self) -> Vec<Message> {
        let system = self.system.iter().map(|text| Message::new("system", text));
        system.chain(self.turns.iter().cloned()).collect()
    }

    /// The system text.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// The adapter that answers; none is the base model.
    pub fn adapter(&self) -> Option<&str> {
        self.adapter.as_deref()
    }

    /// What the adapter's effect is multiplied by.
    pub fn scale(&self) -> f64 {
        self.scale
    }
}
