//! Texts: run configurations, rows, chat templates, tokenizers.

use std::path::Path;
use std::sync::LazyLock;

use burn_lora_config::RunConfig;
use burn_lora_data::{Limit, OverLong, Reading, RowFile, Tokenization, pack, token_examples};
use burn_lora_models::conversation::Message;
use burn_lora_models::template::{ChatTemplate, Limits};
use burn_lora_models::tokenizer::Tokenizer;

use super::told;
use crate::scratch::directory;

/// A tokenizer of two dozen tokens, with a chat template beside it.
pub(super) const TOKENIZER: &[u8] = include_bytes!("../../../../fuzz/seeds/tokenizer/bpe.json");
const TEMPLATE: &[u8] = include_bytes!("../../../../fuzz/seeds/chat_template/chatml.jinja");
const TOKENS: &[u8] = br#"{"eos_token": "<|end|>", "pad_token": "<|pad|>"}"#;

static READER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let files = [
        ("tokenizer.json", TOKENIZER),
        ("tokenizer_config.json", TOKENS),
        ("chat_template.jinja", TEMPLATE),
    ];
    Tokenizer::from_dir(&directory("reader", &files, &[])).expect("the tokenizer is whole")
});

/// A run configuration; its first line is read as an override, too. What is accepted is the same after it was written and read.
pub fn run_toml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match RunConfig::parse(&text, "run.toml", &[]) {
        Ok(config) => {
            if let Some(written) = told(config.to_toml()) {
                let again = RunConfig::parse(&written, "run.toml", &[]);
                assert!(again.is_ok_and(|again| again == config), "it is written as:\n{written}");
            }
        }
        Err(errors) => {
            assert!(!errors.problems().is_empty(), "a refusal has a problem");
            let shown = format!("{:?}", miette::Report::new(errors));
            assert!(!shown.is_empty());
        }
    }
    let set = text.lines().next().unwrap_or_default().to_owned();
    const LEAST: &str =
        "[model]\npath = \"m\"\n[data]\ntrain = \"t\"\n[output]\ndir = \"runs/x\"\n";
    told(RunConfig::parse(LEAST, "run.toml", &[set]));
}

/// Rows; the first line is the extension of their file.
pub fn rows(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (extension, rest) = bytes.split_at(end);
    let name = match extension {
        b"json" => "rows.json",
        b"csv" => "rows.csv",
        b"tsv" => "rows.tsv",
        b"txt" => "rows.txt",
        _ => "rows.jsonl",
    };
    let path = directory("rows", &[], &[(name, rest.get(1..).unwrap_or_default())]).join(name);
    let Some(file) = told(RowFile::read(&path, &Reading::default())) else { return };
    let held_out = told(file.clone().hold_out(0.5, 1));
    if let Some((kept, held)) = held_out {
        assert_eq!(kept.rows.len() + held.rows.len(), file.rows.len());
    }
    let limit = Limit { max_length: 64, over_long: OverLong::Cut };
    let how =
        Tokenization { limit, separator: "\n".to_owned(), eos: true, answers: Default::default() };
    let Some((examples, report)) = told(token_examples(&file, &READER, &how)) else { return };
    assert_eq!((examples.len(), report.places.len()), (report.used(), report.used()));
    assert!(examples.iter().all(|example| example.target_tokens() > 0));
    assert!(!report.to_string().is_empty() && !pack(examples, 64).is_empty());
}

/// A chat template, rendered for a conversation, with a hundredth of the steps that it has by itself: inputs are many, and those that use
/// up all they may are not few.
pub fn chat_template(bytes: &[u8]) {
    let Some(template) = told(ChatTemplate::parse(&String::from_utf8_lossy(bytes))) else { return };
    let limits = Limits { steps: Limits::default().steps / 100, ..Limits::default() };
    let template = template.with_limits(limits).with_variable("bos_token", &"<s>".into());
    let calls =
        serde_json::json!([{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]);
    let messages = [
        Message::new("user", "the red door"),
        Message::new("assistant", "").with("tool_calls", calls),
        Message::new("tool", "3"),
        Message::new("assistant", "<think>o</think>red"),
    ];
    told(template.render(&messages, true));
    told(template.pieces(&messages, false));
}

/// A `tokenizer.json`, and a text through it.
pub fn tokenizer(bytes: &[u8]) {
    let config = ("tokenizer_config.json", TOKENS);
    through(&directory("tokenizer", &[config], &[("tokenizer.json", bytes)]));
}

/// A text through the tokenizer that a model has.
pub(super) fn through(model: &Path) {
    let Some(tokenizer) = told(Tokenizer::from_dir(model)) else { return };
    for text in ["the red door!", "é😀\n<|end|> o", ""] {
        if let Some(ids) = told(tokenizer.encode(text, true)) {
            told(tokenizer.decode(&ids, true));
        }
    }
    told(tokenizer.decode(&[0, 3, 9, u32::MAX], false));
    let _ = (tokenizer.stop_ids(), tokenizer.eos_token(), tokenizer.pad_id());
}
