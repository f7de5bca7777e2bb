//! Against what Python's Jinja makes of the same templates, set up as transformers does:
//! `fixtures/expected.py` computed `fixtures/expected.json`.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const SMOLLM2: &str = include_str!("fixtures/smollm2.jinja");
const QWEN25: &str = include_str!("fixtures/qwen2.5.jinja");
const LLAMA2: &str = include_str!("fixtures/llama-2.jinja");
const LLAMA31: &str = include_str!("fixtures/llama-3.1.jinja");
const MISTRAL: &str = include_str!("fixtures/mistral.jinja");
const ZEPHYR: &str = include_str!("fixtures/zephyr.jinja");
const GENERATION: &str = include_str!("fixtures/generation.jinja");

fn source(name: &str) -> &'static str {
    match name {
        "smollm2" => SMOLLM2,
        "qwen2.5" => QWEN25,
        "llama-2" => LLAMA2,
        "llama-3.1" => LLAMA31,
        "mistral" => MISTRAL,
        "zephyr" => ZEPHYR,
        "generation" => GENERATION,
        other => panic!("no fixture {other}"),
    }
}

fn expected() -> Value {
    serde_json::from_str(include_str!("fixtures/expected.json")).unwrap()
}

/// The template with the tokens and the time that the fixtures were computed with.
fn template(source: &str) -> ChatTemplate {
    let expected = expected();
    let template = ChatTemplate::parse(source).unwrap();
    let template = template.with_time(expected["time"].as_i64().unwrap());
    with_variables(template, expected["tokens"].as_object().unwrap())
}

fn with_variables(template: ChatTemplate, variables: &Map<String, Value>) -> ChatTemplate {
    variables.iter().fold(template, |template, (name, value)| template.with_variable(name, value))
}

fn turns(pairs: &[(&str, &str)]) -> Vec<Message> {
    pairs.iter().map(|(role, content)| Message::new(*role, *content)).collect()
}

fn rendered(source: &str) -> Result<String, TemplateError> {
    ChatTemplate::parse(source)?.render(&[], false)
}

