use serde_json::{Value, json};

use super::*;
use crate::format::Format;
use crate::row_file::Reading;

/// A row of each interface whose rows a command converts, as its documentation has them.
fn rows() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Gemini",
            json!({"systemInstruction": {"role": "system", "parts": [{"text": "s"}]}, "contents": [{"role": "user", "parts": [{"text": "a"}]},
                {"role": "model", "parts": [{"text": "b"}]}]}),
        ),
        (
            "Gemini",
            json!({"system_instruction": "s", "messages": [{"role": "user", "parts": {"text": "a"}}, {"role": "model", "parts": ["b"]}]}),
        ),
        (
            "Cohere",
            json!({"preamble": "s", "chat_history": [{"role": "USER", "message": "x"}, {"role": "CHATBOT", "message": "y"}],
                "message": "a", "response": "b"}),
        ),
        (
            "Responses",
            json!({"instructions": "s", "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]},
                {"type": "function_call", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "output": "3"}],
                "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]}]}),
        ),
        (
            "preferences",
            json!({"input": {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]},
                "preferred_output": [{"role": "assistant", "content": "b"}], "non_preferred_output": [{"role": "assistant", "content": "c"}]}),
        ),
        (
            "LangChain",
            json!({"messages": [{"type": "system", "content": "s"}, {"type": "human", "data": {"content": "a"}, "content": null},
                {"type": "ai", "content": "b"}]}),
        ),
        (
            "PaLM",
            json!({"context": "s", "messages": [{"author": "user", "content": "a"}, {"author": "bot", "content": "b"}]}),
        ),
        (
            "input and output",
            json!({"conversation": [{"system": "s", "input": "a", "output": "b"}]}),
        ),
        (
            "turns before it",
            json!({"system": "s", "query": "a", "response": "b", "history": [["x", "y"]]}),
        ),
    ]
}

fn told(row: &Value) -> (&'static str, String) {
    match elsewhere(row.as_object().unwrap()) {
        Some(RowProblem::Elsewhere { what, way }) => (what, way),
        other => panic!("{row}: {other:?}"),
    }
}

#[test]
fn rows_of_other_interfaces_are_told_by_whose_they_are() {
    for (whose, row) in rows() {
        let (what, way) = told(&row);
        assert!(what.contains(whose) && way.contains("jq -c '"), "{what}: {way}");
    }
    for (whose, row) in [
        (
            "without what it was asked",
            json!({"id": "x", "choices": [{"message": {"role": "assistant", "content": "b"}}]}),
        ),
        ("speakers", json!({"dialog": [{"speaker": "A", "text": "a"}]})),
        (
            "ChatGPT exports",
            json!({"title": "t", "mapping": {"x": {"message": {"author": {"role": "user"}}}}}),
        ),
        ("pairs of texts", json!({"conversation": [["a", "b"]]})),
        ("texts by turns", json!({"dialogue": ["a", "b"]})),
    ] {
        assert!(told(&row).0.contains(whose), "{row}");
    }
}

#[test]
fn rows_that_are_read_have_no_such_shape() {
    for row in [
        json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "type": "message"}]}),
        json!({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}),
        json!({"prompt": "a", "completion": "b"}),
        json!({"instruction": "a", "input": "x", "output": "b", "history": [["x", "y"]]}),
        json!({"input": "a", "output": "b"}),
        json!({"text": "a", "label": "b"}),
        json!({"contents": []}),
    ] {
        assert_eq!(elsewhere(row.as_object().unwrap()), None, "{row}");
    }
}

/// The advice, followed where there is jq: of lines and of a list, what comes out is a conversation from `a` to `b`.
#[cfg(unix)]
#[test]
fn the_command_makes_conversations_of_them() {
    use std::process::Command;
    if !Command::new("jq").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let converted = |way: &str, text: String| {
        std::fs::write(dir.path().join("FILE"), text).unwrap();
        let command = way.split('`').nth(1).unwrap();
        let done =
            Command::new("sh").args(["-c", command]).current_dir(dir.path()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.success(), said, std::fs::read_to_string(dir.path().join("OTHER")).unwrap())
    };
    let pairs =
        [("texts", json!({"dialog": ["a", "b"]})), ("pairs", json!({"turns": [["a", "b"]]}))];
    for (whose, row) in rows().into_iter().chain(pairs) {
        let (_, way) = told(&row);
        for text in [row.to_string(), json!([row, row]).to_string()] {
            let (done, said, json) = converted(&way, text);
            assert!(done, "{whose}: {said}: {way}");
            let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
            let read = Format::Messages.read(first.as_object().unwrap(), &Reading::default());
            assert!(read.is_ok(), "{whose}: {read:?} of {json}");
            let messages = first["messages"].as_array().unwrap();
            let last: Vec<&str> =
                messages.iter().rev().map(|turn| turn["content"].as_str().unwrap()).collect();
            assert!(last[0] == "b" && last.contains(&"a"), "{whose}: {json}");
        }
    }
    // A part that is no text is not lost: the command stops.
    let row = json!({"contents": [{"role": "user", "parts": [{"inlineData": {}}]}]});
    let (done, said, _) = converted(&told(&row).1, row.to_string());
    assert!(!done && said.contains("a part that is no text"), "{said}");
}

#[cfg(unix)]
#[test]
fn roles_of_elsewhere_get_the_command_that_calls_them_otherwise() {
    let of = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        roles("messages", "role", &names)
    };
    let way = of(&["System", "human", "Chatbot", "human", "Chatbot"]).unwrap();
    assert!(
        way.contains(r#".messages|=map(.role|=({"Chatbot":"assistant","System":"system","human":"user"}[.]//.))"#),
        "{way}"
    );
    assert_eq!(of(&["user", "friend"]), None);
}
