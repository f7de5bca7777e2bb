//! Conversations in the shapes that other interfaces have for them: told by whose they are, with the command that writes them as
//! `messages`.
//!
//! Left out: reading them as they are. Each has parts that are no text (calls, pictures, thoughts), and what becomes of those is for
//! whoever knows them to say; the commands stop at one.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::Object;
use crate::problem::RowProblem;

/// A shape.
struct Shape {
    /// Whose rows these are.
    what: &'static str,
    /// Whether a row has the shape; the key of its turns.
    key: fn(&Object) -> Option<&str>,
    way: Way,
}

/// How such a row becomes one that is read.
enum Way {
    /// By a filter of jq for one row; `KEY` stands for the key of its turns, `texts` joins what is in parts.
    Filter(&'static str),
    /// In words.
    Words(&'static str),
}

/// What other tools call a list of turns.
const TURNS: [&str; 8] = [
    "messages",
    "conversations",
    "conversation",
    "dialog",
    "dialogue",
    "chat",
    "turns",
    "contents",
];

/// `texts`: a text, or those of parts; a part that has none stops.
const TEXTS: &str = "def texts: if type==\"string\" then . else [.]|flatten|map(if type==\"string\" then . else \
                     .text//error(\"a part that is no text\") end)|join(\"\") end; ";

const SHAPES: [Shape; 13] = [
    Shape {
        what: "a row of Gemini's interface",
        key: |row| turns(row, &["parts"]),
        way: Way::Filter(
            "{messages:[((.systemInstruction//.system_instruction//empty)|{role:\"system\",content:((.parts? //.)|texts)}),\
             (.KEY[]|{role:(if .role==\"model\" then \"assistant\" else .role end),content:(.parts|texts)})]}",
        ),
    },
    Shape {
        what: "a row of Cohere's interface",
        key: |row| list(row, "chat_history", &["message"]),
        way: Way::Filter(
            "{messages:[((.preamble//empty)|{role:\"system\",content:.}),((.KEY[],(.message//empty|{role:\"USER\",message:.}))|\
             {role:({USER:\"user\",CHATBOT:\"assistant\",SYSTEM:\"system\"}[.role|ascii_upcase]//error(\"a role that is not known\")),\
             content:.message}),((.response//.text//empty)|{role:\"assistant\",content:.})]}",
        ),
    },
    Shape {
        what: "a row of OpenAI's Responses",
        key: |row| {
            let items = |key| list(row, key, &["role"]).or_else(|| list(row, key, &["type"]));
            items("input").or_else(|| items("output").filter(|_| row.contains_key("input")))
        },
        way: Way::Filter(
            "{messages:[((.instructions//empty)|{role:\"system\",content:.}),((.input|if type==\"string\" then {role:\"user\",content:.} \
             else .[] end),((.output//[])|if type==\"string\" then {role:\"assistant\",content:.} else .[] end)|if \
             .type==\"function_call\" then {role:\"assistant\",content:\"\",tool_calls:[{type:\"function\",function:{name,arguments}}]} \
             elif .type==\"function_call_output\" then {role:\"tool\",content:.output} elif .role then {role,content:(.content|texts)} \
             else error(\"an item of the type \\(.type)\") end)]}",
        ),
    },
    Shape {
        what: "a pair of preferences of OpenAI's interface",
        key: |row| {
            row.get("input")?.get("messages")?;
            list(row, "preferred_output", &["role"])
        },
        way: Way::Filter("{messages:(.input.messages+.KEY)}"),
    },
    Shape {
        what: "what an interface answered, without what it was asked",
        key: |row| list(row, "choices", &["message"]),
        way: Way::Words("write the messages that were sent and the answer as one list, `messages`"),
    },
    Shape {
        what: "a row of LangChain's messages",
        key: |row| turns(row, &["type", "content"]).or_else(|| turns(row, &["type", "data"])),
        way: Way::Filter(
            "{messages:[.KEY[]|{role:({human:\"user\",ai:\"assistant\",system:\"system\",tool:\"tool\"}[.type]//error(\"a type that is \
             not known\")),content:(.content//.data.content)}]}",
        ),
    },
    Shape {
        what: "a row of PaLM's interface",
        key: |row| turns(row, &["author", "content"]),
        way: Way::Filter(
            "{messages:[((.context//empty)|{role:\"system\",content:.}),(.KEY[]|{role:(if .author==\"user\" then \"user\" else \
             \"assistant\" end),content})]}",
        ),
    },
    Shape {
        what: "a conversation in pairs of input and output",
        key: |row| turns(row, &["input", "output"]),
        way: Way::Filter(
            "{messages:[.KEY[]|((.system//empty)|select(.!=\"\")|{role:\"system\",content:.}),{role:\"user\",content:.input},\
             {role:\"assistant\",content:.output}]}",
        ),
    },
    Shape {
        what: "a conversation in pairs of texts",
        key: |row| {
            let is_pair = |value: &Value| {
                value
                    .as_array()
                    .is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_string))
            };
            lists(row, is_pair)
        },
        way: Way::Filter(
            "{messages:[.KEY[]|{role:\"user\",content:.[0]},{role:\"assistant\",content:.[1]}]}",
        ),
    },
    Shape {
        what: "a conversation in texts by turns",
        key: |row| lists(row, Value::is_string),
        way: Way::Filter(
            "{messages:[.KEY|to_entries[]|{role:(if .key%2==0 then \"user\" else \"assistant\" end),content:.value}]}",
        ),
    },
    Shape {
        what: "a conversation of speakers",
        key: |row| turns(row, &["speaker"]),
        way: Way::Words(
            "write each turn as {role, content}, with the role `assistant` for the one whose answers are learned",
        ),
    },
    Shape {
        what: "a question with the turns before it",
        key: |row| {
            let has = |names: [&str; 3]| names.iter().any(|name| row.contains_key(*name));
            let of_two =
                has(["query", "prompt", "question"]) && has(["response", "completion", "answer"]);
            of_two.then(|| row.get_key_value("history")).flatten().map(|(key, _)| key.as_str())
        },
        way: Way::Filter(
            "{messages:[((.system//empty)|{role:\"system\",content:.}),((.KEY//[])[]|{role:\"user\",content:.[0]},{role:\"assistant\",\
             content:.[1]}),{role:\"user\",content:(.query//.prompt//.question)},{role:\"assistant\",content:(.response//.completion//\
             .answer)}]}",
        ),
    },
    Shape {
        what: "a conversation as ChatGPT exports it",
        key: |row| {
            let turns = row.get("mapping")?.as_object()?;
            turns.values().any(|turn| turn.get("message").is_some()).then_some("mapping")
        },
        way: Way::Words(
            "write the turns of one branch, each as {role, content}, into a list `messages`",
        ),
    },
];

