//! Conversations as files write them: `messages`, ShareGPT's `conversations`, Alpaca's instructions.

use serde_json::Value;

use super::problem::RowProblem;
use super::read::Object;
use super::row::{Message, string, wrong};

/// The turns of a row with `messages` or `conversations`.
pub(super) fn messages(row: &Object) -> Result<Vec<Message>, RowProblem> {
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
                Ok(Message { role: role(part("from")?), content: part("value")? })
            } else {
                Ok(Message { role: part("role")?, content: part("content")? })
            }
        })
        .collect::<Result<_, _>>()?;
    if messages.iter().any(|message| message.role == "assistant") {
        Ok(messages)
    } else {
        Err(RowProblem::NoAssistant { roles: messages.into_iter().map(|m| m.role).collect() })
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

/// An instruction, with the input below it if there is one, and the answer.
pub(super) fn instruction(row: &Object) -> Result<Vec<Message>, RowProblem> {
    let mut content = string(row, "instruction")?;
    if !matches!(row.get("input"), None | Some(Value::Null)) {
        let input = string(row, "input")?;
        if !input.trim().is_empty() {
            content.push_str("\n\n");
            content.push_str(&input);
        }
    }
    let answer = string(row, "output")?;
    Ok(vec![
        Message { role: "user".to_owned(), content },
        Message { role: "assistant".to_owned(), content: answer },
    ])
}
