//! `messages`, or ShareGPT's `conversations`: a conversation of any number of turns.

use burn_lora_models::conversation::{Message, says};
use serde_json::Value;

use super::{Holds, Key, Spec};
use crate::elsewhere::{answers_elsewhere, elsewhere, roles};
use crate::object::{Object, wrong};
use crate::problem::RowProblem;
use crate::row::{Conversation, Row};

pub(super) const SPEC: Spec = Spec {
    name: "messages",
    keys: &[Key {
        or: Some("conversations"),
        ..Key::new("messages", &["conversation", "dialog", "dialogue", "chat", "turns", "chosen"])
    }],
    optional: &["system", "tools", "functions"],
    holds: Holds::Conversation,
    read: |row, _| {
        let conversation = conversation(row)?;
        learned(row, &conversation)?;
        Ok(Row::Messages(conversation))
    },
};

/// The turns of a row and its tools, as training reads them, whether anything of them is to be learned or not.
///
/// # Errors
///
/// A row without turns, and turns that are not read.
pub fn conversation(row: &Object) -> Result<Conversation, RowProblem> {
    // What is wrong with a turn of another interface is that it is one.
    let messages = turns(row).map_err(|problem| elsewhere(row).unwrap_or(problem))?;
    Ok(Conversation { messages, tools: tools(row)? })
}

/// The key of a row's turns.
fn key(row: &Object) -> &'static str {
    // A table that has both columns has nulls in one of them.
    let has = |key: &str| row.get(key).is_some_and(|value| !value.is_null());
    if has("messages") || !has("conversations") { "messages" } else { "conversations" }
}

/// The turns of a row with `messages` or `conversations`, after the row's own `system` text.
fn turns(row: &Object) -> Result<Vec<Message>, RowProblem> {
    let key = key(row);
    let value = row.get(key);
    let Some(Value::Array(turns)) = value.and_then(or_in_text) else {
        let shape = match key {
            "messages" => "a list of {role, content}, or a text of JSON with one",
            _ => "a list of {from, value}, or a text of JSON with one",
        };
        return Err(wrong(key, shape, value));
    };
    let turn = |(index, turn)| message(key, index, turn);
    let told = turns.iter().enumerate().map(turn);
    system(row)?.into_iter().map(Ok).chain(told).collect()
}

/// A value, or the one in a text of JSON: a table has no lists, and a cell of it holds one as a text.
fn or_in_text(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(text).ok(),
        value => Some(value.clone()),
    }
}

/// Sees to it that something is learned of the turns of a row.
fn learned(row: &Object, messages: &[Message]) -> Result<(), RowProblem> {
    // Beside answers that are learned those of other names would not be.
    let others = messages.iter().any(|message| answers_elsewhere(message.role()));
    if messages.iter().any(Message::is_learned) && !others {
        return Ok(());
    }
    if messages.iter().any(Message::is_answer) && !others {
        return Err(RowProblem::NothingLearned);
    }
    let names: Vec<String> = messages.iter().map(|message| message.role().to_owned()).collect();
    let key = key(row);
    let mut turns = row.get(key).and_then(Value::as_array).into_iter().flatten();
    let field = if turns.any(|turn| turn.get("from").is_some()) { "from" } else { "role" };
    let way = roles(key, field, &names);
    Err(RowProblem::NoAssistant { roles: names, way })
}

/// The tools of a row: `tools`, or the `functions` of older files, each of which is a tool; a list, or a text of JSON with one.
fn tools(row: &Object) -> Result<Option<Value>, RowProblem> {
    let both = ["tools", "functions"].map(|key| row.get(key).is_some_and(says));
    if both == [true; 2] && row.get("tools") != row.get("functions") {
        return Err(RowProblem::NotUsed { key: "functions` beside `tools".to_owned() });
    }
    for key in ["tools", "functions"] {
        let Some(value) = row.get(key).filter(|value| says(value)) else { continue };
        let expected = "a list of tools, or a text of JSON with one";
        let Some(Value::Array(tools)) = or_in_text(value) else {
            return Err(wrong(key, expected, Some(value)));
        };
        let tool = |tool: Value| match tool {
            Value::Object(function) if key == "functions" && !function.contains_key("function") => {
                serde_json::json!({"type": "function", "function": function})
            }
            tool => tool,
        };
        let tools: Vec<Value> = tools.into_iter().map(tool).collect();
        return Ok((!tools.is_empty()).then_some(Value::Array(tools)));
    }
    Ok(None)
}

