//! What to generate from, and what should come out.

use burn_lora_models::ModelError;
use burn_lora_models::conversation::{Chat, Message};
use burn_lora_models::tokenizer::Tokenizer;

use crate::classes::other_format;
use crate::error::DataError;
use crate::example::{Tokenization, encode_error, endings, of_conversation};
use crate::row::{Conversation, PlacedRow, Row};
use crate::row_file::RowFile;

/// What to generate from, and what should come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The token ids to generate from.
    pub ids: Vec<u32>,
    /// What they say.
    pub text: String,
    /// The text to expect, without the end token; white space around it has no meaning.
    pub expected: String,
    /// The texts that would be as right.
    pub alternatives: Vec<String>,
}

impl Prompt {
    /// Every text that is right, the expected one first.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        [&self.expected].into_iter().chain(&self.alternatives).map(String::as_str)
    }
}

/// What to generate from for every row, and the text to expect, with those that would be as right; of
/// a conversation, its last answer. Texts have none. Prompts are not cut.
///
/// # Errors
///
/// Classification rows, or a text that cannot be encoded.
pub fn prompts(
    file: &RowFile,
    tokenizer: &Tokenizer,
    how: &Tokenization,
) -> Result<Vec<Prompt>, DataError> {
    let (chat, _) = endings(file, tokenizer, how)?;
    let mut prompts = Vec::with_capacity(file.rows.len());
    for PlacedRow { place, row, .. } in &file.rows {
        let prompt = match row {
            Row::PromptCompletion { prompt, completion, alternatives } => {
                let text = prompt.clone() + &how.separator;
                let said = |text: &String| chat.without_end(text).to_owned();
                let (expected, alternatives) =
                    (said(completion), alternatives.iter().map(said).collect());
                tokenizer
                    .encode_prompt(&text)
                    .map(|ids| Some(Prompt { ids, text, expected, alternatives }))
            }
            Row::Messages(messages) => last_answer(messages, &chat),
            Row::Text(_) => Ok(None),
            Row::Classification { .. } => return Err(other_format(file)),
        };
        prompts.extend(prompt.map_err(|source| encode_error(file, place, source))?);
    }
    Ok(prompts)
}

fn last_answer(conversation: &Conversation, chat: &Chat<'_>) -> Result<Option<Prompt>, ModelError> {
    let chat = of_conversation(chat, conversation);
    let messages = &conversation.messages;
    let Some(last) = messages.iter().rposition(Message::is_answer) else {
        return Ok(None);
    };
    let said = |message: &Message| message.content().unwrap_or_default().to_owned();
    let before = messages[..last].iter().map(|m| format!("{}: {}", m.role(), said(m)));
    Ok(Some(Prompt {
        ids: chat.prompt(&messages[..last])?,
        text: before.collect::<Vec<_>>().join("\n"),
        expected: chat.without_end(&said(&messages[last])).to_owned(),
        alternatives: Vec::new(),
    }))
}
