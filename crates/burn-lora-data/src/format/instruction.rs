//! Alpaca's `instruction`, `input` and `output`: a conversation of one question.

use burn_lora_models::conversation::Message;
use serde_json::Value;

use super::messages::system;
use super::{Holds, Key, Spec};
use crate::object::{Object, string, wrong};
use crate::problem::RowProblem;
use crate::row::Row;

pub(super) const SPEC: Spec = Spec {
    name: "instruction",
    keys: &[
        Key::new("instruction", &[]),
        Key::new("output", &["response", "answer", "completion", "target"]),
    ],
    optional: &["input", "system", "history"],
    holds: Holds::Conversation,
    read: |row, _| {
        let mut content = string(row, "instruction")?;
        if !matches!(row.get("input"), None | Some(Value::Null)) {
            let input = string(row, "input")?;
            if !input.trim().is_empty() {
                content.push_str("\n\n");
                content.push_str(&input);
            }
        }
        let mut messages: Vec<Message> = system(row)?.into_iter().collect();
        messages.extend(history(row)?);
        messages.push(Message::new("user", content));
        messages.push(Message::new("assistant", string(row, "output")?));
        Ok(Row::Messages(messages.into()))
    },
};

/// The turns before the instruction: `history`, a list of pairs of a question and its answer.
fn history(row: &Object) -> Result<Vec<Message>, RowProblem> {
    let pairs = match row.get("history") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(pairs)) => pairs,
        other => return Err(wrong("history", "a list of pairs of texts", other)),
    };
    let mut messages = Vec::with_capacity(2 * pairs.len());
    for (index, pair) in pairs.iter().enumerate() {
        match pair.as_array().map(Vec::as_slice) {
            Some([Value::String(question), Value::String(answer)]) => {
                messages.push(Message::new("user", question.as_str()));
                messages.push(Message::new("assistant", answer.as_str()));
            }
            _ => {
                let expected = "a pair of texts, as [\"question\", \"answer\"]";
                return Err(wrong(format!("history[{index}]"), expected, Some(pair)));
            }
        }
    }
    Ok(messages)
}
