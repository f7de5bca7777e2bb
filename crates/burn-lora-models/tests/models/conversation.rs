//! Conversations as tokens: one law for every format, and each format written out by hand.

use std::path::Path;
use std::sync::LazyLock;

use burn_lora_models::conversation::{Chat, ChatFormat, Message, Segment};
use burn_lora_models::tokenizer::Tokenizer;
use proptest::prelude::*;
use serde_json::{Value, json};

const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/quickstart/model");

/// Which tokenizer to make of the quickstart's, whose vocabulary has ChatML's tokens.
#[derive(Clone, Copy)]
struct Made<'a> {
    template: Option<&'a str>,
    /// Whether `<|im_start|>` and `<|im_end|>` have other names.
    without_chat_ml: bool,
    /// Whether `<|pad|>` is put before every text.
    begins: bool,
    /// Whether the files name an end token.
    ends: bool,
}

const CHAT_ML: Made = Made { template: None, without_chat_ml: false, begins: false, ends: true };
const LINES: Made = Made { without_chat_ml: true, ..CHAT_ML };

/// The id that `begins` puts before a text.
const BEGIN: u32 = 1;

/// A tokenizer that merges across words, lines and answers, so that where a text is cut shows.
fn made(how: Made<'_>) -> Tokenizer {
    let read = |name: &str| {
        let mut text = std::fs::read_to_string(Path::new(QUICKSTART).join(name)).unwrap();
        if how.without_chat_ml {
            text = text.replace("<|im_", "<|turn_");
        }
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let (mut tokenizer, mut config) = (read("tokenizer.json"), read("tokenizer_config.json"));
    let bytes = json!(
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
    );
    (tokenizer["pre_tokenizer"], tokenizer["decoder"]) = (bytes.clone(), bytes);
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let crossing =
        [(":", "Ġ"), ("Ċ", "a"), ("a", "Ċ"), ("Ċ", "u"), ("t", ":"), ("Ċ", "Ċ"), ("a", "a")];
    for (left, right) in crossing {
        let id = vocabulary.len();
        vocabulary.entry(format!("{left}{right}")).or_insert(id.into());
    }
    let merges = tokenizer["model"]["merges"].as_array_mut().unwrap();
    merges.splice(0..0, crossing.map(|(left, right)| json!([left, right])));
    if how.begins {
        tokenizer["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|pad|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<|pad|>": {"id": "<|pad|>", "ids": [BEGIN], "tokens": ["<|pad|>"]}}
        });
    }
    let files = config.as_object_mut().unwrap();
    files.remove("chat_template");
    files.remove("additional_special_tokens");
    files.insert("bos_token".to_owned(), "<|pad|>".into());
    if !how.ends {
        files.remove("eos_token");
    }
    if let Some(template) = how.template {
        files.insert("chat_template".to_owned(), template.into());
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    Tokenizer::from_dir(dir.path()).unwrap()
}

fn spell(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    tokenizer.decode(ids, false).unwrap()
}

/// The training text in pieces, what is learned between `[` and `]`, and the prompt.
fn check(made_as: Made<'_>, format: ChatFormat, training: &str, prompt: &str) {
    let messages = [
        Message::new("system", "S"),
        Message::new("user", "Hi"),
        Message::new("assistant", "a"),
        Message::new("user", "b"),
        Message::new("assistant", ""),
        Message::new("user", "c"),
    ];
    let tokenizer = made(made_as);
    let chat = Chat::of(&tokenizer);
    assert_eq!(chat.format(), format);
    let segments = chat.prompt_and_answers(&messages).unwrap();
    let spelled = segments.iter().map(|segment| match segment.learned {
        true => format!("[{}]", spell(&tokenizer, &segment.ids)),
        false => spell(&tokenizer, &segment.ids),
    });
    assert_eq!(spelled.collect::<String>(), training);
    assert_eq!(spell(&tokenizer, &chat.prompt(&messages[..4]).unwrap()), prompt);
}

#[test]
fn without_a_template_a_vocabulary_with_chat_ml_is_written_in_chat_ml() {
    let prompt = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
                  <|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nb<|im_end|>\n\
                  <|im_start|>assistant\n";
    let training = prompt.replace("a<|im_end|>", "[a<|im_end|>]") + "[<|im_end|>]";
    check(CHAT_ML, ChatFormat::ChatMl, &training, prompt);
    let begun = |text: &str| format!("<|pad|>{text}");
    check(Made { begins: true, ..CHAT_ML }, ChatFormat::ChatMl, &begun(&training), &begun(prompt));
}