/// The message that a row's own `system` is.
pub(super) fn system(row: &Object) -> Result<Option<Message>, RowProblem> {
    match row.get("system") {
        Some(Value::Array(parts)) if !parts.is_empty() => {
            Ok(Some(Message::new("system", of_parts(parts, "system".to_owned())?)))
        }
        Some(value) if says(value) => {
            Ok(Some(Message::new("system", crate::object::string(row, "system")?)))
        }
        _ => Ok(None),
    }
}

/// A turn with all of its keys, which a chat template may read.
fn message(key: &str, index: usize, turn: &Value) -> Result<Message, RowProblem> {
    let at = |name: &str| format!("{key}[{index}].{name}");
    let part = |name: &str| match turn.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => of_parts(parts, at(name)),
        other => Err(wrong(at(name), "a string", other)),
    };
    mask(turn, at)?;
    // Each name of the list is met with each shape of turn.
    let of_sharegpt =
        turn.get("from").is_some() || (key == "conversations" && turn.get("role").is_none());
    let calls = ["tool_calls", "function_call"].iter().any(|name| turn.get(name).is_some_and(says));
    let (role, content) = match of_sharegpt {
        true => (role(part("from")?), Value::from(part("value")?)),
        false if calls && turn.get("content").is_none_or(Value::is_null) => {
            (part("role")?, Value::from(""))
        }
        // ms-swift's names of calls and of what they gave.
        false => match part("role")?.as_str() {
            own @ ("tool_call" | "tool_response") => {
                (role(own.to_owned()), Value::from(part("content")?))
            }
            own => (own.to_owned(), Value::from(part("content")?)),
        },
    };
    let other = if of_sharegpt { "content" } else { "value" };
    if turn.get(other).is_some_and(|value| says(value) && *value != content) {
        return Err(RowProblem::NotUsed { key: at(other) });
    }
    if role == "function_call" {
        let said = content.as_str().unwrap_or_default();
        let Some(calls) = calls_of(said) else {
            return Err(RowProblem::NotUsed {
                key: format!("{key}[{index}]` of the role `{role}"),
            });
        };
        return learned_as(turn, at, Message::new("assistant", "").with("tool_calls", calls));
    }
    let mut message = Message::new(role.trim(), "");
    let fields = turn.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !matches!(name.as_str(), "from" | "value")) {
        let value = match name.as_str() {
            "tool_calls" => calls_in(value, at(name))?,
            "function_call" => called(value, at(name))?,
            _ => value.clone(),
        };
        message = message.with(name, value);
    }
    Ok(learned_as(turn, at, message)?.with("content", content))
}

/// The message with what its turn says of whether it is learned.
fn learned_as(
    turn: &Value,
    at: impl Fn(&str) -> String,
    mut message: Message,
) -> Result<Message, RowProblem> {
    match turn.get("weight") {
        None | Some(Value::Null | Value::Bool(_)) => {}
        Some(Value::Number(number)) if matches!(number.as_f64(), Some(0.0 | 1.0)) => {}
        other => return Err(wrong(at("weight"), "0 or 1", other)),
    }
    match turn.get("train") {
        None | Some(Value::Null | Value::Bool(_)) => {}
        other => return Err(wrong(at("train"), "true or false", other)),
    }
    for name in ["weight", "train"] {
        if let Some(value) = turn.get(name) {
            message = message.with(name, value.clone());
        }
    }
    if turn.get("weight") == Some(&Value::Bool(false)) {
        message = message.with("train", false.into());
    }
    Ok(message)
}