/// What a row is that has the shape of another interface; nothing, where it has none that is known.
pub fn elsewhere(row: &Object) -> Option<RowProblem> {
    let (shape, key) = SHAPES.iter().find_map(|shape| Some((shape, (shape.key)(row)?)))?;
    let way = match shape.way {
        Way::Words(words) => words.to_owned(),
        Way::Filter(filter) => command(&filter.replace("KEY", key)),
    };
    Some(RowProblem::Elsewhere { what: shape.what, way })
}

/// The command that puts every row of FILE, in lines or in a list, through a filter.
fn command(filter: &str) -> String {
    let texts = if filter.contains("texts") { TEXTS } else { "" };
    format!("convert the file: `jq -c '{texts}[.]|flatten[]|{filter}' FILE > OTHER`")
}

/// What else the one who answers is called, and the one who asks.
const ROLES: [(&str, &str); 14] = [
    ("model", "assistant"),
    ("chatbot", "assistant"),
    ("bot", "assistant"),
    ("ai", "assistant"),
    ("gpt", "assistant"),
    ("chatgpt", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
    ("claude", "assistant"),
    ("assistant", "assistant"),
    ("human", "user"),
    ("prompter", "user"),
    ("user", "user"),
    ("system", "system"),
];

/// Whether a role is that of answers under another name than here.
pub(crate) fn answers_elsewhere(role: &str) -> bool {
    let lower = role.to_lowercase();
    role != "assistant" && ROLES.contains(&(lower.as_str(), "assistant"))
}

/// The command that calls roles as they are called here, where one of them is known to answer. `key` is that of the turns, `field` that
/// of a turn's role.
pub(crate) fn roles(key: &str, field: &str, roles: &[String]) -> Option<String> {
    let own = |role: &String| {
        let lower = role.to_lowercase();
        ROLES.iter().find(|(theirs, _)| lower == *theirs).map(|(_, own)| *own)
    };
    let pairs = roles.iter().filter_map(|role| Some((role, own(role)?)));
    let others: BTreeMap<&String, &str> = pairs.filter(|(role, own)| role != own).collect();
    if !others.values().any(|own| *own == "assistant") {
        return None;
    }
    let named: Vec<String> =
        others.iter().map(|(role, own)| format!("\"{role}\":\"{own}\"")).collect();
    let named = named.join(",");
    Some(command(&format!(".{key}|=map(.{field}|=({{{named}}}[.]//.))")))
}

/// The key of turns that are objects with these keys, and with none of the roles that are read.
fn turns<'a>(row: &'a Object, with: &[&str]) -> Option<&'a str> {
    let is_turn = |turn: &Value| {
        let has = |key: &str| turn.get(key).is_some();
        let own = (has("role") && has("content")) || (has("from") && has("value"));
        !own && with.iter().all(|key| has(key))
    };
    lists(row, is_turn)
}

/// The key of turns that all are so.
fn lists(row: &Object, is: impl Fn(&Value) -> bool) -> Option<&str> {
    let all = |value: &Value| {
        value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(&is))
    };
    let (key, _) = row.iter().find(|(key, value)| TURNS.contains(&key.as_str()) && all(value))?;
    Some(key)
}

/// The key, where it is a list of objects with these keys.
fn list<'a>(row: &'a Object, key: &str, with: &[&str]) -> Option<&'a str> {
    let (key, value) = row.get_key_value(key)?;
    let items = value.as_array().filter(|items| !items.is_empty())?;
    let is_item = |item: &Value| with.iter().all(|key| item.get(key).is_some());
    items.iter().any(is_item).then_some(key.as_str())
}

#[cfg(test)]
mod tests;