#[test]
fn without_either_a_turn_is_a_line() {
    let prompt = "system: S\nuser: Hi\nassistant: a<|endoftext|>\nuser: b\nassistant:";
    let training = prompt.replace(" a<|endoftext|>", "[ a<|endoftext|>]") + "[ <|endoftext|>]";
    check(LINES, ChatFormat::Lines, &training, prompt);
    let begun = |text: &str| format!("<|pad|>{text}");
    check(Made { begins: true, ..LINES }, ChatFormat::Lines, &begun(&training), &begun(prompt));
    // Without an end token a line break ends an answer, and is learned.
    let prompt = "system: S\nuser: Hi\nassistant: a\nuser: b\nassistant:";
    let training = prompt.replace(" a\n", "[ a\n]") + "[ \n]";
    check(Made { ends: false, ..LINES }, ChatFormat::Lines, &training, prompt);
}

#[test]
fn a_template_writes_what_begins_a_text_itself() {
    let template = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}!{% endfor %}\
                    {% if add_generation_prompt %}<assistant>{% endif %}";
    let prompt = "<|pad|><system>S!<user>Hi!<assistant>a!<user>b!<assistant>";
    let training = prompt.replace("a!", "[a!]") + "[!]";
    let with = Made { template: Some(template), begins: true, ..CHAT_ML };
    check(with, ChatFormat::Template, &training, prompt);
}

#[test]
fn an_end_token_can_be_left_out_of_lines_alone() {
    let messages = [Message::new("user", "a"), Message::new("assistant", "b")];
    let learned = |how| {
        let tokenizer = made(how);
        let chat = Chat::of(&tokenizer).without_end_token();
        let segments = chat.prompt_and_answers(&messages).unwrap();
        spell(&tokenizer, &segments.last().unwrap().ids)
    };
    assert_eq!(learned(LINES), " b\n");
    assert_eq!(learned(CHAT_ML), "b<|im_end|>");
}

#[test]
fn an_answer_that_says_its_end_itself_is_ended_once() {
    let template = "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}assistant:{% endif %}";
    for (how, said, learned) in [
        (CHAT_ML, "b<|im_end|>", "b<|im_end|>"),
        (CHAT_ML, "b<|im_end|>\n", "b<|im_end|>"),
        (CHAT_ML, "b<|endoftext|><|im_end|>", "b<|im_end|>"),
        (CHAT_ML, "b<|im_end|>c", "b<|im_end|>c<|im_end|>"),
        // A special token that ends no turn is what was said.
        (CHAT_ML, "b<|pad|>", "b<|pad|><|im_end|>"),
        (LINES, "b<|endoftext|>", " b<|endoftext|>"),
        // This template closes no answer: what the data says is all that does.
        (Made { template: Some(template), ..CHAT_ML }, "b<|endoftext|>", "b<|endoftext|>\n"),
    ] {
        let tokenizer = made(how);
        let chat = Chat::of(&tokenizer);
        let messages =
            ["user", "assistant", "user", "assistant"].map(|role| Message::new(role, said));
        let segments = chat.prompt_and_answers(&messages).unwrap();
        let spelled = |segment: &Segment| spell(&tokenizer, &segment.ids);
        let answers: Vec<_> = segments.iter().filter(|s| s.learned).map(spelled).collect();
        assert_eq!(answers, [learned; 2], "{said:?}");
        // The prompt stays what training saw; what others say is theirs.
        let before = segments[..3].iter().flat_map(|segment| segment.ids.clone());
        assert_eq!(chat.prompt(&messages[..3]).unwrap(), before.collect::<Vec<_>>());
        assert!(segments[0].text.contains(said.trim_end()), "{said:?}");
        let alone = chat.prompt_and_last_answer(&messages).unwrap();
        assert_eq!(spelled(alone.last().unwrap()).trim_end(), learned.trim_end());
    }
}

