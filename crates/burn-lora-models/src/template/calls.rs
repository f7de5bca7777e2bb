//! Arguments of calls as a text of JSON, as OpenAI's interface has them, and as what the text says.
//!
//! Some templates join such a text with others, and can do nothing with an object; others write what they are given as JSON, of a text the
//! quotes and all. transformers asks of whoever calls it to know which.

use serde_json::{Map, Value, json};

use crate::conversation::Message;

/// [`text`] as JSON of a text.
pub(super) const QUOTED: &str = r#""{\"k\": 1}""#;

/// Arguments that are a text.
pub(super) fn text() -> Value {
    json!("{\"k\": 1}")
}

/// The same as an object.
pub(super) fn object() -> Value {
    json!({"k": 1})
}

/// A call with these arguments. Some templates ask for an identity of nine letters.
pub(super) fn with(arguments: Value) -> Message {
    let function = json!({"name": "f", "arguments": arguments});
    let call = json!([{"id": "abcdefghi", "type": "function", "function": function}]);
    Message::new("assistant", "").with("tool_calls", call)
}

/// The fields of a message, with what the arguments of its calls say in the place of their texts; none where no arguments are such a text.
pub(super) fn unquoted(fields: &Map<String, Value>) -> Option<Map<String, Value>> {
    changed(fields, |arguments| {
        // No arguments are written as nothing, too.
        let text = arguments.as_str()?.trim();
        let object = serde_json::from_str(if text.is_empty() { "{}" } else { text }).ok();
        object.filter(Value::is_object)
    })
}

/// The fields of a message, with the arguments of its calls as Python writes them; none where no arguments are an object.
pub(super) fn quoted(fields: &Map<String, Value>) -> Option<Map<String, Value>> {
    changed(fields, |arguments| arguments.is_object().then(|| Value::from(python(arguments))))
}

fn changed(
    fields: &Map<String, Value>,
    change: impl Fn(&Value) -> Option<Value>,
) -> Option<Map<String, Value>> {
    let mut changed = fields.clone();
    let mut found = false;
    let mut call = |call: &mut Value| {
        let arguments = call.get_mut("arguments");
        if let Some((arguments, other)) =
            arguments.and_then(|it| change(it).map(|other| (it, other)))
        {
            *arguments = other;
            found = true;
        }
    };
    for of_list in changed.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten()
    {
        call(of_list);
        of_list.get_mut("function").into_iter().for_each(&mut call);
    }
    changed.get_mut("function_call").into_iter().for_each(call);
    found.then_some(changed)
}

/// JSON with a blank behind commas and colons.
fn python(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                format!("{}: {}", Value::from(key.as_str()), python(value))
            };
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}
