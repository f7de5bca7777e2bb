//! Alpaca's `instruction`, `input` and `output`: a conversation of one question.

use burn_lora_models::conversation::Message;
use serde_json::Value;

use super::{Holds, Key, Spec};
use crate::object::string;
use crate::row::Row;

pub(super) const SPEC: Spec = Spec {
    name: "instruction",
    keys: &[
        Key::new("instruction", &[]),
        Key::new("output", &["response", "answer", "completion", "target"]),
    ],
    optional: &["input"],
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
        let answer = Message::new("assistant", string(row, "output")?);
        Ok(Row::Messages(vec![Message::new("user", content), answer]))
    },
};