#[test]
fn generation_stops_at_the_token_that_training_closes_answers_with() {
    let ends = |how| {
        let tokenizer = made(how);
        let stops = tokenizer.stop_ids();
        stops.iter().map(|id| tokenizer.id_to_token(*id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ends(CHAT_ML), ["<|endoftext|>", "<|im_end|>"]);
    assert_eq!(ends(LINES), ["<|endoftext|>"]);
    assert_eq!(ends(Made { ends: false, ..CHAT_ML }), ["<|im_end|>"]);
    // A line break ends no text.
    assert_eq!(ends(Made { ends: false, ..LINES }), [""; 0]);
    let template = "{% for m in messages %}{{ m.role }}:{{ m.content }}<|pad|>\n{% endfor %}\
                    {% if add_generation_prompt %}assistant:{% endif %}";
    assert_eq!(ends(Made { template: Some(template), ..CHAT_ML }), ["<|endoftext|>", "<|pad|>"]);
}

#[test]
fn a_conversation_without_an_answer_has_nothing_to_learn() {
    let tokenizer = made(CHAT_ML);
    let messages = [Message::new("user", "Hi")];
    assert_eq!(Chat::of(&tokenizer).prompt_and_answers(&messages).unwrap(), []);
}

/// A template that leaves the thoughts of earlier answers out, as those of reasoning models do.
const FORGETFUL: &str = "{% for m in messages %}<{{ m.role }}>\
    {{ m.content if loop.last else m.content.split('</think>')[-1] }}!{% endfor %}\
    {% if add_generation_prompt %}<assistant>{% endif %}";

#[test]
fn a_template_that_cannot_be_trained_with_can_still_be_asked() {
    let tokenizer = made(Made { template: Some(FORGETFUL), ..CHAT_ML });
    let chat = Chat::of(&tokenizer);
    let messages = [
        Message::new("user", "a"),
        Message::new("assistant", "hm</think>b"),
        Message::new("user", "c"),
        Message::new("assistant", "d"),
    ];
    let error = chat.prompt_and_answers(&messages).unwrap_err().to_string();
    assert!(error.starts_with("messages[1]: the text up to this answer is not"), "{error}");
    let prompt = chat.prompt(&messages[..3]).unwrap();
    assert_eq!(spell(&tokenizer, &prompt), "<user>a!<assistant>b!<user>c!<assistant>");
}

/// What stands before every answer of a training row is the prompt for it, token by token, and what is
/// learned begins there. The row.
fn law(tokenizer: &Tokenizer, end: bool, messages: &[Message]) -> Result<Vec<u32>, TestCaseError> {
    let chat = Chat::of(tokenizer);
    let chat = if end { chat } else { chat.without_end_token() };
    let segments = chat.prompt_and_answers(messages).unwrap();
    let row: Vec<u32> = segments.iter().flat_map(|segment| segment.ids.clone()).collect();
    let learned = segments.iter().enumerate().filter(|(_, segment)| segment.learned);
    let starts: Vec<usize> =
        learned.map(|(at, _)| segments[..at].iter().map(|s| s.ids.len()).sum()).collect();
    let answers = messages.iter().enumerate().filter(|(_, message)| message.is_answer());
    let prompts: Vec<Vec<u32>> =
        answers.map(|(at, _)| chat.prompt(&messages[..at]).unwrap()).collect();
    prop_assert_eq!(starts.len(), prompts.len());
    for (start, prompt) in starts.into_iter().zip(prompts) {
        prop_assert_eq!(&row[..start], prompt.as_slice());
    }
    Ok(row)
}

/// Tokenizers of every format, with whether answers are closed.
static BUILT_IN: LazyLock<Vec<(Tokenizer, bool)>> = LazyLock::new(|| {
    let begun = |how| Made { begins: true, ..how };
    let endless = Made { ends: false, ..LINES };
    vec![
        (made(CHAT_ML), true),
        (made(begun(CHAT_ML)), true),
        (made(LINES), true),
        (made(begun(LINES)), true),
        (made(LINES), false),
        (made(begun(endless)), true),
    ]
});

static TEMPLATES: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let fixtures = [
        include_str!("../../src/template/fixtures/smollm2.jinja"),
        include_str!("../../src/template/fixtures/qwen2.5.jinja"),
        include_str!("../../src/template/fixtures/llama-2.jinja"),
        include_str!("../../src/template/fixtures/mistral.jinja"),
        include_str!("../../src/template/fixtures/zephyr.jinja"),
        include_str!("../../src/template/fixtures/generation.jinja"),
    ];
    let template = |source| made(Made { template: Some(source), begins: true, ..CHAT_ML });
    fixtures.map(template).into()
});

