//! Conversations as segments of tokens, those that the assistant writes marked.
//!
//! With a chat template ([`Encode::chat`]), segments are the template's. Without one, and with a
//! tokenizer that knows ChatML's tokens, a turn is `<|im_start|>role\ncontent<|im_end|>\n`.
//! Otherwise turns are lines, `role: content\n`, and the end token (if it is asked for) closes what
//! the assistant says. Content and closing token are what is learned, so that the model also learns
//! to stop. Each segment is encoded by itself: what stands before an answer is then, token by
//! token, the prompt to generate that answer from.

use super::row::Message;
use super::tokenizer::{Encode, EncodeError};

/// A run of tokens that either all carry loss or all do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) ids: Vec<u32>,
    pub(super) learned: bool,
}

/// The segments of a conversation; `eos` closes the assistant's turns where neither a template nor
/// ChatML does.
pub(super) fn segments(
    messages: &[Message],
    tokenizer: &dyn Encode,
    eos: Option<u32>,
) -> Result<Vec<Segment>, EncodeError> {
    if let Some(written) = tokenizer.chat(messages) {
        let encode = |(text, learned): (String, bool)| {
            Ok(Segment { ids: tokenizer.encode(&text, false)?, learned })
        };
        return written?.into_iter().map(encode).collect();
    }
    match ChatMl::of(tokenizer) {
        Some(tokens) => tokens.segments(messages, tokenizer),
        None => lines(messages, tokenizer, eos),
    }
}

/// Whether turns of such a conversation are closed without an end token of ours.
pub(super) fn closes_turns(messages: &[Message], tokenizer: &dyn Encode) -> bool {
    ChatMl::of(tokenizer).is_some() || tokenizer.chat(messages).is_some()
}

struct ChatMl {
    start: u32,
    end: u32,
}

impl ChatMl {
    fn of(tokenizer: &dyn Encode) -> Option<Self> {
        let start = tokenizer.token_to_id("<|im_start|>")?;
        let end = tokenizer.token_to_id("<|im_end|>")?;
        Some(Self { start, end })
    }

    fn segments(
        &self,
        messages: &[Message],
        tokenizer: &dyn Encode,
    ) -> Result<Vec<Segment>, EncodeError> {
        let newline = tokenizer.encode("\n", false)?;
        let mut segments = Vec::new();
        let mut given = Vec::new();
        for Message { role, content } in messages {
            given.push(self.start);
            if role == "assistant" {
                given.extend(tokenizer.encode("assistant\n", false)?);
                segments.push(Segment { ids: std::mem::take(&mut given), learned: false });
                let mut ids = tokenizer.encode(content, false)?;
                ids.push(self.end);
                segments.push(Segment { ids, learned: true });
            } else {
                given.extend(tokenizer.encode(&format!("{role}\n{content}"), false)?);
                given.push(self.end);
            }
            given.extend(&newline);
        }
        segments.push(Segment { ids: given, learned: false });
        Ok(segments)
    }
}

fn lines(
    messages: &[Message],
    tokenizer: &dyn Encode,
    eos: Option<u32>,
) -> Result<Vec<Segment>, EncodeError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut given = String::new();
    for Message { role, content } in messages {
        if role == "assistant" {
            // The space goes with the answer, as it does in the words of most vocabularies.
            given.push_str("assistant:");
            let ids = tokenizer.encode(&given, segments.is_empty())?;
            segments.push(Segment { ids, learned: false });
            given.clear();
            let ids = match eos {
                Some(eos) => {
                    let mut ids = tokenizer.encode(&format!(" {content}"), false)?;
                    ids.push(eos);
                    given.push('\n');
                    ids
                }
                None => tokenizer.encode(&format!(" {content}\n"), false)?,
            };
            segments.push(Segment { ids, learned: true });
        } else {
            given.push_str(&format!("{role}: {content}\n"));
        }
    }
    // What follows the last answer has no bearing on any target.
    Ok(segments)
}