/// The calls of a message: a list of them, or a text of JSON with one, as a table has it.
fn calls_in(value: &Value, key: String) -> Result<Value, RowProblem> {
    if !says(value) {
        return Ok(value.clone());
    }
    match or_in_text(value) {
        Some(Value::Array(calls)) => {
            let call = |(index, call): (usize, &Value)| called(call, format!("{key}[{index}]"));
            calls.iter().enumerate().map(call).collect()
        }
        _ => Err(wrong(key, "a list of calls, or a text of JSON with one", Some(value))),
    }
}

/// A call whose arguments are an object, or a text of JSON with one.
fn called(call: &Value, key: String) -> Result<Value, RowProblem> {
    let (function, key) = match call.get("function") {
        Some(function) if function.is_object() => (function, format!("{key}.function")),
        _ => (call, key),
    };
    let is_object = |text: &str| serde_json::from_str::<Object>(text).is_ok();
    match function.get("arguments") {
        Some(Value::String(text)) if !text.trim().is_empty() && !is_object(text) => {
            let key = format!("{key}.arguments");
            Err(wrong(
                key,
                "an object, or a text of JSON with one",
                Some(&Value::String(text.clone())),
            ))
        }
        _ => Ok(call.clone()),
    }
}

/// The text of a content in parts that is one text, as interfaces write what a template reads as a string.
fn of_parts(parts: &[Value], key: String) -> Result<String, RowProblem> {
    const TEXTS: [&str; 3] = ["text", "input_text", "output_text"];
    let text = |part: &Value| match part {
        Value::String(text) => Ok(text.clone()),
        part => match (part.get("type").and_then(Value::as_str), part.get("text")) {
            (None, Some(Value::String(text))) => Ok(text.clone()),
            (Some(kind), Some(Value::String(text))) if TEXTS.contains(&kind) => Ok(text.clone()),
            // Without a type, its one key says what it is.
            (kind, _) => {
                let key = part.as_object().and_then(|part| part.keys().next());
                Err(kind.or(key.map(String::as_str)).unwrap_or("unknown").to_owned())
            }
        },
    };
    let texts: Result<Vec<String>, String> = parts.iter().map(text).collect();
    match texts {
        Ok(texts) if texts.len() == 1 => Ok(texts.concat()),
        Ok(texts) => Err(RowProblem::Texts { key, count: texts.len() }),
        Err(kind) => Err(RowProblem::Part { key, kind }),
    }
}

/// Refuses what other tools call an answer that is not learned: it would be learned all the same.
fn mask(turn: &Value, at: impl Fn(&str) -> String) -> Result<(), RowProblem> {
    // With what each changes nothing.
    const MASKS: [(&str, bool); 7] = [
        ("loss", true),
        ("train_on_turn", true),
        ("training", true),
        ("train_detail", false),
        ("mask", false),
        ("masked", false),
        ("ignore_loss", false),
    ];
    let masks = |(key, neutral): &(&str, bool)| match turn.get(key) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(on)) => on != neutral,
        Some(Value::Number(number)) => number.as_f64() != Some(f64::from(u8::from(*neutral))),
        Some(value) => says(value),
    };
    match MASKS.iter().find(|mask| masks(mask)) {
        Some((key, _)) => Err(RowProblem::Mask { key: at(key) }),
        None => Ok(()),
    }
}

/// The calls of a ShareGPT turn of the role `function_call`: an object with a name and arguments, or a list of them.
fn calls_of(text: &str) -> Option<Value> {
    let calls = match serde_json::from_str(text).ok()? {
        Value::Array(calls) => calls,
        one => vec![one],
    };
    let call = |call: Value| {
        let function = call.get("name").and_then(Value::as_str).is_some();
        function.then(|| serde_json::json!({"type": "function", "function": call}))
    };
    let calls: Option<Vec<Value>> = calls.into_iter().map(call).collect();
    calls.filter(|calls| !calls.is_empty()).map(Value::Array)
}

/// ShareGPT's names of those who speak, as they are called here; others stay.
fn role(from: String) -> String {
    match from.as_str() {
        "human" => "user".to_owned(),
        "gpt" => "assistant".to_owned(),
        "observation" | "tool_response" => "tool".to_owned(),
        "tool_call" => "function_call".to_owned(),
        _ => from,
    }
}