#[test]
fn conversations_are_written_as_by_transformers() {
    let expected = expected();
    for case in expected["conversations"].as_array().unwrap() {
        let name = case["template"].as_str().unwrap();
        let template =
            with_variables(template(source(name)), case["variables"].as_object().unwrap());
        let messages: Vec<_> = case["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| Message::from_fields(message.as_object().unwrap().clone()).unwrap())
            .collect();
        for (prompt, key) in [(false, "text"), (true, "prompt")] {
            let text = template.render(&messages, prompt).unwrap();
            assert_eq!(text, case[key].as_str().unwrap(), "{name}, {key}, {:?}", case["messages"]);
        }
    }
}

#[test]
fn expressions_come_out_as_in_python() {
    let expected = expected();
    let different: Vec<_> = expected["expressions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|case| {
            let template = template(case["template"].as_str().unwrap());
            let found = template.with_variable("x", &expected["x"]).render(&[], false);
            let wanted = case["text"].as_str().unwrap();
            match found {
                Ok(found) if found == wanted => None,
                found => {
                    Some(format!("{}\n wanted {wanted:?}\n found  {found:?}", case["template"]))
                }
            }
        })
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn without_a_time_a_template_has_to_do_without() {
    let messages = turns(&[("user", "Hi")]);
    let template = ChatTemplate::parse(LLAMA31).unwrap();
    assert!(template.render(&messages, true).unwrap().contains("Today Date: 26 Jul 2024\n"));
    let error = rendered("\n{{ strftime_now('%Y') }}").unwrap_err();
    assert!(matches!(error, TemplateError::NoTime { line: 2 }), "{error:?}");
}

#[test]
fn times_are_those_of_the_gregorian_calendar() {
    // Python: datetime.fromtimestamp(seconds, timezone.utc).strftime("%F %T %j %a")
    for (seconds, text) in [
        (0, "1970-01-01 00:00:00 001 Thu"),
        (-1, "1969-12-31 23:59:59 365 Wed"),
        (951_782_400, "2000-02-29 00:00:00 060 Tue"),
        (951_868_800, "2000-03-01 00:00:00 061 Wed"),
        (4_107_542_400, "2100-03-01 00:00:00 060 Mon"),
        (1_709_251_199, "2024-02-29 23:59:59 060 Thu"),
        (1_767_225_600, "2026-01-01 00:00:00 001 Thu"),
        (253_402_300_799, "9999-12-31 23:59:59 365 Fri"),
    ] {
        assert_eq!(time::strftime("%F %T %j %a", seconds).unwrap(), text);
    }
    assert!(time::strftime("%F", i64::MAX).is_err());
    assert_eq!(time::strftime("%Q %-q %", 0).unwrap(), "%Q %-q %");
    // Python: datetime(2024, 2, 25, 7, 8, 9).strftime("%D|%x|%R|%X|%c|%w|%u"), a Sunday.
    assert_eq!(time::strftime("%U|%W|%z|%Z|%-U", 1_708_844_889).unwrap(), "08|08|||8");
    let written = time::strftime("%D|%x|%R|%X|%c|%w|%u", 1_708_844_889).unwrap();
    assert_eq!(written, "02/25/24|02/25/24|07:08|07:08:09|Sun Feb 25 07:08:09 2024|0|7");
}

#[test]
fn a_syntax_error_says_its_line() {
    let error = ChatTemplate::parse("a\n{% if x %}\n{% endfor %}").unwrap_err();
    let TemplateError::Syntax { line, message } = &error else { panic!("{error:?}") };
    assert_eq!(*line, 3);
    assert!(message.contains("endfor"), "{message}");
}

#[test]
fn what_a_template_refuses_is_said_in_its_words() {
    let messages = turns(&[("user", "a"), ("user", "b")]);
    for template in [template(LLAMA2), template(MISTRAL)] {
        let error = template.render(&messages, false).unwrap_err();
        let TemplateError::Raised { message } = &error else { panic!("{error:?}") };
        assert!(message.contains("must alternate user/assistant/user/assistant/..."), "{message}");
    }
    // From inside of a macro, too.
    let error = rendered("{% macro m() %}{{ raise_exception('no') }}{% endmacro %}{{ m() }}");
    assert!(matches!(error, Err(TemplateError::Raised { message }) if message == "no"));
}

#[test]
fn what_a_template_does_wrong_is_said_with_its_line() {
    for (source, part) in [
        ("\n{{ missing.a.b }}", "undefined"),
        ("\n{{ 'a' + 1 }}", "unsupported operand types for +: str and int"),
        ("\n{{ 'a' | nosuch }}", "nosuch"),
        ("\n{{ missing | tojson }}", "tojson: undefined cannot be written as JSON"),
        ("\n{{ 3 | wordwrap }}", "there is no filter `wordwrap`"),
    ] {
        let error = rendered(source).unwrap_err();
        let TemplateError::Failed { line, message } = &error else { panic!("{error:?}") };
        assert_eq!(*line, 2, "{source}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn no_file_is_asked_for_and_a_template_does_not_include_itself() {
    for source in [
        "{% include 'Cargo.toml' %}",
        "{% include 'chat_template' %}",
        "{% import 'chat_template' as x %}",
        "{% from 'chat_template' import x %}",
        "{% extends 'chat_template' %}",
    ] {
        let error = rendered(source).unwrap_err();
        assert!(matches!(error, TemplateError::Include { line: 1 }), "{source}: {error:?}");
    }
}

#[test]
fn each_limit_has_an_error_of_its_own() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    let error = rendered(endless).unwrap_err();
    assert!(
        matches!(error, TemplateError::TooManySteps { limit: 5_000_000, line: 1 }),
        "{error:?}"
    );

    let within = "{% macro m() %}{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}\
                  {% endfor %}{% endmacro %}{{ m() }}";
    let error = rendered(within).unwrap_err();
    assert!(matches!(error, TemplateError::TooManySteps { .. }), "{error:?}");

    let error = rendered("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}").unwrap_err();
    assert!(matches!(error, TemplateError::TooDeep { limit: 400, .. }), "{error:?}");

    let limits = Limits { output: 5, ..Limits::default() };
    for (source, fits) in [("12345", true), ("123456", false), ("{{ 'é' * 3 }}", false)] {
        let result = ChatTemplate::parse(source).unwrap().with_limits(limits).render(&[], false);
        match result {
            Ok(text) => assert!(fits && text == source),
            Err(error) => {
                assert!(!fits && matches!(error, TemplateError::TooMuchOutput { limit: 5 }));
            }
        }
    }

    let error = rendered("\n{{ 'a' * 100000000 }}").unwrap_err();
    assert!(
        matches!(error, TemplateError::TooMuchMemory { limit: 67_108_864, line: 2 }),
        "{error:?}"
    );

    let error = ChatTemplate::parse(&"a".repeat((256 << 10) + 1)).unwrap_err();
    assert!(matches!(error, TemplateError::SourceTooLong { bytes } if bytes == (256 << 10) + 1));
}

#[test]
fn a_value_nested_too_deep_is_refused_when_it_is_made() {
    let nest = "{% set ns = namespace(x=[]) %}{% for a in range(300) %}{% set ns.x = [ns.x] %}\
                {% endfor %}";
    let error = rendered(nest).unwrap_err();
    assert!(error.to_string().contains("deeper than 200 levels"), "{error}");
}

/// What of the conversation is learned, and that all pieces make the whole text.
fn check_learned(template: &ChatTemplate, messages: &[Message], learned: &[&str]) {
    let pieces = template.pieces(messages, false).unwrap();
    let whole: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    assert_eq!(whole, template.render(messages, false).unwrap());
    let found: Vec<_> =
        pieces.iter().filter(|piece| piece.learned).map(|s| s.text.as_str()).collect();
    assert_eq!(found, learned);
    assert!(pieces.iter().all(|piece| !piece.text.is_empty()));
}

#[test]
fn an_answer_is_learned_with_the_token_that_ends_it() {
    let messages =
        turns(&[("user", "Hi"), ("assistant", "Hello\n"), ("user", "Bye"), ("assistant", "4")]);
    check_learned(&template(SMOLLM2), &messages, &["Hello\n<|im_end|>", "4<|im_end|>"]);
    check_learned(&template(QWEN25), &messages, &["Hello\n<|im_end|>", "4<|im_end|>"]);
    check_learned(&template(LLAMA2), &messages, &[" Hello </s>", " 4 </s>"]);
    check_learned(&template(LLAMA31), &messages, &["Hello<|eot_id|>", "4<|eot_id|>"]);
    check_learned(&template(MISTRAL), &messages, &[" Hello</s>", " 4</s>"]);
    check_learned(&template(ZEPHYR), &messages, &["Hello\n</s>", "4</s>"]);
    check_learned(&template(GENERATION), &messages, &["Hello\n<|end|>", "4<|end|>"]);
}

#[test]
fn the_pieces_of_a_conversation_stand_in_its_order() {
    let messages = turns(&[("system", "S"), ("user", "Hi"), ("assistant", "A"), ("user", "B")]);
    let pieces = template(ZEPHYR).pieces(&messages, false).unwrap();
    let piece = |text: &str, learned| Piece { text: text.to_owned(), learned };
    assert_eq!(
        pieces,
        [
            piece("<|system|>\nS</s>\n<|user|>\nHi</s>\n<|assistant|>\n", false),
            piece("A</s>", true),
            piece("\n<|user|>\nB</s>\n", false),
        ]
    );
}

#[test]
fn a_call_of_a_tool_is_learned_as_it_is_written() {
    let call = json!([{"function": {"name": "f", "arguments": {"a": 1}}}]);
    let messages = [
        Message::new("user", "Hi"),
        Message::new("assistant", "Well").with("tool_calls", call),
        Message::new("tool", "2"),
        Message::new("assistant", "Two"),
    ];
    let called = "Well\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\
                  <|im_end|>";
    check_learned(&template(QWEN25), &messages, &[called, "Two<|im_end|>"]);
}

/// OpenAI's interface has arguments as a text of JSON; written as JSON of a text, nobody could read the call.
#[test]
fn arguments_in_a_text_are_written_once() {
    let messages = |arguments: serde_json::Value| {
        let call = json!([{"id": "abcdefghi", "function": {"name": "f", "arguments": arguments}}]);
        [Message::new("user", "Hi"), Message::new("assistant", "").with("tool_calls", call)]
    };
    let (text, object) =
        (messages(json!("{\"b\":1,  \"a\":[2]}")), messages(json!({"b": 1, "a": [2]})));
    let qwen = template(QWEN25);
    assert_eq!(qwen.render(&text, false).unwrap(), qwen.render(&object, false).unwrap());
    assert_eq!(qwen.pieces(&text, false).unwrap(), qwen.pieces(&object, false).unwrap());
    // What is no object stays the text that it is.
    let broken = qwen.render(&messages(json!("{b")), false).unwrap();
    assert!(broken.contains("\"arguments\": \"{b\""), "{broken}");
    // A template that joins texts is given one, letter by letter.
    let joins = "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.name + '(' + c.function.arguments + ')' }}{% endfor %}{% endfor %}";
    let joined = ChatTemplate::parse(joins).unwrap().render(&text, false).unwrap();
    assert_eq!(joined, "f({\"b\":1,  \"a\":[2]})");
    // And where there is an object, it is written as Python would.
    let joined = ChatTemplate::parse(joins).unwrap().render(&object, false).unwrap();
    assert_eq!(joined, "f({\"b\": 1, \"a\": [2]})");
    // Nothing at all is no arguments.
    let none = qwen.render(&messages(json!("")), false).unwrap();
    assert!(none.contains("\"arguments\": {}"), "{none}");
}

#[test]
fn white_space_is_learned_where_nothing_else_ends_a_turn() {
    let lines = ChatTemplate::parse(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
         {% if add_generation_prompt %}assistant:{% endif %}",
    );
    let messages = turns(&[("user", "Hi"), ("assistant", "Hello"), ("assistant", "")]);
    check_learned(&lines.unwrap(), &messages, &[" Hello\n", " \n"]);
}

/// As templates of reasoning models do: the thoughts of the last answer only.
const REWRITES: &str = "{% for m in messages %}<{{ m.role }}>\
                        {{ m.content if loop.last else m.content.split('</think>')[-1] }}<end>\
                        {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

#[test]
fn a_template_that_rewrites_earlier_answers_is_refused_with_the_message() {
    let template = ChatTemplate::parse(REWRITES).unwrap();
    let messages = turns(&[
        ("user", "a"),
        ("assistant", "plain"),
        ("user", "b"),
        ("assistant", "hm</think>c"),
        ("user", "d"),
    ]);
    let error = template.pieces(&messages, false).unwrap_err();
    assert!(
        matches!(error, TemplateError::Unstable { message: 3, change: Instability::Later }),
        "{error:?}"
    );
    check_learned(&template, &messages[..4], &["plain<end>", "hm</think>c<end>"]);
}

#[test]
fn the_last_answer_of_a_template_that_rewrites_earlier_ones_is_learned_whole() {
    let template = ChatTemplate::parse(REWRITES).unwrap();
    let messages = turns(&[
        ("user", "a"),
        ("assistant", "hm</think>b"),
        ("user", "c"),
        ("assistant", "ha</think>d"),
    ]);
    assert!(template.pieces(&messages, false).is_err());
    assert_eq!(template.last_answer(&messages).unwrap(), "ha</think>d<end>");
    assert_eq!(template.last_answer(&messages[..2]).unwrap(), "hm</think>b<end>");
}

#[test]
fn reasoning_has_every_name_that_templates_read() {
    let source = "{% for m in messages %}[{{ m.reasoning_content }}|{{ m.thinking }}]{% endfor %}";
    let template = ChatTemplate::parse(source).unwrap();
    for key in ["reasoning_content", "thinking", "reasoning"] {
        let message = Message::new("assistant", "b").with(key, json!("r"));
        assert_eq!(template.render(&[message], false).unwrap(), "[r|r]", "{key}");
    }
    assert_eq!(template.render(&[Message::new("assistant", "b")], false).unwrap(), "[|]");
}

#[test]
fn a_prompt_that_is_not_how_the_answer_begins_is_refused() {
    let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}\
                  {% if add_generation_prompt %}<assistant><no_thoughts>{% endif %}";
    let messages = turns(&[("user", "a"), ("assistant", "b")]);
    let error = ChatTemplate::parse(source).unwrap().pieces(&messages, false).unwrap_err();
    assert!(
        matches!(error, TemplateError::Unstable { message: 1, change: Instability::Prompt }),
        "{error:?}"
    );
}

#[test]
fn a_beginning_that_cannot_be_written_is_named() {
    let source = "{% if messages | length == 1 %}{{ raise_exception('two, please') }}{% endif %}";
    let messages = turns(&[("user", "a"), ("assistant", "b")]);
    let error = ChatTemplate::parse(source).unwrap().pieces(&messages, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "messages[1]: the conversation up to here cannot be written: the chat template refuses \
         these messages: two, please"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is said, the pieces make the text, and each answer is learned where it stands.
    #[test]
    fn pieces_make_the_whole_text(
        says in proptest::collection::vec("[ab<|>\n é]{0,6}", 1..7),
        system in proptest::option::of("[ab \n]{0,6}"),
    ) {
        let mut messages: Vec<_> = system.map(|text| Message::new("system", text)).into_iter().collect();
        for (index, text) in says.iter().enumerate() {
            messages.push(Message::new(["user", "assistant"][index % 2], text.as_str()));
        }
        for source in [SMOLLM2, QWEN25, LLAMA2, LLAMA31, MISTRAL, ZEPHYR, GENERATION] {
            let template = template(source);
            let pieces = template.pieces(&messages, false).unwrap();
            let whole: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            prop_assert_eq!(&whole, &template.render(&messages, false).unwrap());
            let answers: Vec<_> = pieces.iter().filter(|piece| piece.learned).collect();
            prop_assert_eq!(answers.len(), says.len() / 2);
            for (answer, said) in answers.iter().zip(says.iter().skip(1).step_by(2)) {
                prop_assert!(answer.text.contains(said.trim()));
                prop_assert!(answer.text.ends_with('>'));
            }
        }
    }
}

/// A model directory with these files.
fn check_dir(files: &[(&str, &str)]) -> Result<Option<ChatTemplate>, TemplateError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    ChatTemplate::of_dir(dir.path())
}

fn text_of(files: &[(&str, &str)]) -> String {
    check_dir(files).unwrap().unwrap().render(&[], false).unwrap()
}

#[test]
fn a_directory_has_its_template_in_one_of_three_files() {
    let text = ("tokenizer_config.json", r#"{"chat_template": "of the config"}"#);
    let list = (
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "listed"}]}"#,
    );
    let own = ("chat_template.jinja", "of its own\n");
    assert_eq!(text_of(&[text]), "of the config");
    assert_eq!(text_of(&[list]), "listed");
    assert_eq!(text_of(&[text, own]), "of its own");
    let processor = ("chat_template.json", r#"{"chat_template": "of a processor"}"#);
    assert_eq!(text_of(&[processor]), "of a processor");
    assert_eq!(text_of(&[processor, text]), "of the config");
    assert!(check_dir(&[]).unwrap().is_none());
    assert!(
        check_dir(&[("tokenizer_config.json", r#"{"chat_template": null}"#)]).unwrap().is_none()
    );
}

#[test]
fn the_special_tokens_of_a_directory_are_variables() {
    let config = r#"{"bos_token": {"content": "<s>"}, "pad_token": null, "eos_token": "</s>", "added_tokens_decoder": {}}"#;
    let more = r#"{"eos_token": "no", "pad_token": "no", "unk_token": {"content": "<unk>"}}"#;
    let source = "{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ pad_token is defined }}";
    assert_eq!(
        text_of(&[
            ("tokenizer_config.json", config),
            ("special_tokens_map.json", more),
            ("chat_template.jinja", source),
        ]),
        "<s></s><unk>False"
    );
    // A configuration of before transformers 4.34 gives way to the map.
    let older = config.replace(r#", "added_tokens_decoder": {}"#, "");
    assert_eq!(
        text_of(&[
            ("tokenizer_config.json", &older),
            ("special_tokens_map.json", more),
            ("chat_template.jinja", source),
        ]),
        "<s>no<unk>True"
    );
}

#[test]
fn a_directory_whose_template_cannot_be_used_is_refused() {
    let config = |text| check_dir(&[("tokenizer_config.json", text)]).unwrap_err();
    let error = config(r#"{"chat_template": 3}"#);
    assert!(matches!(error, TemplateError::Form { .. }), "{error:?}");
    let error = config(r#"{"chat_template": [{"name": "default"}]}"#);
    assert!(matches!(error, TemplateError::Form { .. }), "{error:?}");
    let error = config(r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#);
    assert!(matches!(&error, TemplateError::NoDefault { names, .. } if names == &["rag"]));
    let error = config("{");
    assert!(matches!(error, TemplateError::Json { .. }), "{error:?}");
    let long = "a".repeat((256 << 10) + 1);
    let error = check_dir(&[("chat_template.jinja", &long)]).unwrap_err();
    assert!(matches!(error, TemplateError::FileTooLarge { limit: 262_144, .. }), "{error:?}");
}

#[test]
fn a_message_keeps_its_keys_and_has_a_role() {
    let fields = json!({"content": null, "role": "assistant", "name": "A"});
    let message = Message::from_fields(fields.as_object().unwrap().clone()).unwrap();
    assert_eq!((message.role(), message.content()), ("assistant", None));
    assert_eq!(message.with("role", json!(1)).role(), "assistant");
    let error = Message::from_fields(Map::new()).unwrap_err();
    assert!(matches!(error, TemplateError::NoRole { .. }));
}

/// transformers gives a template no key that is null: `tool_calls: null` is what many writers put beside a text.
#[test]
fn a_key_that_is_null_is_not_there() {
    let source = "{% for m in messages %}{% if m.tool_calls is defined %}{{ m.tool_calls | length }}{% else %}none{% endif %}{% endfor %}";
    let message = Message::new("assistant", "hi").with("tool_calls", serde_json::Value::Null);
    let text = ChatTemplate::parse(source).unwrap().render(&[message], false).unwrap();
    assert_eq!(text, "none");
}
