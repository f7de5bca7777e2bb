//! The tokenizer of a model directory, as the data sets use it.

use burn_lora_models::template;
use burn_lora_models::tokenizer::Tokenizer;

use crate::data::{Cut, Encode, EncodeError, Message};

impl Encode for Tokenizer {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, EncodeError> {
        Ok(Self::encode(self, text, special)?)
    }

    fn encode_cut(&self, text: &str, max_length: usize) -> Result<Cut, EncodeError> {
        let ids = Self::encode(self, text, true)?;
        if ids.len() <= max_length {
            return Ok(Cut { ids, cut: false });
        }
        // What the post-processor adds is kept, and the text between it is cut, as Hugging Face's
        // truncation does; only a final special token is known of here.
        let special = Self::encode(self, "", true)?;
        let last = special.last().copied().filter(|last| ids.last() == Some(last));
        let kept = max_length.saturating_sub(usize::from(last.is_some()));
        let ids = ids.into_iter().take(kept).chain(last).collect();
        Ok(Cut { ids, cut: true })
    }

    fn eos(&self) -> Option<u32> {
        self.eos_ids().first().copied()
    }

    fn chat(&self, messages: &[Message]) -> Option<Result<Vec<(String, bool)>, EncodeError>> {
        let messages: Vec<template::Message> = messages
            .iter()
            .map(|Message { role, content }| template::Message::new(role, content))
            .collect();
        let segments = self.template()?.prompt_and_answers(&messages);
        let pairs = |segments: Vec<template::Segment>| {
            segments.into_iter().map(|segment| (segment.text, segment.learned)).collect()
        };
        Some(segments.map(pairs).map_err(Into::into))
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        Self::token_to_id(self, token)
    }
}
