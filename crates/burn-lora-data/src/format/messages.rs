//! `messages`, or ShareGPT's `conversations`: a conversation of any number of turns.

use burn_lora_models::conversation::Message;
use serde_json::Value;

use super::{Holds, Key, Spec};
use crate::object::{Object, wrong};
use crate::problem::RowProblem;
use crate::row::Row;

pub(super) const SPEC: Spec = Spec {
    name: "messages",
    keys: &[Key {
        or: Some("conversations"),
        ..Key::new("messages", &["conversation", "dialog", "dialogue", "chat", "turns"])
    }],
    optional: &[],
    holds: Holds::Conversation,
    read: |row, _| Ok(Row::Messages(messages(row)?)),
};

/// The turns of a row with `messages` or `conversations`.
fn messages(row: &Object) -> Result<Vec<Message>, RowProblem> {
    let key = if row.contains_key("messages") { "messages" } else { "conversations" };
    let value = row.get(key);
    let Some(Value::Array(turns)) = value else {
        let shape =
            if key == "messages" { "a list of {role, content}" } else { "a list of {from, value}" };
        return Err(wrong(key, shape, value));
    };
    let messages: Vec<_> = turns
        .iter()
        .enumerate()
        .map(|(index, turn)| {
            let part = |name: &str| {
                turn.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
                    wrong(format!("{key}[{index}].{name}"), "a string", turn.get(name))
                })
            };
            // Each name of the list is met with each shape of turn.
            if turn.get("from").is_some() || (key == "conversations" && turn.get("role").is_none())
            {
                Ok(Message::new(role(part("from")?), part("value")?))
            } else {
                Ok(Message::new(part("role")?, part("content")?))
            }
        })
        .collect::<Result<_, _>>()?;
    if messages.iter().any(Message::is_answer) {
        Ok(messages)
    } else {
        let roles = messages.iter().map(|message| message.role().to_owned()).collect();
        Err(RowProblem::NoAssistant { roles })
    }
}

/// ShareGPT's names of those who speak, as they are called here; others stay.
fn role(from: String) -> String {
    match from.as_str() {
        "human" => "user".to_owned(),
        "gpt" => "assistant".to_owned(),
        _ => from,
    }
}
