//! Arguments of calls that are a text of JSON, as OpenAI's interface has them, and what they say.
//!
//! Some templates write such a text as it is, others write what they are given as JSON, of a text the quotes and all; transformers asks of whoever
//! calls it that the second kind be given objects.

use serde_json::{Map, Value, json};

use crate::conversation::Message;

/// Arguments of [`of_text`] as JSON of a text.
pub(super) const QUOTED: &str = r#""{\"k\": 1}""#;

/// A call whose arguments are a text. Some templates ask for an identity of nine letters.
pub(super) fn of_text() -> Message {
    let function = json!({"name": "f", "arguments": "{\"k\": 1}"});
    let call = json!([{"id": "abcdefghi", "type": "function", "function": function}]);
    Message::new("assistant", "").with("tool_calls", call)
}

/// The fields of a message, with what the arguments of its calls say in the place of their texts; none where no arguments are such a text.
pub(super) fn unquoted(fields: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut read = fields.clone();
    let mut found = false;
    let calls = read.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        found |= unquote(call);
        found |= call.get_mut("function").is_some_and(unquote);
    }
    found |= read.get_mut("function_call").is_some_and(unquote);
    found.then_some(read)
}

fn unquote(call: &mut Value) -> bool {
    let Some(arguments) = call.get_mut("arguments") else { return false };
    let object = arguments.as_str().and_then(|text| serde_json::from_str(text).ok());
    let Some(object) = object.filter(Value::is_object) else { return false };
    *arguments = object;
    true
}