fn said() -> impl Strategy<Value = String> {
    prop_oneof!["[ab:\n !]{0,8}", "[aé漢😀\u{301}\n ]{0,6}", "\\PC{0,6}"]
        // A character for private use by which templates' endings are found.
        .prop_map(|text| text.replace('\u{f8ff}', ""))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_training_row_begins_with_the_prompt_for_each_of_its_answers(
        turns in prop::collection::vec((prop::sample::select(vec!["system", "user", "assistant", "tool"]), said()), 1..8),
    ) {
        let messages: Vec<_> = turns.into_iter().map(|(role, text)| Message::new(role, text)).collect();
        for (tokenizer, end) in BUILT_IN.iter() {
            let row = law(tokenizer, *end, &messages)?;
            // What begins a text is there once, or not at all.
            let begins = tokenizer.encode("", true).unwrap();
            prop_assert!(row.is_empty() || row.starts_with(&begins));
            prop_assert!(row.iter().skip(begins.len()).all(|id| *id != BEGIN));
        }
    }

    #[test]
    fn so_does_one_that_a_template_writes(
        system in prop::option::of(said()),
        says in prop::collection::vec(said(), 1..7),
    ) {
        let mut messages: Vec<_> = system.map(|text| Message::new("system", text)).into_iter().collect();
        for (index, text) in says.into_iter().enumerate() {
            messages.push(Message::new(["user", "assistant"][index % 2], text));
        }
        for tokenizer in TEMPLATES.iter() {
            law(tokenizer, true, &messages)?;
        }
    }

    /// ChatML as it stands here is ChatML as the quickstart's files write it.
    #[test]
    fn chat_ml_is_that_of_a_template(says in prop::collection::vec(said(), 2..6)) {
        let template = serde_json::from_str::<Value>(
            &std::fs::read_to_string(Path::new(QUICKSTART).join("tokenizer_config.json")).unwrap(),
        ).unwrap()["chat_template"].as_str().unwrap().to_owned();
        let with = made(Made { template: Some(&template), ..CHAT_ML });
        let without = &BUILT_IN[0].0;
        let messages: Vec<_> = says.into_iter().enumerate()
            .map(|(index, text)| Message::new(["user", "assistant"][index % 2], text))
            .collect();
        let segments = |tokenizer| Chat::of(tokenizer).prompt_and_answers(&messages).unwrap();
        prop_assert_eq!(segments(&with), segments(without));
    }
}

/// A template that writes tools, and of reasoning that of the last turn only.
const TOOLS: &str = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<{{ m.role }}>\
    {% if m.reasoning_content and loop.last %}[{{ m.reasoning_content }}]{% endif %}{{ m.content }}!\
    {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

#[test]
fn tools_are_given_to_the_template_or_refused() {
    let tokenizer = made(Made { template: Some(TOOLS), ..CHAT_ML });
    let messages = [Message::new("user", "a"), Message::new("assistant", "b")];
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let chat = Chat::of(&tokenizer).with_tools(&tools);
    let prompt = chat.prompt(&messages[..1]).unwrap();
    let begins = "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]<user>a!<assistant>";
    assert_eq!(spell(&tokenizer, &prompt), begins);
    assert_eq!(chat.prompt_and_answers(&messages).unwrap()[0].ids, prompt);

    let tokenizer = made(CHAT_ML);
    let chat = Chat::of(&tokenizer).with_tools(&tools);
    let error = chat.prompt_and_answers(&messages).unwrap_err().to_string();
    assert!(error.contains("`tools` are not written"), "{error}");
}

#[test]
fn an_answer_by_itself_stands_behind_the_prompt_for_it() {
    let tokenizer = made(Made { template: Some(TOOLS), ..CHAT_ML });
    let chat = Chat::of(&tokenizer);
    let answer = |text| Message::new("assistant", text).with("reasoning_content", json!("r"));
    let messages = [Message::new("user", "a"), answer("b"), Message::new("user", "c"), answer("d")];
    assert!(chat.prompt_and_answers(&messages).is_err());
    for (count, prompt, learned) in [
        (2, "<user>a!<assistant>", "[r]b!"),
        (4, "<user>a!<assistant>b!<user>c!<assistant>", "[r]d!"),
    ] {
        let segments = chat.prompt_and_last_answer(&messages[..count]).unwrap();
        assert_eq!(segments[0].ids, chat.prompt(&messages[..count - 1]).unwrap());
        let spelled: Vec<_> = segments.iter().map(|s| spell(&tokenizer, &s.ids)).collect();
        assert_eq!(spelled, [prompt, learned]);
        assert_eq!(segments[1].text, learned);
    }
}
